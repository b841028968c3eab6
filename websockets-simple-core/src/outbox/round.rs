//! What only the driver does with its outbox: rounds, internal frames, the end.

use std::{
    io, mem,
    task::{Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    events::{EndCause, Moment},
    outbox::{
        DriverCommands, FlushOutcome, Outbox, after_lock,
        queue::{QueuedFrame, Stage},
        sync::Ordering,
    },
    protocol::{Frame, InternalFrame, Message},
    transport::WriteNow,
};

/// Most control messages that wait for a peer which sends requests and does not read the answers.
const CONTROLS: usize = 128;

impl Outbox {
    /// The driver's round begins: what is sent from here on leaves at its end.
    pub(crate) fn begin_round(&self, waker: &Waker) -> DriverCommands {
        let mut state = self.lock_unsettled();
        state.corked = true;
        self.corked.store(true, Ordering::Relaxed);
        let new_waker = !state.driver.as_ref().is_some_and(|driver| driver.will_wake(waker));
        if new_waker && let Some(old) = state.driver.replace(waker.clone()) {
            after_lock::discard(old);
        }
        let abort_handlers = state.abort_handlers;
        let (close, failed, asked) = match &mut state.cold {
            Some(cold) => (cold.close.take(), cold.failed.take(), mem::take(&mut cold.asked)),
            None => (None, None, false),
        };
        DriverCommands { close, failed, abort_handlers, asked, new_waker }
    }

    /// Has the driver ask the peer for a sign of life.
    pub(crate) fn ask_for_life(&self) {
        let mut state = self.lock_unsettled();
        state.cold().asked = true;
        state.wake_driver();
    }

    /// The driver's round ends: one write for all of it.
    pub(crate) fn end_round(&self) -> FlushOutcome {
        let mut state = self.lock_unsettled();
        state.corked = false;
        self.corked.store(false, Ordering::Relaxed);
        state.write_joined();
        state.nudge(self.side());
        state.flush(true, None)
    }

    /// When this end has to be called again, for a ping that makes the peer read on.
    pub(crate) fn nudge_due(&self) -> Option<Instant> {
        self.lock_unsettled().nudge_due()
    }

    /// Takes note of a pong frame. True if it answers a ping of ours, as far as pings are counted.
    pub(crate) fn ponged(&self) -> bool {
        self.lock_unsettled().pace().is_some_and(|pace| pace.ponged(Instant::now()))
    }

    /// Queues an internal frame: Close behind everything, the others ahead of the next data frame.
    pub(crate) fn push_internal(&self, frame: Frame, internal: InternalFrame) {
        let mut state = self.lock();
        if state.stage == Stage::Closed || (internal == InternalFrame::Control && state.stage != Stage::Open)
        {
            return;
        }
        let queued = QueuedFrame { frame, internal: Some(internal), part: false };
        if internal == InternalFrame::Close {
            if state.stage == Stage::Open
                && let Some(pace) = state.pace()
            {
                // The answer to the peer's Close: behind that a peer reads to the end.
                pace.stop_nudging();
            }
            state.stage = Stage::Closing;
            state.abandon_parts();
            state.internals.add(internal);
            state.queue.push_back(queued);
            state.wake_waiting();
            return;
        }
        if internal == InternalFrame::Control && state.waiting(internal) >= CONTROLS {
            state.flush(true, None);
            if state.waiting(internal) >= CONTROLS {
                state.request_close(EndCause::UnreadControls);
                return;
            }
        }
        let is_data = matches!(internal, InternalFrame::Control | InternalFrame::Text);
        if is_data && let Some(parts) = state.parts() {
            // A data frame may not come between the parts of a message. One text is enough, as in the queue.
            let known = parts.behind.iter_mut().find(|known| known.internal == Some(InternalFrame::Text));
            match known.filter(|_| internal == InternalFrame::Text) {
                Some(known) => after_lock::release(mem::replace(known, queued).frame),
                None => {
                    parts.behind.push_back(queued);
                    state.internals.add(internal);
                }
            }
            return;
        }
        if internal != InternalFrame::Control && state.waiting(internal) > 0 {
            state.flush(true, None);
        }
        let first = usize::from(state.written > 0);
        let is_same = |queued: &QueuedFrame| queued.internal == Some(internal);
        let has_same = state.waiting(internal) > 0;
        if has_same
            && internal != InternalFrame::Control
            && let Some(same) = state.queue.iter().skip(first).position(is_same)
        {
            after_lock::release(mem::replace(&mut state.queue[first + same], queued).frame);
            return;
        }
        // A text may not come between the parts of a message whose first part has left.
        let passes = |queued: &QueuedFrame| {
            queued.internal.is_some() || (is_data && queued.part && queued.frame.continues())
        };
        let ahead = first + state.queue.iter().skip(first).take_while(|queued| passes(queued)).count();
        // One that waited for a message in parts is further back, and was queued earlier.
        let behind = if has_same { state.queue.iter().rposition(is_same) } else { None };
        let behind = behind.map_or(0, |last| last + 1);
        if internal == InternalFrame::Ping
            && let Some(pace) = state.pace()
        {
            pace.pinged();
        }
        state.internals.add(internal);
        state.queue.insert(ahead.max(behind), queued);
    }

    /// Drops what is queued, except the rest of a frame that is partly written.
    pub(crate) fn discard(&self) {
        let mut state = self.lock();
        if let Some(pace) = state.pace() {
            pace.stop_nudging();
        }
        let keep = usize::from(state.written > 0).min(state.queue.len());
        let given_up = state.queue.split_off(keep);
        state.drops(given_up.iter().filter(|queued| queued.internal.is_none()).count());
        state.internals.remove_all(&given_up);
        after_lock::release_all(given_up);
        state.bytes = match state.queue.front() {
            Some(begun) if begun.internal.is_none() => begun.frame.len() - state.written,
            _ => 0,
        };
        let part = state.queue.front().is_some_and(|begun| begun.part);
        let bytes = state.bytes;
        if let Some(cold) = &mut state.cold {
            (cold.part_bytes, cold.part_frames) = if part { (bytes, 1) } else { (0, 0) };
        }
    }

    /// Accepts no more data: the connection is closing.
    pub(crate) fn stop_accepting(&self) {
        let mut state = self.lock();
        if state.stage == Stage::Open {
            state.stage = Stage::Closing;
            state.abandon_parts();
            state.wake_waiting();
        }
    }

    /// Ends the writing direction of the stream.
    pub(crate) fn poll_end(&self, waker: &Waker) -> Poll<io::Result<()>> {
        match &mut self.lock().writer {
            Some(writer) => writer.end(waker),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Releases the stream, so that handles which users keep do not hold the socket open.
    pub(crate) fn shut(&self, abort: bool) {
        let mut state = self.lock();
        if abort && let Some(writer) = &mut state.writer {
            writer.abort();
        }
        state.give_up();
        let writer = state.writer.take();
        if let Some(cold) = &state.cold {
            cold.before_end.wake_all();
        }
        drop(state);
        drop(writer);
    }

    /// Drops the Sent events that wait.
    pub(crate) fn discard_sent_events(&self) {
        while let Some((message, ..)) = self.take_sent_event() {
            drop(message);
        }
    }

    /// The next Sent event, with the number of those missed before it.
    pub(crate) fn take_sent_event(&self) -> Option<(Message, u64, Moment)> {
        if !self.has_sent_events.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock_unsettled();
        let taken = state.cold.as_mut().and_then(|cold| cold.sent_events.take());
        if taken.is_none() {
            self.has_sent_events.store(false, Ordering::Release);
        }
        taken
    }
}
