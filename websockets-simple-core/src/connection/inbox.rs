//! From the driver to the user: what was received waits here, in order, until the handler has taken it.

use std::{
    cell::Cell,
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};

use crate::{
    connection::observer::{ConnectionObserver, ControlOutcome},
    events::{
        Disconnect, ErrorStage, EventError, GroupChange, HandlerFuture, Moment, Panicked, catch_panic, spare,
    },
    outbox::{Outbox, budget},
    protocol::{Control, Message, MessagePart},
};

/// Messages handed to the handler before other tasks run.
const MESSAGES_PER_POLL: usize = 1024;

/// The received messages and errors of one connection that wait for its handlers.
pub(crate) struct Inbox<O: ConnectionObserver> {
    observer: O,
    /// `None` while it is empty.
    queue: Option<Box<Queue>>,
    running: HandlerFuture,
    controls: Option<Box<ControlQueue>>,
    panicked: bool,
}

/// What waits. Boxed, so that an idle connection keeps one pointer.
#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Bytes of the messages in it: of each its payload and [`ITEM`].
    bytes: usize,
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

/// Most control messages that wait while one is handled: twice as many as a client of this library sends at once.
const CONTROLS: usize = 128;

/// Most bytes of waiting control messages.
const CONTROL_BYTES: usize = 128 * 1024;

/// What each waiting message counts beside its payload: its place in a queue that doubles as it grows.
const ITEM: usize = 2 * size_of::<Item>();

enum Item {
    Connected(Moment),
    Disconnected(Disconnect, Moment),
    Failed(ErrorStage, EventError, Moment),
    Received(Received, Moment),
}

/// What the peer has sent: a message, a part of one, or a request that has changed its groups.
enum Received {
    Message(Message),
    Part(Box<MessagePart>),
    GroupChange(Box<GroupChange>),
}

impl Received {
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Part(part) => part.len(),
            Self::GroupChange(change) => change.group.as_str().len(),
        }
    }
}

impl<O: ConnectionObserver> Inbox<O> {
    pub(crate) fn new(observer: O) -> Self {
        let items = VecDeque::from([Item::Connected(Moment::now())]);
        let queue = Some(Box::new(Queue { items, bytes: 0 }));
        Self { observer, queue, running: HandlerFuture::DONE, controls: None, panicked: false }
    }

