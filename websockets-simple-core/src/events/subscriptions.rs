//! The subscriptions to the events of one end.
//!
//! Handlers run inside the task of the connection that raised the event; event streams hold events until their consumer
//! takes them, bounded by the bytes of the messages in them.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::events::{
    ErrorEvent, ErrorStage, EventError, EventType, Events, Flow, Handler, HandlerFuture, Moment,
    SubscribeOptions,
    byte_semaphore::ByteSemaphore,
    handler::{Closure, DynHandler, Selective, Stateful},
};

/// All subscriptions of one end.
pub struct Subscriptions<E> {
    list: RwLock<Arc<[Arc<Subscriber<E>>]>>,
    pub(super) version: AtomicU64,
    /// The number of subscriptions that asked for Sent events.
    notices: AtomicUsize,
}

/// One subscription, as the code that raises events sees it.
pub(crate) struct Subscriber<E> {
    active: AtomicBool,
    pub(super) options: SubscribeOptions,
    sink: Sink<E>,
}

enum Sink<E> {
    Handler(Box<dyn DynHandler<E>>),
    Stream { sender: mpsc::UnboundedSender<(E, usize)>, semaphore: Arc<ByteSemaphore>, missed: AtomicU64 },
}

impl<E: EventType> Subscriptions<E> {
    /// No subscriptions.
    #[must_use]
    pub fn new() -> Self {
        Self { list: RwLock::new(Arc::new([])), version: AtomicU64::new(0), notices: AtomicUsize::new(0) }
    }

    /// Adds a handler.
    pub fn subscribe(
        self: &Arc<Self>,
        options: SubscribeOptions,
        handler: impl Handler<E>,
    ) -> Subscription<E> {
        self.add(options, Sink::Handler(Box::new(Stateful(Arc::new(handler)))))
    }

    /// Adds a closure.
    pub fn on<F, Fut>(self: &Arc<Self>, options: SubscribeOptions, handler: F) -> Subscription<E>
    where
        F: Fn(E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(options, Sink::Handler(Box::new(Closure(handler))))
    }

    /// Adds a closure that is called with every event, and has work for some of them.
    pub(super) fn on_some(
        self: &Arc<Self>,
        handler: impl Fn(E) -> Option<HandlerFuture> + Send + Sync + 'static,
    ) -> Subscription<E> {
        self.add(SubscribeOptions::default(), Sink::Handler(Box::new(Selective(handler))))
    }

    /// Adds a stream.
    pub fn stream(self: &Arc<Self>, options: SubscribeOptions) -> Events<E> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let semaphore = Arc::new(ByteSemaphore::new(options.capacity));
        let sink = Sink::Stream { sender, semaphore: Arc::clone(&semaphore), missed: AtomicU64::new(0) };
        Events { receiver, semaphore, subscription: self.add(options, sink) }
    }

    fn add(self: &Arc<Self>, options: SubscribeOptions, sink: Sink<E>) -> Subscription<E> {
        let subscriber = Arc::new(Subscriber { active: AtomicBool::new(true), options, sink });
        let subscription = Subscription { subscriber: Arc::downgrade(&subscriber), of: Arc::downgrade(self) };
        self.change(|list| list.push(subscriber));
        subscription
    }

    fn change(&self, f: impl FnOnce(&mut Vec<Arc<Subscriber<E>>>)) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = list.to_vec();
        f(&mut changed);
        self.notices
            .store(changed.iter().filter(|subscriber| subscriber.options.sent).count(), Ordering::Relaxed);
        *list = changed.into();
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Whether a subscription asked for Sent events.
    #[must_use]
    pub fn wants_notices(&self) -> bool {
        self.notices.load(Ordering::Relaxed) > 0
    }

    /// Hands an event to all present subscribers. What is left to do is returned.
    pub fn dispatch(&self, event: E) -> Option<HandlerFuture> {
        deliver(&self.snapshot(), event)
    }

    /// As [`dispatch`](Self::dispatch), for a failure that belongs to no connection.
    pub fn dispatch_error(
        &self,
        stage: ErrorStage,
        error: EventError,
        peer_addr: Option<SocketAddr>,
    ) -> Option<HandlerFuture> {
        self.dispatch(E::of_error(ErrorEvent::new(stage, error, peer_addr, None, Moment::now().utc)))
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
        self.dispatch(E::of_error(ErrorEvent::new(stage, error, peer, connection, at.utc)))
    }

    /// Hands an event over, and waits until its handlers are done.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, some subscribers may not get the event.
    pub async fn raise(&self, event: E) {
        if let Some(dispatching) = self.dispatch(event) {
            dispatching.await;
        }
    }

    /// Lifts the bound of all event streams while an end stops: their consumers may take no more events, and nothing
    /// new is read then. `false` restores the bound.
    pub fn lift_bounds(&self, lift: bool) {
        for subscriber in self.snapshot().iter() {
            if let Sink::Stream { semaphore, .. } = &subscriber.sink {
                semaphore.lift(lift);
            }
        }
    }

    pub(super) fn snapshot(&self) -> Arc<[Arc<Subscriber<E>>]> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<E: EventType> Default for Subscriptions<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Hands an event to subscribers one after the other.
