//! Senders that wait for room in an outbox, first come first served.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    outbox::{
        Outbox,
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
        let held = waiter.0.and_then(|waiter| self.queue.iter_mut().find(|(place, _)| *place == waiter));
        match held {
            Some((_, known)) => known.clone_from(waker),
            None => {
                waiter.0 = Some(self.next);
                self.queue.push_back((self.next, waker.clone()));
                self.next += 1;
            }
        }
    }

    /// Gives the place up. True if it was held.
    pub(crate) fn leave(&mut self, waiter: &mut Waiter) -> bool {
        let Some(place) = waiter.0.take() else { return false };
        let before = self.queue.len();
        self.queue.retain(|(held, _)| *held != place);
        self.queue.len() < before
    }

    pub(crate) fn wake_first(&self) {
        if let Some((_, waker)) = self.queue.front() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn wake_all(&self) {
        for (_, waker) in &self.queue {
            waker.wake_by_ref();
        }
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
