//! Connections that come by an HTTP server of the application.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{io::duplex, net::TcpListener, sync::Notify};
use websockets_simple_client::{ConnectError, WebsocketClient};
use websockets_simple_server::{
    Authenticated, ConnectionEventKind, Credentials, EndedBy, ErrorStage, Event, HandshakeRequest, Limits,
    Message, Placement, Revocation, ServerParams, UserService, UserServiceError, WebsocketServer,
    WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{
    connected, ended, failed, message, next, opened, params,
    raw::{self, RawPeer},
    received, started, within,
};

type Answer = Response<Full<Bytes>>;

/// A hyper server of the application's own. The handler is also told where the request comes from.
async fn web<F, Fut>(handler: F) -> SocketAddr
where
    F: Fn(Request<Incoming>, SocketAddr) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let answer = handler(request, peer);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    addr
}

/// All of its requests go to this server.
async fn web_of(server: &WebsocketServer) -> SocketAddr {
    let server = server.clone();
    web(move |request, peer| {
        let server = server.clone();
        async move { server.upgrade(request).peer_addr(peer).await }
    })
    .await
}

async fn mounted(params: ServerParams) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    let addr = web_of(&server).await;
    (server, addr)
}

fn refused(event: Event<impl websockets_simple_server::Identity>) -> Option<String> {
    match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Refused(_, why) => Some(why),
            _ => None,
        },
        _ => None,
    }
}

/// Knows one token, and how often it was asked.
#[derive(Clone, Default)]
struct Users(Arc<AtomicUsize>);

#[async_trait]
impl UserService for Users {
    type Id = i64;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let known = credentials.token().is_some_and(|token| token.expose() == "open sesame");
        Ok(known.then(|| Authenticated::new(7)))
    }
}

