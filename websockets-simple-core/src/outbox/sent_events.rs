//! Sent events on their way from the senders to the connection's own task.

use std::collections::VecDeque;

use crate::{events::Moment, protocol::Message};

/// Bytes of Sent events that may wait, of each its payload and [`EVENT`]. Beyond it they are counted instead of kept.
const CAPACITY: usize = 64 * 1024;

/// What each event counts beside its payload: its place in a queue that doubles as it grows.
const EVENT: usize = 2 * size_of::<(Message, u64, Moment)>();

/// Sent events that wait for the driver.
#[derive(Debug, Default)]
pub(crate) struct SentEvents {
    queue: VecDeque<(Message, u64, Moment)>,
    bytes: usize,
    missed: u64,
}

impl SentEvents {
    /// Adds a Sent event if there is room, or counts it as missed. Never waits.
    pub(crate) fn push(&mut self, message: &Message) {
        if !self.queue.is_empty() && self.bytes + message.len() + EVENT > CAPACITY {
            self.missed += 1;
            return;
        }
        self.bytes += message.len() + EVENT;
        self.queue.push_back((message.clone(), std::mem::take(&mut self.missed), Moment::now()));
    }

    /// The oldest Sent event, and how many were missed before it.
    pub(crate) fn take(&mut self) -> Option<(Message, u64, Moment)> {
        let taken = self.queue.pop_front()?;
        self.bytes -= taken.0.len() + EVENT;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_how_many_were_missed_before_it() {
        let mut sent_events = SentEvents::default();
        let big = Message::binary(vec![0; CAPACITY]);
        sent_events.push(&big);
        sent_events.push(&Message::text("missed"));
        sent_events.push(&Message::text("missed"));
        assert_eq!(sent_events.take().unwrap().1, 0);
        sent_events.push(&Message::text("kept"));
        let (message, missed, _) = sent_events.take().unwrap();
        assert_eq!((message.as_text(), missed), (Some("kept"), 2));
        assert!(sent_events.take().is_none());
    }
}
