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
        self.frames.drain(..).for_each(after_lock::release);
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

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;
    use crate::protocol::{Message, Side};

    fn queue(frames: &[&Frame]) -> VecDeque<QueuedFrame> {
        let queued = |frame: &&Frame| QueuedFrame { frame: (*frame).clone(), internal: None, part: false };
        frames.iter().map(queued).collect()
    }

    fn frame(text: &str) -> Frame {
        Frame::message(Message::text(text), Side::Server)
    }

    #[test]
    fn only_several_frames_are_joined() {
        let one = frame("1");
        let mut coalesced = Coalesced::default();
        assert_eq!(coalesced.of(&queue(&[])), None);
        assert_eq!(coalesced.of(&queue(&[&one])), None);
        assert_eq!(coalesced.of(&queue(&[&one, &frame("2")])), Some(&b"\x81\x011\x81\x012"[..]));
        assert_eq!(
            coalesced.of(&queue(&[&one, &one, &one])).map(<[u8]>::len),
            None,
            "no other has the first two"
        );
    }

    #[test]
    fn what_no_other_outbox_had_is_kept_and_what_others_had_makes_room_for_the_next() {
        let (a, b, c) = (frame("a"), frame("b"), frame("c"));
        let (first, other) = (queue(&[&a, &b]), queue(&[&c, &a]));
        let mut coalesced = Coalesced::default();
        assert!(coalesced.of(&first).is_some());
        assert_eq!(coalesced.of(&other), None, "in vain once, in vain again");
        assert_eq!(coalesced.of(&first), Some(&b"\x81\x01a\x81\x01b"[..]));
        assert_eq!(coalesced.of(&other), Some(&b"\x81\x01c\x81\x01a"[..]));
        assert_eq!(coalesced.of(&first), None);
        coalesced.forget();
        assert!(coalesced.of(&first).is_some(), "after all have been forgotten");
    }

    #[test]
    fn as_much_is_joined_as_fits_and_a_byte_more_is_not() {
        let small = frame("small");
        for (len, joined) in [(COALESCED, Some(COALESCED)), (COALESCED + 1, None)] {
            let rest = "x".repeat(len - small.len() - 4);
            let large = frame(&rest);
            assert_eq!(large.len(), rest.len() + 4, "the header of a long frame");
            assert_eq!(Coalesced::default().of(&queue(&[&small, &large])).map(<[u8]>::len), joined);
        }
    }

    #[test]
    fn frames_are_released_when_they_are_forgotten() {
        let payload = bytes::Bytes::from(vec![7; 10_000]);
        let (shared, other) = (Frame::message(Message::binary(payload.clone()), Side::Server), frame("b"));
        let mut coalesced = Coalesced::default();
        assert!(coalesced.of(&queue(&[&shared, &other])).is_some());
        drop(shared);
        assert!(!payload.is_unique());
        coalesced.forget();
        assert!(payload.is_unique());
    }
}
