//! Requests that are refused, and what becomes of their connections: on an endpoint of the server, beside a fallback
//! service, and in an HTTP server of the application.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify};
use websockets_simple_server::{
    Anonymous, ConnectionEventKind, Endpoint, ErrorStage, Event, Events, Limits, ProxyProtocol, ServerParams,
    WebsocketServer,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    failed, next,
    raw::{RawPeer, masked, request},
    started, within,
};

/// How requests reach a server.
#[derive(Clone, Copy, Debug)]
enum WayIn {
    Endpoint,
    BesidePages,
    Mounted,
}

const WAYS: [WayIn; 3] = [WayIn::Endpoint, WayIn::BesidePages, WayIn::Mounted];

impl WayIn {
    async fn start(self) -> (WebsocketServer, SocketAddr) {
        self.start_with(ServerParams::local(), |server| server).await
    }

    async fn start_with(
        self,
        params: ServerParams,
        change: impl FnOnce(WebsocketServer) -> WebsocketServer,
    ) -> (WebsocketServer, SocketAddr) {
        let server = change(WebsocketServer::new(match self {
            Self::BesidePages => params.fallback(page),
            Self::Endpoint | Self::Mounted => params,
        }));
        let addr = started(&server).await;
        match self {
            Self::Endpoint | Self::BesidePages => (server, addr),
            Self::Mounted => {
                let addr = mounted_in_hyper(&server).await;
                (server, addr)
            }
        }
    }
}

/// Answers all requests with this server.
async fn mounted_in_hyper(server: &WebsocketServer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = server.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let upgrade = server.upgrade(request);
                async move { Ok::<_, Infallible>(upgrade.await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    addr
}

async fn page(request: Request<Incoming>) -> Response<Full<Bytes>> {
    Response::new(Full::from(format!("this is {}", request.uri().path())))
}

/// Why the next attempt was refused, and its path. Nothing else may come before but a Connecting.
async fn refused(events: &mut Events<Event<Anonymous>>) -> (String, String) {
    next(events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Connecting(_) => None,
            ConnectionEventKind::Refused(attempt, why) => Some((attempt.path.to_string(), why)),
            other => panic!("{other:?}"),
        },
        Event::Server(_) => None,
        other => panic!("{other:?}"),
    })
    .await
}

#[tokio::test]
async fn bytes_that_a_proxy_takes_for_a_body_are_never_read_as_frames() {
    for way in WAYS {
        let (server, addr) = way.start().await;
        let mut events = server.events();
        for announced in [
            "Content-Length: 8\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 8\r\n",
            "Expect: 100-continue\r\nContent-Length: 8\r\n",
            "Expect: 100-continue\r\n",
        ] {
            for together in [true, false] {
                let (mut peer, head) = (RawPeer::connect(addr).await, request("/", announced));
                let body = masked(0x81, b"hi");
                if together {
                    peer.write(&[head.as_bytes(), &body].concat()).await;
                } else {
                    peer.write(head.as_bytes()).await;
                }
                let head = peer.head().await;
                assert!(head.starts_with("HTTP/1.1 400 "), "{way:?}, {announced}: {head}");
                assert!(head.to_lowercase().contains("connection: close"), "{way:?}, {announced}: {head}");
                let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &body).await;
                assert_eq!(peer.all().await, b"a WebSocket handshake has no body", "{way:?}, {announced}");
                let (_, why) = refused(&mut events).await;
                assert_eq!(why, "400: a WebSocket handshake has no body");
            }
        }
        // A length of nothing announces nothing.
        RawPeer::open(addr, "/", "Content-Length: 0\r\n").await;
    }
}

#[tokio::test]
async fn a_request_that_is_given_two_keys_or_no_path_is_refused_on_every_way_in() {
    for way in WAYS {
        let (server, addr) = way.start().await;
        let mut events = server.events();
        let another = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        for (target, headers, why) in [
            ("/", another, "400: sec-websocket-key is given twice"),
            ("/", "Sec-WebSocket-Version: 13\r\n", "400: sec-websocket-version is given twice"),
            ("*", "", "400: the target of the request is not a path"),
            ("/a%0d%0ab", "", "400: the path holds a control character"),
        ] {
            let head = RawPeer::connect(addr).await.request(target, headers).await;
            assert!(head.starts_with("HTTP/1.1 400 "), "{way:?}, {target}: {head}");
            assert_eq!(refused(&mut events).await, ("/".to_owned(), why.to_owned()));
        }
    }
}

#[tokio::test]
async fn code_of_the_application_that_panics_in_a_handshake_is_500_on_every_way_in() {
    fn panics(path: &str, wanted: &str) {
        assert_ne!(path, wanted, "a secret");
    }
    for way in WAYS {
        let params = ServerParams::local().heartbeat_of(|request| {
            panics(request.head().channel(), "/heartbeat");
            None
        });
        let change = |server: WebsocketServer| {
            server.with_placement(|request, _| {
                panics(request.head().channel(), "/placement");
                Default::default()
            })
        };
        let (server, addr) = way.start_with(params, change).await;
        server.on(|event| async move {
            if let Event::Connection(event) = event
                && let ConnectionEventKind::Connecting(attempt) = event.kind
            {
                assert_ne!(&*attempt.path, "/connecting");
            }
        });
        let mut events = server.events();
        for path in ["/heartbeat", "/placement", "/connecting"] {
            let mut peer = RawPeer::connect(addr).await;
            let head = peer.request(path, "").await;
            assert!(head.starts_with("HTTP/1.1 500 "), "{way:?}, {path}: {head}");
            assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic, "{way:?}, {path}");
            assert_eq!(refused(&mut events).await, (path.to_owned(), "500: internal error".to_owned()));
        }
        RawPeer::open(addr, "/", "").await;
    }
}

