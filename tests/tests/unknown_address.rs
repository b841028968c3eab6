//! What is said about peers without an address. Alone in its process, as is what else captures the log.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use websockets_simple_server::{Limits, ServerParams, WebsocketServer};
use websockets_simple_tests::{captured::Captured, connected, params};

async fn enter(State(server): State<WebsocketServer>, request: Request) -> Response {
    server.upgrade(request).await.into_response()
}

/// Connects twice to an application that does not pass the address of its peers on.
async fn served_without_connect_info(params_of_server: ServerParams) {
    let server = WebsocketServer::new(params_of_server);
    server.start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/", get(enter)).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    for _ in 0..2 {
        connected(params(addr)).await;
    }
}

#[tokio::test]
async fn a_limit_per_address_that_cannot_apply_is_said_once() {
    let log = Captured::everything();
    let warnings = || log.text().matches("connections per IP address are not limited").count();
    let unlimited = Limits::default().connections_per_ip(usize::MAX);
    served_without_connect_info(ServerParams::mounted().limits(unlimited)).await;
    assert_eq!(warnings(), 0);
    served_without_connect_info(ServerParams::mounted()).await;
    assert_eq!(warnings(), 1, "{}", log.text());
    assert!(log.text().contains("into_make_service_with_connect_info"));
}
