//! Control messages beside a subprotocol of the application.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use chrono::{TimeDelta, Utc};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use websockets_simple_client::{ClientParams, GroupError, Token, WebsocketClient};
use websockets_simple_server::{
    Compatibility, Endpoint, Heartbeat, HeartbeatMode, MemoryUsers, ServerParams, WebsocketServer,
    WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, http2::Http2Client, message, opened, params, raw::RawPeer, received, started, within,
};

/// Clients may be in any group of a server for `chat.v1`.
fn chat(params: ServerParams) -> WebsocketServer {
    WebsocketServer::new(params.subprotocols(["chat.v2", "chat.v1"])).with_group_rule(|_, _| true)
}

fn asking(addr: SocketAddr) -> ClientParams {
    params(addr).subprotocol("chat.v1")
}

#[tokio::test]
async fn a_client_with_a_subprotocol_of_its_own_joins_and_leaves_groups() {
    let server = chat(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(asking(addr)).unwrap();
    let mut heard = client.events();
    let connection = client.connect().await.unwrap();
    assert_eq!((connection.subprotocol(), connection.has_controls()), (Some("chat.v1"), true));
    let serving = opened(&mut events).await;
    assert_eq!((serving.subprotocol(), serving.has_controls()), (Some("chat.v1"), true));
    within(client.join("red")).await.unwrap();
    server.to_group("/", "red").send("to red").unwrap();
    assert!(message(&mut heard).await.as_text().unwrap().contains("to red"), "and the hello was no message");
    within(client.leave("red")).await.unwrap();
    assert!(serving.groups().is_empty());
}

#[tokio::test]
async fn a_token_is_renewed_beside_a_subprotocol_of_the_application() {
    let users = MemoryUsers::new();
    users.add_until("first", "Ronald".to_owned(), Utc::now() + TimeDelta::seconds(10));
    users.add_until("second", "Ronald".to_owned(), Utc::now() + TimeDelta::hours(2));
    let server = WebsocketServerAuth::<String>::new(ServerParams::local().subprotocols(["chat.v1"]), users);
    let mut events = server.events();
    let addr = started(&server).await;
    let given = std::sync::atomic::AtomicBool::new(false);
    let provider = move |_| {
        let again = given.swap(true, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(Ok(Token::new(if again { "second" } else { "first" })))
    };
    let client = connected(asking(addr).token_provider(provider)).await;
    assert_eq!(client.connection().unwrap().subprotocol(), Some("chat.v1"));
    let serving = opened(&mut events).await;
    within(async {
        // Asked at once, as the notice of 60 s is longer than the first token is good.
        while serving.authenticated().expiry().unwrap() < Utc::now() + TimeDelta::hours(1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_of_dotnet_servers_and_a_plain_peer_have_the_subprotocol_alone() {
    let server = chat(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(asking(addr).compatibility(Compatibility::DotNetV7)).await;
    let connection = client.connection().unwrap();
    assert_eq!((connection.subprotocol(), connection.has_controls()), (Some("chat.v1"), false));
    assert_eq!(client.join("red").await, Err(GroupError::NoControls));
    let serving = opened(&mut events).await;
    assert_eq!((serving.subprotocol(), serving.has_controls()), (Some("chat.v1"), false));
    let mut peer = RawPeer::open(addr, "/", "Sec-WebSocket-Protocol: chat.v1\r\n").await;
    opened(&mut events).await.send_text("the first").await.unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "the first");
}

#[tokio::test]
async fn a_server_of_another_library_chooses_the_name_that_it_knows() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = "Sec-WebSocket-Protocol: chat.v1\r\n";
    let (client, (head, mut peer)) =
        tokio::join!(connected(asking(addr)), RawPeer::accept_with(&listener, answer));
    assert!(head.contains("websockets-simple+chat.v1, chat.v1\r\n"), "{head}");
    let connection = client.connection().unwrap();
    assert_eq!((connection.subprotocol(), connection.has_controls()), (Some("chat.v1"), false));
    let mut heard = client.events();
    let hello = "{\"websockets-simple\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"type\":\"hello\"}";
    peer.write(&websockets_simple_tests::raw::unmasked(0x81, hello.as_bytes())).await;
    assert_eq!(message(&mut heard).await.as_text(), Some(hello), "which it cannot mean");
}

#[tokio::test]
async fn an_http_server_of_the_application_upgrades_to_both() {
    let server = chat(ServerParams::local());
    let mut events = server.events();
    started(&server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mounted = server.clone();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let upgrade = mounted.upgrade(request);
            async move { Ok::<_, Infallible>(upgrade.await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connection.with_upgrades().await
    });
    let client = connected(asking(addr)).await;
    let connection = client.connection().unwrap();
    assert_eq!((connection.subprotocol(), connection.has_controls()), (Some("chat.v1"), true));
    assert!(opened(&mut events).await.has_controls());
    within(client.join("red")).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_http_2_has_both() {
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).http2_prior_knowledge();
    let server = chat(ServerParams::mounted().endpoint(endpoint));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = Http2Client::connect(addr).await;
    let offer = [("sec-websocket-protocol", "chat.v1, websockets-simple+chat.v1")];
    let (mut peer, response) = client.open(addr, "/", &offer).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "websockets-simple+chat.v1");
    let serving = opened(&mut events).await;
    assert_eq!((serving.subprotocol(), serving.has_controls()), (Some("chat.v1"), true));
    let hello = peer.next().await.unwrap().as_text();
    let word = &hello[..45];
    peer.text(&format!("{word},\"type\":\"join\",\"group\":\"red\"}}")).await;
    assert_eq!(
        peer.next().await.unwrap().as_text(),
        format!("{word},\"type\":\"joined\",\"group\":\"red\"}}")
    );
}

#[tokio::test]
async fn a_hello_tells_what_the_server_understands_and_how_often_it_pings() {
    let text = Heartbeat::new(Duration::from_millis(1500), HeartbeatMode::Text);
    let frames = Heartbeat::new(Duration::from_secs(120), HeartbeatMode::Ping);
    for (heartbeat, told) in
        [(text, ",\"ping_seconds\":2"), (frames, ",\"ping_seconds\":120"), (Heartbeat::off(), "")]
    {
        let server = WebsocketServer::new(ServerParams::local().heartbeat(heartbeat));
        let addr = started(&server).await;
        let mut peer = RawPeer::open(addr, "/", "Sec-WebSocket-Protocol: websockets-simple\r\n").await;
        let hello = peer.next().await.unwrap().as_text();
        let (_, rest) = hello.split_once("\"type\":").unwrap();
        let known = "\"hello\",\"speaks\":[\"closing\",\"probe\"],\"agent\":\"websockets-simple/0.1\"";
        assert_eq!(rest, format!("{known}{told}}}"));
    }
}

#[tokio::test]
async fn a_server_that_stops_says_over_how_long_to_come_back_to_those_who_understand_it() {
    let server = chat(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(asking(addr)).await;
    let connection = client.connection().unwrap();
    opened(&mut events).await;
    // Behind what the client has answered to the hello.
    within(client.join("red")).await.unwrap();
    let mut silent = RawPeer::open(addr, "/", "Sec-WebSocket-Protocol: websockets-simple\r\n").await;
    let hello = silent.next().await.unwrap();
    assert_eq!(connection.closing_spread(), None);
    let (_, ()) = tokio::join!(within(server.stop()), async {
        let frame = silent.next().await.unwrap();
        assert_eq!(frame.close_code(), Some(1001), "{hello:?}: it has answered nothing");
        drop(silent);
    });
    within(async {
        while connection.end().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(connection.end().unwrap().code, Some(1001));
    assert_eq!(connection.closing_spread(), Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_probe_is_answered_and_no_message() {
    let server = chat(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "Sec-WebSocket-Protocol: websockets-simple\r\n").await;
    let hello = peer.next().await.unwrap().as_text();
    let (word, _) = hello.split_once("\"type\":").unwrap();
    for n in 0..300 {
        peer.text(&format!("{word}\"type\":\"probe\",\"n\":{n}}}")).await;
        assert_eq!(peer.next().await.unwrap().as_text(), format!("{word}\"type\":\"alive\",\"n\":{n}}}"));
    }
    peer.text("the first message").await;
    assert_eq!(received(&mut events).await.as_text(), Some("the first message"));
}
