//! Deployed peers of WebsocketsSimple v6, with the bytes that were recorded of them.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use websockets_simple_client::{
    ClientEvent, ClientParams, ConnectError, SendError, WebsocketClient, dotnet::V6Loss,
};
use websockets_simple_server::{
    Compatibility, ConnectionEventKind, DefaultPacket, EndedBy, ErrorStage, Event, Events, Heartbeat,
    HeartbeatMode, MemoryUsers, Message, Packet, ServerParams, User, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected,
    dotnet_v6_server::{DISCONNECT, DotNetV6Server, Manner, text_frame},
    ended, message, next, opened,
    raw::{RawFrame, RawPeer},
    received, started, text,
    traces::{V6_AUTH_SERVER, V6_CLIENT, V6_CLOSING, V6_SERVER, bytes},
    way::{Plain, Tls, Way},
    within,
};

type Told = Events<Event<User<i64>>>;

async fn server(params: ServerParams) -> (WebsocketServerAuth<i64>, Told, std::net::SocketAddr) {
    let users = MemoryUsers::new();
    // The path of the recorded requests, as the v6 client encodes it.
    for token in ["tok", "a%20b/c?d=%C3%A9"] {
        users.add(token, 7_i64);
    }
    let params = params
        .compatibility(Compatibility::DotNetV6)
        .success_text("Connected Successfully")
        .unauthorized_text("Not authorized")
        .subprotocols(["p1", "P1"]);
    let server = WebsocketServerAuth::<i64>::new(params, users);
    let events = server.events();
    let addr = started(&server).await;
    (server, events, addr)
}

/// A v6 client's own handshake, up to the success text.
async fn client(addr: std::net::SocketAddr, request: &[u8]) -> RawPeer {
    let mut peer = RawPeer::connect(addr).await;
    peer.write(request).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nConnection: Upgrade\r\n"), "{head}");
    assert_eq!(peer.next().await, Some(RawFrame::text("Connected Successfully")));
    peer
}

#[tokio::test]
async fn every_recorded_handshake_of_the_v6_client_gets_its_user_in() {
    let (server, mut events, addr) = server(ServerParams::local()).await;
    let requests = bytes(V6_CLIENT, "request:");
    assert_eq!(requests.len(), 17);
    for request in &requests {
        let mut peer = client(addr, request).await;
        assert_eq!(*opened(&mut events).await.user_id(), 7);
        peer.frame(0x88, &1000_u16.to_be_bytes()).await;
        assert!(peer.rest().await.iter().any(|frame| frame.close_code() == Some(1000)));
    }
    drop(server);
}

#[tokio::test]
async fn the_first_frame_does_not_share_a_segment_with_the_101() {
    let (_server, _events, addr) = server(ServerParams::local()).await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(&bytes(V6_CLIENT, "request:")[0]).await;
    let answer = peer.one_read().await;
    assert!(
        answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(b"\r\n\r\n"),
        "the 101 and nothing else"
    );
    let first = bytes(V6_SERVER, "recv").into_iter().find(|bytes| bytes.starts_with(b"\x81\x16")).unwrap();
    assert_eq!(peer.one_read().await, first, "the recorded first frame of the original server");
}

#[tokio::test]
async fn recorded_frames_and_close_of_the_v6_client_are_understood() {
    let (server, mut events, addr) = server(ServerParams::local()).await;
    let mut peer = client(addr, &bytes(V6_CLIENT, "request:")[0]).await;
    opened(&mut events).await;
    let recorded = bytes(V6_CLIENT, "recv");
    let packet = recorded.iter().find(|frame| frame.starts_with(b"\x81\xb7")).unwrap();
    peer.write(packet).await;
    let received = received(&mut events).await;
    let packet = received.try_packet::<DefaultPacket>().unwrap();
    assert_eq!(packet.data(), "x");
    assert_eq!(Message::from_json(&packet).unwrap(), received, "and goes back byte for byte");
    // Its Close, and then it hangs up without waiting.
    let close = recorded.iter().find(|frame| frame.starts_with(b"\x88\x82")).unwrap();
    peer.write(close).await;
    drop(peer);
    let end = next(&mut events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Disconnected(_, end) => Some(end),
            _ => None,
        },
        Event::Error(event) => panic!("{event:?}"),
        _ => None,
    })
    .await;
    assert_eq!((end.code, end.clean), (Some(1000), true));
    assert!(!server.is_user_connected(&7));
}

