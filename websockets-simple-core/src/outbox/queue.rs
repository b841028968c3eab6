//! The state of an outbox, under its lock: the queue, the waiting senders, and the writing itself.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    task::{Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    events::EndCause,
    outbox::{
        FlushOutcome, FlushWhen, Offer, after_lock, coalesce::Coalesced, cold_state::ColdState,
        gather::gather, internal_counts::InternalCounts, joined::Joined, pace::Pace,
    },
    protocol::{Frame, InternalFrame, Message},
    transport::{WriteNow, Writer},
};

/// Most frames of one write.
pub(super) const FRAMES_PER_WRITE: usize = 256;

/// Bytes that are written under the lock before other tasks run: all that a stream takes at once, but for the fastest.
const BYTES_PER_FLUSH: u64 = 1024 * 1024;

/// Most frames that wait in an outbox of this capacity.
pub(super) fn most_frames(capacity: usize) -> usize {
    (capacity / 64).max(256)
}

/// A queue with a capacity above this gives its memory back once it is empty.
pub(super) const KEPT_FRAMES: usize = 64;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Open,
    /// No more data frames; what is queued still leaves.
    Closing,
    Closed,
}

/// Small, with all that a send reads in one place: a broadcast goes through the states of all receivers.
pub(super) struct OutboxState {
    pub(super) stage: Stage,
    pub(super) corked: bool,
    pub(super) listed: bool,
    /// The stream holds bytes back (ciphertext).
    pub(super) unflushed: bool,
    pub(super) abort_handlers: bool,
    /// How many frames of each internal kind are queued, also behind a message in parts.
    pub(super) internals: InternalCounts,
    pub(super) queue: VecDeque<QueuedFrame>,
    /// What was sent in this round of the driver, and is not in the queue yet.
    pub(super) joined: Option<Box<Joined>>,
    /// Bytes of the front frame that the stream took already.
    pub(super) written: usize,
    /// Unsent bytes of data frames.
    pub(super) bytes: usize,
    pub(super) messages: u64,
    pub(super) sent_bytes: u64,
    pub(super) driver: Option<Waker>,
    pub(super) writer: Option<Writer>,
    pub(super) cold: Option<Box<ColdState>>,
}

#[derive(Debug)]
pub(super) struct QueuedFrame {
    pub(super) frame: Frame,
    pub(super) internal: Option<InternalFrame>,
    /// Part of a message in parts, which cannot be dropped alone.
    pub(super) part: bool,
}

/// A message that is being sent in parts. Other messages wait behind it, control frames do not.
#[derive(Debug, Default)]
pub(super) struct FragmentedMessage {
    pub(super) behind: VecDeque<QueuedFrame>,
    /// Bytes of messages in `behind`.
    pub(super) bytes: usize,
    pub(super) writer: Option<Waker>,
}

impl OutboxState {
    /// An empty queue without a stream to write to.
    pub(super) fn new(pace: Option<Pace>) -> Self {
        Self {
            stage: Stage::Open,
            corked: false,
            listed: false,
            unflushed: false,
            abort_handlers: false,
            internals: InternalCounts::default(),
            queue: VecDeque::new(),
            joined: None,
            written: 0,
            bytes: 0,
            messages: 0,
            sent_bytes: 0,
            driver: None,
            writer: None,
            cold: pace.map(|pace| Box::new(ColdState { pace: Some(pace), ..ColdState::default() })),
        }
    }

    pub(super) fn cold(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    pub(super) fn parts(&mut self) -> Option<&mut FragmentedMessage> {
        self.cold.as_mut()?.parts.as_deref_mut()
    }

    /// Whether a sender waits for room.
    pub(super) fn is_waited_for(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| !cold.waiters.is_empty())
    }

    pub(super) fn behind_bytes(&self) -> usize {
        self.cold.as_ref().and_then(|cold| cold.parts.as_ref()).map_or(0, |parts| parts.bytes)
    }

    /// The number of queued internal frames of this kind, also behind a message in parts.
    pub(super) fn waiting(&self, internal: InternalFrame) -> usize {
        self.internals.of(internal)
    }

    /// Whether a frame of `len` bytes may enter; a larger one than the outbox may when it is empty.
    #[inline]
    pub(super) fn fits(&self, len: usize, capacity: usize) -> bool {
        let queued = self.bytes + self.behind_bytes();
        let is_few = || self.queue.len() + self.behind_frames() < most_frames(capacity);
        queued == 0 || (queued.saturating_add(len) <= capacity && is_few())
    }

    fn behind_frames(&self) -> usize {
        self.cold.as_ref().and_then(|cold| cold.parts.as_ref()).map_or(0, |parts| parts.behind.len())
    }

    /// Queues a message. False when it waits behind a message in parts.
    #[inline]
    pub(super) fn accept(&mut self, frame: Frame) -> bool {
        let queued = QueuedFrame { frame, internal: None, part: false };
        if let Some(parts) = self.parts() {
            parts.bytes += queued.frame.len();
            parts.behind.push_back(queued);
            return false;
        }
        self.bytes += queued.frame.len();
        self.queue.push_back(queued);
        true
    }

