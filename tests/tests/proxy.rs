//! Behind proxies: who the client is, and whom the limits count.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
};
use websockets_simple_server::{
    Authenticated, ConnectionEventKind, Credentials, Endpoint, ErrorStage, Event, HandshakeRequest, Limits,
    Message, ProxyProtocol, ServerParams, StartError, TrustedProxies, UserService, UserServiceError,
    WebsocketServer, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{
    failed, next, opened,
    raw::{RawPeer, request},
    received, started,
    way::{Tls, Way},
    within,
};

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

/// Client and peer of a request.
type Origin = (Option<IpAddr>, IpAddr);

/// Knows everybody, and remembers from where they were said to come.
#[derive(Clone, Default)]
struct Guests {
    from: Arc<Mutex<Vec<Origin>>>,
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
        self.from.lock().unwrap().push((request.client_addr(), request.peer_addr().unwrap().ip()));
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
        assert_eq!(
            (connection.client_addr(), connection.peer_addr().unwrap().ip()),
            (Some(ip(told)), addr.ip())
        );
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
async fn a_client_of_a_proxy_cannot_choose_among_the_addresses_of_its_ipv6_network() {
    let server = WebsocketServer::new(trusting().limits(Limits::default().connections_per_ip(1)));
    let addr = started(&server).await;
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let _first = RawPeer::open(addr, "/", &from("2001:db8:1:2::1")).await;
    for (client, status) in
        [("2001:db8:1:2:ffff::7", "429"), ("[2001:db8:1:2::2]:80", "429"), ("2001:db8:1:3::1", "101")]
    {
        let (_peer, head) = asked(addr, &from(client)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {head}");
    }
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

/// A header of version 2 of the PROXY protocol, for a client over IPv4.
fn version_2(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(client);
    header.extend([127, 0, 0, 1, 0x12, 0x67, 0, 80]);
    header
}

fn proxied() -> Endpoint {
    Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).proxy_protocol(ProxyProtocol::Required)
}

#[tokio::test]
async fn the_proxy_protocol_tells_who_the_client_is() {
    let server = WebsocketServer::new(trusting().endpoint(proxied()));
    let addr = started(&server).await;
    for (header, more, told) in [
        (&b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n"[..], "", "198.51.100.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", "", "2001:db8::1"),
        (&version_2([198, 51, 100, 1]), "", "198.51.100.1"),
        // A header of a client that is no proxy is not believed, whoever brings it.
        (&version_2([198, 51, 100, 1]), "X-Forwarded-For: 203.0.113.9\r\n", "198.51.100.1"),
        (b"PROXY UNKNOWN\r\n", "X-Forwarded-For: 203.0.113.9\r\n", "127.0.0.1"),
        // That of a proxy behind the proxy is.
        (&version_2([10, 0, 0, 2]), "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
    ] {
        let mut events = server.events();
        let mut peer = RawPeer::connect(addr).await;
        peer.write(header).await;
        let head = peer.request("/", more).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let connection = opened(&mut events).await;
        assert_eq!(
            (connection.client_addr(), connection.peer_addr().unwrap().ip()),
            (Some(ip(told)), addr.ip())
        );
    }
}

#[tokio::test]
async fn the_header_of_the_proxy_protocol_may_come_byte_by_byte() {
    let server = WebsocketServer::new(trusting().endpoint(proxied()));
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    for byte in version_2([198, 51, 100, 1]) {
        peer.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let head = peer.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let way = Tls::default();
    let server = WebsocketServer::new(trusting().endpoint(proxied().tls(way.server_tls())));
    let addr = started(&server).await;
    let mut events = server.events();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&version_2([198, 51, 100, 1])).await.unwrap();
    let mut peer = RawPeer::new(way.over(stream).await);
    let head = peer.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(opened(&mut events).await.client_addr(), Some(ip("198.51.100.1")));
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_hung_up_on_whatever_it_sends() {
    let server = WebsocketServer::new(ServerParams::local().endpoint(proxied()));
    let addr = started(&server).await;
    for header in [&b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n"[..], b""] {
        let mut events = server.events();
        let mut peer = RawPeer::connect(addr).await;
        let _ = peer.stream.write_all(&[header, request("/", "").as_bytes()].concat()).await;
        assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
        assert_eq!(peer.all().await, b"");
    }
}

#[tokio::test]
async fn a_connection_without_the_header_is_not_taken_for_http() {
    let server = WebsocketServer::new(trusting().endpoint(proxied()));
    let addr = started(&server).await;
    for wrong in ["", "PROXY TCP4 198.51.100.1 nowhere 4711 80\r\n", "PROXY NONSENSE\r\n"] {
        let mut events = server.events();
        let mut peer = RawPeer::connect(addr).await;
        let _ = peer.stream.write_all(format!("{wrong}{}", request("/", "")).as_bytes()).await;
        assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
        assert_eq!(peer.all().await, b"");
    }
}

#[tokio::test]
async fn a_header_that_nobody_asked_for_is_not_believed() {
    let server = WebsocketServer::new(trusting());
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n").await;
    let head = peer.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_has_until_the_deadline_of_the_handshake() {
    let limits = Limits::default().handshake(Duration::from_millis(50));
    let server = WebsocketServer::new(trusting().endpoint(proxied()).limits(limits));
    let addr = started(&server).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"PROXY TCP4 198.51.100.1 ").await;
    assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    assert_eq!(peer.all().await, b"");
}

#[tokio::test]
async fn a_client_of_the_proxy_protocol_is_counted_before_its_request_comes() {
    // Nobody is cut for being slow here.
    let limits = Limits::default().connections_per_ip(1).handshake(Duration::from_secs(600));
    let server = WebsocketServer::new(trusting().endpoint(proxied()).limits(limits));
    let addr = started(&server).await;
    let begun = |client| async move {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(&version_2(client)).await;
        peer
    };
    let mut first = begun([198, 51, 100, 1]).await;
    assert!(first.request("/", "").await.starts_with("HTTP/1.1 101 "));
    let mut second = begun([198, 51, 100, 1]).await;
    let head = second.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    let mut other = begun([198, 51, 100, 2]).await;
    assert!(other.request("/", "").await.starts_with("HTTP/1.1 101 "));
    // Of those who have no place, some are told so when they ask, and the others hung up on.
    let mut silent = JoinSet::new();
    for _ in 0..33 {
        let mut peer = begun([198, 51, 100, 1]).await;
        silent.spawn(async move { peer.stream.read_u8().await });
    }
    assert!(within(silent.join_next()).await.unwrap().unwrap().is_err());
}

/// A directory for the socket of a server, and parameters of that.
fn on_a_unix_socket() -> (TempDir, PathBuf, ServerParams) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.sock");
    (dir, path.clone(), ServerParams::local().endpoint(Endpoint::unix(path)))
}

/// A peer that has shaken hands over a Unix domain socket.
async fn over(path: &Path, headers: &str) -> RawPeer<UnixStream> {
    let mut peer = RawPeer::new(UnixStream::connect(path).await.unwrap());
    let head = peer.request("/room", headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    peer
}

#[tokio::test]
async fn a_server_serves_on_a_unix_domain_socket_until_it_stops() {
    let (_dir, path, params) = on_a_unix_socket();
    // There is nobody whose address could be counted.
    let server = WebsocketServer::new(params.limits(Limits::default().connections_per_ip(0)));
    server.start().await.unwrap();
    assert_eq!((server.local_addr(), server.local_addrs()), (None, Vec::new()));
    let mut events = server.events();
    let mut peer = over(&path, "X-Forwarded-For: 198.51.100.1\r\n").await;
    let connection = opened(&mut events).await;
    assert_eq!((connection.peer_addr(), connection.client_addr(), connection.endpoint()), (None, None, None));
    assert_eq!((connection.unix_endpoint(), connection.channel()), (Some(&*path), "/room"));
    peer.text("there").await;
    assert_eq!(received(&mut events).await.as_text(), Some("there"));
    connection.send(Message::text("and back")).await.unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "and back");
    let (report, frames) = tokio::join!(server.stop(), async {
        let close = peer.next().await.unwrap();
        peer.frame(0x88, &close.payload).await;
        close.close_code()
    });
    assert_eq!((report.clean, frames), (1, Some(1001)));
    assert!(!path.exists());
    // And again, on the same one.
    server.start().await.unwrap();
    let _peer = over(&path, "").await;
}

#[tokio::test]
async fn over_a_unix_domain_socket_much_is_sent_and_received() {
    let (_dir, path, params) = on_a_unix_socket();
    let server = WebsocketServer::new(params.outbox(16 * 1024 * 1024));
    server.start().await.unwrap();
    let mut events = server.events();
    let mut peer = over(&path, "").await;
    let connection = opened(&mut events).await;
    let large = "x".repeat(500_000);
    for _ in 0..10 {
        connection.send(Message::text(large.clone())).await.unwrap();
    }
    for _ in 0..10 {
        assert!(peer.next().await.unwrap().as_text() == large);
    }
    peer.text(&large).await;
    assert!(received(&mut events).await.as_text() == Some(&large));
}

#[tokio::test]
async fn two_servers_do_not_share_a_unix_domain_socket() {
    let (_dir, path, params) = on_a_unix_socket();
    let first = WebsocketServer::new(params.clone());
    first.start().await.unwrap();
    let second = WebsocketServer::new(params);
    match second.start().await {
        Err(StartError::Bind { endpoint, source }) => {
            assert_eq!(
                (endpoint.to_string(), source.kind()),
                (path.display().to_string(), ErrorKind::AddrInUse)
            );
        }
        other => panic!("{other:?}"),
    }
    drop(over(&path, "").await);
    first.stop().await;
    second.start().await.unwrap();
    drop(over(&path, "").await);
}

#[tokio::test]
async fn a_server_that_cannot_listen_everywhere_leaves_no_file_behind() {
    let (_dir, path, params) = on_a_unix_socket();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = WebsocketServer::new(params.endpoint(Endpoint::tcp(taken.local_addr().unwrap())));
    assert!(matches!(server.start().await, Err(StartError::Bind { .. })));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_proxy_on_a_unix_domain_socket_is_believed_where_that_is_said() {
    let (_dir, path, params) = on_a_unix_socket();
    let params = params
        .trusted_proxies(TrustedProxies::default().and_unix_sockets())
        .limits(Limits::default().connections_per_ip(1));
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    let mut events = server.events();
    let _first = over(&path, "X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n").await;
    assert_eq!(opened(&mut events).await.client_addr(), Some(ip("198.51.100.1")));
    let mut second = RawPeer::new(UnixStream::connect(&path).await.unwrap());
    let head = second.request("/", "X-Forwarded-For: 203.0.113.7, 198.51.100.1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
}

#[tokio::test]
async fn the_proxy_protocol_is_spoken_over_a_unix_domain_socket_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.sock");
    let endpoint = Endpoint::unix(&*path).proxy_protocol(ProxyProtocol::Required);
    for (proxies, believed) in [
        (TrustedProxies::default().and_unix_sockets(), true),
        (TrustedProxies::new(["0.0.0.0/0", "::/0"]).unwrap(), false),
    ] {
        let params = ServerParams::local().endpoint(endpoint.clone()).trusted_proxies(proxies);
        let server = WebsocketServer::new(params);
        server.start().await.unwrap();
        let mut events = server.events();
        let mut peer = RawPeer::new(UnixStream::connect(&path).await.unwrap());
        peer.write(&version_2([198, 51, 100, 1])).await;
        if believed {
            assert!(peer.request("/", "").await.starts_with("HTTP/1.1 101 "));
            assert_eq!(opened(&mut events).await.client_addr(), Some(ip("198.51.100.1")));
        } else {
            assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
            assert_eq!(peer.all().await, b"");
        }
        drop(peer);
        server.stop().await;
    }
}