    /// Bytes of messages that wait for the handler.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    pub(crate) fn message(&mut self, message: Message, at: Moment) {
        self.received(Received::Message(message), at);
    }

    pub(crate) fn part(&mut self, part: Box<MessagePart>, at: Moment) {
        self.received(Received::Part(part), at);
    }

    fn received(&mut self, received: Received, at: Moment) {
        let queue = self.queue();
        queue.bytes += received.len() + ITEM;
        queue.items.push_back(Item::Received(received, at));
    }

    fn push(&mut self, item: Item) {
        self.queue().items.push_back(item);
    }

    fn queue(&mut self) -> &mut Queue {
        self.queue.get_or_insert_with(|| spare::take(&SPARE).unwrap_or_default())
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        self.queue.iter().flat_map(|queue| queue.items.iter())
    }

    /// Queues a control message of `size` bytes. False if too many wait already.
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
        self.push(Item::Failed(stage, error, at));
    }

    pub(crate) fn end(&mut self, end: Disconnect) {
        self.push(Item::Disconnected(end, Moment::now()));
    }

    pub(crate) fn release(&mut self) {
        let observer = &mut self.observer;
        let _ = catch_panic(|| observer.released());
    }

    /// Drops the running handler and the messages that wait for it; errors and the end are still raised.
    pub(crate) fn give_up(&mut self) {
        self.drop_running();
        self.drop_messages();
        if let Some(controls) = self.controls.take()
            && let Err(panic) = catch_panic(|| drop(controls))
        {
            self.panicked(panic);
        }
    }

    /// Drops whatever is left to do.
    pub(crate) fn drop_all(&mut self) {
        self.give_up();
        self.queue = None;
        self.drop_running();
    }

    /// Drops the messages that wait for the handler, but not the one that it handles.
    pub(crate) fn drop_messages(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.bytes = 0;
            queue.items.retain(|item| !matches!(item, Item::Received(..)));
        }
    }

    /// Whether the end is still to be raised.
    pub(crate) fn owes_end(&self) -> bool {
        self.items().any(|item| matches!(item, Item::Disconnected(..)))
    }

    /// Raises the end of a connection whose task is dropped, or has no more time. What a handler does before it first waits is done, the
    /// rest is not.
    pub(crate) fn end_unpolled(&mut self, end: Disconnect) {
        let is_known = !self.items().any(|item| matches!(item, Item::Connected(_)));
        self.give_up();
        self.queue = None;
        if !is_known {
            return;
        }
        let observer = &mut self.observer;
        let _ = catch_panic(|| {
            let _inside = Inside::enter(observer.owner(), 0);
            if let Some(mut handler) = observer.disconnected(end, Moment::now()) {
                let _: Poll<()> = Pin::new(&mut handler).poll(&mut Context::from_waker(Waker::noop()));
            }
        });
    }

    /// Whether a handler panicked. Messages it had not taken yet are dropped, and the panic is an error event.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked
    }

    /// Runs the handlers: ready when nothing is left for them to do.
    pub(crate) fn poll(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<()> {
        let _inside = Inside::enter(self.observer.owner(), number(outbox));
        if self.controls.is_some()
            && let Err(panic) = catch_panic(|| self.poll_controls(cx))
        {
            self.panicked(panic);
        }
        let mut held = O::Held::default();
        let polled = self.handle(outbox, cx, &mut held);
        if let Err(panic) = catch_panic(|| drop(held)) {
            self.panicked(panic);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    /// Handles one item after the other.
    fn handle(&mut self, outbox: &Outbox, cx: &mut Context<'_>, held: &mut O::Held) -> Poll<()> {
        for _ in 0..MESSAGES_PER_POLL {
            if self.running.is_done() && budget::is_exhausted() {
                break;
            }
            match catch_panic(|| self.step(outbox, cx, held)) {
                Ok(Some(Poll::Ready(()))) => {}
                Ok(Some(Poll::Pending)) => return Poll::Pending,
                Ok(None) => return Poll::Ready(()),
                Err(panic) => self.panicked(panic),
            }
        }
        budget::yield_to_others(cx);
        Poll::Pending
    }

    /// Handles control messages, one after the other.
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
                    match self.observer.control(control, at) {
                        ControlOutcome::Done => {}
                        ControlOutcome::Beside(running) => controls.running = Some(running),
                        ControlOutcome::InTurn(change) => {
                            self.received(Received::GroupChange(Box::new(change)), at);
                        }
                    }
                }
                None => self.controls = None,
            }
        }
    }

    /// Polls the running handler, or starts one for the next item. `None` if there is neither.
    fn step(&mut self, outbox: &Outbox, cx: &mut Context<'_>, held: &mut O::Held) -> Option<Poll<()>> {
        if self.running.is_done() {
            match self.begin_next(outbox, cx, held)? {
                Some(handler) => self.running = handler,
                None => return Some(Poll::Ready(())),
            }
        }
        Some(Pin::new(&mut self.running).poll(cx))
    }

    /// Passes the next item to the observer, which may return a future. `None` if there is none, or none but messages that
    /// the observer lets wait.
    fn begin_next(
        &mut self,
        outbox: &Outbox,
        cx: &mut Context<'_>,
        held: &mut O::Held,
    ) -> Option<Option<HandlerFuture>> {
        let Self { observer, queue: waiting, .. } = self;
        if !matches!(waiting.as_ref().and_then(|queue| queue.items.front()), Some(Item::Connected(_))) {
            if let Some(overdue) = observer.overdue() {
                return Some(Some(overdue));
            }
            if let Some((message, missed, at)) = outbox.take_sent_event() {
                return Some(observer.sent(message, missed, at));
            }
        }
        let queue = waiting.as_mut()?;
        let is_message = |item: &Item| matches!(item, Item::Received(..));
        let item = if queue.items.front().is_some_and(is_message) && observer.parks(queue.bytes, cx) {
            let place = queue.items.iter().position(|item| !is_message(item))?;
            queue.items.remove(place)
        } else {
            queue.items.pop_front()
        };
        if let Some(Item::Received(received, _)) = &item {
            queue.bytes -= received.len() + ITEM;
        }
        if queue.items.is_empty() {
            waiting.take().into_iter().for_each(lend);
        }
        let item = item?;
        Some(match item {
            Item::Connected(at) => observer.connected(at),
            Item::Disconnected(end, at) => observer.disconnected(end, at),
            Item::Failed(stage, error, at) => observer.failed(stage, error, at),
            Item::Received(..) if outbox.drops_received() => None,
            Item::Received(Received::Message(message), at) => observer.received(message, at, held),
            Item::Received(Received::Part(part), at) => observer.received_part(*part, at),
            Item::Received(Received::GroupChange(change), at) => observer.group_changed(*change, at),
        })
    }

    fn panicked(&mut self, panic: Panicked) {
        self.give_up();
        if !mem::replace(&mut self.panicked, true) {
            self.error(ErrorStage::HandlerPanic, panic.of_handler(), Moment::now());
        }
    }

    /// Dropping a future runs user code too, which may panic.
    fn drop_running(&mut self) {
        let running = mem::replace(&mut self.running, HandlerFuture::DONE);
        if let Err(panic) = catch_panic(|| drop(running)) {
            self.panicked(panic);
        }
    }
}