#[tokio::test]
async fn what_the_http_library_refuses_has_a_text_and_a_reason_too() {
    for way in [WayIn::Endpoint, WayIn::BesidePages] {
        let (server, addr) = way.start().await;
        let mut events = server.events();
        let long = format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(17_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X-Many: x\r\n".repeat(101));
        let target = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(66_000));
        let too_large = "the head of the request is too large or has too many headers";
        for (head, status, text) in [
            ("nonsense\r\n\r\n", "400", "the request is malformed"),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400", "the request is malformed"),
            (&long, "431", too_large),
            (&many, "431", too_large),
            (&target, "431", too_large),
        ] {
            let mut peer = RawPeer::connect(addr).await;
            peer.write(head.as_bytes()).await;
            let answer = String::from_utf8(peer.all().await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{text}")), "{answer}");
            assert_eq!(refused(&mut events).await, ("/".to_owned(), format!("{status}: {text}")));
        }
        let limits = Limits::default().head_size(1 << 20);
        let (server, addr) = way.start_with(ServerParams::local().limits(limits), |server| server).await;
        let mut events_of_roomy = server.events();
        let mut peer = RawPeer::connect(addr).await;
        peer.write(target.as_bytes()).await;
        let answer = String::from_utf8(peer.all().await).unwrap();
        let why = "the target of the request is too long";
        assert!(answer.starts_with("HTTP/1.1 414 ") && answer.ends_with(why), "{answer}");
        assert_eq!(refused(&mut events_of_roomy).await.1, format!("414: {why}"));
        let (server, addr) = way.start().await;
        let mut events = server.events();
        let mut peer = RawPeer::connect(addr).await;
        peer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert_eq!(peer.all().await, b"");
        assert_eq!(refused(&mut events).await.1, "505: HTTP/2 is not supported");
    }
}

#[tokio::test]
async fn a_malformed_request_behind_pages_is_told_so_and_the_pages_are_whole() {
    let (server, addr) = WayIn::BesidePages.start().await;
    let mut events = server.events();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for pipelined in [false, true] {
        let mut peer = RawPeer::connect(addr).await;
        let mut answers = String::new();
        let requests = [get("/one"), get("/two"), "nonsense\r\n\r\n".to_owned()];
        if pipelined {
            peer.write(requests.concat().as_bytes()).await;
        } else {
            for request in &requests {
                peer.write(request.as_bytes()).await;
                if request.starts_with("GET") {
                    answers += &peer.head().await;
                    answers += &String::from_utf8(peer.take("this is /one".len()).await).unwrap();
                }
            }
        }
        answers += &String::from_utf8(peer.all().await).unwrap();
        let bodies: Vec<_> =
            answers.split("\r\n\r\n").skip(1).map(|part| part.split("HTTP/1.1").next().unwrap()).collect();
        assert_eq!(bodies, ["this is /one", "this is /two", "the request is malformed"], "{answers}");
        assert_eq!(refused(&mut events).await.1, "400: the request is malformed");
    }
}

#[tokio::test]
async fn a_client_that_lingers_past_the_deadline_does_not_change_why_it_was_refused() {
    let limits = Limits::default().handshake(Duration::from_millis(100));
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut lingering = Vec::new();
    for (sent, why) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426: this is a WebSocket endpoint: an Upgrade is needed"),
        ("nonsense\r\n\r\n", "400: the request is malformed"),
    ] {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(sent.as_bytes()).await;
        let answer = String::from_utf8(peer.all().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(refused(&mut events).await.1, why);
        lingering.push(peer);
    }
    // The stop waits for them, longer than a handshake may take.
    within(server.stop()).await;
    let stopped = within(events.recv()).await.unwrap();
    assert!(matches!(stopped, Event::Server(_)), "the deadline was no failure: {stopped:?}");
}

#[tokio::test]
async fn a_handler_that_does_not_end_keeps_no_socket_of_a_failed_handshake_open() {
    let authority = Authority::new();
    let with_proxy = Endpoint::tcp(([127, 0, 0, 1], 0).into()).proxy_protocol(ProxyProtocol::Required);
    for (params, sent) in [
        (secured(authority.server()), "this is no TLS"),
        (ServerParams::local().endpoint(with_proxy), "PROXY UNKNOWN\r\n"),
        (ServerParams::local(), "GET / HTTP/1.1\r\nnonsense\r\n\r\n"),
        (ServerParams::local(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let server = WebsocketServer::new(params.stop_timeout(Duration::ZERO));
        let (called, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (calling, going_on) = (Arc::clone(&called), Arc::clone(&go_on));
        server.on(move |event| {
            let (called, go_on) = (Arc::clone(&calling), Arc::clone(&going_on));
            async move {
                let waits = match &event {
                    Event::Error(event) => matches!(event.stage, ErrorStage::Handshake | ErrorStage::Tls),
                    Event::Connection(event) => matches!(event.kind, ConnectionEventKind::Refused(..)),
                    _ => false,
                };
                if waits {
                    called.notify_one();
                    go_on.notified().await;
                }
            }
        });
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        peer.write(sent.as_bytes()).await;
        within(called.notified()).await;
        peer.all().await;
        go_on.notify_one();
        within(server.stop()).await;
    }
}
