//! The frames of one outbox joined into one piece, kept for the next outbox with the same frames.

use std::collections::VecDeque;

use crate::{
    outbox::{after_lock, queue::QueuedFrame},
    protocol::Frame,
};

/// Most bytes of frames that are joined.
pub(super) const COALESCED: usize = 64 * 1024;

/// The joined frames of one outbox. After a round of broadcasts most receivers have the same frames: they are copied
/// together once, and the kernel gets one piece instead of one for each frame.
#[derive(Debug, Default)]
pub(crate) struct Coalesced {
    frames: Vec<Frame>,
    bytes: Vec<u8>,
    /// Whether another outbox had the same frames. If none had, more copying is in vain.
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
        // Under the lock of another outbox than those that had these frames.
        self.frames.drain(..).for_each(after_lock::discard);
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

    /// Releases all frames.
    pub(crate) fn forget(&mut self) {
        self.frames.clear();
        self.bytes.clear();
        self.shared = false;
    }
}
