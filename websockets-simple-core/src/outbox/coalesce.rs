//! The frames of one outbox in one piece, kept for the next outbox that has the same.

use std::collections::VecDeque;

use crate::{outbox::queue::QueuedFrame, protocol::Frame};

/// Bytes of frames that are coalesced.
pub(super) const COALESCED: usize = 64 * 1024;

/// What a round of broadcasts left in one outbox, most receivers have too: it is copied together once, and the
/// system is given one piece instead of one for each frame.
#[derive(Debug, Default)]
pub(crate) struct Coalesced {
    frames: Vec<Frame>,
    bytes: Vec<u8>,
    /// Whether another outbox had the same. If none had, more copying is in vain.
    shared: bool,
}

impl Coalesced {
    /// All of `queue` in one piece, if that is worth it.
    pub(super) fn of(&mut self, queue: &VecDeque<QueuedFrame>) -> Option<&[u8]> {
        if queue.len() < 2 {
            return None;
        }
        if self.is(queue) {
            self.shared = true;
            return Some(&self.bytes);
        }
        let in_vain = !self.frames.is_empty() && !self.shared;
        if in_vain || queue.iter().map(|queued| queued.frame.len()).sum::<usize>() > COALESCED {
            return None;
        }
        self.forget();
        for queued in queue {
            self.frames.push(queued.frame.clone());
            self.bytes.extend(queued.frame.after(0).into_iter().flatten());
        }
        Some(&self.bytes)
    }

    fn is(&self, queue: &VecDeque<QueuedFrame>) -> bool {
        queue.len() == self.frames.len()
            && queue.iter().zip(&self.frames).all(|(queued, frame)| queued.frame.is_same(frame))
    }

    /// Holds on to no frame any more.
    pub(crate) fn forget(&mut self) {
        self.frames.clear();
        self.bytes.clear();
        self.shared = false;
    }
}
