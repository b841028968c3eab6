//! WebSockets over HTTP/2 (RFC 8441), through an HTTP server of the application and at endpoints of our own.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request as AxumRequest, State},
    response::{IntoResponse, Response as AxumResponse},
    routing::{any, get},
};
use hyper::body::Bytes;
use hyper::{
    Method, Request,
    body::Incoming,
    ext::Protocol,
    header::{CONTENT_LENGTH, EXPECT, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use websockets_simple_server::{
    ConnectionEventKind, EndedBy, Endpoint, Event, Identity, Limits, MemoryUsers, Message, Server,
    ServerParams, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    ended,
    http2::{self, Http2Client, Http2Peer},
    next, opened, received, within,
};

/// An HTTP/2 server of the application's own, all of whose requests go to this server.
async fn web_of<I: Identity>(server: &Server<I>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = server.clone();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let server = server.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let upgrade = server.upgrade(request).peer_addr(peer);
                async move { Ok::<_, Infallible>(upgrade.await) }
            });
            let connection = Builder::new(TokioExecutor::new())
                .enable_connect_protocol()
                .max_send_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    addr
}

/// A server that is reached through an HTTP server of the application, or at an endpoint of its own.
async fn served<I: Identity>(server: &Server<I>, way: Way) -> SocketAddr {
    server.start().await.unwrap();
    match way {
        Way::Mounted => web_of(server).await,
        Way::Own => server.local_addr().unwrap(),
    }
}

async fn reached(params: ServerParams, way: Way) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(params);
    let addr = served(&server, way).await;
    (server, addr)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Mounted,
    Own,
}

const WAYS: [Way; 2] = [Way::Mounted, Way::Own];

/// An endpoint that takes HTTP/2 without TLS.
fn local() -> ServerParams {
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).http2_prior_knowledge();
    ServerParams::mounted().endpoint(endpoint)
}

fn refused<I: Identity>(event: Event<I>) -> Option<String> {
    match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Refused(_, why) => Some(why),
            _ => None,
        },
        _ => None,
    }
}

/// How many connections have ended since.
fn count_ends(server: &WebsocketServer) -> Arc<AtomicUsize> {
    let ends = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ends);
    server.on(move |event| {
        if let Event::Connection(event) = event
            && let ConnectionEventKind::Disconnected(..) = event.kind
        {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        std::future::ready(())
    });
    ends
}

/// The text of the next message.
async fn text(peer: &mut Http2Peer) -> String {
    within(peer.next()).await.expect("the stream goes on").as_text()
}

#[tokio::test]
async fn a_connect_becomes_a_connection_that_is_like_any_other() {
    for way in WAYS {
        let (server, addr) = reached(local().subprotocols(["chat"]).success_text("hello"), way).await;
        let mut events = server.events();
        let client = Http2Client::connect(addr).await;
        let (mut peer, response) =
            client.open(addr, "/room?name=Ann", &[("sec-websocket-protocol", "other, chat")]).await;
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        let connection = opened(&mut events).await;
        assert_eq!(connection.channel(), "/room");
        assert_eq!(connection.request().query("name").as_deref(), Some("Ann"));
        assert_eq!(connection.request().header("host"), Some(addr.to_string().as_str()));
        assert_eq!(connection.request().header("sec-websocket-version"), None);
        assert_eq!(connection.subprotocol(), Some("chat"));
        assert_eq!(connection.client_addr(), Some(addr.ip()));
        assert_eq!(peer.next().await.unwrap().as_text(), "hello");
        peer.text("from the client").await;
        assert_eq!(received(&mut events).await.as_text(), Some("from the client"));
        server.broadcast(Message::text("from the server")).unwrap();
        assert_eq!(peer.next().await.unwrap().as_text(), "from the server");
        peer.frame(0x88, &1000_u16.to_be_bytes()).await;
        assert_eq!(peer.next().await.unwrap().close_code(), Some(1000));
        let end = ended(&mut events).await;
        assert!(end.clean && end.by == EndedBy::Peer, "{end:?}");
        // The end of the stream.
        assert_eq!(peer.next().await, None);
        assert_eq!(server.connection_count(), 0);
    }
}

