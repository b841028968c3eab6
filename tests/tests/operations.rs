//! What the server answers of itself: whether it is well, and its figures.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use websockets_simple_client::{ConnectError, WebsocketClient};
use websockets_simple_server::{
    Drain, Guard, Limits, NotReady, Operations, ServerParams, TrustedProxies, WebsocketServer,
    WebsocketServerAuth,
    test_util::{Answer, ScriptedUsers},
};
use websockets_simple_tests::{
    connected, ended, opened, params,
    raw::{self, RawPeer, ask},
    started,
};

const TOKEN: &str = "a secret of the monitoring";

async fn with(params: ServerParams) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(params);
    let addr = started(&server).await;
    (server, addr)
}

/// The status of an answer.
async fn status(addr: SocketAddr, request: &str, headers: &str) -> u16 {
    let (head, _) = ask(addr, request, headers).await;
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_server_that_runs_says_that_it_lives_and_is_ready() {
    let (server, addr) = with(ServerParams::local().operations(Operations::new())).await;
    for path in ["/healthz", "/readyz"] {
        let (head, body) = ask(addr, &format!("GET {path}"), "").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("cache-control: no-store\r\n"), "{head}");
        assert_eq!(body, r#"{"live":true,"ready":true,"why":[]}"#);
        assert_eq!(ask(addr, &format!("HEAD {path}"), "").await.1, "");
        let (head, _) = ask(addr, &format!("POST {path}"), "").await;
        assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("GET, HEAD"), "{head}");
    }
    server.stop().await;
    assert_eq!(server.health().why, [NotReady::AtRest]);
}

#[tokio::test]
async fn without_operations_and_without_a_guard_there_is_nothing() {
    let (_server, addr) = with(ServerParams::local()).await;
    assert_eq!(status(addr, "GET /healthz", "").await, 426);
    let (_server, addr) = with(ServerParams::local().operations(Operations::new())).await;
    assert_eq!(status(addr, "GET /metrics", "").await, 426);
    assert_eq!(status(addr, "GET /", "").await, 426);
    assert!(RawPeer::connect(addr).await.request("/healthz", "").await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn figures_are_for_whom_the_guard_lets() {
    let operations = Operations::new().metrics(Guard::bearer(TOKEN));
    let (_server, addr) = with(ServerParams::local().operations(operations)).await;
    for headers in ["", "Authorization: Bearer guessed\r\n", "Authorization: Bearer \r\n"] {
        let (head, body) = ask(addr, "GET /metrics", headers).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && head.contains("Bearer"), "{head}");
        assert!(!body.contains("ws_"), "{body}");
    }
    let nobody = Operations::new().metrics(Guard::bearer(""));
    let (_closed, closed) = with(ServerParams::local().operations(nobody)).await;
    assert_eq!(status(closed, "GET /metrics", "Authorization: Bearer \r\n").await, 401);
    let (head, body) = ask(addr, "GET /metrics", &format!("Authorization: Bearer {TOKEN}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\nws_connections{state=\"open\"} 0\n"), "{body}");
}

#[tokio::test]
async fn who_comes_through_a_proxy_is_not_on_the_same_machine() {
    let operations = Operations::new().metrics(Guard::loopback());
    let proxies = TrustedProxies::new(["127.0.0.1"]).unwrap();
    let params = ServerParams::local().operations(operations);
    for params in [params.clone(), params.trusted_proxies(proxies)] {
        let (_server, addr) = with(params).await;
        assert_eq!(status(addr, "GET /metrics", "").await, 200);
        for headers in ["X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=127.0.0.1\r\n"] {
            assert_eq!(status(addr, "GET /metrics", headers).await, 401, "{headers}");
        }
    }
}

#[tokio::test]
async fn a_guard_that_panics_lets_nobody_in() {
    let operations = Operations::new().metrics(Guard::new(|_, _| panic!("a secret")));
    let (_server, addr) = with(ServerParams::local().operations(operations)).await;
    let (head, body) = ask(addr, "GET /metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 500 ") && body.is_empty(), "{head}{body}");
}

#[tokio::test]
async fn everything_else_is_asked_of_the_fallback() {
    let page = |_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("a page"))) };
    let (_server, addr) = with(ServerParams::local().fallback(page).operations(Operations::new())).await;
    assert_eq!(ask(addr, "GET /readyz", "").await.1, r#"{"live":true,"ready":true,"why":[]}"#);
    for path in ["/", "/metrics", "/healthz/x"] {
        assert_eq!(ask(addr, &format!("GET {path}"), "").await.1, "a page");
    }
}

#[tokio::test]
async fn a_server_that_is_full_lives_and_is_not_ready() {
    let limits = Limits::default().connections(1);
    let (server, addr) = with(ServerParams::local().limits(limits).operations(Operations::new())).await;
    let mut events = server.events();
    let client = connected(params(addr)).await;
    opened(&mut events).await;
    assert_eq!(status(addr, "GET /healthz", "").await, 200);
    let (head, body) = ask(addr, "GET /readyz", "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(body, r#"{"live":true,"ready":false,"why":["full"]}"#);
    client.disconnect().await;
}

#[tokio::test]
async fn a_server_that_was_withdrawn_is_not_ready_and_serves_whoever_comes() {
    let (server, addr) = with(ServerParams::local().operations(Operations::new())).await;
    server.set_ready(false);
    let (head, body) = ask(addr, "GET /readyz", "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(body, r#"{"live":true,"ready":false,"why":["withdrawn"]}"#);
    assert_eq!(status(addr, "GET /healthz", "").await, 200);
    connected(params(addr)).await.disconnect().await;
    server.set_ready(true);
    assert_eq!(status(addr, "GET /readyz", "").await, 200);
}

#[tokio::test]
async fn a_server_that_drains_answers_until_it_has_stopped() {
    let (server, addr) = with(ServerParams::local().operations(Operations::new())).await;
    let mut events = server.events();
    let _clients = (connected(params(addr)).await, connected(params(addr)).await);
    opened(&mut events).await;
    opened(&mut events).await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop_with(Drain::new().batch(1, Duration::from_secs(60))).await }
    });
    ended(&mut events).await;
    assert_eq!(status(addr, "GET /healthz", "").await, 200);
    let (head, body) = ask(addr, "GET /readyz", "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(body, r#"{"live":true,"ready":false,"why":["stopping"]}"#);
    // A handshake is refused with an answer as well.
    let mut peer = RawPeer::connect(addr).await;
    peer.write(raw::request("/", "").as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 503 "));
    server.stop().await;
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_server_whose_user_service_fails_again_and_again_is_not_ready() {
    let users = ScriptedUsers::<i64>::new();
    users.plan((0..5).map(|_| Answer::Fail));
    let token = users.users().issue(7);
    let server = WebsocketServerAuth::new(ServerParams::local(), users);
    let addr = started(&server).await;
    for failures in 1..=5 {
        assert!(server.health().is_ready(), "{failures}");
        let client = WebsocketClient::new(params(addr).token(token.clone())).unwrap();
        assert!(matches!(client.connect().await, Err(ConnectError::Rejected { status: 503, .. })));
        // Whom the service is not asked about says nothing of it.
        let nobody = WebsocketClient::new(params(addr)).unwrap();
        assert!(matches!(nobody.connect().await, Err(ConnectError::Unauthorized { .. })));
    }
    assert_eq!(server.health().why, [NotReady::UserService]);
    connected(params(addr).token(token)).await;
    assert!(server.health().is_ready());
}
