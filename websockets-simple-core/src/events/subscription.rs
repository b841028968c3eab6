//! Who wants to know what happens, and how they are told.
//!
//! `E` is the event enum of an end. Handlers run inside the task of the connection that raised the event; event
//! streams hold events until their consumer takes them, bounded by the bytes of the messages in them.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::events::{byte_semaphore::ByteSemaphore, handler_future::HandlerFuture};

/// Bytes of messages that an event stream holds unless it was asked for otherwise.
const STREAM_CAPACITY: usize = 1024 * 1024;

/// Takes events one after the other per connection, and those of different connections side by side.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use websockets_simple_core::Handler;
///
/// struct Count(AtomicUsize);
///
/// impl<E: Send + 'static> Handler<E> for Count {
///     async fn handle(&self, _event: E) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait Handler<E>: Send + Sync + 'static {
    /// Called for every event. The next event of the same connection waits until the future is done.
    fn handle(&self, event: E) -> impl Future<Output = ()> + Send;
}

/// How an event travels through event streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// Never waits.
    Free,
    /// Waits for this many bytes of room.
    Bounded(usize),
    /// Is counted instead of kept when there are not this many bytes of room, and goes only to those who asked
    /// for notices.
    Notice(usize),
}

/// What a subscription needs to know of an event.
pub trait Observable: Clone + Send + 'static {
    /// How it travels.
    fn flow(&self) -> Flow;
    /// Adds to the number of notices that were missed before this one.
    fn add_missed(&mut self, missed: u64);
}

/// What a subscription wants beyond the default.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Whether messages accepted for sending are told too. Default: no.
    pub sent: bool,
    /// Whether connections that are open already are told as Connected. Default: no; such a subscription then
    /// sees no Disconnected of theirs either.
    pub replay: bool,
    /// Bytes of messages an event stream holds. Default: 1 MiB. Handlers do not use it.
    pub capacity: usize,
}

impl SubscribeOptions {
    /// Asks for an event for every message accepted for sending.
    #[must_use]
    pub fn sent(mut self) -> Self {
        self.sent = true;
        self
    }

    /// Asks for a Connected for every connection that is open already.
    #[must_use]
    pub fn replay(mut self) -> Self {
        self.replay = true;
        self
    }

    /// Sets the bytes of messages an event stream holds.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { sent: false, replay: false, capacity: STREAM_CAPACITY }
    }
}

/// All subscriptions of one end.
pub struct Subscriptions<E> {
    list: RwLock<Arc<[Arc<Subscriber<E>>]>>,
    version: AtomicU64,
    /// Subscriptions that asked for Sent events.
    notices: AtomicUsize,
}

/// One subscription as those who tell events see it.
pub(crate) struct Subscriber<E> {
    active: AtomicBool,
    options: SubscribeOptions,
    sink: Sink<E>,
}

enum Sink<E> {
    Handler(Box<dyn DynHandler<E>>),
    Stream { sender: mpsc::UnboundedSender<(E, usize)>, semaphore: Arc<ByteSemaphore>, missed: AtomicU64 },
}

trait DynHandler<E>: Send + Sync {
    fn handle(&self, event: E) -> HandlerFuture;
}

impl<E: Observable> Subscriptions<E> {
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

    /// Whether anybody asked for Sent events.
    #[must_use]
    pub fn wants_notices(&self) -> bool {
        self.notices.load(Ordering::Relaxed) > 0
    }

    /// Tells everybody who is subscribed now.
    pub fn tell(&self, event: E) -> Option<HandlerFuture> {
        deliver(&self.snapshot(), event)
    }

    /// While an end stops nobody takes events any more, so those that exist are let through unbounded; nothing
    /// new is read then. `false` restores the bound.
    pub fn lift_bounds(&self, lift: bool) {
        for subscriber in self.snapshot().iter() {
            if let Sink::Stream { semaphore, .. } = &subscriber.sink {
                semaphore.lift(lift);
            }
        }
    }

    fn snapshot(&self) -> Arc<[Arc<Subscriber<E>>]> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<E: Observable> Default for Subscriptions<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the events of one connection: whoever saw its Connected sees its Disconnected.
pub struct Dispatcher<E> {
    subscriptions: Arc<Subscriptions<E>>,
    /// Who saw Connected.
    saw_connected: Arc<[Arc<Subscriber<E>>]>,
    /// Who was subscribed at `version`: looked up once per change and not once per event.
    current: Arc<[Arc<Subscriber<E>>]>,
    version: u64,
    /// The version up to which late subscriptions were told Connected.
    replayed: u64,
}

impl<E: Observable> Dispatcher<E> {
    /// For a connection that nobody has been told of.
    #[must_use]
    pub fn new(subscriptions: Arc<Subscriptions<E>>) -> Self {
        let current = subscriptions.snapshot();
        // Older than any, so that the first look is a real one.
        Self {
            subscriptions,
            saw_connected: Arc::clone(&current),
            current,
            version: u64::MAX,
            replayed: u64::MAX,
        }
    }

    /// Tells Connected.
    pub fn connected(&mut self, event: E) -> Option<HandlerFuture> {
        self.catch_up();
        self.replayed = self.version;
        self.saw_connected = Arc::clone(&self.current);
        deliver(&self.saw_connected, event)
    }

