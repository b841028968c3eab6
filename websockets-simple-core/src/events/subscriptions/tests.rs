use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use chrono::Utc;

use super::*;
use crate::{
    ConnectionEvent, ConnectionEventKind, Dispatcher, Flow, MessageEvent, MessagePartEvent,
    events::{Attempt, Direction, EventPart},
    protocol::{Message, MessagePart},
};

/// The events of an end whose connections are numbers.
#[derive(Clone, Debug)]
enum TestEvent {
    Connection(ConnectionEvent<u32>),
    Error(ErrorEvent<u32>),
    Message(MessageEvent<u32>),
    MessagePart(MessagePartEvent<u32>),
}

impl EventType for TestEvent {
    type Connection = u32;
    type Refusal = String;

    fn of_connection(event: ConnectionEvent<u32>) -> Self {
        Self::Connection(event)
    }

    fn of_error(event: ErrorEvent<u32>) -> Self {
        Self::Error(event)
    }

    fn of_message(event: MessageEvent<u32>) -> Self {
        Self::Message(event)
    }

    fn of_message_part(event: MessagePartEvent<u32>) -> Self {
        Self::MessagePart(event)
    }

    fn as_message_part(&self) -> Option<&MessagePartEvent<u32>> {
        if let Self::MessagePart(event) = self { Some(event) } else { None }
    }

    fn as_message(&self) -> Option<&MessageEvent<u32>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn as_message_mut(&mut self) -> Option<&mut MessageEvent<u32>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn into_part(self) -> EventPart<u32> {
        match self {
            Self::Connection(event) => EventPart::Connection(event),
            Self::Error(event) => EventPart::Error(event),
            Self::Message(event) => EventPart::Message(event),
            Self::MessagePart(event) => EventPart::MessagePart(event),
        }
    }

    fn as_error_mut(&mut self) -> Option<&mut ErrorEvent<u32>> {
        if let Self::Error(event) = self { Some(event) } else { None }
    }

    fn peer_addr(_connection: &u32) -> Option<SocketAddr> {
        None
    }

    fn flow_without_message(&self) -> Flow {
        match self {
            Self::Error(_) => Flow::Coalesced(0),
            Self::Connection(event) => match &event.kind {
                ConnectionEventKind::Refused(attempt, why) if !attempt.is_announced() => {
                    Flow::Coalesced(attempt.path.len() + why.len())
                }
                _ => Flow::Free,
            },
            Self::Message(_) | Self::MessagePart(_) => Flow::Free,
        }
    }
}

type TestSubscriptions = Arc<Subscriptions<TestEvent>>;

fn error(text: &str) -> TestEvent {
    TestEvent::Error(ErrorEvent::new(ErrorStage::Tls, EventError::new(text), None, None, Utc::now()))
}

fn message(text: &str) -> TestEvent {
    let message = Message::text(text.to_owned());
    TestEvent::Message(MessageEvent::new(Direction::Received, message, 0, 7, Utc::now()))
}

fn part(text: &str) -> TestEvent {
    let part = MessagePart::new(Message::text(text.to_owned()), true, false);
    TestEvent::MessagePart(MessagePartEvent::new(part, 7, Utc::now()))
}

fn refused(why: &str) -> TestEvent {
    let attempt = Attempt::new(None, "/").unannounced();
    let kind = ConnectionEventKind::Refused(attempt, why.to_owned());
    TestEvent::Connection(ConnectionEvent::new(kind, Utc::now()))
}

fn capacity(bytes: usize) -> SubscribeOptions {
    SubscribeOptions::default().capacity(bytes)
}

/// What a stream holds, the number of missed events before each error.
fn held(events: &mut Events<TestEvent>) -> Vec<u64> {
    std::iter::from_fn(|| events.try_recv())
        .filter_map(|event| if let TestEvent::Error(event) = event { Some(event.missed) } else { None })
        .collect()
}

#[tokio::test]
async fn errors_without_room_in_a_stream_are_counted_and_the_next_one_says_how_many() {
    let subscriptions = TestSubscriptions::default();
    let mut events = subscriptions.stream(capacity(4 * 256));
    for _ in 0..100_000 {
        assert!(subscriptions.dispatch(error("garbage")).is_none(), "nothing waits");
    }
    assert_eq!(held(&mut events), [0, 0, 0, 0]);
    assert!(subscriptions.dispatch(error("another")).is_none());
    assert!(subscriptions.dispatch(error("and another")).is_none());
    assert_eq!(held(&mut events), [99_996, 0]);
}

