//! Messages that are too large to be kept whole: received in parts, as far as a connection has asked for that.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request, response::IntoResponse, routing::get};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use websockets_simple_client::{ClientEvent, WebsocketClient};
use websockets_simple_server::{
    Anonymous, ConnectionEventKind, EndedBy, ErrorStage, Event, Events, Limits, Message, MessagePart,
    MessageParts, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{
    connected, ended, failed, next, opened, params, raw::RawPeer, started, within,
};

const PART: usize = MessageParts::LEAST_PART;

fn parts(message_size: u64) -> MessageParts {
    MessageParts::new(PART, message_size)
}

/// A server without rates, whose limit for whole messages is 20 KiB.
fn server_params() -> ServerParams {
    let limits = Limits::default().message_size(20 * 1024).bytes_per_second(None).messages_per_second(None);
    ServerParams::local().limits(limits)
}

/// What a server receives next: a message, as its only part, or a part.
async fn received(events: &mut Events<Event<Anonymous>>) -> MessagePart {
    next(events, |event| match event {
        Event::Message(event) => Some(MessagePart::whole(event.message)),
        Event::MessagePart(event) => Some(event.part),
        _ => None,
    })
    .await
}

/// What a client receives next.
async fn received_by_client(events: &mut Events<ClientEvent>) -> MessagePart {
    within(async {
        loop {
            match events.recv().await.unwrap() {
                ClientEvent::Message(event) => return MessagePart::whole(event.message),
                ClientEvent::MessagePart(event) => return event.part,
                _ => {}
            }
        }
    })
    .await
}

/// Checks what parts are, and joins them up to the last one.
async fn joined(mut receive: impl AsyncFnMut() -> MessagePart) -> Vec<u8> {
    let mut payload = Vec::new();
    loop {
        let part = receive().await;
        assert_eq!(part.first, payload.is_empty());
        assert!((1..=PART).contains(&part.len()));
        payload.extend_from_slice(part.payload.as_bytes());
        if part.last {
            return payload;
        }
    }
}

#[tokio::test]
async fn in_both_directions_a_large_message_comes_in_parts_in_its_place_among_the_others() {
    let server = WebsocketServer::new(server_params().message_parts(parts(1 << 40)));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).message_parts(parts(1 << 40))).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;
    let bytes: Vec<u8> = (0..3 * PART + 1).map(|n| n as u8).collect();
    // The frames of a message in parts are no parts of it.
    for frame in [1000, 5000, PART, PART + 1, 3 * PART + 1] {
        client.send_text("before").await.unwrap();
        let write = async |parts: &mut websockets_simple_client::MessageWriter<'_, [u8]>| {
            for piece in bytes.chunks(frame) {
                parts.write(piece).await?;
            }
            Ok(())
        };
        client.send_parts(write).await.unwrap();
        client.send(Message::binary(bytes.clone())).await.unwrap();
        client.send(Message::binary(vec![1; PART])).await.unwrap();
        assert_eq!(received(&mut events).await, MessagePart::whole(Message::text("before")));
        for _ in 0..2 {
            assert_eq!(joined(async || received(&mut events).await).await, bytes, "{frame}");
        }
        assert_eq!(received(&mut events).await, MessagePart::whole(Message::binary(vec![1; PART])));

        connection.send_text("before").await.unwrap();
        let mut writer = connection.send_parts::<[u8]>().await.unwrap();
        for piece in bytes.chunks(frame) {
            writer.write(piece).await.unwrap();
        }
        writer.finish().await.unwrap();
        connection.send(Message::binary(bytes.clone())).await.unwrap();
        connection.send_text("after").await.unwrap();
        assert_eq!(received_by_client(&mut heard).await.payload, Message::text("before"));
        for _ in 0..2 {
            assert_eq!(joined(async || received_by_client(&mut heard).await).await, bytes, "{frame}");
        }
        assert_eq!(received_by_client(&mut heard).await.payload, Message::text("after"));
    }
    let counted = connection.statistics();
    assert_eq!(counted.messages_received, 20, "{counted:?}");
}

#[tokio::test]
async fn text_is_cut_between_its_characters_wherever_the_bound_of_a_part_falls() {
    let server = WebsocketServer::new(server_params().message_parts(parts(1 << 40)));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    for character in ["é", "日", "😀"] {
        for before in 0..character.len() {
            let text = "a".repeat(before) + &character.repeat(2 * PART / character.len());
            client.send_text(text.as_str()).await.unwrap();
            let (mut come, mut is_last) = (String::new(), false);
            while !is_last {
                let part = received(&mut events).await;
                is_last = part.last;
                let piece = part.payload.as_text().unwrap();
                assert!(is_last || (PART - 3..=PART).contains(&piece.len()));
                come.push_str(piece);
            }
            assert_eq!(come, text);
        }
    }
}

#[tokio::test]
async fn a_connection_is_chosen_by_its_request_and_the_others_have_their_limit() {
    let choose = |request: &websockets_simple_server::HandshakeRequest<'_>| {
        // Far too small: the nearest that is right.
        (request.head().channel() == "/upload").then(|| MessageParts::new(1, 1 << 30))
    };
    let server = WebsocketServer::new(server_params().message_parts_of(choose));
    let mut events = server.events();
    let addr = started(&server).await;
    let upload = connected(params(addr).path("/upload")).await;
    upload.send(Message::binary(vec![7; 5 * PART])).await.unwrap();
    assert_eq!(joined(async || received(&mut events).await).await, vec![7; 5 * PART]);
    let other = connected(params(addr).path("/other")).await;
    other.send(Message::binary(vec![7; 20 * 1024])).await.unwrap();
    assert_eq!(received(&mut events).await.len(), 20 * 1024);
    let _ = other.send(Message::binary(vec![7; 20 * 1024 + 1])).await;
    assert_eq!(failed(&mut events).await, ErrorStage::Limit);
    let end = ended(&mut events).await;
    assert_eq!((end.by, end.code), (EndedBy::Limit, Some(1009)));
}

