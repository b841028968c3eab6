//! Small messages that are sent within a round of the driver, as the bytes that go on the wire: a handler that answers
//! many of them costs one write and no frame for each.
//!
//! Whatever else touches the outbox meanwhile finds them as frames in the queue, see [`settle`](OutboxState::settle), so
//! that each of them can be dropped, counted and overtaken by itself.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    task::Poll,
};

use crate::{
    events::spare,
    outbox::{
        Outbox,
        coalesce::COALESCED,
        gather::SMALL,
        queue::{OutboxState, QueuedFrame, Stage, most_frames},
        sync::Ordering,
    },
    protocol::{Frame, Message},
    transport::WriteNow,
};

/// The frames that were sent since the queue was looked at, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Joined {
    bytes: Vec<u8>,
    frames: usize,
}

thread_local! {
    /// The memory in which a thread joins frames, lent to one round.
    static SPARE: Cell<Option<Box<Joined>>> = const { Cell::new(None) };
}

impl Outbox {
    /// Takes a small message into the round that the driver is in. False if it has to go through the queue.
    pub(super) fn join(&self, message: &Message, notice: Option<&Message>) -> bool {
        let len = Frame::len_of(message, self.side);
        if !self.corked.load(Ordering::Relaxed) || len > SMALL {
            return false;
        }
        let mut state = self.lock_unsettled();
        if !state.joins(len, self.capacity()) {
            return false;
        }
        let joined = state.joined.get_or_insert_with(|| spare::take(&SPARE).unwrap_or_default());
        Frame::append(&mut joined.bytes, message, self.side);
        joined.frames += 1;
        let is_full = joined.bytes.len() + SMALL > COALESCED;
        state.bytes += len;
        state.count(notice);
        if notice.is_some() {
            self.has_sent_events.store(true, Ordering::Release);
        }
        if is_full {
            state.write_joined();
        }
        true
    }
}

impl OutboxState {
    /// Whether a message of the round may be joined with the others: nothing waits that it would overtake, and it would
    /// enter the queue.
    fn joins(&self, len: usize, capacity: usize) -> bool {
        self.corked
            && self.stage == Stage::Open
            && self
                .cold
                .as_ref()
                .is_none_or(|cold| cold.pace.is_none() && cold.parts.is_none() && cold.waiters.is_empty())
            && self.queue.len() + self.joined_frames() < most_frames(capacity)
            && (self.bytes == 0 || self.bytes + len <= capacity)
    }

    pub(super) fn joined_frames(&self) -> usize {
        self.joined.as_ref().map_or(0, |joined| joined.frames)
    }

    /// Puts joined messages into the queue, each in a frame of its own.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let Some(joined) = self.joined.take() {
            self.settle_each(joined);
        }
    }

    #[cold]
    fn settle_each(&mut self, joined: Box<Joined>) {
        let mut rest = &joined.bytes[..];
        while let Some((frame, len)) = Frame::read(rest) {
            self.queue.push_back(QueuedFrame { frame, internal: None, part: false });
            rest = &rest[len..];
        }
        joined.end();
    }

    /// Writes joined messages if nothing is ahead of them. What the stream does not take is settled.
    pub(super) fn write_joined(&mut self) {
        let Self { queue, joined: Some(joined), writer, driver, .. } = self else { return };
        let written = match (writer, driver) {
            (Some(writer), Some(driver)) if queue.is_empty() => {
                writer.write_now(driver, &[IoSlice::new(&joined.bytes)])
            }
            _ => Poll::Pending,
        };
        if let Poll::Ready(Ok(taken)) = written
            && taken == joined.bytes.len()
        {
            self.unflushed = true;
            self.sent_bytes += taken as u64;
            self.bytes -= taken;
            if let Some(joined) = self.joined.take() {
                joined.end();
            }
            return;
        }
        self.settle();
        match written {
            Poll::Pending => {}
            Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(taken)) => {
                self.unflushed = true;
                self.advance(taken);
            }
            Poll::Ready(Err(error)) => self.fail(error),
        }
    }
}

impl Joined {
    /// Leaves the memory to the next round.
    fn end(mut self: Box<Self>) {
        self.bytes.clear();
        self.frames = 0;
        spare::keep(&SPARE, Some(self));
    }
}
