//! When the next frame may leave, and when a peer needs a ping to read on: pure logic, for peers of the .NET library.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    compatibility::Pacing,
    outbox::queue::{FRAMES_PER_WRITE, OutboxState, QueuedFrame},
    protocol::{Frame, InternalFrame, Side},
};

/// Pauses at the beginning that are longer: a .NET server compiles what reads a message while the first ones arrive.
const SLOW_PAUSES: u32 = 3;

/// How much longer they are.
const SLOWER: u32 = 10;

/// How long after the last data a ping follows. Each further ping follows after twice the time.
const NUDGE: Duration = Duration::from_millis(5);

/// Pings without an answer before the peer is left alone until more data is written: over 5 s.
const MOST_NUDGES: u32 = 10;

/// Pings without an answer for which a Close waits: over 300 ms.
const NUDGES_BEFORE_CLOSE: u32 = 6;

/// The pacing of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// Before this the next frame may not leave.
    next: Option<Instant>,
    gap: Option<Duration>,
    /// Longer pauses still to come.
    slow: u32,
    nudge: Option<Nudge>,
}

/// Pings for a peer that reads only when bytes arrive, although it may hold frames that it has not looked at.
///
/// A ping may end up among those frames as well, so only its answer shows that the peer has read all ahead of it.
#[derive(Debug, Default)]
struct Nudge {
    /// When the next ping is due; `None` while the peer has read everything.
    due: Option<Instant>,
    /// Pings since the last answer to one.
    unanswered: u32,
    /// Whether data was written since the last ping.
    fresh: bool,
    /// Pongs that are still to come, those for other pings included. They come in order.
    pongs: u32,
}

impl Pace {
    /// The pace of a connection that opens now; `None` where nothing is paced.
    pub(super) fn new(pacing: Pacing, now: Instant) -> Option<Self> {
        if pacing == Pacing::default() {
            return None;
        }
        let Pacing { first_frame_pause, frame_pause, nudges } = pacing;
        Some(Self {
            next: now.checked_add(first_frame_pause),
            gap: frame_pause,
            slow: SLOW_PAUSES,
            nudge: nudges.then(Nudge::default),
        })
    }

    /// When the next frame may leave, if that is not yet.
    pub(super) fn wait(&self, is_close: bool, now: Instant) -> Option<Instant> {
        let next = self.next.filter(|next| now < *next);
        // Behind a Close no ping can follow.
        let nudge = self.nudge.as_ref().filter(|nudge| is_close && nudge.unanswered < NUDGES_BEFORE_CLOSE);
        next.max(nudge.and_then(|nudge| nudge.due))
    }

    /// Bytes have left: of messages or not, and the last of a frame or not.
    pub(super) fn wrote(&mut self, data: bool, whole: bool, now: Instant) {
        if whole {
            let factor = if self.slow > 0 { SLOWER } else { 1 };
            self.slow = self.slow.saturating_sub(1);
            self.next = self.gap.and_then(|gap| now.checked_add(gap.saturating_mul(factor)));
        }
        if data && let Some(nudge) = &mut self.nudge {
            nudge.fresh = true;
            if nudge.unanswered == 0 {
                nudge.due = now.checked_add(NUDGE);
            }
        }
    }

    /// Whether a ping that makes the peer read on is to be sent now.
    fn nudge(&mut self, now: Instant) -> bool {
        let Some(nudge) = &mut self.nudge else { return false };
        if nudge.due.is_none_or(|due| now < due) {
            return false;
        }
        nudge.unanswered += 1;
        nudge.pongs += 1;
        nudge.fresh = false;
        nudge.due = now.checked_add(NUDGE.saturating_mul(1 << nudge.unanswered));
        if nudge.unanswered == MOST_NUDGES {
            *nudge = Nudge::default();
        }
        true
    }

    /// A ping frame for another reason was queued.
    pub(super) fn pinged(&mut self) {
        if let Some(nudge) = &mut self.nudge {
            nudge.pongs = nudge.pongs.saturating_add(1);
        }
    }

    /// A pong frame has come. False if none was expected.
    pub(super) fn ponged(&mut self, now: Instant) -> bool {
        let Some(nudge) = self.nudge.as_mut().filter(|nudge| nudge.pongs > 0) else { return false };
        nudge.pongs -= 1;
        if nudge.pongs == 0 && nudge.unanswered > 0 {
            nudge.unanswered = 0;
            nudge.due = if nudge.fresh { now.checked_add(NUDGE) } else { None };
        }
        true
    }

    /// The peer reads to the end by itself, or is not waited for.
    pub(super) fn stop_nudging(&mut self) {
        self.nudge = None;
    }
}

impl OutboxState {
    pub(super) fn pace(&mut self) -> Option<&mut Pace> {
        self.cold.as_mut()?.pace.as_mut()
    }

    /// When the next frame may leave, if that is not yet.
    pub(super) fn pause(&self) -> Option<Instant> {
        let pace = self.cold.as_ref()?.pace.as_ref()?;
        let front = self.queue.front().filter(|_| self.written == 0)?;
        pace.wait(front.internal == Some(InternalFrame::Close), Instant::now())
    }

    /// Most frames of the next write.
    pub(super) fn frames_per_write(&self) -> usize {
        let Some(pace) = self.cold.as_ref().and_then(|cold| cold.pace.as_ref()) else {
            return FRAMES_PER_WRITE;
        };
        if pace.gap.is_some() {
            return 1;
        }
        let ends = self.queue.back().is_some_and(|back| back.internal == Some(InternalFrame::Close));
        if ends && pace.nudge.is_some() {
            return (self.queue.len() - 1).clamp(1, FRAMES_PER_WRITE);
        }
        FRAMES_PER_WRITE
    }

    /// When a ping is due that makes the peer read on.
    pub(super) fn nudge_due(&self) -> Option<Instant> {
        self.cold.as_ref()?.pace.as_ref()?.nudge.as_ref()?.due
    }

    /// Queues that ping once it is due, ahead of everything.
    pub(super) fn nudge(&mut self, side: Side) {
        if self.nudge_due().is_some() && self.pace().is_some_and(|pace| pace.nudge(Instant::now())) {
            let internal = Some(InternalFrame::Ping);
            let ping = QueuedFrame { frame: Frame::ping(side), internal, part: false };
            self.internals.add(InternalFrame::Ping);
            self.queue.insert(usize::from(self.written > 0), ping);
        }
    }
}

#[cfg(test)]
mod tests;
