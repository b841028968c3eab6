//! What a deployed v6 client needs of our server, and what its own server did to it.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{collections::HashSet, net::SocketAddr};

use websockets_simple_server::{
    Compatibility, ConnectionEventKind, DefaultPacket, EndedBy, Event, Events, MemoryUsers, Message,
    ServerEventKind, ServerParams, User, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    ended, next, opened,
    raw::{RawFrame, RawPeer, masked},
    received, started,
    traces::{V6_CLIENT, V6_CLOSING, V6_SERVER, bytes},
    within,
};

type Told = Events<Event<User<i64>>>;

/// The request of a v6 client with the token `tok`.
fn request() -> Vec<u8> {
    bytes(V6_CLIENT, "request:").swap_remove(0)
}

async fn server() -> (WebsocketServerAuth<i64>, Told, SocketAddr) {
    server_with(ServerParams::local()).await
}

async fn server_with(params: ServerParams) -> (WebsocketServerAuth<i64>, Told, SocketAddr) {
    let users = MemoryUsers::new();
    users.add("tok", 7_i64);
    let params = params
        .compatibility(Compatibility::DotNetV6)
        .success_text("Connected Successfully")
        .unauthorized_text("Not authorized")
        .subprotocols(["p2", "p1"]);
    let server = WebsocketServerAuth::<i64>::new(params, users);
    let events = server.events();
    let addr = started(&server).await;
    (server, events, addr)
}

/// A server and a v6 client that has heard the success text.
async fn connected() -> (WebsocketServerAuth<i64>, Told, RawPeer) {
    connected_to(ServerParams::local()).await
}

async fn connected_to(params: ServerParams) -> (WebsocketServerAuth<i64>, Told, RawPeer) {
    let (server, mut events, addr) = server_with(params).await;
    let mut peer = RawPeer::connect(addr).await;
    peer.write(&request()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.next().await, Some(RawFrame::text("Connected Successfully")));
    opened(&mut events).await;
    (server, events, peer)
}

/// Everything that a server still tells, up to its stop.
async fn rest_of_story(server: &WebsocketServerAuth<i64>, events: &mut Told) -> Vec<Event<User<i64>>> {
    within(server.stop()).await;
    let mut story = Vec::new();
    next(events, |event| {
        let stopped =
            matches!(&event, Event::Server(event) if matches!(event.kind, ServerEventKind::Stopped(_)));
        story.push(event);
        stopped.then_some(())
    })
    .await;
    story
}

#[tokio::test]
async fn the_case_of_a_subprotocol_counts_only_where_no_dotnet_peer_is_expected() {
    for (mode, agree) in
        [(Compatibility::DotNetV6, true), (Compatibility::DotNetV7, true), (Compatibility::None, false)]
    {
        let params = ServerParams::local().compatibility(mode).subprotocols(["Chat", "v2"]);
        let server = WebsocketServer::new(params);
        let mut events = server.events();
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request("/", "Sec-WebSocket-Protocol: V2, CHAT\r\n").await;
        if !agree {
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
            continue;
        }
        assert!(head.to_lowercase().contains("\r\nsec-websocket-protocol: chat\r\n"), "{head}");
        assert!(head.contains(": CHAT\r\n"), "browsers want it as they spell it: {head}");
        assert_eq!(opened(&mut events).await.subprotocol(), Some("Chat"), "as the server spells it");
    }
}

#[tokio::test]
async fn a_subprotocol_is_chosen_from_the_clients_list_and_only_if_it_has_one() {
    let (_server, _events, addr) = server().await;
    for (line, chosen) in [
        ("", None),
        ("Sec-WebSocket-Protocol: p1\r\n", Some("p1")),
        ("Sec-WebSocket-Protocol: p1, p2\r\n", Some("p2")),
        ("Sec-WebSocket-Protocol: other, p1\r\n", Some("p1")),
    ] {
        let head = RawPeer::connect(addr).await.request("/tok", line).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let answered = head.lines().find_map(|line| line.strip_prefix("Sec-Websocket-Protocol: "));
        assert_eq!(answered, chosen, "{head}");
    }
}

