//! Inside an axum application, and an axum router behind the server's own port.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use websockets_simple_client::{ClientParams, ConnectError, WebsocketClient};
use websockets_simple_server::{
    Authenticated, Limits, MemoryUsers, Message, Placement, ServerParams, WebsocketServer,
    WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, ended, message, opened, params, raw::RawPeer, received, started, within,
};

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    addr
}

async fn enter(State(server): State<WebsocketServer>, request: Request) -> Response {
    server.upgrade(request).await.into_response()
}

async fn say(State(server): State<WebsocketServer>, Path(room): Path<String>, text: String) -> String {
    server.to_channel(&format!("/rooms/{room}")).send(Message::text(text)).unwrap().accepted.to_string()
}

fn rooms(server: &WebsocketServer) -> Router {
    Router::new()
        .route("/rooms/{room}", get(enter).post(say))
        .route("/me", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .with_state(server.clone())
}

/// Sends a request and reads the answer, at whose end the connection is closed.
async fn fetch(addr: SocketAddr, head: &str, body: &str) -> String {
    let mut peer = RawPeer::connect(addr).await;
    let head =
        format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    peer.write(format!("{head}{body}").as_bytes()).await;
    String::from_utf8(peer.all().await).unwrap()
}

#[tokio::test]
async fn one_route_makes_connections_and_another_sends_to_them() {
    let server = WebsocketServer::new(ServerParams::mounted());
    let mut events = server.events();
    server.start().await.unwrap();
    let addr = serve(rooms(&server)).await;
    let client = connected(params(addr).path("/rooms/kitchen")).await;
    let mut heard = client.events();
    let connection = opened(&mut events).await;
    assert_eq!(connection.channel(), "/rooms/kitchen");
    assert_eq!(connection.client_addr(), Some(addr.ip()));
    assert_ne!(connection.peer_addr().unwrap().port(), addr.port());
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(received(&mut events).await.as_text(), Some("hello"));
    assert!(fetch(addr, "POST /rooms/kitchen", "dinner").await.ends_with("\r\n\r\n1"));
    assert!(fetch(addr, "POST /rooms/hall", "nobody").await.ends_with("\r\n\r\n0"));
    assert_eq!(message(&mut heard).await.as_text(), Some("dinner"));
    server.stop().await;
    assert!(ended(&mut events).await.clean);
    // The application goes on without.
    assert!(fetch(addr, "GET /me", "").await.contains("127.0.0.1:"));
    let late = WebsocketClient::new(params(addr).path("/rooms/kitchen")).unwrap();
    assert!(matches!(late.connect().await, Err(ConnectError::Rejected { status: 503, .. })));
}

#[tokio::test]
async fn inside_nested_routers_the_channel_is_the_path_that_the_client_requested() {
    let server = WebsocketServer::new(ServerParams::mounted());
    let mut events = server.events();
    server.start().await.unwrap();
    let nested = Router::new().nest("/v1", rooms(&server)).nest_service("/service", rooms(&server));
    let addr = serve(Router::new().nest("/api", nested)).await;
    for path in ["/api/v1/rooms/kitchen", "/api/service/rooms/hall"] {
        let client = connected(ClientParams::url(&format!("ws://{addr}{path}?lang=de")).unwrap()).await;
        let mut heard = client.events();
        let connection = opened(&mut events).await;
        assert_eq!((connection.channel(), connection.request().channel()), (path, path));
        assert_eq!(connection.query("lang").as_deref(), Some("de"));
        assert_eq!(server.to_channel(path).send_text("dinner").unwrap().accepted, 1);
        assert_eq!(message(&mut heard).await.as_text(), Some("dinner"));
    }
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let server = WebsocketServer::new(ServerParams::mounted());
    let mut events = server.events();
    server.start().await.unwrap();
    let addr = serve(rooms(&server)).await;
    let client = connected(params(addr).path("/rooms/hall")).await;
    let mut heard = client.events();
    let _ = opened(&mut events).await;
    let large = Message::binary(vec![7; 900_000]);
    client.send(&large).await.unwrap();
    assert_eq!(received(&mut events).await.len(), 900_000);
    server.broadcast(&large).unwrap();
    assert_eq!(message(&mut heard).await.len(), 900_000);
}

#[tokio::test]
async fn the_application_says_who_it_is_after_its_own_middleware() {
    async fn session(headers: HeaderMap, mut request: Request, next: Next) -> Response {
        let cookie = headers.get("cookie").and_then(|cookie| cookie.to_str().ok());
        match cookie.and_then(|cookie| cookie.strip_prefix("user=")?.parse::<i64>().ok()) {
            Some(user) => {
                request.extensions_mut().insert(user);
                next.run(request).await
            }
            None => StatusCode::FORBIDDEN.into_response(),
        }
    }
    async fn enter(State(server): State<WebsocketServerAuth<i64>>, request: Request) -> Response {
        let user = *request.extensions().get::<i64>().unwrap();
        let place = Placement::new().channel("home");
        server.upgrade(request).placement(place).identified(Authenticated::new(user)).await.into_response()
    }
    let server = WebsocketServerAuth::<i64>::new(ServerParams::mounted(), MemoryUsers::new());
    let mut events = server.events();
    server.start().await.unwrap();
    let app =
        Router::new().route("/ws", get(enter)).layer(middleware::from_fn(session)).with_state(server.clone());
    let addr = serve(app).await;
    assert!(RawPeer::connect(addr).await.request("/ws", "").await.starts_with("HTTP/1.1 403 "));
    let _peer = RawPeer::open(addr, "/ws", "Cookie: user=9\r\n").await;
    let connection = opened(&mut events).await;
    assert_eq!((*connection.user_id(), connection.channel()), (9, "home"));
    assert!(server.is_user_connected(&9));
}

#[tokio::test]
async fn connections_per_address_are_counted_by_connect_info() {
    let limits = Limits::default().connections_per_ip(1);
    let server = WebsocketServer::new(ServerParams::mounted().limits(limits));
    server.start().await.unwrap();
    let addr = serve(rooms(&server)).await;
    let _held = RawPeer::open(addr, "/rooms/hall", "").await;
    let head = RawPeer::connect(addr).await.request("/rooms/hall", "").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    // Requests that are no connections of ours are not counted.
    assert!(fetch(addr, "GET /me", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_router_answers_behind_the_servers_own_port() {
    let router = Router::new()
        .route("/me", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route("/echo", post(|text: String| async move { text }));
    let server = WebsocketServer::new(ServerParams::local().fallback_router(router));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let from = peer.stream.local_addr().unwrap().to_string();
    peer.write(b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(peer.take(from.len()).await, from.as_bytes());
    assert!(peer.request("/me", "").await.starts_with("HTTP/1.1 101 "));
    assert_eq!(opened(&mut events).await.channel(), "/me");
    assert!(fetch(addr, "POST /echo", "text").await.ends_with("\r\n\r\ntext"));
    assert!(fetch(addr, "GET /nowhere", "").await.starts_with("HTTP/1.1 404 "));
    drop(peer);
    within(server.stop()).await;
}
