//! A connection that does nothing takes so many bytes of the heap, and no more.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::net;

use peak_alloc::PeakAlloc;
use tokio::{net::TcpStream, sync::watch};
use websockets_simple_server::{Anonymous, Server, WebsocketServer};
use websockets_simple_tests::{
    raw::RawPeer,
    started,
    way::{Plain, Tls, Way},
    within,
};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Connections before the first look: what the first ones cost is the server's own. A power of 2, as are all, so that
/// lists and tables are as full.
const FIRST: usize = 64;
const ALL: usize = 256;

/// Over TCP: what the allocator is asked for. It takes a tenth more, for its own and for gaps.
const OVER_TCP: usize = 1_365;

/// The same over TLS 1.3.
const OVER_TLS: usize = 3_890;

/// A socket that is a WebSocket for the server. Nothing of this end is on the heap.
async fn open<W: Way>(
    way: &W,
    addr: net::SocketAddr,
    socket: impl Fn(W::Stream) -> TcpStream,
) -> net::TcpStream {
    let stream = way.over(TcpStream::connect(addr).await.unwrap()).await;
    let mut peer = RawPeer::new(stream);
    let head = peer.request("/", "User-Agent: none\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket(peer.stream).into_std().unwrap()
}

/// Bytes of the heap that each connection takes.
async fn idle<W: Way>(way: W, socket: impl Fn(W::Stream) -> TcpStream) -> usize {
    let server: Server<Anonymous> = WebsocketServer::new(way.server());
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    // A connection that has raised Connected is as it stays: its task gives way to this one only after that.
    let (connected, mut count) = watch::channel(0);
    server.on_connect(move |_| {
        connected.send_modify(|count| *count += 1);
        async {}
    });
    let addr = started(&server).await;
    let mut sockets = Vec::with_capacity(ALL);
    let mut looks = Vec::with_capacity(2);
    for number in [FIRST, ALL] {
        while sockets.len() < number {
            sockets.push(within(open(&way, addr, &socket)).await);
        }
        within(count.wait_for(|count| *count == number)).await.unwrap();
        looks.push(HEAP.current_usage());
    }
    within(server.stop()).await;
    (looks[1] - looks[0]) / (ALL - FIRST)
}

#[tokio::test]
async fn an_idle_connection_takes_as_little_as_it_is_said_to() {
    let over_tcp = idle(Plain, |stream| stream).await;
    let over_tls = idle(Tls::default(), |stream| stream.into_inner().0).await;
    assert!(over_tcp <= OVER_TCP, "{over_tcp} bytes over TCP");
    assert!(over_tls <= OVER_TLS, "{over_tls} bytes over TLS");
}