#[tokio::test]
async fn refusals_are_http_with_the_words_of_the_original() {
    let (_server, _events, addr) = server().await;
    for (target, line, status, words) in [
        ("/unknown", "", "HTTP/1.1 401 ", "Not authorized"),
        ("/", "", "HTTP/1.1 401 ", "Not authorized"),
        ("/tok", "Sec-WebSocket-Protocol: other\r\n", "HTTP/1.1 400 ", "Invalid subprotocols requested"),
    ] {
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request(target, line).await;
        assert!(head.starts_with(status), "{head}");
        assert_eq!(String::from_utf8(peer.all().await).unwrap(), words);
    }
}

#[tokio::test]
async fn a_packet_leaves_byte_for_byte_as_the_original_wrote_it() {
    let (server, _events, mut peer) = connected().await;
    let recorded = bytes(V6_SERVER, "recv").into_iter().find(|frame| frame.starts_with(b"\x81;")).unwrap();
    let json = std::str::from_utf8(&recorded[2..]).unwrap();
    let packet = Message::text(json).try_packet::<DefaultPacket>().unwrap();
    assert_eq!(packet.data, "hello");
    server.to_user(&7).send(&packet).unwrap();
    assert_eq!(peer.one_read().await, recorded);
}

#[tokio::test]
async fn a_burst_of_2000_messages_leaves_without_pauses_and_in_order() {
    // Frames that waited for a pause would fill the outbox, and the client would be disconnected.
    let (server, _events, mut peer) = connected_to(ServerParams::local().outbox(4 * 1024)).await;
    let texts: Vec<_> = (0..2000).map(|n| format!("{n:0100}")).collect();
    for some in texts.chunks(100) {
        for text in some {
            server.broadcast(Message::text(text.as_str())).unwrap();
        }
        for text in some {
            assert_eq!(peer.next().await.unwrap().as_text(), *text);
        }
    }
    server.to_user(&7).send(Message::text("one")).unwrap();
    server.connections()[0].send(Message::text("you")).await.unwrap();
    let two = [peer.next().await.unwrap().as_text(), peer.next().await.unwrap().as_text()];
    assert_eq!(two, ["one", "you"], "in the order of the calls");
}

#[tokio::test]
async fn broadcasts_of_1000_bytes_in_a_row_reach_a_client_that_reads_and_disconnect_nobody() {
    let (server, _events, mut peer) = connected().await;
    let texts: Vec<_> = (0..2000).map(|n| format!("{n:01000}")).collect();
    let expected = texts.clone();
    let reading = tokio::spawn(async move {
        for text in expected {
            assert_eq!(peer.next().await.unwrap().as_text(), text);
        }
    });
    for text in &texts {
        assert_eq!(server.broadcast(Message::text(text.as_str())).unwrap().accepted, 1, "{}", &text[990..]);
        tokio::task::yield_now().await;
    }
    within(reading).await.unwrap();
}

#[tokio::test]
async fn the_frames_that_the_original_server_misread_are_understood() {
    let (_server, mut events, mut peer) = connected().await;
    let requests_and_frames = bytes(V6_SERVER, "send");
    assert_eq!(requests_and_frames.len(), 12);
    for frame in requests_and_frames {
        peer.write(&frame).await;
    }
    let packet = r#"{"Data":"hi","Timestamp":"2022-03-05T01:02:03Z"}"#;
    // Without the pong, the ping frame and the pong frame.
    let expected = [
        Message::text(packet),
        Message::text("hello raw"),
        Message::text(""),
        Message::text("   "),
        Message::text("ping"),
        Message::binary(vec![0, 1, 0xFF, 0xFE]),
        Message::text("frag1frag2"),
        Message::text("one"),
        Message::text("two"),
    ];
    for message in expected {
        assert_eq!(received(&mut events).await, message);
    }
    assert_eq!(peer.next().await, Some(RawFrame { first: 0x8A, payload: b"abc".to_vec() }));
}