/// The largest capacity of a thread's spare queue.
const SPARE_PLACES: usize = 256;

/// Leaves the memory of an empty queue to the next connection of this thread: a waiting connection keeps none.
fn lend(queue: Box<Queue>) {
    if queue.items.capacity() <= SPARE_PLACES {
        spare::keep(&SPARE, Some(queue));
    }
}

thread_local! {
    static SPARE: Cell<Option<Box<Queue>>> = const { Cell::new(None) };
    /// The owner, and the number of the connection or 0.
    static INSIDE: Cell<(Option<u64>, usize)> = const { Cell::new((None, 0)) };
}

/// The owner ([`ConnectionObserver::owner`]) of the handler that this is called from, if any. A wait for that owner to
/// stop must not wait for the calling handler.
#[must_use]
pub fn current_owner() -> Option<u64> {
    INSIDE.get().0
}

/// Whether this is called from a handler of the connection of this outbox.
pub(super) fn is_inside(outbox: &Outbox) -> bool {
    INSIDE.get().1 == number(outbox)
}

/// A number of a connection, which no other one has at the same time.
fn number(outbox: &Outbox) -> usize {
    std::ptr::from_ref(outbox).addr()
}

/// Calls `work` as a handler of this owner: for work that is polled beside the connection and not by it.
pub fn inside<T>(owner: u64, work: impl FnOnce() -> T) -> T {
    let _inside = Inside::enter(owner, INSIDE.get().1);
    work()
}

/// A number for a new owner, unique in the process.
#[must_use]
pub fn new_owner() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// While this lives, the thread is inside a handler.
struct Inside((Option<u64>, usize));

impl Inside {
    fn enter(owner: u64, connection: usize) -> Self {
        Self(INSIDE.replace((Some(owner), connection)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

impl<O: ConnectionObserver> fmt::Debug for Inbox<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("queue", &self.items().count())
            .field("bytes", &self.waiting_bytes())
            .field("running", &!self.running.is_done())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
