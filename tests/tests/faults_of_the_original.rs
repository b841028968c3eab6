//! What the .NET library got wrong, one test each. Those of its wire format are in `dotnet_v6.rs`.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{sync::Arc, time::Duration};

use websockets_simple_client::WebsocketClient;
use websockets_simple_server::{
    ConnectionEventKind, Endpoint, Event, Events, Heartbeat, HeartbeatMode, MemoryUsers, Message,
    ServerParams, ServerTls, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, ended, message, next, opened, params, raw::RawPeer, received, started, text, within,
};

async fn one_peer() -> (WebsocketServer, Events<Event<websockets_simple_server::Anonymous>>, RawPeer) {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let peer = RawPeer::open(addr, "/", "").await;
    opened(&mut events).await;
    (server, events, peer)
}

#[tokio::test]
async fn non_ascii_text_is_not_cut() {
    let (server, mut events, mut peer) = one_peer().await;
    server.broadcast(Message::text("héllo 日本")).unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "héllo 日本");
    server.broadcast("日本").unwrap();
    assert!(peer.next().await.unwrap().as_text().starts_with(r#"{"Data":"日本","Timestamp":""#));
    peer.text("héllo 日本").await;
    assert_eq!(received(&mut events).await.as_text(), Some("héllo 日本"));
}

#[tokio::test]
async fn the_second_frame_of_a_segment_is_not_lost() {
    let (_server, mut events, mut peer) = one_peer().await;
    let mut both = websockets_simple_tests::raw::masked(0x81, b"one");
    both.extend(websockets_simple_tests::raw::masked(0x81, b"two"));
    peer.write(&both).await;
    assert_eq!(received(&mut events).await.as_text(), Some("one"));
    assert_eq!(received(&mut events).await.as_text(), Some("two"));
}

#[tokio::test]
async fn a_frame_that_arrives_byte_by_byte_is_one_frame() {
    let (_server, mut events, mut peer) = one_peer().await;
    for byte in websockets_simple_tests::raw::masked(0x81, b"byte by byte") {
        peer.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(received(&mut events).await.as_text(), Some("byte by byte"));
}

#[tokio::test]
async fn a_request_that_arrives_in_pieces_with_lower_case_names_is_one_request() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let request =
        websockets_simple_tests::raw::request("/", "").replace("Sec-WebSocket-Key", "sec-websocket-key");
    for piece in request.as_bytes().chunks(7) {
        peer.write(piece).await;
        tokio::task::yield_now().await;
    }
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
}

#[tokio::test]
async fn a_frame_glued_to_the_request_is_not_lost() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let mut glued = websockets_simple_tests::raw::request("/", "").into_bytes();
    glued.extend(websockets_simple_tests::raw::masked(0x81, b"early"));
    peer.write(&glued).await;
    assert_eq!(received(&mut events).await.as_text(), Some("early"));
}

#[tokio::test]
async fn opcodes_fragments_and_64_bit_lengths_mean_what_they_say() {
    let (_server, mut events, mut peer) = one_peer().await;
    peer.frame(0x82, &[0, 0, 0]).await;
    assert_eq!(received(&mut events).await, Message::binary(vec![0, 0, 0]));
    peer.frame(0x01, b"frag").await;
    peer.frame(0x89, b"ping between").await;
    peer.frame(0x80, b"ment").await;
    assert_eq!(received(&mut events).await.as_text(), Some("fragment"));
    assert_eq!(peer.next().await.unwrap().payload, b"ping between");
    let long = "y".repeat(70_000);
    peer.text(&long).await;
    assert_eq!(received(&mut events).await.as_text(), Some(long.as_str()));
}

#[tokio::test]
async fn a_0x03_byte_is_an_ordinary_byte() {
    let (_server, mut events, mut peer) = one_peer().await;
    peer.text("ab\u{3}cd").await;
    assert_eq!(received(&mut events).await.as_text(), Some("ab\u{3}cd"));
}

#[tokio::test]
async fn blank_text_and_all_zero_binary_arrive_and_empty_messages_too() {
    let (server, mut events, mut peer) = one_peer().await;
    for said in ["", "   ", "\n"] {
        peer.text(said).await;
        assert_eq!(received(&mut events).await.as_text(), Some(said));
        assert_eq!(server.broadcast(Message::text(said)).unwrap().accepted, 1);
        assert_eq!(peer.next().await.unwrap().as_text(), said);
    }
    server.broadcast(Message::binary(vec![0, 0])).unwrap();
    assert_eq!(peer.next().await.unwrap().payload, [0, 0]);
}

