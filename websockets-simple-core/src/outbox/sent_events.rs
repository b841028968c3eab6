//! Sent notices on their way from whoever sent to the connection's internal task.

use std::collections::VecDeque;

use crate::{events::Moment, message::Message};

/// Payload bytes of notices that may wait. Beyond it notices are counted instead of kept.
const CAPACITY: usize = 64 * 1024;

/// Notices that wait for the link.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    queue: VecDeque<(Message, u64, Moment)>,
    bytes: usize,
    missed: u64,
}

impl Notices {
    /// Adds a notice if there is room. Never waits.
    pub(crate) fn push(&mut self, message: &Message) {
        if !self.queue.is_empty() && self.bytes + message.len() > CAPACITY {
            self.missed += 1;
            return;
        }
        self.bytes += message.len();
        self.queue.push_back((message.clone(), std::mem::take(&mut self.missed), Moment::now()));
    }

    /// The oldest notice, and how many were missed before it.
    pub(crate) fn take(&mut self) -> Option<(Message, u64, Moment)> {
        let taken = self.queue.pop_front()?;
        self.bytes -= taken.0.len();
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_how_many_were_missed_before_it() {
        let mut notices = Notices::default();
        let big = Message::binary(vec![0; CAPACITY]);
        notices.push(&big);
        notices.push(&Message::text("missed"));
        notices.push(&Message::text("missed"));
        assert_eq!(notices.take().unwrap().1, 0);
        notices.push(&Message::text("kept"));
        let (message, missed, _) = notices.take().unwrap();
        assert_eq!((message.as_text(), missed), (Some("kept"), 2));
        assert!(notices.take().is_none());
    }
}
