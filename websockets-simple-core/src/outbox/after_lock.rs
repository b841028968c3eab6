//! What has to wait until the lock of an outbox is released: it runs code of others, which may use the outbox again.

use std::{
    cell::Cell,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    task::Waker,
};

use bytes::Bytes;

use crate::{
    events::catch_panic,
    outbox::{
        queue::{OutboxState, QueuedFrame},
        sync::{Mutex, MutexGuard, PoisonError, thread_local},
    },
    protocol::{Frame, Message},
};

/// The state under its lock. What wakes tasks and drops payloads happens after the lock is released.
pub(super) struct Locked<'a>(Option<MutexGuard<'a, OutboxState>>);

impl<'a> Locked<'a> {
    /// The queue has all that was sent.
    #[inline]
    pub(super) fn new(state: &'a Mutex<OutboxState>) -> Self {
        let mut locked = Self::unsettled(state);
        locked.settle();
        locked
    }

    /// Messages of the driver's round may not be in the queue: for those who neither look at it nor add to it.
    pub(super) fn unsettled(state: &'a Mutex<OutboxState>) -> Self {
        Self(Some(state.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Deref for Locked<'_> {
    type Target = OutboxState;

    #[inline]
    fn deref(&self) -> &OutboxState {
        self.0.as_deref().unwrap_or_else(|| unreachable!("only `drop` takes the guard"))
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut OutboxState {
        self.0.as_deref_mut().unwrap_or_else(|| unreachable!("only `drop` takes the guard"))
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0 = None;
        run_if_due();
    }
}

/// Wakes and drops that are due when this thread has released the lock.
#[derive(Default)]
struct Due {
    wakes: Vec<Waker>,
    drops: Vec<Dropped>,
    #[cfg(all(test, not(shuttle)))]
    _counted: tests::Counted,
}

/// Something whose drop may run code of others: a payload may belong to the application.
#[expect(dead_code, reason = "held until the lock is released, and then dropped")]
pub(super) enum Dropped {
    Message(Message),
    Payload(Bytes),
    Waker(Waker),
}

/// Capacity that is kept for the next time.
const KEPT: usize = 256;

thread_local! {
    static IS_DUE: Cell<bool> = const { Cell::new(false) };
    /// Without a destructor of its own, as destructors of other thread-locals may send.
    static DUE: Cell<Option<ManuallyDrop<Box<Due>>>> = const { Cell::new(None) };
    static EXIT: ThreadExit = const { ThreadExit };
}

/// Frees what the thread kept. Afterwards nothing is kept.
struct ThreadExit;

impl Drop for ThreadExit {
    fn drop(&mut self) {
        let kept = DUE.try_with(Cell::take).ok().flatten();
        drop(kept.map(ManuallyDrop::into_inner));
    }
}

/// Wakes a task once the lock is released.
pub(super) fn wake(waker: Waker) {
    with(|due| due.wakes.push(waker));
}

/// Drops something once the lock is released.
pub(super) fn discard(dropped: impl Into<Dropped>) {
    with(|due| due.drops.push(dropped.into()));
}

/// Lets go of a frame. Only the payload of one that nobody else holds can be somebody's to drop.
#[inline]
pub(super) fn release(frame: Frame) {
    if let Some(payload) = frame.into_payload() {
        discard(payload);
    }
}

/// As `release`, for several.
pub(super) fn release_all(frames: impl IntoIterator<Item = QueuedFrame>) {
    frames.into_iter().for_each(|queued| release(queued.frame));
}

#[inline]
fn run_if_due() {
    if IS_DUE.with(|is_due| is_due.replace(false)) {
        run();
    }
}

/// Does what is due. Called without the lock, also when a panic goes through who held it: one more would end the
/// process, so those of the code that runs here go no further.
#[cold]
fn run() {
    let Some(mut due) = DUE.with(Cell::take).map(ManuallyDrop::into_inner) else { return };
    each(due.wakes.drain(..), Waker::wake, "a waker");
    each(due.drops.drain(..), drop, "the drop of a message or a waker");
    // That code may have used an outbox, which kept something already.
    let mut kept = DUE.with(Cell::take);
    let lasts = EXIT.try_with(|_| ()).is_ok();
    if kept.is_none() && lasts && due.wakes.capacity().max(due.drops.capacity()) <= KEPT {
        kept = Some(ManuallyDrop::new(due));
    }
    DUE.with(|known| known.set(kept));
}

/// Does this with each, also with those behind one that panics.
fn each<T>(mut all: impl Iterator<Item = T>, act: impl Fn(T), what: &str) {
    while catch_panic(|| all.by_ref().for_each(&act)).is_err() {
        tracing::error!("{what} panicked");
    }
}

fn with(f: impl FnOnce(&mut Due)) {
    let mut due = DUE.with(Cell::take).unwrap_or_default();
    f(&mut due);
    DUE.with(|known| known.set(Some(due)));
    IS_DUE.with(|is_due| is_due.set(true));
}

impl From<Bytes> for Dropped {
    fn from(payload: Bytes) -> Self {
        Self::Payload(payload)
    }
}

impl From<Message> for Dropped {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl From<Waker> for Dropped {
    fn from(waker: Waker) -> Self {
        Self::Waker(waker)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
