//! Event streams of a server that are not read.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use websockets_simple_server::{
    Anonymous, ConnectionEventKind, Endpoint, Event, Events, Limits, ProxyProtocol, ServerParams,
    SubscribeOptions, WebsocketServer,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    next,
    raw::RawPeer,
    started, within,
};

/// Room for this many events without a message.
const ROOM: usize = 10;

/// How many connections fail.
const FLOOD: usize = 200;

async fn flood(addr: SocketAddr, sent: &[u8]) {
    for _ in 0..FLOOD {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(sent).await;
        peer.all().await;
    }
}

/// How many errors and refusals the stream holds, and how many were missed before the last error.
async fn held(server: &WebsocketServer, events: &mut Events<Event<Anonymous>>) -> (usize, u64) {
    within(server.stop()).await;
    let (mut held, mut missed) = (0, 0);
    while let Some(event) = events.try_recv() {
        match event {
            Event::Error(event) => (held, missed) = (held + 1, missed + event.missed),
            Event::Connection(event) => {
                held += usize::from(matches!(event.kind, ConnectionEventKind::Refused(..)));
            }
            _ => {}
        }
    }
    (held, missed)
}

#[tokio::test]
async fn failures_before_a_request_do_not_pile_up_in_a_stream_and_are_counted() {
    let authority = Authority::new();
    let with_proxy = Endpoint::tcp(([127, 0, 0, 1], 0).into()).proxy_protocol(ProxyProtocol::Required);
    for (params, sent) in [
        (secured(authority.server()), "this is no TLS\r\n\r\n"),
        (ServerParams::local().endpoint(with_proxy), "PROXY UNKNOWN\r\n"),
        (ServerParams::local(), "this is no HTTP\r\n\r\n"),
    ] {
        let server = WebsocketServer::new(params);
        let mut events = server.events_with(SubscribeOptions::default().capacity(ROOM * 256));
        let addr = started(&server).await;
        flood(addr, sent.as_bytes()).await;
        // There is room for one more error, which says how many there were.
        next(&mut events, |event| (!matches!(event, Event::Server(_))).then_some(())).await;
        let mut last = RawPeer::connect(addr).await;
        last.write(if sent.contains("HTTP") { b"GET / HTTP/1.1\r\nHo" } else { sent.as_bytes() }).await;
        tokio::io::AsyncWriteExt::shutdown(&mut last.stream).await.unwrap();
        last.all().await;
        let (held, missed) = held(&server, &mut events).await;
        assert!(held <= ROOM, "{sent}: {held}");
        assert_eq!(
            held + usize::try_from(missed).unwrap(),
            FLOOD,
            "{sent}: the first was read, one came last"
        );
    }
}

#[tokio::test]
async fn attempts_that_a_stream_has_no_room_for_do_not_pile_up_in_it_either() {
    let limits = Limits::default().handshake(Duration::from_millis(20));
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    let mut events = server.events_with(SubscribeOptions::default().capacity(ROOM * 256));
    let addr = started(&server).await;
    for _ in 0..FLOOD / 4 {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        peer.all().await;
    }
    within(server.stop()).await;
    let mut held = 0;
    while events.try_recv().is_some() {
        held += 1;
    }
    assert!(held <= 2 * ROOM + 2, "{held}: as many as have room, their refusals, the start and the stop");
}