#[tokio::test]
async fn texts_that_the_original_cut_off_or_took_for_a_close_arrive_whole() {
    let (server, mut events, mut peer) = connected().await;
    for said in ["ab\u{3}cd", "héllo 日本", &"y".repeat(300), &"é".repeat(35_000)] {
        peer.text(said).await;
        assert_eq!(received(&mut events).await.as_text(), Some(said));
        server.broadcast(Message::text(said)).unwrap();
        assert_eq!(peer.next().await.unwrap().as_text(), said);
    }
}

#[tokio::test]
async fn a_frame_in_pieces_is_one_frame() {
    let (_server, mut events, mut peer) = connected().await;
    for byte in masked(0x81, b"byte by byte") {
        peer.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(received(&mut events).await.as_text(), Some("byte by byte"));
}

#[tokio::test]
async fn a_request_in_pieces_with_lower_case_names_and_a_frame_behind_it_is_understood() {
    let (_server, mut events, addr) = server().await;
    let mut said = String::from_utf8(request()).unwrap();
    said = said.replace("Sec-WebSocket-Key", "sec-websocket-key");
    let said = [said.as_bytes(), &masked(0x81, b"early")].concat();
    let mut peer = RawPeer::connect(addr).await;
    for piece in said.chunks(40) {
        peer.write(piece).await;
        tokio::task::yield_now().await;
    }
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(received(&mut events).await.as_text(), Some("early"));
}

#[tokio::test]
async fn a_second_request_is_a_protocol_error_and_no_second_handshake() {
    let (server, mut events, mut peer) = connected().await;
    peer.write(&request()).await;
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1002));
    drop(peer);
    let mut ends = Vec::new();
    for event in rest_of_story(&server, &mut events).await {
        match event {
            Event::Connection(event) => match event.kind {
                ConnectionEventKind::Disconnected(_, end) => ends.push(end.by),
                other => panic!("{other:?}"),
            },
            Event::Message(event) => panic!("{:?}", event.message),
            Event::Error(_) | Event::Server(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends, [EndedBy::Protocol]);
}

#[tokio::test]
async fn a_client_that_closes_and_hangs_up_at_once_is_told_of_exactly_once_and_leaves_nothing_behind() {
    let close = bytes(V6_CLIENT, "recv").into_iter().find(|frame| frame.starts_with(b"\x88\x82")).unwrap();
    for unread in [false, true] {
        let (server, mut events, mut peer) = connected().await;
        if unread {
            // With something unread it is no FIN but a reset.
            server.broadcast("unread").unwrap();
            within(peer.stream.readable()).await.unwrap();
        }
        peer.write(&close).await;
        drop(peer);
        let end = ended(&mut events).await;
        assert_eq!((end.code, end.by, end.clean), (Some(1000), EndedBy::Peer, true), "{end:?}");
        assert!(!server.is_user_connected(&7) && server.connection_count() == 0);
        let story = rest_of_story(&server, &mut events).await;
        assert!(matches!(story[..], [Event::Server(_)]), "{story:?}");
    }
}

#[tokio::test]
async fn every_way_of_closing_that_was_tried_on_the_original_ends_in_order_here() {
    let closes: HashSet<_> = bytes(V6_CLOSING, "send").into_iter().collect();
    assert_eq!(closes.len(), 2, "with a code and without");
    for close in closes {
        let (server, mut events, mut peer) = connected().await;
        peer.write(&close).await;
        let answer = peer.next().await.unwrap();
        assert_eq!((answer.first, answer.payload.len()), (0x88, close.len() - 6));
        assert_eq!(peer.next().await, None, "the server hangs up");
        assert!(ended(&mut events).await.clean);
        assert!(!server.is_user_connected(&7));
    }
}
