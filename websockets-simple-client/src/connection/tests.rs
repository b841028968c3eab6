use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Wake, Waker},
};

use websockets_simple_core::{
    ConnectionEventKind, ConnectionObserver, Dispatcher, Events, Moment, OutboxConfig, OverflowPolicy, Side,
};

use super::{
    observer::{Audience, SubscribedObserver},
    *,
};
use crate::{config::ClientParams, event::ClientEvent};

/// An observer of a connection without a driver, and the events of its client.
fn observer() -> (SubscribedObserver, Events<ClientEvent>) {
    let shared = Arc::new(Shared::new(ClientParams::new("localhost", 80).check().unwrap()).unwrap());
    let events = shared.subscriptions.stream(websockets_simple_core::SubscribeOptions::default());
    let config = OutboxConfig::new(1 << 20, OverflowPolicy::Disconnect);
    let connection = ClientConnection(Arc::new(ConnectionState {
        id: ConnectionState::next_id(),
        core: ConnectionShared::new(Side::Client, config),
        info: ConnectionInfo {
            local_addr: None,
            peer_addr: None,
            subprotocol: None,
            controls: false,
            response_headers: http::HeaderMap::new(),
            tls: None,
        },
        group_requests: GroupRequests::new(Duration::from_secs(1)),
        subscriptions: Arc::clone(&shared.subscriptions),
        wanted_groups: None,
        since: Utc::now(),
        ending: Ending::new(),
    }));
    let dispatcher = Dispatcher::new(connection, Arc::clone(&shared.subscriptions));
    let audience = Audience::Awaited;
    (SubscribedObserver { dispatcher, shared, ready: None, connected: false, audience }, events)
}

fn is_end(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Connection(event) if matches!(event.kind, ConnectionEventKind::Disconnected(..)))
}

#[test]
fn an_end_that_a_driver_did_not_tell_is_told_when_its_observer_is_dropped() {
    let (mut observer, mut events) = observer();
    assert!(observer.connected(Moment::now()).is_none());
    let _connected = events.try_recv().unwrap();
    drop(observer);
    let told = events.try_recv().unwrap();
    assert!(is_end(&told), "{told:?}");
    assert!(events.try_recv().is_none());
}

#[test]
fn an_end_is_told_once_and_never_without_a_beginning() {
    let (mut told, mut events) = observer();
    assert!(told.connected(Moment::now()).is_none());
    let end = Disconnect::new(websockets_simple_core::EndedBy::Local, None, "", false);
    assert!(told.disconnected(end, Moment::now()).is_none());
    drop(told);
    let _connected = events.try_recv().unwrap();
    assert!(is_end(&events.try_recv().unwrap()) && events.try_recv().is_none());
    let (untold, mut events) = observer();
    drop(untold);
    assert!(events.try_recv().is_none());
}

/// Looks at the requests of a connection when it is woken, which takes their lock.
struct Looks(Arc<ConnectionState>, AtomicUsize);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let shown = format!("{:?}", self.0.group_requests);
        assert!(shown.starts_with("GroupRequests"));
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn those_who_wait_for_an_answer_or_a_place_are_woken_outside_of_the_lock() {
    let (observer, _events) = observer();
    let state = Arc::clone(&observer.dispatcher.connection().0);
    let looks = Arc::new(Looks(Arc::clone(&state), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&looks));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    // One more than there are places.
    let mut joins: Vec<_> = (0..65)
        .map(|_| Box::pin(state.group_requests.ask(&state.core, &state.subscriptions, Control::Join, "red")))
        .collect();
    for join in &mut joins {
        assert!(join.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(format!("{:?}", state.group_requests).contains("waiting: 64"));
    state.group_requests.end();
    assert_eq!(looks.1.load(Ordering::Relaxed), 65);
    for join in &mut joins {
        let ended = join.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(ended, Poll::Ready(Err(GroupError::Ended)));
    }
}
