//! Behind proxies: who the client is, and whom the limits count.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use websockets_simple_server::{
    Authenticated, ConnectionEventKind, Credentials, Event, HandshakeRequest, Limits, ServerParams,
    TrustedProxies, UserService, UserServiceError, WebsocketServer, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{next, opened, raw::RawPeer, started, within};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Trusts the peers of these tests, which all come from the loopback interface.
fn trusting() -> ServerParams {
    ServerParams::local().trusted_proxies(TrustedProxies::new(["127.0.0.0/8", "10.0.0.0/8"]).unwrap())
}

/// The answer to a proper request with these header lines.
async fn asked(addr: SocketAddr, headers: &str) -> (RawPeer, String) {
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/", headers).await;
    (peer, head)
}

/// Knows everybody, and remembers from where they were said to come.
#[derive(Clone, Default)]
struct Guests {
    from: Arc<Mutex<Vec<(Option<IpAddr>, IpAddr)>>>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl UserService for Guests {
    type Id = i64;

    async fn authenticate(
        &self,
        _credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.from.lock().unwrap().push((request.client_addr(), request.peer_addr().ip()));
        Ok(Some(Authenticated::new(7)))
    }
}

#[tokio::test]
async fn a_trusted_proxy_tells_who_the_client_is() {
    let guests = Guests::default();
    let server = WebsocketServerAuth::new(trusting(), guests.clone());
    let addr = started(&server).await;
    for (headers, told) in [
        ("X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.0.0.2\r\n", "198.51.100.1"),
        ("Forwarded: for=\"[2001:db8::1]:4711\";proto=https\r\n", "2001:db8::1"),
        ("Forwarded: for=203.0.113.9, for=_hidden\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let mut events = server.events();
        let (_peer, head) = asked(addr, &format!("Authorization: Bearer token\r\n{headers}")).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let connecting = next(&mut events, |event| match event {
            Event::Connection(event) => match event.kind {
                ConnectionEventKind::Connecting(attempt) => Some(attempt),
                _ => None,
            },
            _ => None,
        })
        .await;
        assert_eq!(connecting.client_addr, Some(ip(told)), "{headers}");
        let connection = opened(&mut events).await;
        assert_eq!((connection.client_addr(), connection.peer_addr().ip()), (Some(ip(told)), addr.ip()));
        let from = guests.from.lock().unwrap().pop();
        assert_eq!(from, Some((Some(ip(told)), addr.ip())), "{headers}");
    }
}

#[tokio::test]
async fn what_others_say_of_themselves_is_not_believed() {
    for proxies in [TrustedProxies::default(), TrustedProxies::new(["10.0.0.0/8", "127.0.0.2"]).unwrap()] {
        let server = WebsocketServer::new(ServerParams::local().trusted_proxies(proxies));
        let addr = started(&server).await;
        let mut events = server.events();
        let headers = "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n";
        let _peer = RawPeer::open(addr, "/", headers).await;
        assert_eq!(opened(&mut events).await.client_addr(), Some(addr.ip()));
    }
}

#[tokio::test]
async fn connections_over_a_proxy_are_counted_for_their_client_before_anybody_is_asked() {
    let guests = Guests::default();
    let params = trusting().limits(Limits::default().connections_per_ip(1));
    let server = WebsocketServerAuth::new(params, guests.clone());
    let addr = started(&server).await;
    let one = "Authorization: Bearer token\r\nX-Forwarded-For: 198.51.100.1\r\n";
    let other = "Authorization: Bearer token\r\nX-Forwarded-For: 198.51.100.2\r\n";
    let (first, head) = asked(addr, one).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_second, head) = asked(addr, one).await;
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: "), "{head}");
    assert_eq!(guests.asked.load(Ordering::Relaxed), 1);
    let (_third, head) = asked(addr, other).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The place is free once the first client is gone.
    drop(first);
    within(async { while !asked(addr, one).await.1.starts_with("HTTP/1.1 101 ") {} }).await;
}

#[tokio::test]
async fn nobody_escapes_the_limit_of_an_address_by_inventing_clients() {
    let server = WebsocketServer::new(ServerParams::local().limits(Limits::default().connections_per_ip(1)));
    let addr = started(&server).await;
    let _first = RawPeer::open(addr, "/", "X-Forwarded-For: 198.51.100.1\r\n").await;
    let (_second, head) = asked(addr, "X-Forwarded-For: 198.51.100.2\r\n").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    // Nor does a client of a proxy by what it writes to the left of the proxy.
    let params = trusting().limits(Limits::default().connections_per_ip(1));
    let server = WebsocketServer::new(params);
    let addr = started(&server).await;
    let _first = RawPeer::open(addr, "/", "X-Forwarded-For: 203.0.113.1, 198.51.100.1\r\n").await;
    let (_second, head) = asked(addr, "X-Forwarded-For: 203.0.113.2, 198.51.100.1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
}

#[tokio::test]
async fn all_clients_of_a_proxy_together_are_no_more_than_the_total() {
    let params = trusting().limits(Limits::default().connections(2).connections_per_ip(1));
    let server = WebsocketServer::new(params);
    let addr = started(&server).await;
    let _first = RawPeer::open(addr, "/", "X-Forwarded-For: 198.51.100.1\r\n").await;
    let _second = RawPeer::open(addr, "/", "X-Forwarded-For: 198.51.100.2\r\n").await;
    let (_third, head) = asked(addr, "X-Forwarded-For: 198.51.100.3\r\n").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
}