    /// Tells anything in between.
    pub fn tell(&mut self, event: E) -> Option<HandlerFuture> {
        self.catch_up();
        deliver(&self.current, event)
    }

    fn catch_up(&mut self) {
        let version = self.subscriptions.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.current = self.subscriptions.snapshot();
        }
    }

    /// Tells Connected to those who subscribed later and asked for it.
    pub fn replay(&mut self, connected: impl FnOnce() -> E) -> Option<HandlerFuture> {
        self.catch_up();
        if self.replayed == self.version {
            return None;
        }
        self.replayed = self.version;
        let known = |subscriber: &Arc<Subscriber<E>>| {
            self.saw_connected.iter().any(|saw| Arc::ptr_eq(saw, subscriber))
        };
        let late: Vec<_> = self
            .current
            .iter()
            .filter(|subscriber| subscriber.options.replay && !known(subscriber))
            .cloned()
            .collect();
        if late.is_empty() {
            return None;
        }
        self.saw_connected = self.saw_connected.iter().chain(&late).cloned().collect();
        deliver(&late.into(), connected())
    }

    /// Tells Disconnected to whoever saw Connected.
    pub fn disconnected(&mut self, event: E) -> Option<HandlerFuture> {
        deliver(&std::mem::replace(&mut self.saw_connected, Arc::new([])), event)
    }
}

fn deliver<E: Observable>(subscribers: &Arc<[Arc<Subscriber<E>>]>, event: E) -> Option<HandlerFuture> {
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

impl<E: Observable> Subscriber<E> {
    /// Gives the event to this one; what is left to do is returned.
    fn take(self: &Arc<Self>, mut event: E) -> Option<HandlerFuture> {
        let flow = event.flow();
        if !self.active.load(Ordering::Acquire) || (matches!(flow, Flow::Notice(_)) && !self.options.sent) {
            return None;
        }
        let (sender, semaphore, missed) = match &self.sink {
            Sink::Handler(handler) => return Some(handler.handle(event)),
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
        // The consumer may have gone in between; then there is nobody to tell.
        let _ = sender.send((event, bytes));
        None
    }
}

struct Closure<F>(F);

impl<E, F, Fut> DynHandler<E> for Closure<F>
where
    E: Send + 'static,
    F: Fn(E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn handle(&self, event: E) -> HandlerFuture {
        HandlerFuture::new((self.0)(event))
    }
}

struct Stateful<H>(Arc<H>);

impl<E: Send + 'static, H: Handler<E>> DynHandler<E> for Stateful<H> {
    fn handle(&self, event: E) -> HandlerFuture {
        let handler = Arc::clone(&self.0);
        HandlerFuture::new(async move { handler.handle(event).await })
    }
}

/// A registered handler. Dropping this changes nothing; [`unsubscribe`](Self::unsubscribe) ends it.
pub struct Subscription<E> {
    subscriber: Weak<Subscriber<E>>,
    of: Weak<Subscriptions<E>>,
}

impl<E: Observable> Subscription<E> {
    /// Ends the subscription: no event is handed over after this returns. A handler that is at work finishes.
    /// Safe to call from inside a handler.
    pub fn unsubscribe(&self) {
        let Some(ended) = self.subscriber.upgrade() else { return };
        ended.active.store(false, Ordering::Release);
        if let Some(of) = self.of.upgrade() {
            of.change(|list| list.retain(|subscriber| !Arc::ptr_eq(subscriber, &ended)));
        }
    }

    /// Ties the subscription to a value: it ends when that is dropped.
    #[must_use = "dropping the guard at once unsubscribes at once"]
    pub fn scoped(self) -> SubscriptionGuard<E> {
        SubscriptionGuard(self)
    }
}

/// Unsubscribes when it is dropped.
#[derive(Debug)]
pub struct SubscriptionGuard<E: Observable>(Subscription<E>);

impl<E: Observable> Drop for SubscriptionGuard<E> {
    fn drop(&mut self) {
        self.0.unsubscribe();
    }
}

/// Events one after the other, for those who like a loop.
///
/// Holds messages up to its capacity; beyond it their connections wait, and their peers in turn. Dropping it
/// ends the subscription.
pub struct Events<E: Observable> {
    receiver: mpsc::UnboundedReceiver<(E, usize)>,
    semaphore: Arc<ByteSemaphore>,
    subscription: Subscription<E>,
}

impl<E: Observable> Events<E> {
    /// The next event; `None` when the end that raises them is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it resolves, no event is lost.
    pub async fn recv(&mut self) -> Option<E> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<E> {
        let (event, bytes) = self.receiver.try_recv().ok()?;
        self.semaphore.give(bytes);
        Some(event)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.receiver.poll_recv(cx).map(|next| {
            let (event, bytes) = next?;
            self.semaphore.give(bytes);
            Some(event)
        })
    }
}

impl<E: Observable> Stream for Events<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<E: Observable> Drop for Events<E> {
    fn drop(&mut self) {
        self.subscription.unsubscribe();
        // Whoever waits for room need not any more.
        self.semaphore.lift(true);
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

impl<E> fmt::Debug for Dispatcher<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("saw_connected", &self.saw_connected.len()).finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("subscriber", &self.subscriber.upgrade()).finish_non_exhaustive()
    }
}

impl<E: Observable> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("semaphore", &self.semaphore).finish_non_exhaustive()
    }
}
