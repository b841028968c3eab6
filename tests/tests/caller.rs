//! Ordinary HTTP requests that belong to a connection.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use websockets_simple_client::{ClientParams, WebsocketClient};
use websockets_simple_server::{
    Anonymous, Caller, ErrorStage, IdSigning, InvalidSignature, Message, Placement, ServerParams,
    WebsocketServer,
};
use websockets_simple_tests::{next, raw::RawPeer, text};

async fn enter(State(server): State<WebsocketServer>, request: Request) -> Response {
    server.upgrade(request).placement(Placement::new().channel("Work").group("red")).await.into_response()
}

/// Answers over the WebSocket.
async fn work(Caller(caller): Caller<Anonymous>) -> String {
    caller.send(Message::text("done")).await.unwrap();
    caller.channel().to_owned()
}

async fn who(caller: Option<Caller<Anonymous>>) -> String {
    caller.map_or_else(|| "nobody".to_owned(), |Caller(caller)| caller.id().to_string())
}

async fn application(params: ServerParams) -> (WebsocketServer, SocketAddr) {
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    let app = Router::new().route("/ws", get(enter)).route("/work", post(work)).route("/who", get(who));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = app.with_state(server.clone()).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (server, addr)
}

/// The status and the body of an answer.
async fn ask(addr: SocketAddr, line: &str, headers: &str) -> (u16, String) {
    let mut peer = RawPeer::connect(addr).await;
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    peer.write(request.as_bytes()).await;
    let answer = String::from_utf8(peer.all().await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn a_request_with_the_headers_of_the_handshake_belongs_to_its_connection() {
    let (server, addr) =
        application(ServerParams::mounted().id_signing(IdSigning::new("super-secret"))).await;
    let client = WebsocketClient::new(ClientParams::url(&format!("ws://{addr}/ws")).unwrap()).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let info = client.connection().unwrap();
    let told = |name: &str| info.response_headers()[name].to_str().unwrap().to_owned();
    let id = told("X-PODE-SIGNAL-CLIENT-ID");
    assert_eq!((&*told("x-pode-signal-name"), &*told("x-pode-signal-group")), ("Work", "red"));
    let connection = server.to_all().connections().pop().unwrap();
    assert_eq!(id, connection.signed_id());
    assert_ne!(id, connection.id().to_string());

    let with = |rest: &str| format!("X-PODE-SIGNAL-CLIENT-ID: {id}\r\n{rest}");
    assert_eq!(ask(addr, "POST /work", &with("")).await, (200, "Work".to_owned()));
    assert_eq!(text(&mut heard).await, "done");
    let known = (200, connection.id().to_string());
    for rest in
        ["", "X-Pode-Signal-Name: Work\r\n", "x-pode-signal-name: Work\r\nx-pode-signal-group: red\r\n"]
    {
        assert_eq!(ask(addr, "GET /who", &with(rest)).await, known, "{rest}");
    }
    let nobody = (200, "nobody".to_owned());
    for headers in [
        String::new(),
        "X-PODE-SIGNAL-NAME: Work\r\n".to_owned(),
        "X-PODE-SIGNAL-NAME: Work\r\nX-PODE-SIGNAL-GROUP: red\r\n".to_owned(),
        with("X-PODE-SIGNAL-NAME: Other\r\n"),
        with("X-PODE-SIGNAL-GROUP: blue\r\n"),
        with("X-PODE-SIGNAL-GROUP: red\r\nX-PODE-SIGNAL-GROUP: blue\r\n"),
    ] {
        assert_eq!(ask(addr, "GET /who", &headers).await, nobody, "{headers}");
    }
    assert_eq!(ask(addr, "POST /work", "").await.0, 404);
    client.disconnect().await;
    connection.disconnect(websockets_simple_server::CloseCode::NORMAL, "").await;
    assert_eq!(ask(addr, "GET /who", &with("")).await, nobody, "it has ended");
}

#[tokio::test]
async fn a_wrong_signature_matches_nothing_and_is_told() {
    let signing = IdSigning::new("super-secret").strict(true);
    let (server, addr) = application(ServerParams::mounted().id_signing(signing.clone())).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/ws", "User-Agent: one\r\n").await.starts_with("HTTP/1.1 101 "));
    let connection = websockets_simple_tests::opened(&mut events).await;
    let (id, ip) = (connection.id(), Some(addr.ip()));
    let header = |id: &str, agent: &str| format!("X-PODE-SIGNAL-CLIENT-ID: {id}\r\nUser-Agent: {agent}\r\n");
    let right = header(&connection.signed_id(), "one");
    assert_eq!(ask(addr, "GET /who", &right).await, (200, id.to_string()));
    for wrong in [
        header(&id.to_string(), "one"),
        header(&connection.signed_id(), "two"),
        header(&signing.sign(id, "10.0.0.1".parse().ok(), Some("one")), "one"),
        header(&IdSigning::new("other").strict(true).sign(id, ip, Some("one")), "one"),
        header(&IdSigning::new("super-secret").sign(id, ip, Some("one")), "one"),
        header("s:.", "one"),
    ] {
        assert_eq!(ask(addr, "GET /who", &wrong).await, (200, "nobody".to_owned()), "{wrong}");
        let told = next(&mut events, |event| match event {
            websockets_simple_server::Event::Error(event) => Some(event),
            _ => None,
        })
        .await;
        assert_eq!(told.stage, ErrorStage::Signal);
        assert_eq!(told.error.downcast_ref::<InvalidSignature>(), Some(&InvalidSignature));
    }
}

#[tokio::test]
async fn the_prefix_of_the_headers_is_the_applications_to_choose() {
    let (server, addr) = application(ServerParams::mounted().identity_headers("X-Chat")).await;
    let head = RawPeer::connect(addr).await.request("/ws", "").await.to_ascii_lowercase();
    assert!(head.contains("\r\nx-chat-client-id: ") && head.contains("\r\nx-chat-name: work\r\n"), "{head}");
    assert!(!head.contains("pode"), "{head}");
    let mut peer = RawPeer::connect(addr).await;
    let mut events = server.events();
    peer.request("/ws", "").await;
    let connection = websockets_simple_tests::opened(&mut events).await;
    let id = connection.id().to_string();
    assert_eq!(ask(addr, "GET /who", &format!("X-Chat-Client-Id: {id}\r\n")).await, (200, id.clone()));
    assert_eq!(
        ask(addr, "GET /who", &format!("X-PODE-SIGNAL-CLIENT-ID: {id}\r\n")).await,
        (200, "nobody".to_owned())
    );
}