#[tokio::test]
async fn refusals_of_requests_that_could_not_be_read_count_their_reason_and_are_missed_by_an_error() {
    let subscriptions = TestSubscriptions::default();
    let mut events = subscriptions.stream(capacity(1000));
    let why = "x".repeat(500);
    for _ in 0..10 {
        assert!(subscriptions.dispatch(refused(&why)).is_none());
    }
    let first = events.try_recv().unwrap();
    assert!(matches!(first, TestEvent::Connection(_)) && events.try_recv().is_none(), "one fits");
    subscriptions.raise(error("then")).await;
    assert_eq!(held(&mut events), [9]);
}

#[tokio::test]
async fn parts_of_messages_wait_for_room_in_a_stream_as_messages_do() {
    let subscriptions = TestSubscriptions::default();
    let mut events = subscriptions.stream(capacity(256 + 100));
    assert_eq!(part(&"x".repeat(100)).flow(), Flow::Bounded(100));
    assert!(subscriptions.dispatch(part(&"x".repeat(100))).is_none());
    let waiting = subscriptions.dispatch(part("y")).expect("there is no room");
    let waiting = tokio::spawn(waiting);
    for text in ["x", "y"] {
        let event = events.recv().await.unwrap();
        let first = event.as_message_part().unwrap().part.payload.as_text().unwrap()[..1].to_owned();
        assert_eq!(first, text);
    }
    waiting.await.unwrap();
}

#[tokio::test]
async fn an_event_that_is_dropped_on_its_way_reaches_the_others_unless_it_is_of_a_message() {
    for (event, heard) in [(message("m"), 0), (part("p"), 0), (error("e"), 1)] {
        let subscriptions = TestSubscriptions::default();
        subscriptions.on(SubscribeOptions::default(), |_| std::future::pending());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        subscriptions.on(SubscribeOptions::default(), move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        });
        let name = format!("{event:?}");
        drop(subscriptions.dispatch(event).expect("the first takes its time"));
        assert_eq!(count.load(Ordering::Relaxed), heard, "{name}");
    }
}

#[tokio::test]
async fn handlers_get_every_error_whatever_a_stream_beside_them_does() {
    let subscriptions = TestSubscriptions::default();
    let _full = subscriptions.stream(capacity(1));
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    subscriptions.on(SubscribeOptions::default(), move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    });
    for _ in 0..100 {
        subscriptions.raise(error("garbage")).await;
    }
    assert_eq!(heard.load(Ordering::Relaxed), 100);
}

