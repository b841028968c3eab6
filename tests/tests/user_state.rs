//! Values that the application stores on connections: how long they live, and what their code may do.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use websockets_simple_server::{
    Anonymous, Connection, ConnectionEventKind, ErrorStage, Event, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{next, opened, params, raw::RawPeer, started, within};

/// Another connection, and what shows whether this was freed.
#[derive(Clone)]
#[expect(dead_code, reason = "they are held")]
struct Friend(Connection<Anonymous>, Arc<()>);

fn alive(held: &[Weak<()>]) -> usize {
    held.iter().filter(|held| held.strong_count() > 0).count()
}

#[tokio::test]
async fn connections_that_hold_each_other_are_freed_when_both_have_ended() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut events = server.events();
        let (one, two) = (RawPeer::open(addr, "/", "").await, RawPeer::open(addr, "/", "").await);
        let (first, second) = (opened(&mut events).await, opened(&mut events).await);
        for (of, other) in [(&first, &second), (&second, &first), (&first, &first)] {
            let held_by_both = Arc::new(());
            held.push(Arc::downgrade(&held_by_both));
            of.insert(Friend(other.clone(), held_by_both));
        }
        drop((one, two, first, second));
    }
    within(async {
        while alive(&held) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn values_are_there_at_the_end_also_for_a_stream_and_gone_with_that_event() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let peer = RawPeer::open(addr, "/", "").await;
    let connection = opened(&mut events).await;
    let held = Arc::new(());
    assert_eq!(connection.insert("ronald"), None);
    assert!(connection.insert(Arc::clone(&held)).is_none());
    drop(peer);
    // Its task has finished long before the stream is read.
    within(server.stop()).await;
    let event = next(&mut events, |event| match &event {
        Event::Connection(inner) if matches!(inner.kind, ConnectionEventKind::Disconnected(..)) => {
            Some(event)
        }
        _ => None,
    })
    .await;
    assert_eq!(event.connection().unwrap().get::<&str>(), Some("ronald"));
    assert_eq!(connection.insert("dieter"), Some("ronald"), "it is the same connection");
    drop(event);
    assert_eq!((connection.get::<&str>(), Arc::strong_count(&held)), (None, 1));
    assert_eq!(connection.insert("nobody"), None);
    assert_eq!(connection.get::<&str>(), None, "an ended connection stores nothing");
}

#[tokio::test]
async fn a_value_that_panics_when_it_is_dropped_is_an_error_event_and_hides_no_other_value() {
    #[derive(Clone)]
    struct Panics(#[expect(dead_code, reason = "it is held")] Arc<Bomb>);
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a secret");
        }
    }

    let server = WebsocketServer::new(ServerParams::local());
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    server.on(move |event| {
        if let Event::Error(event) = event {
            assert_eq!(event.stage, ErrorStage::HandlerPanic);
            assert_eq!(event.error.to_string(), "a value on a connection panicked");
            counted.fetch_add(1, Ordering::Relaxed);
        }
        std::future::ready(())
    });
    let addr = started(&server).await;
    let held = Arc::new(());
    {
        let mut events = server.events();
        let peer = RawPeer::open(addr, "/", "").await;
        let connection = opened(&mut events).await;
        connection.insert(Panics(Arc::new(Bomb)));
        connection.insert(Arc::clone(&held));
        connection.insert(7_u8);
        drop(peer);
        websockets_simple_tests::ended(&mut events).await;
    }
    within(async {
        while Arc::strong_count(&held) > 1 || heard.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    websockets_simple_tests::connected(params(addr)).await;
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}

/// Uses its connection and its server whenever it is cloned or dropped.
struct Reenters(Connection<Anonymous>, Arc<AtomicUsize>);

impl Reenters {
    fn reenter(&self) {
        let _ = self.0.get::<u8>();
        self.0.insert(8_u16);
        self.0.join("a group");
        let _ = self.0.server().connections();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clone for Reenters {
    fn clone(&self) -> Self {
        self.reenter();
        Self(self.0.clone(), Arc::clone(&self.1))
    }
}

impl Drop for Reenters {
    fn drop(&mut self) {
        self.reenter();
    }
}

#[tokio::test]
async fn a_value_may_use_its_connection_and_the_server_while_it_is_cloned_or_dropped() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let used = Arc::new(AtomicUsize::new(0));
    {
        let mut events = server.events();
        let peer = RawPeer::open(addr, "/", "").await;
        let connection = opened(&mut events).await;
        connection.insert(Reenters(connection.clone(), Arc::clone(&used)));
        drop(connection.get::<Reenters>());
        connection.insert(Reenters(connection.clone(), Arc::clone(&used)));
        assert_eq!(used.load(Ordering::Relaxed), 3, "cloned, and dropped twice");
        drop(peer);
    }
    within(async {
        while Arc::strong_count(&used) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(used.load(Ordering::Relaxed), 4);
}
