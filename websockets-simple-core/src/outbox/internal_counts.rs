//! The number of queued frames of the connection itself, by kind.

use std::collections::VecDeque;

use crate::{outbox::queue::QueuedFrame, protocol::InternalFrame};

/// How many internal frames of each kind there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct InternalCounts([u16; InternalFrame::KINDS]);

impl InternalCounts {
    pub(super) fn add(&mut self, internal: InternalFrame) {
        self.0[internal as usize] += 1;
    }

    pub(super) fn remove(&mut self, queued: &QueuedFrame) {
        if let Some(internal) = queued.internal {
            self.0[internal as usize] -= 1;
        }
    }

    pub(super) fn of(&self, internal: InternalFrame) -> usize {
        self.0[internal as usize].into()
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(super) fn total(&self) -> usize {
        self.0.iter().map(|count| usize::from(*count)).sum()
    }

    pub(super) fn remove_all(&mut self, queued: &VecDeque<QueuedFrame>) {
        queued.iter().for_each(|queued| self.remove(queued));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Frame, Side};

    #[test]
    fn each_kind_is_counted_by_itself_and_messages_are_not() {
        let kinds = [
            InternalFrame::Close,
            InternalFrame::Control,
            InternalFrame::Ping,
            InternalFrame::Pong,
            InternalFrame::Text,
        ];
        assert_eq!(kinds.len(), InternalFrame::KINDS);
        let queued = |internal| QueuedFrame { frame: Frame::ping(Side::Server), internal, part: false };
        let mut counts = InternalCounts::default();
        for (n, kind) in kinds.into_iter().enumerate() {
            (0..=n).for_each(|_| counts.add(kind));
        }
        assert_eq!(kinds.map(|kind| counts.of(kind)), [1, 2, 3, 4, 5]);
        assert_eq!(counts.total(), 15);
        assert!(!counts.is_empty() && InternalCounts::default().is_empty());
        counts.remove(&queued(None));
        counts.remove(&queued(Some(InternalFrame::Pong)));
        counts.remove_all(&[None, Some(InternalFrame::Text), Some(InternalFrame::Text)].map(queued).into());
        assert_eq!(kinds.map(|kind| counts.of(kind)), [1, 2, 3, 3, 3]);
        assert_eq!(counts.total(), 12);
    }
}
