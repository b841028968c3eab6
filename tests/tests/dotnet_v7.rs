//! Deployed peers of WebsocketsSimple v7, with the bytes that were recorded of them.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_client::{ConnectError, WebsocketClient};
use websockets_simple_server::{
    Compatibility, ConnectionEventKind, Event, Heartbeat, HeartbeatMode, MemoryUsers, Message, ServerParams,
    WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    ended, next, opened, params,
    raw::{RawFrame, RawPeer},
    received, started, text,
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

#[tokio::test]
async fn a_token_in_the_query_and_several_subprotocols_are_taken_as_the_original_took_them() {
    let users = MemoryUsers::new();
    users.add("a good one", 7_i64);
    let server_params =
        ServerParams::local().compatibility(Compatibility::DotNetV7).subprotocols(["p3", "p2"]);
    let server = WebsocketServerAuth::<i64>::new(server_params, users);
    let mut events = server.events();
    let addr = started(&server).await;
    let line = "Sec-WebSocket-Protocol: p1, p2\r\n";
    let _peer = RawPeer::open(addr, "/some/room?Token=a+good%20one&x=1", line).await;
    let connection = opened(&mut events).await;
    assert_eq!((connection.channel(), connection.subprotocol()), ("/some/room", Some("p2")));
    assert_eq!((connection.query("x").as_deref(), connection.query("Token")), (Some("1"), None));
    assert_eq!(*connection.user_id(), 7);
}

#[tokio::test]
async fn frames_that_were_tried_on_the_original_server_are_understood() {
    let server = WebsocketServer::new(ServerParams::local().compatibility(Compatibility::DotNetV7));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/some/path?x=1", "").await;
    opened(&mut events).await;
    // The last one is no UTF-8.
    let frames = bytes(V7_SERVER, "send");
    let last = frames.iter().position(|frame| frame == b"\x81\x82\x01\x02\x03\x04\xfe\xfc").unwrap();
    for frame in &frames[..=last] {
        peer.write(frame).await;
    }
    // `Ping` and `pong` are words like others here.
    let expected = [
        Message::text(r#"{"Data":"hi"}"#),
        Message::text(""),
        Message::text("   "),
        Message::text("pong"),
        Message::text("Ping"),
        Message::binary(vec![0, 1, 3, 0xFE]),
        Message::binary(vec![]),
        Message::binary(vec![0, 0]),
        Message::text("frag1frag2"),
        Message::text("one"),
        Message::text("two"),
        Message::text("three"),
        Message::text("abcdefghij"),
    ];
    for message in expected {
        assert_eq!(received(&mut events).await, message);
    }
    // Of pings in a row the last one has to be answered.
    let mut answers = peer.rest().await;
    assert_eq!(answers.pop().unwrap().close_code(), Some(1007));
    assert_eq!(answers.pop(), Some(RawFrame { first: 0x8A, payload: b"mid".to_vec() }));
    drop(peer);
    assert_eq!(ended(&mut events).await.code, Some(1007));
}

#[tokio::test]
async fn a_v7_client_is_pinged_by_frames_and_heard_by_its_pong_frames() {
    let heartbeat = Heartbeat::new(Duration::from_millis(50), HeartbeatMode::Ping);
    let server_params = ServerParams::local().compatibility(Compatibility::DotNetV7).heartbeat(heartbeat);
    let server = WebsocketServer::new(server_params);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    opened(&mut events).await;
    for _ in 0..4 {
        let ping = peer.next().await.unwrap();
        assert_eq!(ping.first, 0x89);
        peer.frame(0x8A, &ping.payload).await;
    }
    peer.text("still here").await;
    assert_eq!(received(&mut events).await.as_text(), Some("still here"));
}

#[tokio::test]
async fn no_frame_waits_for_the_next_one_in_a_client_that_takes_one_message_per_read() {
    let server = WebsocketServer::new(ServerParams::local().compatibility(Compatibility::DotNetV7));
    let mut events = server.events();
    let addr = started(&server).await;
    // On a busy machine a read may come too late; frames that share a write are together each time.
    let mut stalled = 0;
    for _ in 0..5 {
        let mut peer = RawPeer::open(addr, "/", "").await;
        let connection = opened(&mut events).await;
        for n in 0..5 {
            connection.send(Message::text(format!("{n}"))).await.unwrap();
        }
        let read = one_message_per_read(&mut peer, b"4").await;
        stalled = 5 - read;
        if stalled == 0 {
            break;
        }
    }
    assert_eq!(stalled, 0, "frames shared a write");
}

/// Messages that a v7 peer has taken once the frame that ends in `last` has arrived.
async fn one_message_per_read(peer: &mut RawPeer, last: &[u8]) -> usize {
    let mut taken = 0;
    loop {
        let read = peer.one_read().await;
        taken += 1;
        if read.is_empty() || read.ends_with(last) {
            return taken;
        }
    }
}

/// One connection of a server that behaves as v7 does.
struct Scripted {
    addr: std::net::SocketAddr,
    /// The request and the frames it took.
    outcome: tokio::task::JoinHandle<(String, Vec<RawFrame>)>,
}

impl Scripted {
    /// Answers the handshake, says this, takes frames until Close.
    async fn serve(say: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let outcome = tokio::spawn(async move {
            let mut peer = RawPeer::new(listener.accept().await.unwrap().0);
            let request = peer.head().await;
            let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let accept = derive_accept_key(key.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            peer.write(head.as_bytes()).await;
            peer.write(&say).await;
            let mut frames = Vec::new();
            while let Some(frame) = peer.next_of_new_read().await {
                let close = frame.first == 0x88;
                frames.push(frame);
                if close {
                    peer.write(b"\x88\x0c\x03\xe8Disconnect").await;
                    break;
                }
            }
            (request, frames)
        });
        Self { addr, outcome }
    }

    /// Says this instead of an answer and leaves the socket open.
    async fn refuse(say: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let outcome = tokio::spawn(async move {
            let mut peer = RawPeer::new(listener.accept().await.unwrap().0);
            let request = peer.head().await;
            peer.write(say).await;
            peer.all().await;
            (request, Vec::new())
        });
        Self { addr, outcome }
    }

    fn client(&self) -> WebsocketClient {
        let params = params(self.addr).path("/chan").token("tok").compatibility(Compatibility::DotNetV7);
        WebsocketClient::new(params).unwrap()
    }
}

#[tokio::test]
async fn our_client_shows_its_token_in_the_header_and_its_path_as_the_channel() {
    let hello = bytes(V7_SERVER, "recv").into_iter().find(|bytes| bytes.starts_with(b"\x81\x16")).unwrap();
    let server = Scripted::serve(hello).await;
    let client = server.client();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(text(&mut heard).await, "Connected Successfully");
    assert!(within(client.disconnect()).await.unwrap().clean);
    let (request, _) = within(server.outcome).await.unwrap();
    assert!(
        request.starts_with("GET /chan HTTP/1.1\r\n")
            && request.contains("\r\nAuthorization: Bearer tok\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn no_frame_waits_for_the_next_one_in_a_server_that_takes_one_message_per_read() {
    let mut expected: Vec<_> = (0..5).map(|n| RawFrame::text(&n.to_string())).collect();
    expected.push(RawFrame { first: 0x82, payload: vec![0, 1] });
    // On a busy machine it may read too late; what shares a write stalls each time, the Close at the latest.
    let mut taken = Vec::new();
    for _ in 0..5 {
        let server = Scripted::serve(Vec::new()).await;
        let client = server.client();
        client.connect().await.unwrap();
        for n in 0..5 {
            client.send(Message::text(n.to_string())).await.unwrap();
        }
        client.send(Message::binary(vec![0, 1])).await.unwrap();
        let end = within(client.disconnect()).await.unwrap();
        taken = within(server.outcome).await.unwrap().1;
        if end.clean {
            break;
        }
    }
    assert_eq!(taken.pop().and_then(|frame| frame.close_code()), Some(1000));
    assert_eq!(taken, expected);
}

#[tokio::test]
async fn the_bare_refusals_of_a_v7_server_are_typed_errors() {
    let server = Scripted::refuse(b"Not authorized").await;
    match server.client().connect().await {
        Err(ConnectError::Unauthorized { message, .. }) => assert_eq!(message, "Not authorized"),
        other => panic!("{other:?}"),
    }
    // The socket is let go of, although the server did not.
    within(server.outcome).await.unwrap();
    let server = Scripted::refuse(b"Invalid subprotocols requested").await;
    let refused = server.client().connect().await;
    assert!(matches!(refused, Err(ConnectError::SubprotocolRejected)), "{refused:?}");
}

#[tokio::test]
async fn the_word_ping_of_a_v7_server_is_a_message_like_any_other() {
    let server = Scripted::serve(b"\x81\x04Ping".to_vec()).await;
    let client = server.client();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(text(&mut heard).await, "Ping");
    within(client.disconnect()).await;
    let (_, frames) = within(server.outcome).await.unwrap();
    assert_eq!(frames.len(), 1, "no pong, only the Close: {frames:?}");
}