#[tokio::test]
async fn a_hundred_sockets_are_streams_of_one_connection() {
    for way in WAYS {
        let (server, addr) = reached(local(), way).await;
        server.on_message(|connection, message| async move {
            let _ = connection.send(message).await;
        });
        let client = Http2Client::connect(addr).await;
        let mut peers = Vec::new();
        for number in 0..100 {
            peers.push(client.open(addr, &format!("/{number}"), &[]).await.0);
        }
        within(async {
            while server.connection_count() < 100 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(server.to_channel("/7").connections().len(), 1);
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.text(&number.to_string()).await;
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            assert_eq!(text(peer).await, number.to_string());
        }
        server.broadcast(Message::text("to all")).unwrap();
        for peer in &mut peers {
            assert_eq!(text(peer).await, "to all");
        }
    }
}

#[tokio::test]
async fn large_messages_go_both_ways() {
    for way in WAYS {
        let (server, addr) = reached(local(), way).await;
        server.on_message(|connection, message| async move {
            let _ = connection.send(message).await;
        });
        let client = Http2Client::connect(addr).await;
        let (mut peer, _) = client.open(addr, "/", &[]).await;
        for size in [1, 16 * 1024 - 1, 16 * 1024, 65_535, 65_536, 1024 * 1024] {
            let payload = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>();
            peer.frame(0x82, &payload).await;
            let frame = within(peer.next()).await.unwrap();
            assert!(frame.first == 0x82 && frame.payload == payload, "{size}");
        }
    }
}

#[tokio::test]
async fn each_request_that_is_no_valid_connect_is_told_why() {
    for way in WAYS {
        let (server, addr) = reached(local().origins(["https://good.example"]), way).await;
        let mut events = server.events();
        let client = Http2Client::connect(addr).await;
        let asking = || Http2Client::asking(addr, "/", &[]);
        let with = |name, value: &'static str| {
            let mut request = asking();
            request.headers_mut().append(name, HeaderValue::from_static(value));
            request
        };
        let mut get = asking();
        *get.method_mut() = Method::GET;
        get.extensions_mut().clear();
        let mut other_protocol = asking();
        other_protocol.extensions_mut().insert(Protocol::from_static("connect-udp"));
        let mut tunnel = asking();
        tunnel.extensions_mut().clear();
        *tunnel.uri_mut() = addr.to_string().parse().unwrap();
        let mut no_version = asking();
        no_version.headers_mut().clear();
        let mut old_version = asking();
        old_version.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
        let mut page = asking();
        *page.method_mut() = Method::GET;
        page.extensions_mut().clear();
        page.headers_mut().insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for (request, status, why) in [
            (get, 405, "CONNECT with `:protocol`"),
            (page, 405, "CONNECT with `:protocol`"),
            (other_protocol, 501, "the only `:protocol`"),
            (tunnel, 400, "without `:protocol`"),
            (no_version, 400, "version 13"),
            (old_version, 400, "version 13"),
            (with(SEC_WEBSOCKET_VERSION, "13"), 400, "twice"),
            (with(EXPECT, "100-continue"), 400, "no body"),
            (with(ORIGIN, "https://evil.example"), 403, "origin"),
            (with(HOST, "other.example"), 400, "one host"),
        ] {
            let (response, text) = client.refused(request).await;
            assert_eq!(response.status(), status, "{text}");
            assert!(text.contains(why), "{text}");
            let headers = response.headers();
            assert!(!headers.contains_key("connection") && !headers.contains_key("upgrade"), "{headers:?}");
            assert_eq!(headers.contains_key("allow"), status == 405);
            assert_eq!(headers.contains_key("sec-websocket-version"), why == "version 13");
            assert_eq!(next(&mut events, refused).await, format!("{status}: {text}"));
        }
        // What means nothing to HTTP/2 does no harm, and the connection is as good as before.
        for request in [
            with(CONTENT_LENGTH, "0"),
            with(SEC_WEBSOCKET_KEY, "nonsense"),
            with(ORIGIN, "https://good.example"),
        ] {
            assert_eq!(client.send(request).await.unwrap().status(), 200);
        }
    }
}

#[tokio::test]
async fn the_token_is_found_wherever_it_is_and_nobody_else_comes_in() {
    for way in WAYS {
        let users = MemoryUsers::<i64>::new();
        let server = WebsocketServerAuth::<i64>::new(local(), users.clone());
        let mut events = server.events();
        let addr = served(&server, way).await;
        let token = users.issue(7);
        let client = Http2Client::connect(addr).await;
        let bearer = format!("Bearer {}", token.expose());
        let offer = format!("bearer.{}, websockets-simple", base64url(token.expose()));
        for (target, headers) in [
            ("/".to_owned(), vec![("authorization", bearer.as_str())]),
            (format!("/?token={}", token.expose()), vec![]),
            ("/".to_owned(), vec![("sec-websocket-protocol", offer.as_str())]),
        ] {
            let (_peer, _) = client.open(addr, &target, &headers).await;
            let connection = opened(&mut events).await;
            assert_eq!(*connection.user_id(), 7);
            assert!(!format!("{:?}", connection.request()).contains(token.expose()));
        }
        let (response, text) = client.refused(Http2Client::asking(addr, "/?token=wrong", &[])).await;
        assert_eq!((response.status().as_u16(), text.as_str()), (401, "Unauthorized"));
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(next(&mut events, refused).await, "401: Unauthorized");
    }
}

