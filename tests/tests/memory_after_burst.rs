//! What a burst took is given back once it is over.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use websockets_simple_server::{Anonymous, Connection, Limits, Message, ServerParams, WebsocketServer};
use websockets_simple_tests::{
    opened,
    raw::{masked, request},
    received, started, within,
};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const PEERS: usize = 50;
/// What the heap may have grown by when a burst is over.
const KEPT: usize = MIB / 2;

/// A peer with little room in its kernel, that reads only when it is told to and then keeps nothing.
async fn slow(addr: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = within(socket.connect(addr)).await.unwrap();
    stream.write_all(request("/", "").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// Reads that many bytes from each peer, all at the same time, and nothing is left to read.
async fn drain(peers: Vec<TcpStream>, connections: &[Connection<Anonymous>], bytes: usize) -> Vec<TcpStream> {
    let mut reading = JoinSet::new();
    for mut peer in peers {
        reading.spawn(async move {
            let mut left = bytes;
            let mut piece = vec![0; 32 * 1024];
            while left > 0 {
                let most = left.min(piece.len());
                left -= within(peer.read_exact(&mut piece[..most])).await.unwrap();
            }
            peer
        });
    }
    let peers = within(reading.join_all()).await;
    for connection in connections {
        let statistics = connection.statistics();
        assert_eq!((statistics.queued_bytes, statistics.dropped), (0, 0));
    }
    peers
}

fn assert_given_back(before: usize, what: &str) {
    let kept = HEAP.current_usage().saturating_sub(before);
    assert!(kept <= KEPT, "{kept} bytes are still held after {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_bursts_to_slow_readers_and_from_loud_ones_the_heap_is_as_small_as_before() {
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None);
    let server = WebsocketServer::new(ServerParams::local().outbox(64 * MIB).limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(slow(addr).await);
        opened(&mut events).await;
    }
    let connections = server.connections();
    let before = HEAP.current_usage();

    // 280 MiB, of which the kernel takes two thirds; every message is a buffer of its own. Twice, as what leaks once
    // leaks again.
    for _ in 0..2 {
        let mut bytes = 0;
        for size in (0..).map(|n| 100 + n * 7919 % 40_000).take(300) {
            bytes += size + if size < 126 { 2 } else { 4 };
            for connection in &connections {
                connection.try_send(Message::binary(vec![7; size])).unwrap();
            }
        }
        assert!(PEERS * bytes > 280 * MIB, "{bytes}");
        let held = HEAP.current_usage() - before;
        assert!(held > 40 * MIB, "the kernel took nearly everything, {held} bytes were held");
        peers = drain(peers, &connections, bytes).await;
        assert_given_back(before, "large messages");
    }

    // Small ones on top of a full socket, where the queue itself is what takes memory.
    let full = Message::binary(vec![7; 6 * MIB]);
    assert_eq!(server.broadcast(&full).unwrap().accepted, PEERS);
    drop(full);
    for _ in 0..5000 {
        assert_eq!(server.broadcast(Message::text("hello")).unwrap().accepted, PEERS);
    }
    let held = HEAP.current_usage() - before;
    assert!(held > 8 * MIB, "the queues grow, {held} bytes were held");
    peers = drain(peers, &connections, 10 + 6 * MIB + 5000 * 7).await;
    assert_given_back(before, "small messages");

    // The other way: large messages, whole and in fragments, that nobody takes for a while.
    let mut talking = JoinSet::new();
    for mut peer in peers {
        talking.spawn(async move {
            for _ in 0..2 {
                let half = vec![b'x'; 400_000];
                for frame in [masked(0x81, &half), masked(0x01, &half), masked(0x80, &half)] {
                    peer.write_all(&frame).await.unwrap();
                }
            }
            peer
        });
    }
    let taking = async {
        for _ in 0..4 * PEERS {
            received(&mut events).await;
        }
    };
    let (peers, ()) = within(async { tokio::join!(talking.join_all(), taking) }).await;
    // What such messages came in is used again for a second, and no event tells when it is given back.
    within(async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        while HEAP.current_usage().saturating_sub(before) > KEPT {
            look.tick().await;
        }
    })
    .await;
    drop(peers);
}