#[tokio::test]
async fn a_v6_client_that_only_hangs_up_after_our_close_ended_in_order() {
    let (_server, mut events, addr) = server(ServerParams::local()).await;
    let mut peer = client(addr, &bytes(V6_CLIENT, "request:")[0]).await;
    opened(&mut events).await.close(websockets_simple_server::CloseCode::NORMAL, "Disconnect");
    let close = peer.next().await.unwrap();
    let recorded = bytes(V6_CLOSING, "recv").into_iter().find(|bytes| bytes.starts_with(b"\x88")).unwrap();
    assert_eq!(recorded, DISCONNECT);
    assert_eq!((close.first, close.payload.as_slice()), (0x88, &DISCONNECT[2..]));
    drop(peer);
    let end = ended(&mut events).await;
    assert!(end.clean, "{end:?}");
}

#[tokio::test]
async fn the_text_ping_is_spelled_as_recorded_and_any_pong_is_swallowed() {
    let heartbeat = Heartbeat::new(Duration::from_millis(100), HeartbeatMode::Text);
    let (_server, mut events, addr) = server(ServerParams::local().heartbeat(heartbeat)).await;
    let mut peer = client(addr, &bytes(V6_CLIENT, "request:")[0]).await;
    let ping = bytes(V6_AUTH_SERVER, "recv").into_iter().find(|bytes| bytes.ends_with(b"ing")).unwrap();
    let pong = bytes(V6_CLIENT, "recv").into_iter().find(|bytes| bytes.starts_with(b"\x81\x84")).unwrap();
    for n in 0..4 {
        let frame = peer.next().await.unwrap();
        assert_eq!([&[frame.first, frame.payload.len() as u8][..], &frame.payload].concat(), ping);
        match n {
            0 => peer.write(&pong).await,
            1 => peer.text("  PONG\r\n").await,
            _ => peer.text("pong").await,
        }
    }
    peer.text("a message").await;
    let first = received(&mut events).await;
    assert_eq!(first.as_text(), Some("a message"), "no pong surfaced");
    let mut rest = peer.rest().await.into_iter().map(|frame| frame.as_text());
    assert!(rest.any(|text| text == "No ping response - disconnected."));
}

fn params(server: &DotNetV6Server) -> ClientParams {
    websockets_simple_tests::params(server.addr).token("good").compatibility(Compatibility::DotNetV6)
}