fn base64url(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn streams_share_the_limits_of_all_connections() {
    for way in WAYS {
        for (limits, status) in
            [(Limits::default().connections(2), 503), (Limits::default().connections_per_ip(2), 429)]
        {
            let (server, addr) = reached(local().limits(limits), way).await;
            let client = Http2Client::connect(addr).await;
            let (first, _) = client.open(addr, "/", &[]).await;
            let (_second, _) = client.open(addr, "/", &[]).await;
            let (response, _) = client.refused(Http2Client::asking(addr, "/", &[])).await;
            assert_eq!(response.status(), status);
            assert!(response.headers().contains_key("retry-after"));
            drop(first);
            within(async {
                while server.connection_count() > 1 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            within(async {
                while client.send(Http2Client::asking(addr, "/", &[])).await.unwrap().status() != 200 {}
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_or_cut_ends_its_connection_once() {
    for way in WAYS {
        let (server, addr) = reached(local(), way).await;
        let ends = count_ends(&server);
        let mut events = server.events();
        for reason in [h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR, h2::Reason::NO_ERROR] {
            let mut sender = http2::frames(addr, 65_535).await;
            let (mut sending, _receiving) = http2::stream(&mut sender, addr).await;
            let _ = opened(&mut events).await;
            sending.send_reset(reason);
            let end = ended(&mut events).await;
            assert!(!end.clean && end.code.is_none(), "{reason}: {end:?}");
        }
        // The end of a stream without a Close.
        let mut sender = http2::frames(addr, 65_535).await;
        let (mut sending, _receiving) = http2::stream(&mut sender, addr).await;
        let _ = opened(&mut events).await;
        sending.send_data(Bytes::new(), true).unwrap();
        let end = ended(&mut events).await;
        assert!(!end.clean && end.code.is_none(), "{end:?}");
        // All streams of a connection that is gone.
        let client = Http2Client::connect(addr).await;
        let (_one, _) = client.open(addr, "/", &[]).await;
        let (_two, _) = client.open(addr, "/", &[]).await;
        let _ = (opened(&mut events).await, opened(&mut events).await);
        client.connection.abort();
        drop((client, _one, _two));
        for _ in 0..2 {
            let end = ended(&mut events).await;
            assert!(!end.clean && end.code.is_none(), "{end:?}");
        }
        within(server.stop()).await;
        assert_eq!(ends.load(Ordering::SeqCst), 6);
    }
}

#[tokio::test]
async fn a_stop_closes_every_stream_with_1001() {
    for way in WAYS {
        let (server, addr) = reached(local(), way).await;
        let ends = count_ends(&server);
        let client = Http2Client::connect(addr).await;
        let mut peers = Vec::new();
        for _ in 0..10 {
            peers.push(client.open(addr, "/", &[]).await.0);
        }
        within(async {
            while server.connection_count() < 10 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let stopping = tokio::spawn({
            let server = server.clone();
            async move { server.stop().await }
        });
        for peer in &mut peers {
            assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
            peer.frame(0x88, &1001_u16.to_be_bytes()).await;
            assert_eq!(peer.next().await, None);
        }
        assert_eq!(within(stopping).await.unwrap().clean, 10);
        assert_eq!(ends.load(Ordering::SeqCst), 10);
        if way == Way::Own {
            within(client.connection).await.unwrap().unwrap();
            continue;
        }
        let (response, text) = client.refused(Http2Client::asking(addr, "/", &[])).await;
        assert_eq!((response.status().as_u16(), text.as_str()), (503, "the server does not run"));
    }
}

#[tokio::test]
async fn a_slow_reader_is_disconnected_by_the_outbox_and_not_buffered_by_http_2() {
    for way in WAYS {
        const OUTBOX: usize = 128 * 1024;
        let (server, addr) = reached(local().outbox(OUTBOX), way).await;
        let mut events = server.events();
        let mut sender = http2::frames(addr, 0).await;
        let (_sending, _receiving) = http2::stream(&mut sender, addr).await;
        let connection = opened(&mut events).await;
        let mut taken = 0;
        let payload = "x".repeat(60_000);
        // Nobody reads, so what is taken is all that is kept: the outbox, and four writes on their way to the window.
        while connection.send_text(payload.as_str()).await.is_ok() {
            taken += payload.len();
            assert!(taken <= OUTBOX + 5 * 16 * 1024, "{taken} bytes are kept");
        }
        let end = ended(&mut events).await;
        assert_eq!(end.by, EndedBy::Overflow, "{end:?}");
    }
}

#[tokio::test]
async fn axum_serve_announces_websockets_over_http_2_and_they_open() {
    async fn enter(State(server): State<WebsocketServer>, request: AxumRequest) -> AxumResponse {
        server.upgrade(request).await.into_response()
    }
    let server = WebsocketServer::new(ServerParams::mounted());
    let mut events = server.events();
    server.start().await.unwrap();
    let nested = Router::new().route("/rooms/{room}", any(enter)).route("/get", get(enter));
    let app = Router::new().nest("/api", nested).with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = Http2Client::connect(addr).await;
    let (mut peer, _) = client.open(addr, "/api/rooms/kitchen", &[]).await;
    let connection = opened(&mut events).await;
    assert_eq!(connection.channel(), "/api/rooms/kitchen");
    assert_eq!(connection.request().header("host"), Some(addr.to_string().as_str()));
    assert_eq!(connection.client_addr(), Some(addr.ip()));
    connection.send_text("welcome").await.unwrap();
    assert_eq!(text(&mut peer).await, "welcome");
    // A route of GET alone is not one of CONNECT, which axum says.
    let (response, _) = client.refused(Http2Client::asking(addr, "/api/get", &[])).await;
    assert_eq!(response.status(), 405);
}