pub(super) fn deliver<E: EventType>(
    subscribers: &Arc<[Arc<Subscriber<E>>]>,
    event: E,
) -> Option<HandlerFuture> {
    match &**subscribers {
        [] => None,
        [only] => only.take(event),
        _ => {
            let subscribers = Arc::clone(subscribers);
            let mut next = 0;
            let mut running: Option<HandlerFuture> = None;
            let mut poll = move |cx: &mut Context<'_>| loop {
                if let Some(taking) = &mut running {
                    std::task::ready!(Pin::new(taking).poll(cx));
                    running = None;
                }
                let Some(subscriber) = subscribers.get(next) else { return Poll::Ready(()) };
                next += 1;
                running = subscriber.take(event.clone());
            };
            Some(HandlerFuture::new(std::future::poll_fn(move |cx| poll(cx))))
        }
    }
}

impl<E: EventType> Subscriber<E> {
    /// Gives the event to this subscriber; what is left to do is returned.
    fn take(self: &Arc<Self>, mut event: E) -> Option<HandlerFuture> {
        let flow = event.flow();
        if !self.active.load(Ordering::Acquire) || (matches!(flow, Flow::Notice(_)) && !self.options.sent) {
            return None;
        }
        let (sender, semaphore, missed) = match &self.sink {
            Sink::Handler(handler) => return handler.handle(event),
            Sink::Stream { sender, semaphore, missed } => (sender, semaphore, missed),
        };
        let bytes = match flow {
            Flow::Free => 0,
            Flow::Bounded(bytes) if semaphore.try_take(bytes) => bytes,
            Flow::Bounded(bytes) => {
                let (sender, semaphore) = (sender.clone(), Arc::clone(semaphore));
                return Some(HandlerFuture::new(async move {
                    semaphore.take(bytes).await;
                    let _ = sender.send((event, bytes));
                }));
            }
            Flow::Notice(bytes) => {
                if !semaphore.try_take(bytes) {
                    missed.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                event.add_missed(missed.swap(0, Ordering::Relaxed));
                bytes
            }
        };
        // The consumer may have gone in between; then the event is dropped.
        let _ = sender.send((event, bytes));
        None
    }
}

/// A registered handler. Dropping this changes nothing; [`unsubscribe`](Self::unsubscribe) ends it.
pub struct Subscription<E> {
    subscriber: Weak<Subscriber<E>>,
    of: Weak<Subscriptions<E>>,
}

impl<E: EventType> Subscription<E> {
    /// Ends the subscription: no event is handed over after this returns. A running handler finishes.
    /// Safe to call from inside a handler.
    pub fn unsubscribe(&self) {
        let Some(ended) = self.subscriber.upgrade() else { return };
        ended.active.store(false, Ordering::Release);
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

impl<E> fmt::Debug for Subscriber<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("subscriber", &self.subscriber.upgrade()).finish_non_exhaustive()
    }
}
