//! Senders that wait for room in an outbox, first come first served.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    message::Message,
    outbox::{
        Outbox,
        send::{SendError, SendStatus},
    },
    protocol::Frame,
};

/// The queue of those who wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    line: VecDeque<(u64, Waker)>,
    next: u64,
}

/// A place in the queue; none until the first wait.
#[derive(Debug, Default)]
pub(crate) struct Turn(Option<u64>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether it is this one's turn: it stands first, or nobody waits.
    pub(crate) fn is_first(&self, turn: &Turn) -> bool {
        match (self.line.front(), turn.0) {
            (None, _) => true,
            (Some((first, _)), Some(turn)) => *first == turn,
            (Some(_), None) => false,
        }
    }

    /// Takes a place at the end, or keeps the one there is.
    pub(crate) fn wait(&mut self, turn: &mut Turn, waker: &Waker) {
        let held = turn.0.and_then(|turn| self.line.iter_mut().find(|(place, _)| *place == turn));
        match held {
            Some((_, known)) => known.clone_from(waker),
            None => {
                turn.0 = Some(self.next);
                self.line.push_back((self.next, waker.clone()));
                self.next += 1;
            }
        }
    }

    /// Gives the place up. True if it was held.
    pub(crate) fn leave(&mut self, turn: &mut Turn) -> bool {
        let Some(place) = turn.0.take() else { return false };
        let before = self.line.len();
        self.line.retain(|(held, _)| *held != place);
        self.line.len() < before
    }

    pub(crate) fn wake_first(&self) {
        if let Some((_, waker)) = self.line.front() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn wake_all(&self) {
        for (_, waker) in &self.line {
            waker.wake_by_ref();
        }
    }
}

/// Resolves when a frame found room or the connection ended. Dropped before, nothing was sent.
pub(crate) struct Room<'a> {
    outbox: &'a Outbox,
    frame: Option<Frame>,
    notice: Option<Message>,
    turn: Turn,
}

impl<'a> Room<'a> {
    pub(crate) fn new(outbox: &'a Outbox, frame: Frame, notice: Option<Message>) -> Self {
        Self { outbox, frame: Some(frame), notice, turn: Turn::default() }
    }
}

impl Future for Room<'_> {
    type Output = Result<SendStatus, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.outbox.offer_in_turn(&mut this.turn, &mut this.frame, this.notice.as_ref(), cx.waker())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.outbox.forget_turn(&mut self.turn);
    }
}

impl fmt::Debug for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("turn", &self.turn).finish_non_exhaustive()
    }
}
