//! What comes in: from the socket through the decoder to the handler's queue.

use std::{
    cell::Cell,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    connection::{
        closing::Closing,
        driver::{ConnectionDriver, Leftover},
        heartbeat::PeerActivity,
        kept_buffers::KeptBuffers,
        observer::ConnectionObserver,
        questions::Questions,
    },
    events::{EndCause, ErrorStage, EventError, Moment, deadline, spare},
    protocol::{Capabilities, Control, Controls, Decoded, Message, MessagePart, Side, buffer_pool},
    transport::ReadNow,
};

/// Size of the buffer that each worker thread lends to its drivers, one read at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Most bytes of one read of a large payload: it is unmasked and checked while a cache holds it, and a
/// turn of the driver takes in about a mebibyte before it sends what became of that.
const LARGE_READ: usize = 256 * 1024;

/// The result of an attempt to read.
pub(super) enum Read {
    Nothing,
    Something,
}

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// Reads once, and processes all of that input.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Read {
        let is_ahead = self.is_ahead();
        if is_ahead || self.cold.get().is_some() {
            let cold = self.cold.make();
            if cold.ending.is_some() || cold.closing.as_ref().is_some_and(Closing::is_peer_gone) {
                return Read::Nothing;
            }
            if is_ahead {
                cold.paused.get_or_insert_with(Instant::now);
                self.shared()
                    .questions()
                    .into_iter()
                    .filter(|questions| questions.are_pending())
                    .for_each(Questions::stall);
                self.is_not_read();
                return Read::Nothing;
            }
            if let Some(since) = cold.paused.take() {
                let paused = since.elapsed();
                cold.probe = cold.probe.map(|until| deadline(until, paused));
                self.clock.as_mut().liveness_mut().extend(paused);
                if let Some(watch) = &mut cold.ping_watch {
                    watch.extend(paused);
                }
                self.quiet = self.quiet.saturating_sub(nanoseconds(paused));
            }
        }
        if let Some(mut leftover) = self.cold.get().and_then(|cold| cold.leftover.take()) {
            let at = Moment::now();
            self.fill_rates(at);
            let left = self.decode(&mut leftover.input[leftover.used..], at);
            leftover.used = leftover.input.len() - left;
            if left > 0 {
                self.cold.make().leftover = Some(leftover);
            }
            return Read::Something;
        }
        // A large payload is read into its own memory, a large text into a large buffer, to be checked and copied while a
        // cache holds it, everything else into the thread's buffer.
        let large_text = self.decoder.large_text().filter(|missing| *missing > READ_BUFFER);
        let reader = &mut self.reader;
        let (mut buffer, mut text) = (None, None);
        let polled = match (self.decoder.large(), large_text) {
            (Some((memory, missing)), _) => reader.poll_read_behind(cx, memory, missing.min(LARGE_READ)),
            (None, Some(missing)) => {
                let size = missing.min(LARGE_READ);
                let memory = buffer_pool::take(size).unwrap_or_else(|| Vec::with_capacity(size));
                reader.poll_read_behind(cx, text.insert(memory), size)
            }
            (None, None) => reader.poll_read(cx, buffer.insert(borrow_buffer())),
        };
        let read = match polled {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Ok(0)) => {
                self.peer_hung_up();
                Read::Something
            }
            Poll::Ready(Ok(len)) => {
                let input = buffer.as_mut().map(|buffer| &mut buffer[..len]).or(text.as_deref_mut());
                self.take_in(input, len);
                Read::Something
            }
            Poll::Ready(Err(error)) => {
                self.transport_failed(error, ErrorStage::Transport);
                Read::Something
            }
        };
        // No user code has run while the buffer was taken.
        if let Some(buffer) = buffer {
            return_buffer(buffer);
        }
        text.into_iter().for_each(buffer_pool::keep);
        read
    }

    /// Whether more waits for the handler than is to be read ahead of it: further, if the answer to a question is awaited.
    fn is_ahead(&self) -> bool {
        let waiting = self.inbox.waiting_bytes();
        if waiting <= self.config.read_ahead || self.cold.is_closing() {
            return false;
        }
        waiting > self.config.waiting_ahead || !self.shared().questions().is_some_and(Questions::are_pending)
    }

    /// Runs `len` bytes through the decoder and queues the messages. Without `input` they are in the memory of a large
    /// payload already.
    fn take_in(&mut self, input: Option<&mut [u8]>, len: usize) {
        if self.cold.closing().is_some_and(|closing| closing.deaf) {
            return;
        }
        let at = Moment::now();
        self.fill_rates(at);
        self.observe(PeerActivity::Traffic, at);
        self.has_shown_life();
        self.count_bytes(len, at);
        let Some(input) = input else {
            let decoded = self.decoder.took(len);
            self.act_on(decoded, at);
            return;
        };
        let left = self.decode(input, at);
        if left > 0 {
            let rest = &input[input.len() - left..];
            self.cold.make().leftover = Some(Leftover { input: rest.into(), used: 0 });
        }
    }

    /// Decodes input until it is used up, or so much waits for the handler that the rest has to wait as well. Returns
    /// the number of bytes that are left.
    fn decode(&mut self, mut input: &mut [u8], at: Moment) -> usize {
        loop {
            let outbox = &(*self.shared).as_ref().outbox;
            let decoded =
                self.decoder.step(&mut input, |frame, internal| outbox.push_internal(frame, internal));
            if !self.act_on(decoded, at) {
                return 0;
            }
            if self.is_ahead() {
                return input.len();
            }
        }
    }

    /// Acts on a step of the decoder. False if it was the last one that the input allows.
    fn act_on(&mut self, decoded: Decoded, at: Moment) -> bool {
        match decoded {
            Decoded::Starved | Decoded::Over => return false,
            Decoded::Message(message) => self.message(message, at),
            Decoded::Inflated(message, grown) => {
                self.count_bytes(grown, at);
                self.message(message, at);
            }
            Decoded::Part(part) => self.part(part, at),
            Decoded::LastPart(part) => {
                self.count_frame(at);
                self.part(part, at);
            }
            Decoded::Fragment | Decoded::Ping => self.count_frame(at),
            Decoded::Pong => {
                self.observe(PeerActivity::PongFrame, at);
                // What this end asked for is not held against the peer.
                if !(self.config.nudges && self.shared().outbox.ponged()) {
                    self.count_frame(at);
                }
            }
            Decoded::Close(code, reason) => self.peer_closed(code, reason, at),
            Decoded::Fault(fault) => {
                self.fault(fault, at);
                return false;
            }
        }
        true
    }

    fn message(&mut self, message: Message, at: Moment) {
        if self.cold.is_closing() {
            return;
        }
        self.count_frame(at);
        if self.cold.is_closing() {
            return;
        }
        if self.clock.liveness().expects_text_pong() && is_word(&message, "pong") {
            self.observe(PeerActivity::PongText, at);
            return;
        }
        if self.config.answers_text_ping && is_word(&message, "ping") {
            if let Some(watch) = self.cold.ping_watch() {
                watch.pinged(at.instant);
            }
            self.send_internal_text("pong");
            return;
        }
        if self.is_control(&message, at) {
            return;
        }
        self.quiet = 0;
        self.keep_buffers(message.len(), at);
        self.shared().count_received(message.len(), true);
        self.inbox.message(message, at);
    }

    /// A part is never read as what the two libraries say to each other, all of which is shorter than any part.
    fn part(&mut self, part: Box<MessagePart>, at: Moment) {
        if self.cold.is_closing() {
            return;
        }
        self.expects_hello = false;
        self.quiet = 0;
        self.keep_buffers(part.len(), at);
        self.shared().count_received(part.len(), part.last);
        self.inbox.part(part, at);
    }

    /// Keeps buffers while large messages arrive.
    fn keep_buffers(&mut self, len: usize, at: Moment) {
        if len >= buffer_pool::LARGE {
            self.cold
                .make()
                .kept_buffers
                .get_or_insert_with(|| KeptBuffers::new(at.instant))
                .renew(at.instant);
        }
    }

    /// Whether the message is a control message, which is acted on.
    fn is_control(&mut self, message: &Message, at: Moment) -> bool {
        if std::mem::take(&mut self.expects_hello)
            && let Some(controls) = Controls::of_hello(message)
        {
            let names = controls.named().is_some();
            self.shared().join_controls(controls);
            if names {
                self.shared().send_control(&Control::Speaks(Capabilities::ALL));
            }
            self.inbox.control(Control::Hello, message.len(), at);
            return true;
        }
        let Some(controls) = self.shared().controls() else { return false };
        match controls.read(message) {
            None => return false,
            Some(Ok(None)) => {}
            Some(Ok(Some(control))) => {
                if let Some(control) = self.of_this_connection(control)
                    && !self.inbox.control(control, message.len(), at)
                {
                    self.fail(&EndCause::ControlRate, None, at);
                }
            }
            Some(Err(malformed)) => {
                self.fail(&EndCause::MalformedControl, Some(EventError::new(malformed)), at);
            }
        }
        true
    }

    /// Acts on a control message about the connection itself, at once: a probe does not wait behind a token that is being
    /// judged. Returns any other.
    fn of_this_connection(&self, control: Control) -> Option<Control> {
        let shared = self.shared();
        let is_server = shared.outbox.side() == Side::Server;
        match control {
            Control::Probe(n) if is_server => {
                shared.send_control(&Control::Alive(n));
            }
            Control::Speaks(named) if is_server => shared.controls()?.name(named),
            Control::Closing { spread } if !is_server => shared.controls()?.closes(spread),
            Control::Probe(_) | Control::Alive(_) | Control::Speaks(_) | Control::Closing { .. } => {}
            other => return Some(other),
        }
        None
    }

    /// Time has passed since the last bytes were read.
    fn fill_rates(&mut self, at: Moment) {
        let passed = at.instant.saturating_duration_since(self.last_read);
        self.last_read = at.instant;
        self.quiet = self.quiet.saturating_add(nanoseconds(passed));
        self.rates.fill(passed, &self.config);
    }

    /// When the idle limit is reached.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        let from_read = self.last_read.checked_add(self.config.idle?)?;
        let quiet = Duration::from_nanos(self.quiet.unsigned_abs());
        if self.quiet < 0 { from_read.checked_add(quiet) } else { from_read.checked_sub(quiet) }
    }

    /// Counts what was read, and by how much it grew when it was decompressed.
    fn count_bytes(&mut self, len: usize, at: Moment) {
        if !self.rates.take_bytes(len, &self.config) {
            self.fail(&EndCause::ByteRate, None, at);
        }
    }

    /// Each frame counts as a message: an empty fragment costs as much as an empty message.
    fn count_frame(&mut self, at: Moment) {
        if !self.rates.take_message(&self.config) {
            self.fail(&EndCause::MessageRate, None, at);
        }
    }

    pub(super) fn observe(&mut self, what: PeerActivity, at: Moment) {
        if let Some(round_trip) = self.clock.as_mut().liveness_mut().observe(what, at.instant) {
            self.shared().measured(round_trip);
        }
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn is_word(message: &Message, word: &str) -> bool {
    // The length first: looking for blanks in a megabyte of text is not free.
    matches!(message, Message::Text(text) if text.len() <= 64 && text.trim().eq_ignore_ascii_case(word))
}

thread_local! {
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

fn borrow_buffer() -> Box<[u8]> {
    spare::take(&BUFFER).unwrap_or_else(|| vec![0; READ_BUFFER].into_boxed_slice())
}

fn return_buffer(buffer: Box<[u8]>) {
    spare::keep(&BUFFER, Some(buffer));
}