#[tokio::test]
async fn a_message_of_one_byte_more_than_the_limit_is_1009_and_has_no_last_part() {
    let limit = 4 * PART;
    let server = WebsocketServer::new(server_params().message_parts(parts(limit as u64)));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    peer.frame(0x82, &vec![1; limit]).await;
    assert_eq!(joined(async || received(&mut events).await).await.len(), limit);
    peer.frame(0x02, &vec![1; limit]).await;
    peer.frame(0x80, b"x").await;
    for n in 0..3 {
        let part = received(&mut events).await;
        assert_eq!((part.first, part.last), (n == 0, false));
    }
    let last = next(&mut events, |event| match event {
        Event::MessagePart(_) => panic!("a part of what is too large"),
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Disconnected(_, end) => Some(end),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(last.await.code, Some(1009));
}

#[tokio::test]
async fn a_peer_that_goes_inside_of_a_message_leaves_it_without_a_last_part() {
    let server = WebsocketServer::new(server_params().message_parts(parts(u64::MAX)));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    // A message of 2^62 bytes in one frame.
    let head = [&[0x82, 0xFF, 0x40][..], &[0; 7], &[0; 4]].concat();
    peer.write(&head).await;
    peer.write(&vec![1; 2 * PART + 1]).await;
    for first in [true, false] {
        let part = received(&mut events).await;
        assert_eq!((part.len(), part.first, part.last), (PART, first, false));
    }
    drop(peer);
    let end = ended(&mut events).await;
    assert_eq!((end.by, end.clean), (EndedBy::Transport, false));
}

#[tokio::test]
async fn a_handler_that_takes_its_time_lets_the_sender_wait() {
    let server = WebsocketServer::new(server_params().message_parts(parts(1 << 40)));
    let permits = Arc::new(Semaphore::new(1));
    let handled = Arc::new(AtomicUsize::new(0));
    server.on_message_part({
        let (permits, handled) = (Arc::clone(&permits), Arc::clone(&handled));
        move |_, part| {
            let (permits, handled) = (Arc::clone(&permits), Arc::clone(&handled));
            async move {
                permits.acquire().await.unwrap().forget();
                handled.fetch_add(part.len(), Ordering::Relaxed);
            }
        }
    });
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    // More than any buffer on the way holds.
    let total = 64 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let mut sending = tokio::spawn({
        let (client, written) = (client.clone(), Arc::clone(&written));
        async move {
            let piece = vec![5; 1 << 16];
            client
                .send_parts(async |parts: &mut websockets_simple_client::MessageWriter<'_, [u8]>| {
                    for _ in 0..total / piece.len() {
                        parts.write(&piece).await?;
                        written.fetch_add(piece.len(), Ordering::Relaxed);
                    }
                    Ok(())
                })
                .await
        }
    });
    let too_soon = tokio::time::timeout(Duration::from_millis(300), &mut sending).await;
    assert!(too_soon.is_err() && written.load(Ordering::Relaxed) < total);
    assert!(handled.load(Ordering::Relaxed) <= PART);
    permits.add_permits(total / PART);
    within(sending).await.unwrap().unwrap();
    within(async {
        while handled.load(Ordering::Relaxed) < total {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_at_a_part_ends_the_connection_with_1011() {
    let server = WebsocketServer::new(server_params().message_parts(parts(1 << 40)));
    let mut events = server.events();
    server.on_message_part(|_, part| async move { assert!(part.first, "only the first is liked") });
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    client.send(Message::binary(vec![7; 5 * PART])).await.unwrap();
    assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic);
    assert_eq!(ended(&mut events).await.code, Some(1011));
}

#[tokio::test]
async fn the_future_of_a_local_connection_receives_parts_in_order_with_messages() {
    let server = WebsocketServer::new(ServerParams::mounted().message_parts(parts(1 << 30)));
    server.start().await.unwrap();
    let application = server.clone();
    let (report, mut reports) = mpsc::unbounded_channel();
    let enter = move |request: Request| {
        let report = report.clone();
        let upgrade = application.upgrade(request).local(move |mut connection| async move {
            while let Some(part) = connection.recv_part().await {
                let _ = report.send((part.len(), part.first, part.last));
                if part.payload == Message::text("the next one is not for you") {
                    // Passes over parts.
                    let message = connection.recv().await.unwrap();
                    let _ = report.send((message.len(), true, true));
                }
            }
        });
        async move { upgrade.await.into_response() }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/ws", get(enter)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = connected(params(addr).path("/ws")).await;
    client.send_text("whole").await.unwrap();
    client.send(Message::binary(vec![1; 6 * PART])).await.unwrap();
    client.send_text("the next one is not for you").await.unwrap();
    client.send(Message::binary(vec![1; 2 * PART])).await.unwrap();
    client.send_text("end").await.unwrap();
    let mut expected = vec![(5, true, true)];
    expected.extend((0..6).map(|n| (PART, n == 0, n == 5)));
    expected.extend([(27, true, true), (3, true, true)]);
    for expected in expected {
        assert_eq!(within(reports.recv()).await, Some(expected));
    }
}
