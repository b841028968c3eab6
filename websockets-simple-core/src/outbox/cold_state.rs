//! What few outboxes have.

use std::io;

use crate::{
    events::EndCause,
    outbox::{
        pace::Pace,
        queue::{FragmentedMessage, OutboxState},
        sent_events::SentEvents,
        waiters::Waiters,
    },
};

/// The state that most connections never need.
#[derive(Default)]
pub(super) struct ColdState {
    pub(super) close: Option<EndCause>,
    pub(super) failed: Option<io::Error>,
    /// The driver has not asked yet for a sign of life that it is to ask for.
    pub(super) asked: bool,
    pub(super) dropped: u64,
    pub(super) pace: Option<Pace>,
    pub(super) parts: Option<Box<FragmentedMessage>>,
    /// Unsent bytes and number of the frames in the queue that are parts of a message.
    pub(super) part_bytes: usize,
    pub(super) part_frames: usize,
    pub(super) waiters: Waiters,
    /// The tasks that wait for the end of a message in parts, and for that of the connection.
    pub(super) before_parts: Waiters,
    pub(super) before_end: Waiters,
    pub(super) sent_events: SentEvents,
}

impl OutboxState {
    /// How many messages were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.cold.as_ref().map_or(0, |cold| cold.dropped)
    }

    pub(super) fn drops(&mut self, messages: usize) {
        if messages > 0 {
            self.cold().dropped += messages as u64;
        }
    }

    /// One of those that were dropped since then was not: its sender was told of it in another way.
    pub(super) fn forget_drop_since(&mut self, dropped: u64) {
        if self.dropped() > dropped {
            self.cold().dropped -= 1;
        }
    }
}
