//! Compression takes memory of the process, whatever the number of connections.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{convert::Infallible, time::Duration};

use flate2::{Compress, FlushCompress};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use peak_alloc::PeakAlloc;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinSet,
};
use websockets_simple_server::{Compression, Limits, ServerParams, WebsocketServer};
use websockets_simple_tests::{raw::RawPeer, within};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// What the answer has more than another.
const ANSWER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
/// As long, so that what was read and written takes the same.
const OTHER_OFFER: &str = "Sec-WebSocket-Extensions: permessage-bzip-2\r\n";
const COMPRESSED_TEXT: u8 = 0xC1;
const BINARY: u8 = 0x82;

/// From this size on messages are compressed.
const THRESHOLD: usize = 2000;

type Peer = RawPeer<DuplexStream>;

/// A client that takes nothing of the kernel.
async fn open(server: &WebsocketServer, headers: &str) -> Peer {
    let (theirs, ours) = duplex(8 * 1024);
    let application = server.clone();
    let service = service_fn(move |request| {
        let upgrade = application.upgrade(request);
        async move { Ok::<_, Infallible>(upgrade.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(ours), service);
    tokio::spawn(connection.with_upgrades());
    let mut peer = RawPeer::new(theirs);
    let head = peer.request("/", headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(head.contains("permessage-deflate"), headers == OFFER);
    peer
}

async fn open_many(server: &WebsocketServer, count: usize, headers: &'static str) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(count);
    while peers.len() < count {
        peers.push(open(server, headers).await);
    }
    until(|| server.connection_count() == count).await;
    // What goes to and fro is buffered on the way, and what is read by the client.
    let peers = all_say(peers, BINARY, &[7; THRESHOLD - 1]).await;
    peers.into_iter().map(|peer| Peer::new(peer.into_parts().0)).collect()
}

/// All of them leave.
async fn leave(server: &WebsocketServer, peers: Vec<Peer>) {
    drop(peers);
    until(|| server.connection_count() == 0).await;
}

/// Nothing tells when the task of a connection is gone.
async fn until(is_so: impl Fn() -> bool) {
    within(async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !is_so() {
            look.tick().await;
        }
    })
    .await;
}

/// All peers at once have a message echoed, and tell whether the echo was compressed.
async fn all_say(peers: Vec<Peer>, first: u8, payload: &[u8]) -> Vec<Peer> {
    let mut talking = JoinSet::new();
    for mut peer in peers {
        let payload = payload.to_vec();
        talking.spawn(async move {
            peer.frame(first, &payload).await;
            let echo = peer.next().await.unwrap();
            assert_eq!(echo.first, first);
            peer
        });
    }
    talking.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_that_compress_take_no_more_than_those_that_do_not() {
    let limits = Limits::default().connections(20_000).idle(None);
    let compression = Compression::new().threshold(THRESHOLD as u32);
    let server = WebsocketServer::new(ServerParams::mounted().limits(limits).compression(compression));
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    server.start().await.unwrap();

    // Idle. Once before it counts, so that all begin with the same lists.
    let mut each = Vec::new();
    for headers in [OTHER_OFFER, OTHER_OFFER, OFFER] {
        let before = HEAP.current_usage();
        let peers = open_many(&server, 1000, headers).await;
        each.push((HEAP.current_usage() - before) / 1000);
        leave(&server, peers).await;
    }
    let [_, plain, agreed] = each[..] else { unreachable!("there are three") };
    // The stream between them keeps the room that the answer took.
    let agreed = agreed - ANSWER.len();
    println!(
        "{plain} bytes for an idle connection and its peer, {agreed} for one that agreed on compression"
    );
    assert!(agreed <= plain + 64, "{agreed} bytes instead of {plain}");

    let empty = HEAP.current_usage();
    let peers = open_many(&server, 10_000, OFFER).await;
    let mut peers = all_say(peers, BINARY, &[7; THRESHOLD - 1]).await;
    let before = HEAP.current_usage();
    let document = r#"{"id":17,"name":"somebody","online":true},"#.repeat(60);
    let mut compress = Compress::new(flate2::Compression::fast(), false);
    let mut deflated = Vec::with_capacity(1000);
    compress.compress_vec(document.as_bytes(), &mut deflated, FlushCompress::Sync).unwrap();
    let deflated = deflated.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap();
    for _ in 0..2 {
        peers = all_say(peers, COMPRESSED_TEXT, deflated).await;
    }
    let kept = HEAP.current_usage().saturating_sub(before);
    println!("{kept} bytes more are held while they are idle again");
    assert!(kept <= 2 * MIB, "{kept} bytes are held while they are idle again");
    leave(&server, peers).await;
    // The tasks are dropped a little later.
    until(|| HEAP.current_usage() <= empty + 2 * MIB).await;
}
