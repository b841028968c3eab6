//! Stops that close the connections a few at a time, and what clients are told of them.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use websockets_simple_client::ClientParams;
use websockets_simple_server::{
    Anonymous, Connection, Drain, ServeError, ServerParams, StopReport, WebsocketServer,
};
use websockets_simple_tests::{
    connected,
    echo::echoing,
    opened, params,
    raw::{self, RawPeer},
    started, within,
};

const PAUSE: Duration = Duration::from_secs(10);

type Peer = RawPeer<DuplexStream>;

/// A server that sends messages back.
async fn mounted() -> WebsocketServer {
    let server = echoing(ServerParams::mounted());
    server.start().await.unwrap();
    server
}

async fn joined(server: &WebsocketServer) -> (Peer, Connection<Anonymous>) {
    let (near, far) = duplex(64 * 1024);
    let mut peer = RawPeer::new(near);
    let (head, connection) = tokio::join!(peer.request("/", ""), server.serve(far));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (peer, connection.unwrap())
}

fn stopping(server: &WebsocketServer, drain: Drain) -> JoinHandle<StopReport> {
    let server = server.clone();
    tokio::spawn(async move { server.stop_with(drain).await })
}

/// When the peer is told 1001, which it answers; that it was served until then.
fn told(begun: Instant, mut peer: Peer) -> JoinHandle<Duration> {
    tokio::spawn(async move {
        let close = peer.next().await.unwrap();
        assert_eq!(close.close_code(), Some(1001));
        peer.frame(0x88, &close.payload).await;
        begun.elapsed()
    })
}

#[tokio::test(start_paused = true)]
async fn connections_are_closed_a_few_at_a_time_and_nobody_else_is_admitted() {
    let server = mounted().await;
    let (mut peers, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let (peer, connection) = joined(&server).await;
        peers.push(peer);
        connections.push(connection);
    }
    // One that ends by itself is no part of a batch.
    drop(peers.remove(0));
    within(connections.remove(0).closed()).await;
    let begun = Instant::now();
    let stop = stopping(&server, Drain::new().batch(2, PAUSE));
    tokio::task::yield_now().await;
    assert!(!server.is_running());
    let open: Vec<_> = connections.iter().map(Connection::is_open).collect();
    assert_eq!(open.iter().filter(|open| **open).count(), 3, "{open:?}");
    // Who is not closed yet is served.
    let last = open.iter().rposition(|open| *open).unwrap();
    peers[last].text("still there?").await;
    assert_eq!(peers[last].next().await.unwrap().as_text(), "still there?");
    let (near, far) = duplex(4096);
    let mut late = RawPeer::new(near);
    let (head, result) = tokio::join!(late.request("/", ""), server.serve(far));
    assert!(head.starts_with("HTTP/1.1 503 ") && raw::retry_after(&head).is_some(), "{head}");
    assert!(matches!(result, Err(ServeError::NotRunning)));
    let waiting: Vec<_> = peers.into_iter().map(|peer| told(begun, peer)).collect();
    let mut times = Vec::new();
    for told in waiting {
        times.push(told.await.unwrap().as_secs());
    }
    times.sort_unstable();
    assert_eq!(times[2..], [10, 10, 20]);
    let report = stop.await.unwrap();
    assert_eq!((report.clean, report.unclean, report.dropped), (5, 0, 0));
    assert_eq!(begun.elapsed(), 2 * PAUSE);
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_closes_all_others_at_once_unless_it_is_as_patient() {
    let server = mounted().await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(joined(&server).await.0);
    }
    let begun = Instant::now();
    let hour = Duration::from_secs(3600);
    let stops = [
        stopping(&server, Drain::new().batch(1, hour)),
        stopping(&server, Drain::new().batch(4, Duration::ZERO)),
    ];
    let waiting: Vec<_> = peers.into_iter().map(|peer| told(begun, peer)).collect();
    tokio::time::sleep(PAUSE).await;
    assert_eq!(waiting.iter().filter(|told| told.is_finished()).count(), 1);
    let report = server.stop().await;
    assert_eq!(report.clean, 4);
    for told in waiting {
        assert!(told.await.unwrap() <= PAUSE);
    }
    for stop in stops {
        assert_eq!(stop.await.unwrap().clean, 4);
    }
    server.start().await.unwrap();
    joined(&server).await;
}

#[tokio::test(start_paused = true)]
async fn the_stop_timeout_begins_with_the_last_batch() {
    let params = ServerParams::mounted().stop_timeout(PAUSE);
    let server = WebsocketServer::new(params);
    server.on_message(|_, _| std::future::pending());
    server.start().await.unwrap();
    let (mut busy, _busy) = joined(&server).await;
    let (other, _other) = joined(&server).await;
    busy.text("this takes for ever").await;
    tokio::task::yield_now().await;
    let begun = Instant::now();
    let stop = stopping(&server, Drain::new().batch(1, 3 * PAUSE));
    let told = told(begun, other);
    let report = stop.await.unwrap();
    assert_eq!((report.clean, report.dropped), (1, 1), "{report:?}");
    assert!((4 * PAUSE..5 * PAUSE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    told.await.unwrap();
}

#[tokio::test]
async fn endpoints_refuse_while_connections_are_closed_in_batches_and_clients_know_over_how_long_to_come_back()
 {
    let server = WebsocketServer::new(ServerParams::local().subprotocols(["chat.v1"]));
    let mut events = server.events();
    let addr = started(&server).await;
    let asking: ClientParams = params(addr).subprotocol("chat.v1");
    let clients = [connected(asking.clone()).await, connected(asking).await];
    for client in &clients {
        opened(&mut events).await;
        // Behind what the client has answered to the hello.
        let _ = within(client.join("a group")).await;
    }
    let connections = clients.each_ref().map(|client| client.connection().unwrap());
    let drain = Drain::new().batch(1, Duration::from_secs(3600)).spread(Duration::from_millis(6500));
    let stop = stopping(&server, drain);
    let first = within(async {
        tokio::select! {
            _ = connections[0].closed() => 0,
            _ = connections[1].closed() => 1,
        }
    })
    .await;
    let mut late = RawPeer::connect(addr).await;
    let head = late.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && raw::retry_after(&head).is_some(), "{head}");
    assert!(connections[1 - first].end().is_none());
    let report = within(server.stop()).await;
    assert_eq!(report.clean, 2);
    within(stop).await.unwrap();
    for connection in &connections {
        let end = within(connection.closed()).await;
        assert_eq!(end.code, Some(1001));
        assert_eq!(connection.closing_spread(), Some(Duration::from_secs(7)));
    }
}
