//! To one, to a user, to a channel, to all; in order, bounded, and never waiting for a slow reader.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::Notify;
use websockets_simple_client::{ClientEvent, WebsocketClient};
use websockets_simple_server::{
    CloseCode, ConnectionEventKind, DefaultPacket, Event, Json, Limits, MemoryUsers, Message, OverflowPolicy,
    Packet, SendError, SendStatus, ServerParams, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, message, next, opened, params,
    raw::RawPeer,
    received, started, text,
    way::{Plain, Tls, Way},
    within,
};

#[tokio::test]
async fn whatever_the_original_could_send_can_be_sent() {
    let users = MemoryUsers::new();
    users.add("a", 1_i64);
    users.add("b", 2_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    let (mut clients, mut heard, mut connections) = (Vec::new(), Vec::new(), Vec::new());
    for (token, path) in [("a", "/x"), ("a", "/y"), ("b", "/y")] {
        let client = WebsocketClient::new(params(addr).path(path).token(token)).unwrap();
        heard.push(client.events());
        client.connect().await.unwrap();
        clients.push(client);
        connections.push(opened(&mut events).await);
    }
    let packet = DefaultPacket::new("packet");
    let raw = || Message::text("raw");
    // SendToConnectionAsync(packet), (string), SendToConnectionRawAsync.
    connections[0].send(&packet).await.unwrap();
    connections[0].send("string").await.unwrap();
    connections[0].send(raw()).await.unwrap();
    // SendToUserAsync(packet), (string), SendToUserRawAsync.
    assert_eq!(server.to_user(&1).send(&packet).unwrap().accepted, 2);
    assert_eq!(server.to_user(&1).send("string").unwrap().accepted, 2);
    assert_eq!(server.to_user(&1).send(raw()).unwrap().accepted, 2);
    // BroadcastToAllAuthorizedUsersAsync(packet), (string), Raw; and with the sending connection left out.
    assert_eq!(server.broadcast(&packet).unwrap().accepted, 3);
    assert_eq!(server.broadcast("string").unwrap().accepted, 3);
    assert_eq!(server.broadcast(raw()).unwrap().accepted, 3);
    assert_eq!(server.to_all().except(&connections[0]).send(&packet).unwrap().accepted, 2);
    assert_eq!(server.to_all().except(&connections[0]).send("string").unwrap().accepted, 2);
    // Except any number; SendToChannel; binary; JSON.
    assert_eq!(server.to_all().except_all(&connections[..2]).send(raw()).unwrap().accepted, 1);
    assert_eq!(server.to_channel("/y").send(raw()).unwrap().accepted, 2);
    assert_eq!(server.to_all().send(Message::binary(&b"\0\0\0"[..])).unwrap().accepted, 3);
    assert_eq!(server.to_all().send(Json([1, 2])).unwrap().accepted, 3);
    let expected: [&[&str]; 3] = [
        &["packet", "string", "raw", "packet", "string", "raw", "packet", "string", "raw", "\0\0\0", "[1,2]"],
        &["packet", "string", "raw", "packet", "string", "raw", "packet", "string", "raw", "\0\0\0", "[1,2]"],
        &["packet", "string", "raw", "packet", "string", "raw", "raw", "\0\0\0", "[1,2]"],
    ];
    for (heard, expected) in heard.iter_mut().zip(expected) {
        for expected in expected {
            let message = message(heard).await;
            let data = match message.packet::<DefaultPacket>() {
                Ok(packet) => packet.data().to_owned(),
                Err(_) => String::from_utf8_lossy(message.as_bytes()).into_owned(),
            };
            assert_eq!(data, *expected);
        }
    }
}

#[tokio::test]
async fn a_broadcast_and_a_send_reach_the_receiver_in_the_order_of_the_calls() {
    in_order(Plain).await;
}

#[tokio::test]
async fn over_tls_a_broadcast_and_a_send_reach_the_receiver_in_the_order_of_the_calls() {
    in_order(Tls::default()).await;
}

async fn in_order(way: impl Way) {
    let server = WebsocketServer::new(way.server());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(way.client(addr)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;
    for n in 0..500 {
        server.broadcast(Message::text(format!("{n} all"))).unwrap();
        connection.send(Message::text(format!("{n} one"))).await.unwrap();
    }
    for n in 0..500 {
        assert_eq!(text(&mut heard).await, format!("{n} all"));
        assert_eq!(text(&mut heard).await, format!("{n} one"));
    }
}

async fn one_of_200_stops_reading(way: impl Way, policy: OverflowPolicy) -> (usize, u64, Option<u16>) {
    const OTHERS: usize = 199;
    const BROADCASTS: usize = 2000;
    const OUTBOX: usize = 64 * 1024;
    let limits = Limits::default().connections_per_ip(1000);
    let server = WebsocketServer::new(way.server().outbox(OUTBOX).overflow(policy).limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    // It never reads, with as little room in the kernel as can be had.
    let stalled = way.peer(addr, "/stalled", Some(4096)).await;
    let slow = opened(&mut events).await;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..OTHERS {
        let mut peer = way.peer(addr, "/", None).await;
        readers.spawn(async move {
            for n in 0..BROADCASTS {
                let frame = peer.next().await.expect("every message arrives");
                assert!(frame.as_text().starts_with(&format!("{n} ")), "in order");
            }
        });
        opened(&mut events).await;
    }
    // The kernel takes megabytes for it before anything has to wait.
    while slow.statistics().queued_bytes == 0 {
        slow.send(Message::binary(vec![0; OUTBOX / 4])).await.unwrap();
    }
    let filling = "x".repeat(600);
    let mut most = 0;
    for n in 0..BROADCASTS {
        let delivery = server.broadcast(Message::text(format!("{n} {filling}"))).unwrap();
        assert!(delivery.accepted >= OTHERS, "{delivery:?}");
        most = most.max(slow.statistics().queued_bytes);
        // Broadcasting never waits, so this is what lets the others keep up on two cores.
        if n % 20 == 0 {
            let others = server.to_channel("/").connections();
            within(async {
                while others.iter().any(|other| other.statistics().queued_bytes > OUTBOX / 2) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
    within(async { while readers.join_next().await.transpose().unwrap().is_some() {} }).await;
    assert!(most <= OUTBOX, "{most}");
    let dropped = slow.statistics().dropped;
    if policy == OverflowPolicy::Disconnect {
        next(&mut events, |event| {
            matches!(&event, Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Disconnected(..)))
                .then_some(())
        })
        .await;
    }
    drop(stalled);
    (most, dropped, slow.end().and_then(|end| end.code))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_200_that_stops_reading_is_disconnected_and_the_others_miss_nothing() {
    let (_, _, code) = one_of_200_stops_reading(Plain, OverflowPolicy::Disconnect).await;
    assert_eq!(code, Some(4001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_one_of_200_that_stops_reading_is_disconnected_and_the_others_miss_nothing() {
    let (_, _, code) = one_of_200_stops_reading(Tls::default(), OverflowPolicy::Disconnect).await;
    assert_eq!(code, Some(4001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_200_that_stops_reading_loses_the_oldest_and_the_others_miss_nothing() {
    let (most, dropped, code) = one_of_200_stops_reading(Plain, OverflowPolicy::DropOldest).await;
    assert!(most > 0 && dropped > 0 && code.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_one_of_200_that_stops_reading_loses_the_oldest_and_the_others_miss_nothing() {
    let (most, dropped, code) = one_of_200_stops_reading(Tls::default(), OverflowPolicy::DropOldest).await;
    assert!(most > 0 && dropped > 0 && code.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_200_that_stops_reading_loses_the_newest_and_the_others_miss_nothing() {
    let (most, dropped, code) = one_of_200_stops_reading(Plain, OverflowPolicy::DropNewest).await;
    assert!(most > 0 && dropped > 0 && code.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_one_of_200_that_stops_reading_loses_the_newest_and_the_others_miss_nothing() {
    let (most, dropped, code) = one_of_200_stops_reading(Tls::default(), OverflowPolicy::DropNewest).await;
    assert!(most > 0 && dropped > 0 && code.is_none());
}

#[tokio::test]
async fn while_a_handler_sleeps_its_connection_drains_and_answers_pings() {
    let server = WebsocketServer::new(ServerParams::local());
    let asleep = Arc::new(Notify::new());
    let wake = Arc::new(Notify::new());
    server.on({
        let (asleep, wake) = (Arc::clone(&asleep), Arc::clone(&wake));
        move |event| {
            let (asleep, wake) = (Arc::clone(&asleep), Arc::clone(&wake));
            async move {
                if let Event::Message(_) = event {
                    asleep.notify_one();
                    wake.notified().await;
                }
            }
        }
    });
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    peer.text("go to sleep").await;
    within(asleep.notified()).await;
    server.broadcast(Message::text("while you sleep")).unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "while you sleep");
    peer.frame(0x89, b"there?").await;
    let pong = peer.next().await.unwrap();
    assert_eq!((pong.first, pong.payload.as_slice()), (0x8A, &b"there?"[..]));
    wake.notify_one();
}

#[tokio::test]
async fn handles_kept_after_the_end_hold_nothing_and_say_closed() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    let connection = opened(&mut events).await;
    connection.close(CloseCode::NORMAL, "bye");
    let close = peer.next().await.unwrap();
    assert_eq!((close.close_code(), &close.payload[2..]), (Some(1000), &b"bye"[..]));
    peer.frame(0x88, &1000_u16.to_be_bytes()).await;
    assert!(peer.next().await.is_none(), "the socket is let go of although the handle lives");
    assert!(matches!(connection.send("x").await, Err(SendError::Closed)));
    assert!(matches!(connection.try_send("x"), Err(SendError::Closed)));
    assert!(!connection.is_open());
    assert_eq!(server.broadcast("x").unwrap().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_in_the_middle_of_a_large_fan_out_is_the_last_frame_and_everything_before_it_is_whole() {
    closed_in_the_middle(Plain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_close_in_the_middle_of_a_large_fan_out_is_the_last_frame_and_everything_is_whole() {
    closed_in_the_middle(Tls::default()).await;
}

async fn closed_in_the_middle(way: impl Way) {
    let server = WebsocketServer::new(way.server().outbox(8 << 20));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut readers = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..50 {
        let mut peer = way.peer(addr, "/", None).await;
        connections.push(opened(&mut events).await);
        readers.push(tokio::spawn(async move {
            let mut texts = 0;
            loop {
                let frame = peer.next().await.expect("a Close comes first");
                match frame.first {
                    0x81 => {
                        assert_eq!(frame.as_text(), format!("{texts} {}", "y".repeat(3000)));
                        texts += 1;
                    }
                    // A ping frame, when its heartbeat is due.
                    0x89 | 0x8A => {}
                    _ => {
                        peer.frame(0x88, &frame.payload[..2]).await;
                        assert!(peer.next().await.is_none());
                        return (texts, frame.close_code());
                    }
                }
            }
        }));
    }
    let closed: HashSet<usize> = (0..50).step_by(3).collect();
    for n in 0..400 {
        server.broadcast(Message::text(format!("{n} {}", "y".repeat(3000)))).unwrap();
        if n == 200 {
            for at in &closed {
                connections[*at].close(CloseCode::NORMAL, "");
            }
        }
    }
    within(server.stop()).await;
    for (at, reader) in readers.into_iter().enumerate() {
        let ended = within(reader).await.unwrap();
        let expected = if closed.contains(&at) { (201, Some(1000)) } else { (400, Some(1001)) };
        assert_eq!(ended, expected);
    }
}

#[tokio::test]
async fn a_long_message_in_parts_arrives_as_one_and_others_wait_behind_it() {
    let server = WebsocketServer::new(ServerParams::local().limits(Limits::default().message_size(4 << 20)));
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr).outbox(100_000)).await;
    let other = client.clone();
    let part = "é".repeat(50_000);
    client
        .send_parts::<str, _>(async |parts| {
            for n in 0..20 {
                parts.write(&part).await?;
                if n == 10 {
                    assert_eq!(other.send(Message::text("behind")).await?, SendStatus::Queued);
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    let mut lengths = Vec::new();
    next(&mut events, |event| {
        if let Event::Message(event) = event {
            lengths.push(event.message.as_text().unwrap().len());
        }
        (lengths.len() == 2).then_some(())
    })
    .await;
    assert_eq!(lengths, [20 * 100_000, 6]);
    client
        .send_parts::<[u8], _>(async |parts| {
            parts.write(&[1, 2]).await?;
            parts.write(&[3]).await
        })
        .await
        .unwrap();
    let binary = received(&mut events).await;
    assert_eq!(binary, Message::binary(vec![1, 2, 3]));
}

#[tokio::test]
async fn the_waiting_policy_waits_for_room_and_gives_up_in_time() {
    waits_for_room(Plain).await;
}

#[tokio::test]
async fn over_tls_the_waiting_policy_waits_for_room_and_gives_up_in_time() {
    waits_for_room(Tls::default()).await;
}

async fn waits_for_room(way: impl Way) {
    let policy = OverflowPolicy::Wait(Duration::from_millis(100));
    let server = WebsocketServer::new(way.server().outbox(10_000).overflow(policy));
    let mut events = server.events();
    let addr = started(&server).await;
    let _silent = way.peer(addr, "/", None).await;
    let connection = opened(&mut events).await;
    let big = Message::binary(vec![0; 1 << 20]);
    let error = within(async {
        loop {
            if let Err(error) = connection.send(big.clone()).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error, SendError::Timeout), "{error}");
    assert!(matches!(connection.try_send(big.clone()), Err(SendError::Full)));
    assert_eq!(server.broadcast(big).unwrap().dropped, 1);
    assert!(connection.is_open());
}

#[tokio::test]
async fn statistics_count_messages_and_bytes_each_way() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;
    client.send(Message::text("12345")).await.unwrap();
    client.send(Message::binary(vec![0; 1000])).await.unwrap();
    let mut messages = 0;
    next(&mut events, |event| {
        messages += usize::from(matches!(event, Event::Message(_)));
        (messages == 2).then_some(())
    })
    .await;
    connection.send(Message::text("abc")).await.unwrap();
    within(async { while !matches!(heard.recv().await, Some(ClientEvent::Message(_))) {} }).await;
    let statistics = connection.statistics();
    assert_eq!((statistics.messages_received, statistics.bytes_received), (2, 1005));
    assert_eq!((statistics.messages_sent, statistics.bytes_sent), (1, 5));
    assert_eq!((statistics.dropped, statistics.queued_bytes), (0, 0));
    let statistics = client.statistics().unwrap();
    assert_eq!((statistics.messages_received, statistics.messages_sent), (1, 2));
}
