//! HTTP/2 at endpoints of our own: what it is agreed by, what it may take, and how long it lasts.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{Empty, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Instant};
use websockets_simple_server::{
    ClientCertificates, ConnectionEventKind, EndedBy, Endpoint, ErrorStage, Event, Limits, ParamsError,
    ProxyProtocol, ServerParams, StartError, TrustedProxies, WebsocketServer,
};
use websockets_simple_tests::{
    authority::Authority,
    ended, failed,
    http2::{self, Http2Client},
    next, opened,
    raw::RawPeer,
    received, started,
    way::{Tls, secure},
    within,
};

fn endpoint() -> Endpoint {
    Endpoint::tcp(([127, 0, 0, 1], 0).into())
}

/// Takes HTTP/2 without TLS.
fn params() -> ServerParams {
    ServerParams::mounted().endpoint(endpoint().http2_prior_knowledge())
}

fn refused<I: websockets_simple_server::Identity>(event: Event<I>) -> Option<String> {
    match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Refused(_, why) => Some(why),
            _ => None,
        },
        _ => None,
    }
}

/// Waits until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn get(addr: SocketAddr, target: &str) -> Request<Empty<Bytes>> {
    Request::builder().uri(format!("http://{addr}{target}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn over_tls_it_is_spoken_where_both_sides_agree_on_it() {
    let tls = Tls::default();
    for http2 in [true, false] {
        let server_tls = if http2 { tls.server_tls().http2() } else { tls.server_tls() };
        let server = WebsocketServer::new(ServerParams::mounted().endpoint(endpoint().tls(server_tls)));
        let mut events = server.events();
        let addr = started(&server).await;
        for (offered, agreed) in [
            (&["h2", "http/1.1"][..], if http2 { Some("h2") } else { Some("http/1.1") }),
            (&["http/1.1", "h2"], if http2 { Some("h2") } else { Some("http/1.1") }),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let stream = TcpStream::connect(addr).await.unwrap();
            let stream = tls.offering(stream, offered).await;
            let spoken = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            assert_eq!(spoken.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
            if agreed == Some("h2") {
                let client = Http2Client::over(stream).await;
                let (mut peer, _) = client.open(addr, "/room", &[]).await;
                peer.text("over h2").await;
                assert_eq!(received(&mut events).await.as_text(), Some("over h2"));
            } else {
                let mut peer = RawPeer::new(stream);
                assert!(peer.request("/room", "").await.starts_with("HTTP/1.1 101 "));
                peer.text("over 1.1").await;
                assert_eq!(received(&mut events).await.as_text(), Some("over 1.1"));
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_begins_with_http_1_is_served_on_the_same_port() {
    let server = WebsocketServer::new(params());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    peer.text("one").await;
    assert_eq!(received(&mut events).await.as_text(), Some("one"));
    let client = Http2Client::connect(addr).await;
    let (mut peer, _) = client.open(addr, "/", &[]).await;
    peer.text("two").await;
    assert_eq!(received(&mut events).await.as_text(), Some("two"));
    // What only begins as HTTP/2 does is no request of either version.
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;
    assert!(next(&mut events, refused).await.starts_with("400"));
}

#[tokio::test]
async fn it_cannot_be_begun_with_where_there_is_tls() {
    let endpoint = endpoint().tls(Tls::default().server_tls()).http2_prior_knowledge();
    let server = WebsocketServer::new(ServerParams::mounted().endpoint(endpoint));
    assert!(matches!(server.start().await, Err(StartError::Params(ParamsError::PriorKnowledge(_)))));
    for (streams, is_right) in [(0, false), (1, true), (16 * 1024, true), (16 * 1024 + 1, false)] {
        let server = WebsocketServer::new(params().limits(Limits::default().http2_streams(streams)));
        assert_eq!(server.start().await.is_ok(), is_right, "{streams}");
    }
}

#[tokio::test]
async fn pages_and_sockets_share_a_connection() {
    let params = params().fallback(|request: Request<Incoming>| async move {
        assert_ne!(request.uri().path(), "/panic");
        let peer = request.extensions().get::<SocketAddr>().unwrap().ip();
        Response::new(Full::new(Bytes::from(format!("{} for {peer}", request.uri().path()))))
    });
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    let addr = started(&server).await;
    let client = Http2Client::connect(addr).await;
    let (mut peer, _) = client.open(addr, "/", &[]).await;
    for path in ["/a", "/b"] {
        let (response, text) = client.refused(get(addr, path)).await;
        assert_eq!((response.status().as_u16(), text), (200, format!("{path} for 127.0.0.1")));
        assert!(response.headers().contains_key("date"));
    }
    assert_eq!(client.refused(get(addr, "/panic")).await.0.status(), 500);
    assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic);
    // It is for sockets, and not for the fallback.
    let mut tunnel = get(addr, "/");
    *tunnel.method_mut() = Method::CONNECT;
    *tunnel.uri_mut() = addr.to_string().parse().unwrap();
    assert_eq!(client.refused(tunnel).await.0.status(), 400);
    peer.text("still here").await;
    assert_eq!(received(&mut events).await.as_text(), Some("still here"));
}

#[tokio::test]
async fn a_page_that_is_not_made_or_not_read_in_time_is_reset_and_the_sockets_stay() {
    let limits = Limits::default().handshake(Duration::from_millis(300)).connections(2);
    let params = params().limits(limits).fallback(|request: Request<Incoming>| async move {
        if request.uri().path() == "/never" {
            pending::<()>().await;
        }
        Response::new(Full::new(Bytes::from(vec![b'x'; 1 << 20])))
    });
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut sender = http2::frames(addr, 1000).await;
    let (mut sending, mut receiving) = http2::stream(&mut sender, addr).await;
    let connection = opened(&mut events).await;
    for path in ["/never", "/large"] {
        let begun = Instant::now();
        let request = Request::builder().uri(format!("http://{addr}{path}")).body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        if path == "/large" {
            let mut body = within(response).await.unwrap().into_body();
            // A first piece, and no room for another.
            assert!(within(body.data()).await.unwrap().is_ok());
            assert!(within(body.data()).await.unwrap().is_err());
        } else {
            assert!(within(response).await.is_err());
        }
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    }
    connection.send_text("still here").await.unwrap();
    assert!(within(receiving.data()).await.unwrap().unwrap().ends_with(b"still here"));
    sending.send_reset(h2::Reason::CANCEL);
}

#[tokio::test]
async fn a_connection_without_streams_ends_and_holds_its_place_until_then() {
    let limits = Limits::default().handshake(Duration::from_millis(200)).connections_per_ip(1);
    let server = WebsocketServer::new(params().limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    // Nothing but the preface and settings.
    let silent = Http2Client::connect(addr).await;
    let head = RawPeer::connect(addr).await.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    let _ = within(silent.connection).await.unwrap();
    // The first stream has the place of the connection.
    let client = Http2Client::connect(addr).await;
    let (peer, _) = client.open(addr, "/", &[]).await;
    let (response, _) = client.refused(Http2Client::asking(addr, "/", &[])).await;
    assert_eq!(response.status(), 429);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.connection_count(), 1, "an open stream keeps the connection");
    drop(peer);
    let last = Instant::now();
    within(client.connection).await.unwrap().unwrap();
    assert!(last.elapsed() >= Duration::from_millis(150));
    until(|| server.connection_count() == 0).await;
    within(async {
        while !RawPeer::connect(addr).await.request("/", "").await.starts_with("HTTP/1.1 101 ") {}
    })
    .await;
}

#[tokio::test]
async fn no_more_streams_are_open_than_the_limit() {
    let server = WebsocketServer::new(params().limits(Limits::default().http2_streams(3)));
    let addr = started(&server).await;
    let client = Http2Client::connect(addr).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(client.open(addr, "/", &[]).await.0);
    }
    until(|| server.connection_count() == 3).await;
    let fourth = client.send(Http2Client::asking(addr, "/", &[]));
    tokio::pin!(fourth);
    // hyper's client waits for a stream to end.
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut fourth).await.is_err());
    peers.pop();
    assert_eq!(within(fourth).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_flood_of_requests_that_are_reset_or_refused_ends_the_connection() {
    let server = WebsocketServer::new(params().origins(["https://good.example"]));
    let addr = started(&server).await;
    // Refused: it is told to go, after what it has asked for is answered.
    let client = Http2Client::connect(addr).await;
    let evil = [("origin", "https://evil.example")];
    let mut refusals = 0;
    while let Ok(response) = client.send(Http2Client::asking(addr, "/", &evil)).await {
        assert_eq!(response.status(), 403);
        refusals += 1;
        assert!(refusals <= 300, "it goes on for ever");
    }
    assert!(refusals >= 99, "{refusals}");
    within(client.connection).await.unwrap().unwrap();
    // Reset at once: it is cut.
    let mut sender = http2::frames(addr, 65_535).await;
    let mut resets = 0;
    while let Ok(ready) = within(sender.clone().ready()).await {
        sender = ready;
        let Ok((_response, mut sending)) = sender.send_request(http2::head(addr), false) else { break };
        sending.send_reset(h2::Reason::CANCEL);
        resets += 1;
        assert!(resets < 100_000, "it goes on for ever");
        tokio::task::yield_now().await;
    }
    until(|| server.connection_count() == 0).await;
}

#[tokio::test]
async fn what_a_slow_reader_was_sent_is_let_go_of_with_its_place() {
    let limits = Limits::default().connections(2);
    let server = WebsocketServer::new(params().outbox(64 * 1024).limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut sender = http2::frames(addr, 0).await;
    let (_other, _also_other) = http2::stream(&mut sender, addr).await;
    let _ = opened(&mut events).await;
    let (_sending, mut receiving) = http2::stream(&mut sender, addr).await;
    let slow = opened(&mut events).await;
    let payload = "x".repeat(16 * 1024);
    while slow.send_text(payload.as_str()).await.is_ok() {}
    assert_eq!(ended(&mut events).await.by, EndedBy::Overflow);
    // The client gives no window, so the end is a reset.
    let error = loop {
        if let Err(error) = within(receiving.data()).await.expect("it does not end") {
            break error;
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    within(async {
        loop {
            let (response, _sending) = sender.send_request(http2::head(addr), false).unwrap();
            if within(response).await.unwrap().status() == 200 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_busy_handler_stops_its_own_stream_and_no_other() {
    let server = WebsocketServer::new(params());
    let addr = started(&server).await;
    server.on_message(|connection, message| async move {
        if connection.channel() == "/busy" {
            pending::<()>().await;
        }
        let _ = connection.send(message).await;
    });
    let client = Http2Client::connect(addr).await;
    let (mut busy, _) = client.open(addr, "/busy", &[]).await;
    let (mut other, _) = client.open(addr, "/other", &[]).await;
    let mut sent = 0;
    let payload = vec![b'x'; 16 * 1024];
    while sent < 64 << 20
        && tokio::time::timeout(Duration::from_millis(300), busy.frame(0x82, &payload)).await.is_ok()
    {
        sent += payload.len();
    }
    // What is read ahead, one read, the window of the stream, and what hyper's client keeps to send.
    assert!(sent < 4 << 20, "{sent} bytes were taken");
    for _ in 0..100 {
        other.frame(0x82, &payload).await;
        assert_eq!(within(other.next()).await.unwrap().payload, payload);
    }
}

#[tokio::test]
async fn peer_client_and_certificate_are_known_on_every_stream() {
    let proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    let endpoint = endpoint().http2_prior_knowledge().proxy_protocol(ProxyProtocol::Required);
    let limits = Limits::default().connections_per_ip(2);
    let params = ServerParams::mounted().endpoint(endpoint).trusted_proxies(proxies.clone());
    let server = WebsocketServer::new(params.limits(limits.clone()));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n").await.unwrap();
    let client = Http2Client::over(stream).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(client.open(addr, "/", &[]).await.0);
        let connection = opened(&mut events).await;
        assert_eq!(connection.client_addr(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(connection.peer_addr().unwrap().ip(), addr.ip());
        assert_eq!(connection.endpoint(), Some(addr));
    }
    assert_eq!(client.refused(Http2Client::asking(addr, "/", &[])).await.0.status(), 429);
    // A proxy that speaks HTTP/2 has streams of many clients in one connection.
    let server = WebsocketServer::new(self::params().trusted_proxies(proxies).limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = Http2Client::connect(addr).await;
    for (from, status) in [("192.0.2.1", 200), ("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)] {
        let headers = [("x-forwarded-for", from)];
        if status == 200 {
            held.push(client.open(addr, "/", &headers).await.0);
            assert_eq!(opened(&mut events).await.client_addr(), Some(from.parse().unwrap()));
        } else {
            let (response, _) = client.refused(Http2Client::asking(addr, "/", &headers)).await;
            assert_eq!(response.status(), status, "{from}");
        }
    }
    let authority = Authority::new();
    let clients = ClientCertificates::required().issued_by(authority.pem());
    let endpoint = self::endpoint().tls(authority.server().client_certificates(clients).http2());
    let server = WebsocketServer::new(ServerParams::mounted().endpoint(endpoint));
    let mut events = server.events();
    let addr = started(&server).await;
    let stream = TcpStream::connect(addr).await.unwrap();
    let shown = authority.client("ann.example", 7);
    let client = Http2Client::over(secure(&authority, stream, &["h2"], Some(&shown)).await).await;
    for _ in 0..2 {
        held.push(client.open(addr, "/", &[]).await.0);
        let connection = opened(&mut events).await;
        assert_eq!(connection.peer_certificate().unwrap().common_name(), Some("ann.example"));
    }
}

#[tokio::test]
async fn a_stop_that_a_handler_of_a_stream_awaits_does_not_wait_for_its_own_connection() {
    let params = params().stop_timeout(Duration::from_secs(300));
    let server = WebsocketServer::new(params);
    let stopped = Arc::new(AtomicBool::new(false));
    server.on_message({
        let stopped = Arc::clone(&stopped);
        move |connection, _| {
            let stopped = Arc::clone(&stopped);
            async move {
                connection.server().stop().await;
                stopped.store(true, Ordering::SeqCst);
            }
        }
    });
    let addr = started(&server).await;
    let client = Http2Client::connect(addr).await;
    let (mut stopper, _) = client.open(addr, "/", &[]).await;
    let (mut other, _) = client.open(addr, "/", &[]).await;
    until(|| server.connection_count() == 2).await;
    stopper.text("stop").await;
    for peer in [&mut stopper, &mut other] {
        assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
        peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    }
    until(|| stopped.load(Ordering::SeqCst)).await;
    within(client.connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_of_a_handler_ends_its_stream_and_no_other() {
    let server = WebsocketServer::new(params());
    server.on_message(|connection, message| async move {
        assert_ne!(message.as_text(), Some("panic"));
        let _ = connection.send(message).await;
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let client = Http2Client::connect(addr).await;
    let (mut one, _) = client.open(addr, "/", &[]).await;
    let (mut two, _) = client.open(addr, "/", &[]).await;
    one.text("panic").await;
    assert_eq!(within(one.next()).await.unwrap().close_code(), Some(1011));
    one.frame(0x88, &1011_u16.to_be_bytes()).await;
    let end = ended(&mut events).await;
    assert_eq!(end.by, EndedBy::HandlerPanic);
    two.text("still here").await;
    assert_eq!(within(two.next()).await.unwrap().as_text(), "still here");
    server.stop().await;
    let mut disconnected = 1;
    while let Some(event) = events.try_recv() {
        if let Event::Connection(event) = event {
            disconnected += usize::from(matches!(event.kind, ConnectionEventKind::Disconnected(..)));
        }
    }
    assert_eq!(disconnected, 2);
}
