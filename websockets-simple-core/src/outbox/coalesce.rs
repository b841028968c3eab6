//! The frames of one outbox joined into one piece, kept for the next outbox with the same frames.

use std::collections::VecDeque;

use crate::{
    outbox::{after_lock, queue::QueuedFrame},
    protocol::Frame,
};

/// Most bytes of frames that are joined.
pub(super) const COALESCED: usize = 64 * 1024;

/// Joined frames of so many outboxes are kept: receivers of the same broadcasts may have agreed on different forms of
/// compression, or on none.
const FORMS: usize = 4;

/// The joined frames of outboxes. After a round of broadcasts most receivers have the same frames: they are copied
/// together once, and the kernel gets one piece instead of one for each frame.
#[derive(Debug, Default)]
pub(crate) struct Coalesced {
    /// The newest last.
    kept: Vec<JoinedFrames>,
}

/// The frames of one outbox, joined.
#[derive(Debug, Default)]
struct JoinedFrames {
    frames: Vec<Frame>,
    bytes: Vec<u8>,
    /// Whether another outbox had the same frames. If none had, joining them was in vain.
    shared: bool,
}

impl Coalesced {
    /// All of `queue` in one piece, if that is worth it.
    pub(super) fn of(&mut self, queue: &VecDeque<QueuedFrame>) -> Option<&[u8]> {
        if queue.len() < 2 {
            return None;
        }
        if let Some(known) = self.kept.iter().rposition(|joined| joined.is(queue)) {
            let joined = &mut self.kept[known];
            joined.shared = true;
            return Some(&joined.bytes);
        }
        if queue.iter().map(|queued| queued.frame.len()).sum::<usize>() > COALESCED {
            return None;
        }
        let mut joined = if self.kept.len() < FORMS {
            JoinedFrames::default()
        } else {
            // If not even one was shared, more copying is in vain.
            let oldest = self.kept.iter().position(|joined| joined.shared)?;
            self.kept.remove(oldest)
        };
        joined.join(queue);
        self.kept.push(joined);
        self.kept.last().map(|joined| &*joined.bytes)
    }

    /// Releases all frames.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }
}

impl JoinedFrames {
    fn is(&self, queue: &VecDeque<QueuedFrame>) -> bool {
        queue.len() == self.frames.len()
            && queue.iter().zip(&self.frames).all(|(queued, frame)| queued.frame.is_same(frame))
    }

    fn join(&mut self, queue: &VecDeque<QueuedFrame>) {
        // Under the lock of another outbox than those that had these frames.
        self.frames.drain(..).for_each(after_lock::release);
        self.bytes.clear();
        self.shared = false;
        for queued in queue {
            self.frames.push(queued.frame.clone());
            queued.frame.after(0).into_iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
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
        assert_eq!(coalesced.of(&queue(&[&one, &one, &one])), Some(&b"\x81\x011\x81\x011\x81\x011"[..]));
    }

    #[test]
    fn receivers_of_several_forms_take_turns_and_each_form_is_joined_once() {
        let frames = ["a", "b", "c", "d", "e"].map(frame);
        let queues: Vec<_> = frames.iter().map(|frame| queue(&[frame, frame])).collect();
        let mut coalesced = Coalesced::default();
        let joined: Vec<_> =
            queues[..FORMS].iter().map(|queue| coalesced.of(queue).unwrap().as_ptr()).collect();
        for _ in 0..3 {
            for (queue, joined) in queues.iter().zip(&joined) {
                assert_eq!(coalesced.of(queue).unwrap().as_ptr(), *joined, "the same memory");
            }
        }
        assert_eq!(coalesced.of(&queues[FORMS]), Some(&b"\x81\x01e\x81\x01e"[..]), "instead of the oldest");
        assert!(!coalesced.kept.iter().any(|joined| joined.is(&queues[0])));
    }

    #[test]
    fn what_no_other_outbox_had_is_kept_and_what_others_had_makes_room_for_the_next() {
        let frames: Vec<_> = (0..=FORMS).map(|n| frame(&n.to_string())).collect();
        let queues: Vec<_> = frames.iter().map(|frame| queue(&[frame, frame])).collect();
        let mut coalesced = Coalesced::default();
        assert!(queues[..FORMS].iter().all(|queue| coalesced.of(queue).is_some()));
        assert_eq!(coalesced.of(&queues[FORMS]), None, "in vain, so far");
        assert!(coalesced.of(&queues[2]).is_some(), "shared");
        assert!(coalesced.of(&queues[FORMS]).is_some(), "instead of that");
        assert_eq!(coalesced.of(&queues[2]), None);
        coalesced.forget();
        assert!(coalesced.of(&queues[2]).is_some(), "after all have been forgotten");
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