#[tokio::test]
async fn our_client_talks_to_a_v6_server_and_makes_it_let_go() {
    for manner in [Manner::default(), Manner { glued: true, ..Manner::default() }] {
        let mut server = DotNetV6Server::serve(manner).await;
        let client = WebsocketClient::new(params(&server)).unwrap();
        let mut heard = client.events();
        client.connect().await.unwrap();
        assert_eq!(text(&mut heard).await, "Connected Successfully");
        client.send(Message::text("hello")).await.unwrap();
        assert_eq!(within(server.heard.recv()).await.unwrap(), "hello");
        server.say.send(b"\x81\x04Ping".to_vec()).unwrap();
        assert_eq!(within(server.heard.recv()).await.unwrap(), "pong");
        server.say.send(b"\x81\x05heard".to_vec()).unwrap();
        assert_eq!(text(&mut heard).await, "heard", "the Ping did not surface");
        // Texts cut inside a character, as recorded.
        server.say.send(b"\x81\x02\xe6\x97".to_vec()).unwrap();
        assert_eq!(text(&mut heard).await, "\u{FFFD}");
        server.say.send(b"\x81\x09h\xc3\xa9llo ra".to_vec()).unwrap();
        assert_eq!(text(&mut heard).await, "héllo ra");
        let end = within(client.disconnect()).await.unwrap();
        assert!(end.clean, "{end:?}");
        let outcome = within(server.outcome).await.unwrap();
        assert_eq!(outcome.token, "good");
        assert!(outcome.let_go, "the second Close makes it let go");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_v6_server_before_its_success_text() {
    let mut server = DotNetV6Server::serve(Manner { slow_success: true, ..Manner::default() }).await;
    let client = WebsocketClient::new(params(&server)).unwrap();
    let mut heard = client.events();
    let (connect, say) = (client.connect(), async {
        within(async {
            while client.connection().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server.say.send(b"\x81\x04next".to_vec()).unwrap();
    });
    let (connected, ()) = tokio::join!(connect, say);
    connected.unwrap();
    client.send(Message::text("after")).await.unwrap();
    assert_eq!(text(&mut heard).await, "Connected Successfully");
    assert_eq!(message(&mut heard).await.as_text(), Some("next"));
    assert_eq!(within(server.heard.recv()).await.unwrap(), "after");
    within(client.disconnect()).await;
    assert!(within(server.outcome).await.unwrap().let_go);
}

#[tokio::test]
async fn the_refusals_of_a_v6_server_become_typed_errors() {
    let server = DotNetV6Server::serve(Manner::default()).await;
    let client = WebsocketClient::new(params(&server).token("bad")).unwrap();
    let refused = client.connect().await;
    assert!(matches!(refused, Err(ConnectError::Unauthorized { .. })), "{refused:?}");
    let server = DotNetV6Server::serve(Manner::default()).await;
    let client = WebsocketClient::new(params(&server).subprotocol("unknown")).unwrap();
    let refused = client.connect().await;
    assert!(matches!(refused, Err(ConnectError::SubprotocolRejected)), "{refused:?}");
}

#[tokio::test]
async fn our_v6_ends_talk_to_each_other() {
    let (server, mut events, addr) = server(ServerParams::local()).await;
    let params = websockets_simple_tests::params(addr).token("tok").compatibility(Compatibility::DotNetV6);
    let client = connected(params).await;
    opened(&mut events).await;
    client.send("hello").await.unwrap();
    let received = received(&mut events).await;
    assert_eq!(received.packet::<DefaultPacket>().unwrap().data(), "hello");
    assert!(within(client.disconnect()).await.unwrap().clean);
    drop(server);
}

/// The longest text that a v6 server reads arrives, and a longer one is an error before any of it leaves.
async fn longest(way: impl Way, most: u32) {
    let params = way.server().compatibility(Compatibility::DotNetV6).success_text("Connected Successfully");
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(way.client(addr).compatibility(Compatibility::DotNetV6)).await;
    let text = |len: u32| "x".repeat(len as usize);
    client.send_text(text(most)).await.unwrap();
    assert_eq!(received(&mut events).await.as_text(), Some(text(most).as_str()));
    match client.send_text(text(most + 1)).await {
        Err(SendError::Unreadable(loss)) => assert_eq!(loss, V6Loss::TooLong { most }),
        other => panic!("{other:?}"),
    }
    client.send_text("last").await.unwrap();
    assert_eq!(received(&mut events).await.as_text(), Some("last"));
    assert!(within(client.disconnect()).await.unwrap().clean);
}

#[tokio::test]
async fn a_v6_server_is_sent_at_most_65_535_bytes() {
    longest(Plain, 65_535).await;
}

#[tokio::test]
async fn over_tls_a_v6_server_is_sent_at_most_16_376_bytes() {
    longest(Tls::default(), 16_376).await;
}

#[tokio::test]
async fn a_v6_server_that_has_stopped_pinging_is_given_up_though_it_goes_on_talking() {
    let mut server = DotNetV6Server::serve(Manner::default()).await;
    let client = WebsocketClient::new(params(&server).close_timeout(Duration::from_millis(100))).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(text(&mut heard).await, "Connected Successfully");
    for _ in 0..3 {
        server.say.send(text_frame("Ping")).unwrap();
        assert_eq!(within(server.heard.recv()).await.unwrap(), "pong");
    }
    let (mut errors, mut end) = (Vec::new(), None);
    within(async {
        while end.is_none() {
            let _ = server.say.send(text_frame("talk"));
            match heard.recv().await.unwrap() {
                ClientEvent::Error(error) => errors.push(error.stage),
                ClientEvent::Connection(event) => {
                    if let ConnectionEventKind::Disconnected(_, told) = event.kind {
                        end = Some(told);
                    }
                }
                // What it is sent seems to arrive.
                _ => {
                    let _ = client.send_text("answer").await;
                }
            }
        }
    })
    .await;
    let end = end.unwrap();
    assert_eq!((end.by, end.code), (EndedBy::Heartbeat, Some(4000)));
    assert_eq!(end.reason, "the pings of the peer have stopped");
    assert_eq!(errors, [ErrorStage::Heartbeat]);
    assert!(!client.is_running());
}
