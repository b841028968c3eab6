//! The subscriptions to the events of one end.
//!
//! Handlers run inside the task of the connection that raised the event; event streams hold events until their consumer
//! takes them, bounded by the bytes of the messages in them.

use std::{
    fmt,
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::events::{
    ErrorEvent, ErrorStage, EventError, EventType, Events, Handler, HandlerFuture, Moment, SubscribeOptions,
    delivery::Delivery,
    handler::{Closure, Selective, Stateful},
    handler_panic::{CatchPanic, Panicked, catch_panic},
    stream::{StreamState, StreamUnread},
    subscriber::{HeldHandler, Subscriber},
};

/// All subscriptions of one end.
pub struct Subscriptions<E> {
    list: RwLock<Arc<Subscribers<E>>>,
    /// That of the list.
    version: AtomicU64,
    /// The number of subscriptions that asked for Sent events.
    notices: AtomicUsize,
    /// Whether anybody has ever subscribed to messages.
    heard: AtomicBool,
    /// Who waits for that: the task of the one connection of a client.
    parked: Mutex<Option<Waker>>,
    /// Events that wait for room in a stream now, and how many ever had to.
    waiting: AtomicUsize,
    waited: AtomicU64,
    /// Events that streams did not get.
    missed: AtomicU64,
    /// Hears of each failure, whoever subscribes.
    witness: OnceLock<Box<Witness<E>>>,
}

type Witness<E> = dyn Fn(&E) + Send + Sync;

/// The subscribers at one time.
pub(super) struct Subscribers<E> {
    list: Vec<Arc<Subscriber<E>>>,
    /// Counts the changes.
    pub(super) version: u64,
}
/// How long an event may wait for room in a stream before nobody seems to read that.
const UNREAD: Duration = Duration::from_millis(5);

impl<E: EventType> Subscriptions<E> {
    /// No subscriptions.
    #[must_use]
    pub fn new() -> Self {
        Self {
            list: RwLock::default(),
            version: AtomicU64::new(0),
            notices: AtomicUsize::new(0),
            heard: AtomicBool::new(false),
            parked: Mutex::new(None),
            waiting: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            witness: OnceLock::new(),
        }
    }

    /// Has `witness` hear of each failure before the subscribers do, also if there is none. For the end itself, as its
    /// subscriptions cost something with each event. Only the first call counts.
    pub fn witness_failures(&self, witness: impl Fn(&E) + Send + Sync + 'static) {
        let _ = self.witness.set(Box::new(witness));
    }

    /// The event of a failure, of which the witness has heard.
    pub fn failure(&self, event: ErrorEvent<E::Connection>) -> E {
        let event = E::of_error(event);
        if let Some(witness) = self.witness.get() {
            witness(&event);
        }
        event
    }

    /// Adds a handler.
    pub fn subscribe(
        self: &Arc<Self>,
        options: SubscribeOptions,
        handler: impl Handler<E>,
    ) -> Subscription<E> {
        let subscription = self.add(Subscriber::handler(options, Box::new(Stateful(Arc::new(handler)))));
        self.hear();
        subscription
    }

    /// Adds a closure.
    pub fn on<F, Fut>(self: &Arc<Self>, options: SubscribeOptions, handler: F) -> Subscription<E>
    where
        F: Fn(E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let subscription = self.add(Subscriber::handler(options, Box::new(Closure(handler))));
        self.hear();
        subscription
    }

    /// Adds a closure that is called with every event, and has work for some of them. Messages are none of these, unless
    /// [`hear`](Self::hear) follows.
    pub(super) fn on_some(
        self: &Arc<Self>,
        handler: impl Fn(E) -> Option<HandlerFuture> + Send + Sync + 'static,
    ) -> Subscription<E> {
        self.add(Subscriber::handler(SubscribeOptions::default(), Box::new(Selective(handler))))
    }

    /// Adds a stream.
    pub fn stream(self: &Arc<Self>, options: SubscribeOptions) -> Events<E> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let state = Arc::new(StreamState::new(options.capacity));
        let subscriber = Subscriber::stream(options, sender, Arc::clone(&state), Arc::downgrade(self));
        let events = Events::new(receiver, state, self.add(subscriber));
        self.hear();
        events
    }

    /// Notes that somebody has subscribed to messages, behind the subscription.
    pub(super) fn hear(&self) {
        if self.heard.swap(true, Ordering::AcqRel) {
            return;
        }
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(parked) = parked {
            parked.wake();
        }
    }

    /// Whether anybody has ever subscribed to messages.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// The same; if not, this task is woken once somebody does, and the one that asked before it is not.
    pub fn is_heard_or_waits(&self, cx: &mut Context<'_>) -> bool {
        if self.is_heard() {
            return true;
        }
        let waker = cx.waker().clone();
        let before = self.parked.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        drop(before);
        self.is_heard()
    }

    fn add(self: &Arc<Self>, subscriber: Subscriber<E>) -> Subscription<E> {
        let subscriber = Arc::new(subscriber);
        let subscription = Subscription { subscriber: Arc::downgrade(&subscriber), of: Arc::downgrade(self) };
        self.change(|list| list.push(subscriber));
        subscription
    }

    fn change(&self, f: impl FnOnce(&mut Vec<Arc<Subscriber<E>>>)) {
        let before = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            let mut changed = list.to_vec();
            f(&mut changed);
            let notices = changed.iter().filter(|subscriber| subscriber.options.sent).count();
            self.notices.store(notices, Ordering::Relaxed);
            let version = list.version + 1;
            let before = std::mem::replace(&mut *list, Arc::new(Subscribers { list: changed, version }));
            self.version.store(version, Ordering::Release);
            before
        };
        // Outside of the lock, as it may hold the last handle of what a handler owns.
        drop(before);
    }

    /// Whether a subscription asked for Sent events.
    #[must_use]
    pub fn wants_notices(&self) -> bool {
        self.notices.load(Ordering::Relaxed) > 0
    }

    /// Whether there is no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Hands an event to all present subscribers. What is left to do is returned. For the task of a connection, whose
    /// driver catches what panics in a handler, here or in the future.
    pub fn dispatch(&self, event: E) -> Option<HandlerFuture> {
        deliver(&self.snapshot(), event, &mut HeldHandler::default())
    }

    /// As [`dispatch`](Self::dispatch), for a failure of a connection.
    pub fn dispatch_error_of(
        &self,
        connection: &E::Connection,
        stage: ErrorStage,
        error: EventError,
        at: Moment,
    ) -> Option<HandlerFuture> {
        let (peer, connection) = (E::peer_addr(connection), Some(connection.clone()));
        self.dispatch(self.failure(ErrorEvent::new(stage, error, peer, connection, at.utc)))
    }

    /// Raises an event outside of the task of a connection: hands it over, and waits until its handlers are done. A
    /// handler that panics is an error event of its own, and keeps the event from no other subscriber. False if one did.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, a running handler is dropped. The subscribers behind it get the event all the same,
    /// unless it is a message; their handlers are polled once.
    pub async fn raise(&self, event: E) -> bool {
        let peer_addr = event.origin();
        let Some(panicked) = self.hand_to_each(event).await else { return true };
        tracing::error!("a handler panicked");
        let (stage, error) = (ErrorStage::HandlerPanic, panicked.of_handler());
        let event = self.failure(ErrorEvent::new(stage, error, peer_addr, None, Moment::now().utc));
        // A handler that panics again at this event is not told of that.
        self.hand_to_each(event).await;
        false
    }

    /// As [`raise`](Self::raise), for a failure that belongs to no connection.
    ///
    /// # Cancel safety
    ///
    /// As that of [`raise`](Self::raise).
    pub async fn raise_error(
        &self,
        stage: ErrorStage,
        error: EventError,
        peer_addr: Option<SocketAddr>,
    ) -> bool {
        self.raise(self.failure(ErrorEvent::new(stage, error, peer_addr, None, Moment::now().utc))).await
    }

    /// Hands an event to one subscriber after the other. Answers the first panic.
    async fn hand_to_each(&self, event: E) -> Option<Panicked> {
        let subscribers = self.snapshot();
        match &**subscribers {
            [] => None,
            [only] => match catch_panic(|| only.take(event)) {
                Ok(left) => CatchPanic::new(left?).await.err(),
                Err(panicked) => Some(panicked),
            },
            _ => CatchPanic::new(Delivery::new(event, subscribers)).await.err(),
        }
    }

    /// Logs and raises that an event stream is not read.
    pub(super) fn raise_unread(of: &Weak<Self>, unread: StreamUnread) -> HandlerFuture {
        tracing::warn!(bytes = unread.bytes, unread = ?unread.unread, "an event stream is not read");
        let of = of.upgrade();
        HandlerFuture::new(async move {
            if let Some(of) = of {
                of.raise_error(ErrorStage::EventStream, EventError::new(unread), None).await;
            }
        })
    }

    /// Errors and Sent events that streams did not get, as they are read too slowly, since this was made.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// A stream did not get an event.
    pub(super) fn has_missed(of: &Weak<Self>) {
        if let Some(of) = of.upgrade() {
            of.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event waits for room in a stream until the guard is dropped.
    pub(super) fn wait_for_room(of: &Weak<Self>) -> RoomWait<E> {
        if let Some(of) = of.upgrade() {
            of.waiting.fetch_add(1, Ordering::AcqRel);
            of.waited.fetch_add(1, Ordering::AcqRel);
        }
        RoomWait(Weak::clone(of))
    }

    /// Whether an event waits for room in a stream, and none got it for some milliseconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn is_stuck(&self) -> bool {
        let waited = self.waited.load(Ordering::Acquire);
        let is_stuck =
            || self.waiting.load(Ordering::Acquire) > 0 && self.waited.load(Ordering::Acquire) == waited;
        if !is_stuck() {
            return false;
        }
        tokio::time::sleep(UNREAD).await;
        is_stuck()
    }

    /// Lifts the bound of all event streams while an end stops: their consumers may take no more events, and nothing
    /// new is read then. `false` restores the bound.
    pub fn lift_bounds(&self, lift: bool) {
        for subscriber in self.snapshot().iter() {
            subscriber.lift_bound(lift);
        }
    }

    /// Whether these are the present subscribers.
    pub(super) fn are(&self, subscribers: &Subscribers<E>) -> bool {
        self.version.load(Ordering::Acquire) == subscribers.version
    }

    pub(super) fn snapshot(&self) -> Arc<Subscribers<E>> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<E> Deref for Subscribers<E> {
    type Target = [Arc<Subscriber<E>>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl<E> Default for Subscribers<E> {
    fn default() -> Self {
        Self { list: Vec::new(), version: 0 }
    }
}

impl<E> FromIterator<Arc<Subscriber<E>>> for Subscribers<E> {
    fn from_iter<T: IntoIterator<Item = Arc<Subscriber<E>>>>(list: T) -> Self {
        Self { list: list.into_iter().collect(), version: 0 }
    }
}

/// An event that waits for room in a stream.
pub(super) struct RoomWait<E>(Weak<Subscriptions<E>>);

impl<E> Drop for RoomWait<E> {
    fn drop(&mut self) {
        if let Some(of) = self.0.upgrade() {
            of.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<E: EventType> Default for Subscriptions<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Hands an event to subscribers one after the other. `held` belongs to this list alone.
pub(super) fn deliver<E: EventType>(
    subscribers: &Arc<Subscribers<E>>,
    event: E,
    held: &mut HeldHandler<E>,
) -> Option<HandlerFuture> {
    match &***subscribers {
        [] => None,
        [only] => only.take_held(event, held),
        _ => Some(HandlerFuture::new(Delivery::new(event, Arc::clone(subscribers)))),
    }
}

/// A registered handler. Dropping this changes nothing; [`unsubscribe`](Self::unsubscribe) ends it.
pub struct Subscription<E> {
    subscriber: Weak<Subscriber<E>>,
    of: Weak<Subscriptions<E>>,
}

impl<E: EventType> Subscription<E> {
    /// Ends the subscription: no event is handed over after this returns. A running handler finishes. The closure, or
    /// the handler with its state, is dropped. Safe to call from inside a handler.
    pub fn unsubscribe(&self) {
        let Some(ended) = self.subscriber.upgrade() else { return };
        ended.end();
        if let Some(of) = self.of.upgrade() {
            of.change(|list| list.retain(|subscriber| !Arc::ptr_eq(subscriber, &ended)));
        }
    }

    /// Ties the subscription to a guard: it ends when the guard is dropped.
    #[must_use = "dropping the guard at once unsubscribes at once"]
    pub fn scoped(self) -> SubscriptionGuard<E> {
        SubscriptionGuard(self)
    }
}

/// A subscription that ends when this guard is dropped.
#[derive(Debug)]
pub struct SubscriptionGuard<E: EventType>(Subscription<E>);

impl<E: EventType> Drop for SubscriptionGuard<E> {
    fn drop(&mut self) {
        self.0.unsubscribe();
    }
}

impl<E> fmt::Debug for Subscriptions<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Subscriptions").field("count", &list.len()).finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("subscriber", &self.subscriber.upgrade()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