/// The texts of the errors of this stage that a handler gets.
fn errors_of(subscriptions: &TestSubscriptions, stage: ErrorStage) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    subscriptions.on(SubscribeOptions::default(), move |event| {
        if let TestEvent::Error(event) = event
            && event.stage == stage
        {
            noted.lock().unwrap().push(event.error.to_string());
        }
        std::future::ready(())
    });
    heard
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_for_30_s_is_told_once_until_it_is_read_again() {
    let subscriptions = TestSubscriptions::default();
    let mut events = subscriptions.stream(capacity(1000));
    let heard = errors_of(&subscriptions, ErrorStage::EventStream);
    let text = "x".repeat(744);
    subscriptions.raise(message(&text)).await;
    // Two connections wait.
    let waiting = [0; 2].map(|_| {
        let (subscriptions, event) = (Arc::clone(&subscriptions), message(&text));
        tokio::spawn(async move { subscriptions.raise(event).await })
    });
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(heard.lock().unwrap().is_empty());
    tokio::time::sleep(Duration::from_secs(300)).await;
    let told = "an event stream with 1000 bytes of events has not been read for 30 s";
    assert_eq!(*heard.lock().unwrap(), [told]);
    assert!(events.recv().await.is_some());
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(heard.lock().unwrap().len(), 2, "it was read once, and then no more");
    assert!(events.recv().await.is_some() && events.recv().await.is_some());
    for waiting in waiting {
        waiting.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_room_that_is_not_read_is_told_by_the_next_event() {
    let subscriptions = TestSubscriptions::default();
    let _events = subscriptions.stream(SubscribeOptions::default());
    let heard = errors_of(&subscriptions, ErrorStage::EventStream);
    subscriptions.raise(error("one")).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    subscriptions.raise(error("two")).await;
    subscriptions.raise(error("three")).await;
    assert_eq!(
        *heard.lock().unwrap(),
        ["an event stream with 512 bytes of events has not been read for 31 s"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_events_is_read() {
    let subscriptions = TestSubscriptions::default();
    let mut events = subscriptions.stream(SubscribeOptions::default());
    let heard = errors_of(&subscriptions, ErrorStage::EventStream);
    for _ in 0..3 {
        let (received, ()) = tokio::join!(events.recv(), async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            subscriptions.raise(error("now and then")).await;
        });
        assert!(received.is_some());
    }
    assert!(heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_event_and_keeps_no_other_from_the_event() {
    let subscriptions = TestSubscriptions::default();
    subscriptions.on(SubscribeOptions::default(), |event| {
        assert!(!matches!(event, TestEvent::Message(_)), "before it returns a future");
        std::future::ready(())
    });
    subscriptions.on(SubscribeOptions::default(), |event| async move {
        assert!(!matches!(event, TestEvent::Connection(_)), "in its future");
    });
    let mut events = subscriptions.stream(SubscribeOptions::default());
    let heard = errors_of(&subscriptions, ErrorStage::HandlerPanic);
    assert!(!subscriptions.raise(message("x")).await);
    assert!(!subscriptions.raise(refused("x")).await);
    assert!(subscriptions.raise(error("x")).await);
    let expected = ["before it returns a future", "in its future"];
    assert_eq!(*heard.lock().unwrap(), expected.map(|said| format!("a handler panicked: {said}")));
    assert!(matches!(events.try_recv(), Some(TestEvent::Message(_))));
}

#[tokio::test]
async fn a_handler_that_panics_at_every_event_is_told_to_the_others_and_that_is_all() {
    let subscriptions = TestSubscriptions::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    subscriptions.on(SubscribeOptions::default(), move |_| -> std::future::Ready<()> {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("always");
    });
    let heard = errors_of(&subscriptions, ErrorStage::HandlerPanic);
    assert!(!subscriptions.raise(error("x")).await);
    assert_eq!((calls.load(Ordering::Relaxed), heard.lock().unwrap().len()), (2, 1));
}

#[test]
fn what_a_handler_holds_is_let_go_of_when_it_is_unsubscribed_although_connections_are_open() {
    let subscriptions = TestSubscriptions::default();
    let held = Arc::new(());
    let theirs = Arc::clone(&held);
    let subscription = subscriptions.on(SubscribeOptions::default(), move |_| {
        let _ = &theirs;
        std::future::ready(())
    });
    let mut open = Dispatcher::new(7, Arc::clone(&subscriptions));
    assert!(open.connected(Moment::now()).is_some());
    assert_eq!(Arc::strong_count(&held), 2);
    subscription.unsubscribe();
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(open.received(Message::text("x"), Moment::now(), &mut HeldHandler::default()).is_none());
}

#[test]
fn a_handler_that_is_unsubscribed_between_two_events_of_one_poll_hears_none_and_is_let_go_of_with_the_poll() {
    for goes_on in [false, true] {
        let subscriptions = TestSubscriptions::default();
        let held = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&held);
        let subscription = subscriptions.on(SubscribeOptions::default(), move |_| {
            theirs.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        });
        let mut open = Dispatcher::new(7, Arc::clone(&subscriptions));
        let mut poll = HeldHandler::default();
        let mut heard = || {
            let _ = open.received(Message::text("x"), Moment::now(), &mut poll);
            held.load(Ordering::Relaxed)
        };
        assert_eq!((heard(), heard()), (1, 2));
        subscription.unsubscribe();
        if goes_on {
            assert_eq!(heard(), 2);
        }
        drop(poll);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

#[test]
fn an_open_connection_remembers_no_more_after_100_000_subscriptions_that_came_and_went() {
    let subscriptions = TestSubscriptions::default();
    let mut open = Dispatcher::new(7, Arc::clone(&subscriptions));
    assert!(open.connected(Moment::now()).is_none());
    let mut weak = Vec::new();
    for n in 0..100_000 {
        let subscription = subscriptions.on(SubscribeOptions::default().replay(), |_| std::future::ready(()));
        assert!(open.replay().is_some());
        subscription.unsubscribe();
        if n % 1000 == 0 {
            weak.push(subscription);
        }
    }
    assert!(open.replay().is_none());
    assert_eq!(format!("{open:?}"), "Dispatcher { saw_connected: 0, .. }");
    assert!(weak.iter().all(|subscription| format!("{subscription:?}").contains("None")), "they are freed");
}

/// Subscribes and unsubscribes when it is dropped.
struct Reenters(TestSubscriptions, Arc<AtomicBool>);

impl Drop for Reenters {
    fn drop(&mut self) {
        self.0.on(SubscribeOptions::default(), |_| std::future::ready(())).unsubscribe();
        self.1.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_handler_may_subscribe_while_it_is_dropped() {
    let subscriptions = TestSubscriptions::default();
    let dropped = Arc::new(AtomicBool::new(false));
    let reenters = Reenters(Arc::clone(&subscriptions), Arc::clone(&dropped));
    let subscription = subscriptions.on(SubscribeOptions::default(), move |_| {
        let _ = &reenters;
        std::future::ready(())
    });
    subscription.unsubscribe();
    assert!(dropped.load(Ordering::Relaxed) && subscriptions.is_empty());
}
