//! Deployed peers of WebsocketsSimple v7, with the bytes that were recorded of them.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_client::{ConnectError, WebsocketClient};
use websockets_simple_server::{
    Compatibility, ConnectionEventKind, Event, MemoryUsers, Message, ServerParams, WebsocketServerAuth,
};
use websockets_simple_tests::{
    next, opened, params,
    raw::{RawFrame, RawPeer},
    started, text,
    traces::{V7_CLIENT, V7_SERVER, bytes},
    within,
};

#[tokio::test]
async fn every_recorded_handshake_frame_and_close_of_the_v7_client_is_understood() {
    let users = MemoryUsers::new();
    users.add("tok", 7_i64);
    let server_params = ServerParams::local()
        .compatibility(Compatibility::DotNetV7)
        .success_text("Connected Successfully")
        .subprotocols(["p1"]);
    let server = WebsocketServerAuth::<i64>::new(server_params, users);
    let mut events = server.events();
    let addr = started(&server).await;
    let requests = bytes(V7_CLIENT, "request:");
    let with_token: Vec<_> =
        requests.iter().filter(|request| request.windows(4).any(|word| word == b" tok")).collect();
    assert!(with_token.len() > 5);
    for request in with_token {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(request).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(peer.next().await, Some(RawFrame::text("Connected Successfully")));
        let connection = opened(&mut events).await;
        let target = String::from_utf8_lossy(request).split(' ').nth(1).unwrap().to_owned();
        assert_eq!(connection.channel(), target.split('?').next().unwrap(), "the path is the channel");
        for frame in bytes(V7_CLIENT, "recv").iter().filter(|frame| frame[0] != 0x8A) {
            let last = frame[0] == 0x88;
            if last && frame.len() != 21 {
                continue;
            }
            peer.write(frame).await;
        }
        let (mut story, mut end) = (Vec::new(), None);
        next(&mut events, |event| {
            match event {
                Event::Message(event) => story.push(event.message),
                Event::Connection(event) => {
                    if let ConnectionEventKind::Disconnected(_, ended) = event.kind {
                        end = Some(ended);
                    }
                }
                Event::Error(event) => panic!("{event:?}"),
                _ => {}
            }
            end.is_some().then_some(())
        })
        .await;
        assert_eq!(story, [Message::text("x"), Message::binary(vec![1, 2])]);
        let end = end.unwrap();
        assert_eq!((end.code, end.reason.as_str(), end.clean), (Some(1000), "Disconnection", true));
    }
}

#[tokio::test]
async fn a_v7_client_without_a_known_token_gets_an_answer_instead_of_silence() {
    let server_params = ServerParams::local().compatibility(Compatibility::DotNetV7).subprotocols(["p1"]);
    let server = WebsocketServerAuth::<i64>::new(server_params, MemoryUsers::new());
    let addr = started(&server).await;
    for request in bytes(V7_CLIENT, "request:") {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(&request).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 401 "));
    }
}

/// Answers the handshake with these bytes and says this, then keeps the socket open.
async fn scripted(
    refusal: Option<&'static [u8]>,
    say: Vec<u8>,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        match refusal {
            Some(bytes) => stream.write_all(bytes).await.unwrap(),
            None => {
                let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
                let accept = derive_accept_key(key.as_bytes());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&say).await.unwrap();
            }
        }
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        request
    });
    (addr, task)
}

#[tokio::test]
async fn our_client_shows_its_token_in_the_header_and_its_path_as_the_channel() {
    let hello = bytes(V7_SERVER, "recv").into_iter().find(|bytes| bytes.starts_with(b"\x81\x16")).unwrap();
    let (addr, task) = scripted(None, hello).await;
    let client =
        WebsocketClient::new(params(addr).path("/chan").token("tok").compatibility(Compatibility::DotNetV7))
            .unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(text(&mut heard).await, "Connected Successfully");
    drop(client);
    let request = within(task).await.unwrap();
    assert!(
        request.starts_with("GET /chan HTTP/1.1\r\n")
            && request.contains("\r\nAuthorization: Bearer tok\r\n")
    );
}

#[tokio::test]
async fn the_bare_refusal_of_a_v7_server_is_unauthorized() {
    let (addr, _task) = scripted(Some(b"Not authorized"), Vec::new()).await;
    let client =
        WebsocketClient::new(params(addr).token("tok").compatibility(Compatibility::DotNetV7)).unwrap();
    match client.connect().await {
        Err(ConnectError::Unauthorized { message }) => assert_eq!(message, "Not authorized"),
        other => panic!("{other:?}"),
    }
}