    /// Counts a message that was accepted, and has its Sent event raised if one is asked for.
    #[inline]
    pub(super) fn count(&mut self, notice: Option<&Message>) {
        self.messages += 1;
        if let Some(message) = notice {
            self.note(message);
        }
    }

    #[cold]
    fn note(&mut self, message: &Message) {
        self.cold().sent_events.push(message);
        self.wake_driver();
    }

    #[inline]
    pub(super) fn write_when(&mut self, when: FlushWhen) -> Offer {
        if self.corked || self.listed {
            return Offer::Queued;
        }
        match when {
            FlushWhen::Round => {
                self.listed = true;
                Offer::List
            }
            FlushWhen::Now => self.write_offered(),
        }
    }

    fn write_offered(&mut self) -> Offer {
        match self.flush(false, None) {
            // A write that failed leaves nothing in the queue either.
            _ if self.stage == Stage::Closed => Offer::Closed,
            FlushOutcome::Nothing => Offer::Sent,
            FlushOutcome::More | FlushOutcome::Throttled(_) | FlushOutcome::Refused => Offer::Queued,
        }
    }

    /// Writes until nothing is left, the next frame's time has not come, the stream takes no more, or it has taken
    /// [`BYTES_PER_FLUSH`]. `coalesced` is given for one outbox of many that are likely to hold the same frames.
    pub(super) fn flush(&mut self, by_driver: bool, coalesced: Option<&mut Coalesced>) -> FlushOutcome {
        if self.driver.is_none() {
            return if self.queue.is_empty() { FlushOutcome::Nothing } else { FlushOutcome::Refused };
        }
        let had_timer = by_driver || self.nudge_due().is_some();
        let outcome = self.write_out(by_driver, coalesced);
        if !had_timer && self.nudge_due().is_some() {
            self.wake_driver();
        }
        outcome
    }

    /// Writes until a frame of `len` bytes fits, or the stream takes no more.
    pub(super) fn flush_for(&mut self, len: usize, capacity: usize) {
        while !self.fits(len, capacity) && self.flush(false, None) == FlushOutcome::More {}
    }

    fn write_out(&mut self, by_driver: bool, mut coalesced: Option<&mut Coalesced>) -> FlushOutcome {
        let most = self.sent_bytes + BYTES_PER_FLUSH;
        while !self.queue.is_empty() || self.unflushed {
            if self.sent_bytes >= most {
                if !by_driver {
                    self.wake_driver();
                }
                return FlushOutcome::More;
            }
            let pause = self.pause();
            // What the stream holds back goes out first, or the pause would not be seen on the wire.
            if let Some(until) = pause
                && !self.unflushed
            {
                if !by_driver {
                    self.wake_driver();
                }
                return FlushOutcome::Throttled(until);
            }
            let written = if self.queue.is_empty() || pause.is_some() {
                self.push_out()
            } else {
                self.write(coalesced.as_deref_mut())
            };
            match written {
                Poll::Pending => return FlushOutcome::Refused,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.fail(error),
            }
        }
        FlushOutcome::Nothing
    }

    /// Flushes what the stream itself holds back.
    fn push_out(&mut self) -> Poll<io::Result<()>> {
        let (Some(writer), Some(driver)) = (&mut self.writer, &self.driver) else { return Poll::Pending };
        let flushed = writer.flush_now(driver);
        if flushed.is_ready() {
            self.unflushed = false;
        }
        flushed
    }

