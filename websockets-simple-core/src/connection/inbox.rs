//! From the driver to the user: what was received waits here, in order, until the handler has taken it.

use std::{
    cell::Cell,
    collections::VecDeque,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use crate::{
    connection::shared::ConnectionShared,
    events::{Disconnect, ErrorStage, EventError, HandlerFuture, Moment},
    outbox::budget,
    protocol::{Control, Message},
};

/// Messages handed to the handler before others of the scheduler get their turn.
const MESSAGES_PER_TURN: usize = 1024;

/// Who is told what happens on a connection. Each call may leave work to be polled inside the connection's internal
/// task; the next call comes when that work is done. A panic in a call or in its work ends the connection.
pub trait ConnectionObserver: Send + Unpin + 'static {
    /// What the connection's handles share.
    type Connection: AsRef<ConnectionShared> + Send + Sync + 'static;

    /// Which end this connection belongs to, for [`current_owner`].
    fn owner(&self) -> u64;

    /// The connection is open. The first call.
    fn connected(&mut self, at: Moment) -> Option<HandlerFuture>;
    /// A message was received.
    fn received(&mut self, message: Message, at: Moment) -> Option<HandlerFuture>;
    /// A message was accepted for sending; `missed` sent_events were dropped before it.
    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture>;
    /// The peer's library says something. Not a message, and no event; its work does not wait for the handlers.
    fn control(&mut self, control: Control, at: Moment) -> Option<HandlerFuture>;
    /// Something failed.
    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture>;
    /// Looked at before each of the above: what has to be told first.
    fn overdue(&mut self) -> Option<HandlerFuture>;
    /// The transport is gone: nobody may find the connection any more.
    fn released(&mut self);
    /// The end, and the last call.
    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture>;
}

/// See the module.
pub(crate) struct Inbox<R: ConnectionObserver> {
    observer: R,
    shared: Arc<R::Connection>,
    queue: VecDeque<Item>,
    bytes: usize,
    running: Option<HandlerFuture>,
    controls: Option<Box<ControlQueue>>,
    panicked: bool,
}

/// Control messages, which do not wait for the handlers of the user.
#[derive(Default)]
struct ControlQueue {
    waiting: VecDeque<QueuedControl>,
    /// Bytes of the messages in `waiting`, as they were received.
    bytes: usize,
    running: Option<HandlerFuture>,
}

struct QueuedControl {
    control: Control,
    size: usize,
    at: Moment,
}

/// Control messages that may wait for the one at work, twice as many as a client of this library asks at once.
const CONTROLS: usize = 128;

/// Bytes of these.
const CONTROL_BYTES: usize = 128 * 1024;

enum Item {
    Connected(Moment),
    Disconnected(Disconnect, Moment),
    Failed(ErrorStage, EventError, Moment),
    Received(Message, Moment),
}

impl<R: ConnectionObserver> Inbox<R> {
    pub(crate) fn new(observer: R, shared: Arc<R::Connection>) -> Self {
        let queue = VecDeque::from([Item::Connected(Moment::now())]);
        Self { observer, shared, queue, bytes: 0, running: None, controls: None, panicked: false }
    }

