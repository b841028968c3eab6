//! Connections that end in the middle of a broadcast.

use std::collections::HashMap;

use tokio::task::JoinSet;
use websockets_simple_server::{
    Anonymous, CloseCode, Connection, ConnectionEventKind, Disconnect, EndedBy, Event, Events, Message,
    SendError, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{PATIENCE, ended, next, opened, started, within};

use crate::wire::StrictPeer;

#[tokio::test]
async fn a_close_behind_a_long_queue_lets_a_slow_peer_read_all_of_it_then_the_close_then_the_end() {
    const MESSAGES: usize = 3000;
    let server = WebsocketServer::new(ServerParams::local().outbox(64 << 20).close_timeout(PATIENCE));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = StrictPeer::open_small(addr, "/").await;
    let connection = opened(&mut events).await;
    let payload = |n: usize| format!("{n} {}", "z".repeat(n * 7 % 9000));
    for n in 0..MESSAGES {
        assert_eq!(server.broadcast(Message::text(payload(n))).unwrap().accepted, 1);
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(connection.statistics().queued_bytes > 1 << 20, "the peer does not read");
    assert!(connection.close(CloseCode::NORMAL, "enough"));
    assert!(!connection.close(CloseCode::INTERNAL, "again"));
    assert!(matches!(connection.try_send("late"), Err(SendError::Closed)));
    assert_eq!(server.broadcast("late").unwrap().accepted, 0);
    for n in 0..MESSAGES {
        // Slowly at first, a frame in many pieces.
        let frame = if n < 100 { peer.next_by(100).await } else { peer.next().await };
        assert!(frame.unwrap().payload == payload(n).as_bytes(), "message {n}");
    }
    let close = peer.next().await.unwrap();
    assert_eq!((close.close_code(), &close.payload[2..]), (Some(1000), &b"enough"[..]));
    peer.frame(0x88, &1000_u16.to_be_bytes()).await;
    assert_eq!(peer.next().await, None);
    let end = ended(&mut events).await;
    assert!(end.clean && end.by == EndedBy::Local, "{end:?}");
    let statistics = connection.statistics();
    assert_eq!((statistics.messages_sent, statistics.dropped), (MESSAGES as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_resets_in_the_middle_of_a_broadcast_ends_once_and_the_others_miss_nothing() {
    const PEERS: usize = 24;
    const GONE: usize = PEERS / 3;
    const MESSAGES: usize = 300;
    let params = ServerParams::local().outbox(64 << 20).close_timeout(PATIENCE).stop_timeout(PATIENCE);
    let server = WebsocketServer::new(params);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut reading = JoinSet::new();
    for n in 0..PEERS {
        let mut peer = StrictPeer::open_small(addr, "/").await;
        opened(&mut events).await;
        reading.spawn(async move {
            // Every third is gone after some messages, in the middle of what its kernel holds.
            let last = if n % 3 == 0 { 20 + n } else { MESSAGES };
            for n in 0..last {
                let frame = peer.next().await.expect("every message");
                assert!(frame.as_text().starts_with(&format!("{n} ")), "message {n}");
            }
            if last < MESSAGES {
                peer.vanish();
                return false;
            }
            assert_eq!(peer.next().await.unwrap().close_code(), Some(1001));
            peer.frame(0x88, &1001_u16.to_be_bytes()).await;
            peer.next().await.is_none()
        });
    }
    let filling = "y".repeat(40_000);
    let mut ends = HashMap::new();
    for n in 0..MESSAGES {
        if n == MESSAGES / 2 {
            // By now their outboxes are full of what they never read.
            for _ in 0..GONE {
                let (connection, end) = next_end(&mut events).await;
                assert!(!end.clean && end.by == EndedBy::Transport, "{end:?}");
                assert!(matches!(connection.try_send("late"), Err(SendError::Closed)));
                assert!(ends.insert(connection.id().clone(), false).is_none(), "ended once");
            }
        }
        let accepted = server.broadcast(Message::text(format!("{n} {filling}"))).unwrap().accepted;
        assert!(accepted >= PEERS - GONE && (n < MESSAGES / 2 || accepted == PEERS - GONE), "{accepted}");
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let report = within(server.stop()).await;
    assert_eq!((report.clean, report.dropped), (PEERS - GONE, 0));
    let read = within(reading.join_all()).await;
    assert_eq!(read.iter().filter(|all| **all).count(), PEERS - GONE);
    while let Some(event) = events.try_recv() {
        if let Event::Connection(event) = event
            && let ConnectionEventKind::Disconnected(connection, end) = event.kind
        {
            assert!(ends.insert(connection.id().clone(), end.clean).is_none(), "ended once");
        }
    }
    assert_eq!(ends.len(), PEERS);
    assert_eq!(ends.values().filter(|clean| **clean).count(), PEERS - GONE);
}

/// The next connection that ends, and how.
async fn next_end(events: &mut Events<Event<Anonymous>>) -> (Connection<Anonymous>, Disconnect) {
    next(events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Disconnected(connection, end) => Some((connection, end)),
            _ => None,
        },
        _ => None,
    })
    .await
}
