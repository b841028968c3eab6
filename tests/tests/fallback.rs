//! Pages and sockets on one port: the fallback service of the server's own endpoints.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming},
};
use tokio::sync::Notify;
use websockets_simple_server::{
    ErrorStage, Event, Limits, Message, ServerParams, StopReport, WebsocketServer,
};
use websockets_simple_tests::{
    connected, failed, next, opened, params,
    raw::{self, RawPeer},
    received, started, within,
};

/// A body of the text so far and what never comes.
struct Endless(Option<&'static str>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some("panic") => panic!("a secret"),
            Some(text) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(text))))),
            None => Poll::Pending,
        }
    }
}

/// What it answers depends on the path.
async fn answer(
    request: Request<Incoming>,
) -> Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>> {
    let peer = *request.extensions().get::<SocketAddr>().unwrap();
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => Response::new(Full::new(request.collect().await.unwrap().to_bytes()).boxed_unsync()),
        "/panic" => panic!("a secret"),
        "/panic-in-body" => Response::new(Endless(Some("panic")).boxed_unsync()),
        "/endless" => Response::new(Endless(Some("begun")).boxed_unsync()),
        "/never" => pending().await,
        path => Response::new(Full::from(format!("{path} for {peer}")).boxed_unsync()),
    }
}

async fn with(limits: Limits) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(ServerParams::local().limits(limits).fallback(answer));
    let addr = started(&server).await;
    (server, addr)
}

/// Sends a request and reads head and body of the answer.
async fn fetch(peer: &mut RawPeer, head: &str, body: &str) -> (String, String) {
    peer.write(
        format!("{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    )
    .await;
    let head = peer.head().await;
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).map_or("0", |rest| rest.lines().next().unwrap());
    let body = peer.take(length.parse().unwrap()).await;
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn pages_and_then_a_socket_on_one_connection() {
    let (server, addr) = with(Limits::default()).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    let from = peer.stream.local_addr().unwrap();
    for n in 0..3 {
        let (head, body) = fetch(&mut peer, &format!("GET /{n}"), "").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Date: "), "{head}");
        assert_eq!(body, format!("/{n} for {from}"));
    }
    assert_eq!(fetch(&mut peer, "POST /echo", "what was sent").await.1, "what was sent");
    assert!(peer.request("/room", "").await.starts_with("HTTP/1.1 101 "));
    let connection = opened(&mut events).await;
    assert_eq!((connection.channel(), connection.peer_addr()), ("/room", Some(from)));
    peer.text("hello").await;
    assert_eq!(received(&mut events).await.as_text(), Some("hello"));
    connection.send(Message::text("bye")).await.unwrap();
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "bye");
}

#[tokio::test]
async fn an_answer_to_a_request_whose_body_is_not_read_is_written_before_the_connection_is_given_up() {
    let (_server, addr) = with(Limits::default()).await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc").await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("Connection: "), "{head}");
}

#[tokio::test]
async fn without_a_fallback_a_page_is_refused_as_ever() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let (head, _) = fetch(&mut peer, "GET /", "").await;
    assert!(head.starts_with("HTTP/1.1 426 ") && !head.contains("Date: "), "{head}");
    assert_eq!(peer.all().await, b"");
}

#[tokio::test]
async fn a_handshake_is_the_servers_own_also_where_it_is_wrong() {
    let (_server, addr) = with(Limits::default()).await;
    let mut peer = RawPeer::connect(addr).await;
    let request = raw::request("/", "").replace("Version: 13", "Version: 12");
    peer.write(request.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 426 "));
    // Another protocol is none of ours.
    let mut peer = RawPeer::connect(addr).await;
    let request =
        "GET /page HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n";
    peer.write(request.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_panic_is_answered_with_500_and_told_without_its_text() {
    let (server, addr) = with(Limits::default()).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    assert!(fetch(&mut peer, "GET /panic", "").await.0.starts_with("HTTP/1.1 500 "));
    let error = next(&mut events, |event| match event {
        Event::Error(event) => Some(event),
        _ => None,
    })
    .await;
    assert_eq!(error.stage, ErrorStage::HandlerPanic);
    assert!(!format!("{error:?} {}", error.error).contains("secret"));
    // The connection is as good as before.
    assert!(fetch(&mut peer, "GET /after", "").await.0.starts_with("HTTP/1.1 200 "));
    // In a body it is too late for an answer.
    peer.write(b"GET /panic-in-body HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let rest = String::from_utf8(peer.all().await).unwrap();
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
    assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    assert!(server.is_running());
}

#[tokio::test]
async fn slow_heads_slow_answers_and_slow_bodies_are_cut_and_idle_connections_closed_quietly() {
    let (server, addr) = with(Limits::default().handshake(Duration::from_secs(1))).await;
    let mut events = server.events();
    let slow: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHo",
        b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
    ];
    for request in slow {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(request).await;
        within(peer.all()).await;
        assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    }
    // Nothing more comes: it is closed, and nobody is told of a failure.
    let mut peer = RawPeer::connect(addr).await;
    for _ in 0..4 {
        assert!(fetch(&mut peer, "GET /", "").await.0.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(peer.all().await, b"");
    server.stop().await;
    let stopped = within(events.recv()).await.unwrap();
    assert!(matches!(stopped, Event::Server(_)), "{stopped:?}");
}

#[tokio::test]
async fn pages_count_among_the_connections() {
    let (_server, addr) = with(Limits::default().connections_per_ip(1)).await;
    let mut first = RawPeer::connect(addr).await;
    assert!(fetch(&mut first, "GET /", "").await.0.starts_with("HTTP/1.1 200 "));
    let mut second = RawPeer::connect(addr).await;
    assert!(fetch(&mut second, "GET /", "").await.0.starts_with("HTTP/1.1 429 "));
    let third = RawPeer::connect(addr).await.request("/", "").await;
    assert!(third.starts_with("HTTP/1.1 429 "), "{third}");
    drop(first);
    within(async {
        loop {
            let mut peer = RawPeer::connect(addr).await;
            if fetch(&mut peer, "GET /", "").await.0.starts_with("HTTP/1.1 200 ") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_idle_connections_at_once_and_lets_answers_finish() {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asking, going_on) = (Arc::clone(&asked), Arc::clone(&go_on));
    let server = WebsocketServer::new(ServerParams::local().fallback(move |request: Request<Incoming>| {
        let (asked, go_on) = (Arc::clone(&asking), Arc::clone(&going_on));
        async move {
            if request.uri().path() == "/slow" {
                asked.notify_one();
                go_on.notified().await;
            }
            Response::new(Full::<Bytes>::from("done"))
        }
    }));
    let addr = started(&server).await;
    let socket = connected(params(addr)).await;
    let (mut silent, mut idle, mut busy) =
        (RawPeer::connect(addr).await, RawPeer::connect(addr).await, RawPeer::connect(addr).await);
    assert_eq!(fetch(&mut idle, "GET /", "").await.1, "done");
    busy.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    within(asked.notified()).await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    assert_eq!(idle.all().await, b"");
    assert_eq!(silent.all().await, b"");
    go_on.notify_one();
    let last = String::from_utf8(busy.all().await).unwrap();
    assert!(last.starts_with("HTTP/1.1 200 ") && last.ends_with("done"), "{last}");
    let report: StopReport = within(stopping).await.unwrap();
    assert_eq!((report.clean, report.unclean, report.dropped), (1, 0, 0));
    drop(socket);
}