#[tokio::test]
async fn a_request_becomes_a_connection_that_is_like_any_other() {
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let mut events = server.events();
    let own = started(&server).await;
    let http = web_of(&server).await;
    for (addr, endpoint) in [(own, Some(own)), (http, None)] {
        let client = connected(params(addr).path("/room")).await;
        let mut told = client.events();
        let attempt = next(&mut events, |event| match event {
            Event::Connection(event) => match event.kind {
                ConnectionEventKind::Connecting(attempt) => Some(attempt),
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .await;
        let connection = opened(&mut events).await;
        assert_eq!(&*attempt.path, "/room");
        assert_eq!(attempt.peer_addr, connection.peer_addr());
        assert_eq!(connection.client_addr(), Some(addr.ip()));
        assert_eq!(connection.endpoint(), endpoint);
        assert_eq!(connection.channel(), "/room");
        assert!(*server.to_channel("/room").connections() == *std::slice::from_ref(&connection));
        client.send(Message::text("from the client")).await.unwrap();
        assert_eq!(received(&mut events).await.as_text(), Some("from the client"));
        server.broadcast(Message::text("from the server")).unwrap();
        loop {
            match message(&mut told).await.as_text() {
                Some("hello") => {}
                other => break assert_eq!(other, Some("from the server")),
            }
        }
        within(client.disconnect()).await;
        let end = ended(&mut events).await;
        assert!(end.clean && end.by == EndedBy::Peer, "{end:?}");
    }
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn a_stream_that_is_no_socket_is_upgraded_too() {
    let server = WebsocketServer::new(ServerParams::mounted());
    let mut events = server.events();
    server.start().await.unwrap();
    let (theirs, ours) = duplex(64);
    let application = server.clone();
    let service = service_fn(move |request| {
        let upgrade = application.upgrade(request);
        async move { Ok::<_, Infallible>(upgrade.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(ours), service);
    tokio::spawn(connection.with_upgrades());
    let mut peer = RawPeer::new(theirs);
    let head = peer.request("/pipe", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let connection = opened(&mut events).await;
    assert_eq!(connection.peer_addr(), None);
    assert_eq!(connection.client_addr(), None);
    connection.send(Message::text("x".repeat(10_000))).await.unwrap();
    assert_eq!(within(peer.next()).await.unwrap().payload.len(), 10_000);
    peer.text("back").await;
    assert_eq!(received(&mut events).await.as_text(), Some("back"));
}

#[tokio::test]
async fn what_comes_right_behind_the_request_is_not_lost() {
    let (server, addr) = mounted(ServerParams::mounted()).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    let request = raw::request("/", "");
    // The text `early` with a mask of zeros.
    let early = [b"\x81\x85\0\0\0\0".as_slice(), b"early"].concat();
    peer.write(&[request.as_bytes(), &early].concat()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(received(&mut events).await.as_text(), Some("early"));
}

#[tokio::test]
async fn the_application_names_the_place_and_the_user_without_the_user_service() {
    let users = Users::default();
    let server = WebsocketServerAuth::<i64>::new(ServerParams::mounted(), users.clone());
    let mut events = server.events();
    server.start().await.unwrap();
    let application = server.clone();
    let addr = web(move |request, peer| {
        let upgrade = application.upgrade(request).peer_addr(peer);
        async move {
            let place = Placement::new().channel("ResponseTimes").group("team");
            upgrade.placement(place).identified(Authenticated::new(9).credential("c1")).await
        }
    })
    .await;
    let client = connected(params(addr).path("/response-times")).await;
    let connection = opened(&mut events).await;
    assert_eq!((connection.channel(), *connection.user_id()), ("ResponseTimes", 9));
    assert!(connection.is_in("team"));
    assert_eq!(server.to_channel("ResponseTimes").connections().len(), 1);
    assert!(server.to_channel("/response-times").connections().is_empty());
    assert_eq!(users.0.load(Ordering::Relaxed), 0);
    assert_eq!(server.revoke(&Revocation::Credential("c1".to_owned())), 1);
    let end = ended(&mut events).await;
    assert_eq!(end.by, EndedBy::Revoked);
    drop(client);
}

#[tokio::test]
async fn otherwise_the_user_service_is_asked_and_a_path_is_no_token() {
    let users = Users::default();
    let server = WebsocketServerAuth::<i64>::new(ServerParams::mounted(), users.clone());
    let mut events = server.events();
    server.start().await.unwrap();
    let application = server.clone();
    let addr = web(move |request, peer| application.upgrade(request).peer_addr(peer).into_future()).await;
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/open%20sesame", "").await.starts_with("HTTP/1.1 401 "));
    assert_eq!(users.0.load(Ordering::Relaxed), 0);
    assert_eq!(next(&mut events, refused).await, "401: Unauthorized");
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/chat", "Authorization: Bearer open sesame\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let connection = opened(&mut events).await;
    assert_eq!((connection.channel(), *connection.user_id()), ("/chat", 7));
}

#[tokio::test]
async fn what_is_refused_is_refused_as_on_our_own_endpoints() {
    let params = || ServerParams::local().origins(["https://good.example"]).subprotocols(["chat"]);
    let server = WebsocketServer::new(params());
    let mut events = server.events();
    let own = started(&server).await;
    let http = web_of(&server).await;
    let requests = [
        ("Origin: https://evil.example\r\n", "403"),
        ("Sec-WebSocket-Protocol: other\r\n", "400"),
        ("Host: twice\r\n", "400"),
        ("Origin: https://good.example\r\nSec-WebSocket-Protocol: chat\r\n", "101"),
    ];
    for (headers, status) in requests {
        let mut heads = Vec::new();
        for addr in [own, http] {
            let mut peer = RawPeer::connect(addr).await;
            let head = peer.request("/", headers).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            if status != "101" {
                assert!(next(&mut events, refused).await.starts_with(status));
            }
            heads.push(head.lines().next().unwrap().to_owned());
        }
        assert_eq!(heads[0], heads[1]);
    }
    // A request for a page is told what is here, and the connection goes on.
    let mut peer = RawPeer::connect(http).await;
    for _ in 0..2 {
        peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 426 ") && !head.contains("close"), "{head}");
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        peer.take(length.lines().next().unwrap().parse().unwrap()).await;
    }
}

#[tokio::test]
async fn both_kinds_of_connections_share_the_limits() {
    let limited = [(Limits::default().connections(1), 503), (Limits::default().connections_per_ip(1), 429)];
    for (limits, status) in limited {
        for (first, second) in [(0, 1), (1, 0), (1, 1)] {
            let params = ServerParams::local().limits(limits.clone()).retry_after(Duration::from_secs(7));
            let server = WebsocketServer::new(params);
            let mut events = server.events();
            let addrs = [started(&server).await, web_of(&server).await];
            let _held = RawPeer::open(addrs[first], "/", "").await;
            let other = WebsocketClient::new(websockets_simple_tests::params(addrs[second])).unwrap();
            match other.connect().await {
                Err(ConnectError::Rejected { status: told, retry_after, .. }) => {
                    let in_time = retry_after.is_some_and(|wait| (7..=14).contains(&wait.as_secs()));
                    assert!(told == status && in_time, "{told} {retry_after:?}");
                }
                other => panic!("{other:?}"),
            }
            assert!(next(&mut events, refused).await.starts_with(&status.to_string()));
        }
    }
}

#[tokio::test]
async fn a_place_is_given_back_when_the_connection_has_ended() {
    let (_server, addr) = mounted(ServerParams::mounted().limits(Limits::default().connections(1))).await;
    for _ in 0..3 {
        let client = WebsocketClient::new(params(addr)).unwrap();
        within(async {
            while client.connect().await.is_err() {
                tokio::task::yield_now().await;
            }
            client.disconnect().await;
        })
        .await;
    }
}

#[tokio::test]
async fn connections_of_a_user_are_counted_whoever_said_who_it_is() {
    let limits = Limits::default().connections_per_user(1);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().limits(limits), Users::default());
    let own = started(&server).await;
    let application = server.clone();
    let http =
        web(move |request, _| application.upgrade(request).identified(Authenticated::new(7)).into_future())
            .await;
    let mut held = RawPeer::open(own, "/", "Authorization: Bearer open sesame\r\n").await;
    let mut other = RawPeer::connect(http).await;
    let (head, ()) = tokio::join!(other.request("/", ""), async {
        // It is asked for a sign of life.
        held.next().await.unwrap();
        held.text("pong").await;
    });
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
}

#[tokio::test]
async fn a_server_that_does_not_run_answers_503_and_tells_nothing() {
    let server = WebsocketServer::new(ServerParams::mounted().retry_after(Duration::from_secs(7)));
    let mut events = server.events();
    let addr = web_of(&server).await;
    for _ in 0..2 {
        let head = RawPeer::connect(addr).await.request("/", "").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(raw::retry_after(&head).is_some_and(|wait| (7..=14).contains(&wait)), "{head}");
        assert!(events.try_recv().is_none());
        server.start().await.unwrap();
        let _ = events.recv().await;
        let peer = RawPeer::open(addr, "/", "").await;
        let _ = opened(&mut events).await;
        drop(peer);
        let _ = ended(&mut events).await;
        server.stop().await;
        let _ = events.recv().await;
    }
}

/// Knows one token, and never answers who shows none.
struct Hesitant(Arc<Notify>);

#[async_trait]
impl UserService for Hesitant {
    type Id = i64;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        if credentials.token().is_some() {
            return Ok(Some(Authenticated::new(7)));
        }
        self.0.notify_one();
        pending().await
    }
}

/// A server that is asked about requests without a token for ever, reachable both ways.
async fn hesitant(limits: Limits) -> (WebsocketServerAuth<i64>, Arc<Notify>, SocketAddr, SocketAddr) {
    let asked = Arc::new(Notify::new());
    let params = ServerParams::local().ask_without_credentials(true).limits(limits);
    let server = WebsocketServerAuth::<i64>::new(params, Hesitant(Arc::clone(&asked)));
    let own = started(&server).await;
    let application = server.clone();
    let http = web(move |request, peer| application.upgrade(request).peer_addr(peer).into_future()).await;
    (server, asked, own, http)
}

const TOKEN: &str = "Authorization: Bearer open sesame\r\n";

#[tokio::test]
async fn a_stop_closes_both_kinds_of_connections_and_refuses_those_on_their_way() {
    let (server, asked, own, http) = hesitant(Limits::default()).await;
    let mut events = server.events();
    let (mut here, mut there) = (RawPeer::open(own, "/", TOKEN).await, RawPeer::open(http, "/", TOKEN).await);
    let (_, _) = (opened(&mut events).await, opened(&mut events).await);
    let mut waiting = RawPeer::connect(http).await;
    waiting.write(raw::request("/", "").as_bytes()).await;
    within(asked.notified()).await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    for peer in [&mut here, &mut there] {
        assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
        peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    }
    assert!(waiting.head().await.starts_with("HTTP/1.1 503 "));
    assert_eq!(next(&mut events, refused).await, "503: the server stops");
    assert_eq!(within(stopping).await.unwrap().clean, 2);
    assert!(RawPeer::connect(http).await.request("/", TOKEN).await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_is_refused_once() {
    let (server, asked, _, http) = hesitant(Limits::default()).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(http).await;
    peer.write(raw::request("/", "").as_bytes()).await;
    within(asked.notified()).await;
    drop(peer);
    assert_eq!(next(&mut events, refused).await, "the peer disconnected before the response");
    server.stop().await;
    assert!(refused(events.recv().await.unwrap()).is_none());
}

#[tokio::test]
async fn a_handshake_takes_as_long_as_the_limit_and_the_http_server_counts_in() {
    let limits = Limits::default().handshake(Duration::from_millis(200));
    let (server, _, _, http) = hesitant(limits.clone()).await;
    let mut events = server.events();
    let head = RawPeer::connect(http).await.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    assert_eq!(next(&mut events, refused).await, "the handshake took too long");

    let server = WebsocketServer::new(ServerParams::mounted().limits(limits));
    let mut events = server.events();
    server.start().await.unwrap();
    let application = server.clone();
    let addr = web(move |request, _| {
        let upgrade = application.upgrade(request);
        async move {
            let answer = upgrade.await;
            assert_eq!(answer.status(), 101);
            pending().await
        }
    })
    .await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(raw::request("/", "").as_bytes()).await;
    assert_eq!(failed(&mut events).await, ErrorStage::Handshake);
    assert_eq!(next(&mut events, refused).await, "the handshake took too long");
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn an_application_that_answers_something_else_has_made_no_connection() {
    let limits = Limits::default().handshake(Duration::from_millis(200));
    let server = WebsocketServer::new(ServerParams::mounted().limits(limits));
    let mut events = server.events();
    server.start().await.unwrap();
    let application = server.clone();
    let addr = web(move |request, _| {
        let upgrade = application.upgrade(request);
        async move {
            drop(upgrade.await);
            Response::builder().status(418).body(Full::default()).unwrap()
        }
    })
    .await;
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/", "").await.starts_with("HTTP/1.1 418 "));
    assert_eq!(next(&mut events, refused).await, "the handshake took too long");
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn an_http_server_that_keeps_its_connections_is_told_so() {
    let server = WebsocketServer::new(ServerParams::mounted());
    server.start().await.unwrap();
    let request = Request::builder()
        .uri("/")
        .header("Host", "x")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", raw::KEY)
        .body(())
        .unwrap();
    assert_eq!(server.upgrade(request).await.status(), 500);
}
