//! One subscription, as the code that raises events sees it.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::events::{
    Direction, EventType, Flow, HandlerFuture, SubscribeOptions, Subscriptions,
    handler::DynHandler,
    stream::{StreamState, StreamUnread},
};

/// Bytes that an event takes in a stream beside its message, path or reason.
pub(super) const OVERHEAD: usize = 256;

/// One subscription, as the code that raises events sees it.
pub(crate) struct Subscriber<E> {
    active: AtomicBool,
    pub(super) options: SubscribeOptions,
    sink: Sink<E>,
}

type BoxedHandler<E> = Box<dyn DynHandler<E>>;

/// Where the events of a subscription go.
enum Sink<E> {
    /// `None` once it is unsubscribed: a connection that is open for longer keeps nothing of what the handler holds.
    Handler(ArcSwapOption<BoxedHandler<E>>),
    Stream(StreamSink<E>),
}

/// The handler of the only subscriber, looked up once for the messages of one poll of a connection. An unsubscribed one
/// lives until this is dropped, but is not called.
pub struct HeldHandler<E> {
    handler: Option<Guard<Option<Arc<BoxedHandler<E>>>>>,
    /// Of the list of subscribers.
    version: u64,
}

impl<E> HeldHandler<E> {
    /// Lets go of the handler of another list of subscribers.
    #[inline]
    pub(super) fn for_version(&mut self, version: u64) -> &mut Self {
        if self.version != version {
            *self = Self { handler: None, version };
        }
        self
    }
}

impl<E> fmt::Debug for HeldHandler<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldHandler").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<E> Default for HeldHandler<E> {
    fn default() -> Self {
        Self { handler: None, version: 0 }
    }
}

/// The writing end of an event stream.
struct StreamSink<E> {
    sender: mpsc::UnboundedSender<(E, usize)>,
    state: Arc<StreamState>,
    /// Events that were dropped since the last one of their kind: Sent events, and errors.
    missed_sent: AtomicU64,
    missed_errors: AtomicU64,
    /// To raise that the stream is not read.
    of: Weak<Subscriptions<E>>,
}

impl<E: EventType> Subscriber<E> {
    pub(super) fn handler(options: SubscribeOptions, handler: Box<dyn DynHandler<E>>) -> Self {
        let sink = Sink::Handler(ArcSwapOption::from_pointee(handler));
        Self { active: AtomicBool::new(true), options, sink }
    }

    pub(super) fn stream(
        options: SubscribeOptions,
        sender: mpsc::UnboundedSender<(E, usize)>,
        state: Arc<StreamState>,
        of: Weak<Subscriptions<E>>,
    ) -> Self {
        let (missed_sent, missed_errors) = (AtomicU64::new(0), AtomicU64::new(0));
        let sink = Sink::Stream(StreamSink { sender, state, missed_sent, missed_errors, of });
        Self { active: AtomicBool::new(true), options, sink }
    }

    /// Whether it was not unsubscribed.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Hands over no event from now on. The handler is dropped as soon as no call to it is running.
    pub(super) fn end(&self) {
        self.active.store(false, Ordering::Release);
        if let Sink::Handler(handler) = &self.sink {
            handler.store(None);
        }
    }

    /// Lifts the bound of an event stream, or restores it.
    pub(super) fn lift_bound(&self, lift: bool) {
        if let Sink::Stream(stream) = &self.sink {
            stream.state.room.lift(lift);
        }
    }

    /// Gives the event to this subscriber; what is left to do is returned.
    pub(super) fn take(&self, event: E) -> Option<HandlerFuture> {
        self.take_held(event, &mut HeldHandler::default())
    }

    /// As `take`, with the handler from the last call with `held`, which belongs to this subscriber alone.
    pub(super) fn take_held(&self, event: E, held: &mut HeldHandler<E>) -> Option<HandlerFuture> {
        let is_notice = || event.as_message().is_some_and(|event| event.direction == Direction::Sent);
        if !self.is_active() || (!self.options.sent && is_notice()) {
            return None;
        }
        match &self.sink {
            Sink::Handler(handler) => match held.handler.get_or_insert_with(|| handler.load()).as_ref() {
                Some(handler) if self.options.spans => {
                    let span = event.span();
                    let handling = span.in_scope(|| handler.handle(event));
                    handling.map(|handling| HandlerFuture::new(handling.instrument(span)))
                }
                Some(handler) => handler.handle(event),
                None => None,
            },
            Sink::Stream(stream) => stream.take(event),
        }
    }
}

impl<E: EventType> StreamSink<E> {
    fn take(&self, mut event: E) -> Option<HandlerFuture> {
        let room = &self.state.room;
        let flow = event.flow();
        let bytes = match flow {
            Flow::Free => 0,
            Flow::Bounded(payload) => {
                let bytes = payload.saturating_add(OVERHEAD);
                if !room.try_take(bytes) {
                    return Some(self.wait(event, bytes));
                }
                bytes
            }
            Flow::Coalesced(payload) | Flow::Notice(payload) => {
                let bytes = payload.saturating_add(OVERHEAD);
                let missed =
                    if matches!(flow, Flow::Notice(_)) { &self.missed_sent } else { &self.missed_errors };
                if !room.try_take(bytes) {
                    missed.fetch_add(1, Ordering::Relaxed);
                    Subscriptions::has_missed(&self.of);
                    return self.state.found_unread().map(|unread| self.tell(unread));
                }
                if let Some(told) = event.missed_mut() {
                    *told += missed.swap(0, Ordering::Relaxed);
                }
                bytes
            }
        };
        let unread = self.state.add();
        // The consumer may have gone in between; then the event is dropped.
        let _ = self.sender.send((event, bytes));
        unread.map(|unread| self.tell(unread))
    }

    /// Adds the event as soon as there is room.
    fn wait(&self, event: E, bytes: usize) -> HandlerFuture {
        let (sender, state, of) = (self.sender.clone(), Arc::clone(&self.state), Weak::clone(&self.of));
        HandlerFuture::new(async move {
            {
                let _waits = Subscriptions::wait_for_room(&of);
                let mut room = std::pin::pin!(state.room.take(bytes));
                while tokio::time::timeout_at(state.next_look(), &mut room).await.is_err() {
                    if let Some(unread) = state.found_unread() {
                        Subscriptions::raise_unread(&of, unread).await;
                    }
                }
            }
            state.add();
            let _ = sender.send((event, bytes));
        })
    }

    /// Raises that the stream is not read.
    fn tell(&self, unread: StreamUnread) -> HandlerFuture {
        let of = Weak::clone(&self.of);
        HandlerFuture::new(async move { Subscriptions::raise_unread(&of, unread).await })
    }
}

impl<E> fmt::Debug for Subscriber<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("options", &self.options).finish_non_exhaustive()
    }
}