#[tokio::test]
async fn a_second_request_on_an_open_connection_is_a_protocol_error() {
    let (server, _events, mut peer) = one_peer().await;
    peer.write(websockets_simple_tests::raw::request("/", "").as_bytes()).await;
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1002));
    drop(peer);
    within(async {
        while server.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_close_frame_closes_and_the_identity_goes() {
    let users = MemoryUsers::new();
    users.add("good", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    for close in [&b""[..], &[0x03, 0xE8][..]] {
        let mut peer = RawPeer::open(addr, "/good", "").await;
        opened(&mut events).await;
        assert!(server.is_user_connected(&7));
        peer.frame(0x88, close).await;
        let answer = peer.next().await.unwrap();
        assert_eq!((answer.first, answer.payload.as_slice()), (0x88, close));
        assert!(peer.next().await.is_none(), "the server hangs up");
        let end = ended(&mut events).await;
        assert!(end.clean && !server.is_user_connected(&7), "{end:?}");
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed_and_its_identity_goes() {
    let users = MemoryUsers::new();
    users.add("good", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    drop(RawPeer::open(addr, "/good", "").await);
    let end = ended(&mut events).await;
    assert!(!end.clean && !server.is_user_connected(&7));
}

#[tokio::test]
async fn one_unresponsive_peer_does_not_stop_the_pings_of_the_others() {
    let heartbeat = Heartbeat::new(Duration::from_millis(100), HeartbeatMode::Text);
    let server = WebsocketServer::new(ServerParams::local().heartbeat(heartbeat));
    let addr = started(&server).await;
    let _unresponsive = RawPeer::open(addr, "/", "").await;
    let mut other = RawPeer::open(addr, "/", "").await;
    for _ in 0..5 {
        assert_eq!(other.next().await.unwrap().as_text(), "ping");
        other.text(" PONG\n").await;
    }
}

#[tokio::test]
async fn a_broadcast_to_all_but_the_sender_reaches_everybody_else() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let peer = RawPeer::open(addr, "/", "").await;
        peers.push((peer, opened(&mut events).await));
    }
    let sender = peers[0].1.clone();
    assert_eq!(server.to_all().except(&sender).send(Message::text("others")).unwrap().accepted, 2);
    sender.send(Message::text("you")).await.unwrap();
    assert_eq!(peers[0].0.next().await.unwrap().as_text(), "you");
    for (peer, _) in &mut peers[1..] {
        assert_eq!(peer.next().await.unwrap().as_text(), "others");
    }
}

#[tokio::test]
async fn connections_of_the_authenticated_server_are_listed() {
    let users = MemoryUsers::new();
    users.add("good", 0_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    let _peer = RawPeer::open(addr, "/good", "").await;
    let connection = opened(&mut events).await;
    assert_eq!(server.connections(), std::slice::from_ref(&connection));
    assert_eq!(server.identities()[0].connections, [connection]);
}

#[tokio::test]
async fn connecting_is_told_and_connected_comes_before_any_message() {
    let server = WebsocketServer::new(ServerParams::local().success_text("Connected Successfully"));
    let mut events = server.events_with(websockets_simple_server::SubscribeOptions::default().sent());
    let addr = started(&server).await;
    let _peer = RawPeer::open(addr, "/", "").await;
    let mut story = Vec::new();
    next(&mut events, |event| {
        match event {
            Event::Connection(event) => story.push(match event.kind {
                ConnectionEventKind::Connecting(_) => "connecting",
                ConnectionEventKind::Connected(_) => "connected",
                _ => "other",
            }),
            Event::Message(_) => story.push("sent"),
            _ => {}
        }
        (story.last() == Some(&"sent")).then_some(())
    })
    .await;
    assert_eq!(story, ["connecting", "connected", "sent"]);
}

#[tokio::test]
async fn a_wrong_certificate_is_noticed_when_the_server_starts() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = ServerTls::from_pem(made.cert.pem(), other.signing_key.serialize_pem());
    let endpoint = Endpoint::tcp("127.0.0.1:0".parse().unwrap()).tls(tls);
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    let error = server.start().await.unwrap_err();
    assert_eq!(error.to_string(), "TLS cannot be set up for 127.0.0.1:0");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the private key does not belong to the certificate");
}

#[tokio::test]
async fn the_accept_loop_survives_failed_tls_handshakes_with_users_connected() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = ServerTls::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let endpoint = Endpoint::tcp("127.0.0.1:0".parse().unwrap()).tls(tls);
    let users = MemoryUsers::new();
    users.add("good", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().endpoint(endpoint), users);
    let addr = started(&server).await;
    let secured = || {
        websockets_simple_client::ClientParams::new("localhost", addr.port())
            .secured(true)
            .root_pem(made.cert.pem())
            .only_given_roots()
            .token("good")
    };
    let _first = connected(secured()).await;
    for _ in 0..10 {
        let mut failing = RawPeer::connect(addr).await;
        failing.write(b"no TLS").await;
        failing.all().await;
    }
    connected(secured()).await;
}

#[tokio::test]
async fn the_client_joins_large_and_fragmented_messages_and_keeps_what_is_glued_to_the_101() {
    let server = WebsocketServer::new(ServerParams::local().success_text("first"));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(text(&mut heard).await, "first");
    let connection = opened(&mut events).await;
    let large = "é".repeat(3000);
    connection.send(Message::text(large.as_str())).await.unwrap();
    assert_eq!(text(&mut heard).await, large);
    let mut parts = connection.send_parts::<str>().await.unwrap();
    parts.write("frag").await.unwrap();
    parts.write("mented").await.unwrap();
    parts.finish().await.unwrap();
    assert_eq!(message(&mut heard).await.as_text(), Some("fragmented"));
}

#[tokio::test]
async fn idle_connections_cost_no_polling() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let mut peers = Vec::new();
    for _ in 0..200 {
        peers.push(RawPeer::open(addr, "/", "").await);
    }
    let server = Arc::new(server);
    within(async {
        while server.connection_count() < 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let woken = metrics.worker_park_count(0) - before;
    assert!(woken < 20, "200 idle connections woke the worker {woken} times in 0.3 s");
}