    /// Writes once, as many frames as one write may take.
    fn write(&mut self, coalesced: Option<&mut Coalesced>) -> Poll<io::Result<()>> {
        let frames = self.frames_per_write();
        let Self { queue, writer: Some(writer), driver: Some(driver), written, .. } = self else {
            return Poll::Pending;
        };
        let coalesced = coalesced.filter(|_| *written == 0 && frames == FRAMES_PER_WRITE);
        let taken = match coalesced.and_then(|coalesced| coalesced.of(queue)) {
            Some(coalesced) => writer.write_now(driver, &[IoSlice::new(coalesced)]),
            None => gather(queue, *written, frames, |pieces| writer.write_now(driver, pieces)),
        };
        taken.map(|taken| match taken? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            taken => {
                self.unflushed = true;
                self.advance(taken);
                Ok(())
            }
        })
    }

    /// Removes the first `taken` bytes, which the stream took.
    pub(super) fn advance(&mut self, taken: usize) {
        self.sent_bytes += taken as u64;
        if taken == self.bytes && self.internals.is_empty() && self.cold.is_none() {
            // Nothing but whole messages, all of which left.
            self.bytes = 0;
            self.written = 0;
            after_lock::release_all(self.queue.drain(..));
        } else {
            self.advance_each(taken);
        }
        if self.queue.is_empty() && self.queue.capacity() > KEPT_FRAMES {
            self.queue = VecDeque::new();
        }
        self.wake_waiting();
    }

    fn advance_each(&mut self, mut taken: usize) {
        let (mut data, mut whole, mut closed) = (false, false, false);
        while taken > 0
            && let Some(front) = self.queue.front()
        {
            let left = front.frame.len() - self.written;
            let now = left.min(taken);
            taken -= now;
            if front.internal.is_none() {
                self.bytes -= now;
            }
            data |= matches!(front.internal, None | Some(InternalFrame::Control | InternalFrame::Text));
            let is_done = now == left;
            if front.part {
                let cold = self.cold.get_or_insert_default();
                cold.part_bytes -= now;
                cold.part_frames -= usize::from(is_done);
            }
            if !is_done {
                self.written += now;
                break;
            }
            self.written = 0;
            if let Some(sent) = self.queue.pop_front() {
                closed |= sent.internal == Some(InternalFrame::Close);
                self.internals.remove(&sent);
                after_lock::release(sent.frame);
            }
            whole = true;
        }
        if let Some(pace) = self.pace() {
            pace.wrote(data, whole, Instant::now());
            if closed {
                pace.stop_nudging();
            }
        }
    }

    /// Drops the oldest whole messages until `len` bytes fit. Drops nothing if they cannot fit.
    pub(super) fn make_room(&mut self, len: usize, capacity: usize) -> bool {
        let begun = usize::from(self.written > 0);
        let droppable = |queued: &QueuedFrame| queued.internal.is_none() && !queued.part;
        // All messages but a begun one, and all messages behind a message in parts, may be dropped.
        let (part_bytes, part_frames) =
            self.cold.as_ref().map_or((0, 0), |cold| (cold.part_bytes, cold.part_frames));
        let rest = self.queue.front().filter(|front| begun > 0 && droppable(front));
        let kept = part_bytes + rest.map_or(0, |front| front.frame.len() - self.written);
        let is_too_much = kept != 0 && kept.saturating_add(len) > capacity;
        if is_too_much || self.internals.total() + part_frames + begun >= most_frames(capacity) {
            return false;
        }
        let mut at = begun;
        while !self.fits(len, capacity) && at < self.queue.len() {
            if droppable(&self.queue[at]) {
                if let Some(queued) = self.queue.remove(at) {
                    self.bytes -= queued.frame.len();
                    self.drops(1);
                    after_lock::release(queued.frame);
                }
            } else {
                at += 1;
            }
        }
        while !self.fits(len, capacity)
            && let Some(parts) = self.parts()
            && let Some(oldest) = parts.behind.iter().position(droppable)
            && let Some(queued) = parts.behind.remove(oldest)
        {
            parts.bytes -= queued.frame.len();
            self.drops(1);
            after_lock::release(queued.frame);
        }
        self.fits(len, capacity)
    }

    pub(super) fn request_close(&mut self, cause: EndCause) -> bool {
        if self.stage != Stage::Open {
            return false;
        }
        self.stage = Stage::Closing;
        self.cold().close = Some(cause);
        self.abandon_parts();
        self.wake_waiting();
        self.wake_driver();
        true
    }

    /// A message in parts that is not complete cannot be taken back; what waits behind it cannot follow.
    pub(super) fn abandon_parts(&mut self) {
        if let Some(parts) = self.cold.as_mut().and_then(|cold| cold.parts.take()) {
            self.drops(parts.behind.iter().filter(|queued| queued.internal.is_none()).count());
            self.internals.remove_all(&parts.behind);
            parts.writer.into_iter().for_each(after_lock::wake);
            after_lock::release_all(parts.behind);
            self.cold().before_parts.wake_all();
        }
    }

    pub(super) fn fail(&mut self, error: io::Error) {
        self.cold().failed.get_or_insert(error);
        self.give_up();
        self.wake_driver();
    }

    pub(super) fn give_up(&mut self) {
        self.stage = Stage::Closed;
        let lost = self.queue.iter().filter(|queued| queued.internal.is_none()).count();
        self.drops(lost);
        after_lock::release_all(mem::take(&mut self.queue));
        self.written = 0;
        self.bytes = 0;
        if let Some(cold) = &mut self.cold {
            (cold.part_bytes, cold.part_frames) = (0, 0);
        }
        self.unflushed = false;
        self.abandon_parts();
        self.internals = InternalCounts::default();
        if let Some(pace) = self.pace() {
            pace.stop_nudging();
        }
        self.wake_waiting();
    }

    #[inline]
    pub(super) fn wake_waiting(&mut self) {
        let Some(cold) = &mut self.cold else { return };
        if self.stage == Stage::Open {
            cold.waiters.wake_first();
        } else {
            cold.waiters.wake_all();
        }
        if let Some(parts) = &mut cold.parts
            && let Some(writer) = parts.writer.take()
        {
            after_lock::wake(writer);
        }
    }

    pub(super) fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            after_lock::wake(driver.clone());
        }
    }
}

impl std::fmt::Debug for OutboxState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxState")
            .field("stage", &self.stage)
            .field("frames", &self.queue.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
