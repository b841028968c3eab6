//! Senders that wait for room in an outbox, first come first served.

use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    outbox::{
        Outbox, after_lock,
        cold_state::ColdState,
        queue::OutboxState,
        send::{SendError, SendStatus},
    },
    protocol::{Frame, Message},
};

/// The queue of waiting senders.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    queue: VecDeque<(u64, Waker)>,
    next: u64,
}

/// A place in the queue, `None` until the first wait.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Option<u64>);

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    #[cfg(test)]
    #[cfg(not(shuttle))]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether this sender is next: it is first in the queue, or the queue is empty.
    pub(crate) fn is_first(&self, waiter: &Waiter) -> bool {
        match (self.queue.front(), waiter.0) {
            (None, _) => true,
            (Some((first, _)), Some(waiter)) => *first == waiter,
            (Some(_), None) => false,
        }
    }

    /// Takes a place at the end, or keeps the one there is.
    pub(crate) fn wait(&mut self, waiter: &mut Waiter, waker: &Waker) {
        match waiter.0.and_then(|place| self.position(place)) {
            Some(at) => {
                let known = &mut self.queue[at].1;
                if !known.will_wake(waker) {
                    after_lock::discard(mem::replace(known, waker.clone()));
                }
            }
            None => {
                waiter.0 = Some(self.next);
                self.queue.push_back((self.next, waker.clone()));
                self.next += 1;
            }
        }
    }

    /// Gives the place up. True if it was held.
    pub(crate) fn leave(&mut self, waiter: &mut Waiter) -> bool {
        let Some(at) = waiter.0.take().and_then(|place| self.position(place)) else { return false };
        if let Some((_, waker)) = self.queue.remove(at) {
            after_lock::discard(waker);
        }
        true
    }

    /// Where a place is in the queue, whose places ascend.
    fn position(&self, place: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&place, |(held, _)| *held).ok()
    }

    pub(crate) fn wake_first(&self) {
        if let Some((_, waker)) = self.queue.front() {
            after_lock::wake(waker.clone());
        }
    }

    pub(crate) fn wake_all(&self) {
        for (_, waker) in &self.queue {
            after_lock::wake(waker.clone());
        }
    }
}

/// A place among the tasks that wait for something else than room. It is given up when this is dropped, so that waits
/// which are cancelled leave nothing behind.
pub(super) struct Place<'a> {
    outbox: &'a Outbox,
    of: fn(&mut ColdState) -> &mut Waiters,
    waiter: Waiter,
}

impl<'a> Place<'a> {
    pub(super) fn new(outbox: &'a Outbox, of: fn(&mut ColdState) -> &mut Waiters) -> Self {
        Self { outbox, of, waiter: Waiter::default() }
    }

    /// Has the task woken with the others.
    pub(super) fn wait(&mut self, state: &mut OutboxState, waker: &Waker) {
        (self.of)(state.cold()).wait(&mut self.waiter, waker);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.waiter.is_held() {
            (self.of)(self.outbox.lock().cold()).leave(&mut self.waiter);
        }
    }
}

impl Waiter {
    fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

/// Resolves when a frame found room or the connection ended. Dropped before, nothing was sent.
pub(crate) struct BlockedSend<'a> {
    outbox: &'a Outbox,
    frame: Option<Frame>,
    notice: Option<Message>,
    waiter: Waiter,
}

impl<'a> BlockedSend<'a> {
    pub(crate) fn new(outbox: &'a Outbox, frame: Frame, notice: Option<Message>) -> Self {
        Self { outbox, frame: Some(frame), notice, waiter: Waiter::default() }
    }
}

impl Future for BlockedSend<'_> {
    type Output = Result<SendStatus, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.outbox.offer_waiting(&mut this.waiter, &mut this.frame, this.notice.as_ref(), cx.waker())
    }
}

impl Drop for BlockedSend<'_> {
    fn drop(&mut self) {
        self.outbox.forget_waiter(&mut self.waiter);
    }
}

impl fmt::Debug for BlockedSend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockedSend").field("waiter", &self.waiter).finish_non_exhaustive()
    }
}