    /// Payload bytes of messages nobody has taken yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn message(&mut self, message: Message, at: Moment) {
        self.bytes += message.len();
        if self.queue.capacity() == 0 {
            self.queue = SPARE.take();
        }
        self.queue.push_back(Item::Received(message, at));
    }

    /// Takes a control message of `size` bytes in. False if there are too many already.
    pub(crate) fn control(&mut self, control: Control, size: usize, at: Moment) -> bool {
        let controls = self.controls.get_or_insert_default();
        if controls.waiting.len() == CONTROLS || controls.bytes + size > CONTROL_BYTES {
            return false;
        }
        controls.bytes += size;
        controls.waiting.push_back(QueuedControl { control, size, at });
        true
    }

    pub(crate) fn error(&mut self, stage: ErrorStage, error: EventError, at: Moment) {
        self.queue.push_back(Item::Failed(stage, error, at));
    }

    pub(crate) fn end(&mut self, end: Disconnect) {
        self.queue.push_back(Item::Disconnected(end, Moment::now()));
    }

    pub(crate) fn release(&mut self) {
        let observer = &mut self.observer;
        let _ = catch_unwind(AssertUnwindSafe(|| observer.released()));
    }

    /// Gives up the handler and what waits for it; only errors and the end are still told.
    pub(crate) fn give_up(&mut self) {
        self.drop_running();
        if let Some(controls) = self.controls.take()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(controls)))
        {
            self.panicked(&*panic);
        }
        self.bytes = 0;
        self.queue.retain(|item| !matches!(item, Item::Received(..)));
    }

    /// Whether a handler panicked. What it had not taken yet is given up, and the panic is an error event.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked
    }

    /// Lets the handler work: ready when it has nothing left to do.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _inside = Inside::enter(self.observer.owner());
        if self.controls.is_some()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.poll_controls(cx)))
        {
            self.panicked(&*panic);
        }
        for _ in 0..MESSAGES_PER_TURN {
            if self.running.is_none() && budget::is_exhausted() {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| self.step(cx))) {
                Ok(Some(Poll::Ready(()))) => {}
                Ok(Some(Poll::Pending)) => return Poll::Pending,
                Ok(None) => return Poll::Ready(()),
                Err(panic) => self.panicked(&*panic),
            }
        }
        budget::yield_to_others(cx);
        Poll::Pending
    }

    /// Deals with control messages, one after the other.
    fn poll_controls(&mut self, cx: &mut Context<'_>) {
        while let Some(controls) = &mut self.controls {
            if let Some(running) = &mut controls.running {
                if Pin::new(running).poll(cx).is_pending() {
                    return;
                }
                controls.running = None;
            }
            match controls.waiting.pop_front() {
                Some(QueuedControl { control, size, at }) => {
                    controls.bytes -= size;
                    controls.running = self.observer.control(control, at);
                }
                None => self.controls = None,
            }
        }
    }

    /// Goes on with the work at hand, or hands the next item over. `None` if there is neither.
    fn step(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        if self.running.is_none() {
            self.running = self.begin_next()?;
        }
        if let Some(running) = &mut self.running {
            if Pin::new(running).poll(cx).is_pending() {
                return Some(Poll::Pending);
            }
            self.running = None;
        }
        Some(Poll::Ready(()))
    }

    /// Hands the next item over, which may make work. `None` if there is no item.
    fn begin_next(&mut self) -> Option<Option<HandlerFuture>> {
        let Self { observer, shared, queue, bytes, .. } = self;
        if !matches!(queue.front(), Some(Item::Connected(_))) {
            if let Some(overdue) = observer.overdue() {
                return Some(Some(overdue));
            }
            if let Some((message, missed, at)) = (**shared).as_ref().outbox.take_sent_event() {
                return Some(observer.sent(message, missed, at));
            }
        }
        let item = queue.pop_front()?;
        if queue.is_empty() {
            lend(mem::take(queue));
        }
        Some(match item {
            Item::Connected(at) => observer.connected(at),
            Item::Disconnected(end, at) => observer.disconnected(end, at),
            Item::Failed(stage, error, at) => observer.failed(stage, error, at),
            Item::Received(message, at) => {
                *bytes -= message.len();
                observer.received(message, at)
            }
        })
    }

    fn panicked(&mut self, panic: &(dyn std::any::Any + Send)) {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        self.give_up();
        if !mem::replace(&mut self.panicked, true) {
            let error = EventError::new(format!("a handler panicked: {text}"));
            self.error(ErrorStage::HandlerPanic, error, Moment::now());
        }
    }

    /// Dropping a future runs the user's code too.
    fn drop_running(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(running)))
        {
            self.panicked(&*panic);
        }
    }
}

/// Places that the spare queue of a thread has at most.
const SPARE_PLACES: usize = 256;

/// Leaves the memory of an empty queue to the next connection of this thread: one that waits keeps none.
fn lend(queue: VecDeque<Item>) {
    if queue.capacity() <= SPARE_PLACES {
        SPARE.set(queue);
    }
}

thread_local! {
    static SPARE: Cell<VecDeque<Item>> = const { Cell::new(VecDeque::new()) };
    static OWNER: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The end inside one of whose handlers this is called, if any. A wait for that end must not wait for the
/// handler it is called from.
#[must_use]
pub fn current_owner() -> Option<u64> {
    OWNER.get()
}

/// A number for a new end.
#[must_use]
pub fn new_owner() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// While this lives, the thread is inside a handler.
struct Inside(Option<u64>);

impl Inside {
    fn enter(owner: u64) -> Self {
        Self(OWNER.replace(Some(owner)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        OWNER.set(self.0);
    }
}

impl<R: ConnectionObserver> fmt::Debug for Inbox<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("queue", &self.queue.len())
            .field("bytes", &self.bytes)
            .field("running", &self.running.is_some())
            .finish_non_exhaustive()
    }
}
