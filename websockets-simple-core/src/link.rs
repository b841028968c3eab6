//! One open WebSocket: reads, control frames, deadlines, and the one place where it ends.
//!
//! A link is a future for one task. In each round it lets the handler work, reads what there is, looks at the
//! clock, and then writes everything that came of it at once.

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::{
    CloseCode, Disconnect, EndedBy, ErrorStage, EventError, Heartbeat, Message, Moment,
    closing::Closing,
    delivery::{Delivery, Recipient, begin_turn, yield_turn},
    engine::{Engine, Fault, Step},
    flusher::Turn,
    frame::Frame,
    heartbeat::{Beat, Heard, Pulse},
    line::Line,
    outbox::{CloseRequest, Own, Rest},
    rate::Rate,
    repair::{self, TextRepair},
    transport::{ReadNow, Reader, Transport},
};

pub use config::LinkConfig;

mod config;

/// Size of the buffer that each worker thread lends to its links, one read at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Reads of one connection before others of the scheduler get their turn.
const READS_PER_TURN: usize = 4;

/// How long the telling of an end may take once the link was told to give up its handler.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What the .NET library tells a peer that it gives up.
const NO_PING_RESPONSE: &str = "No ping response - disconnected.";

/// See the module.
pub struct Link<R: Recipient> {
    phase: Phase,
    line: Arc<R::Connection>,
    config: Arc<LinkConfig>,
    /// Until the connection has ended.
    reader: Option<Reader>,
    engine: Engine,
    delivery: Delivery<R>,
    /// Input that came with the handshake.
    leftover: Box<[u8]>,
    pulse: Pulse,
    rates: Option<Box<Rates>>,
    repair: Option<Box<TextRepair>>,
    last_data: Instant,
    /// Since when nothing is read because the handler has not taken what there is.
    paused: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    closing: Option<Box<Closing>>,
    /// How the peer broke the rules, and until when the Close for it waits for what came before.
    fault: Option<(Box<CloseRequest>, Instant)>,
    /// Whether the last round left nothing to write.
    drained: bool,
    /// Writing failed. What arrived before that is read first: the peer's Close may be in it.
    broken: Option<io::Error>,
}

#[derive(Debug)]
struct Rates {
    messages: Option<Rate>,
    bytes: Option<Rate>,
}

/// What came of a try to read.
#[derive(Debug, Eq, PartialEq)]
enum Read {
    Nothing,
    Something,
}

/// How far a link has come.
enum Phase {
    Open,
    /// The transport is gone; what was received is still handled.
    Released(Box<Disconnect>),
    /// The end is being told.
    Told(Box<Disconnect>),
}

/// Resolves when the connection has ended and its end was told.
///
/// Dropped before that, the connection is cut and nobody is told. To end it, ask for that with [`Line::close`] or
/// [`Line::kill`].
impl<R: Recipient> Future for Link<R> {
    type Output = Disconnect;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Disconnect> {
        let link = self.get_mut();
        let _turn = Turn::begin();
        begin_turn();
        loop {
            match &mut link.phase {
                Phase::Open => {
                    let end = ready!(link.poll_open(cx));
                    link.release(&end);
                    link.phase = Phase::Released(Box::new(end));
                }
                Phase::Released(end) => {
                    if (*link.line).as_ref().outbox.begin_round(cx.waker()).kill {
                        link.delivery.give_up();
                    }
                    ready!(link.delivery.poll(cx));
                    link.delivery.end((**end).clone());
                    link.alarm = None;
                    let end = Box::new((**end).clone());
                    link.phase = Phase::Told(end);
                }
                Phase::Told(end) => {
                    let killed = (*link.line).as_ref().outbox.begin_round(cx.waker()).kill;
                    if link.delivery.poll(cx).is_pending() {
                        if !killed {
                            return Poll::Pending;
                        }
                        // The last word gets a deadline of its own, so that a stop does not wait for ever.
                        let alarm = link.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_WORD)));
                        ready!(alarm.as_mut().poll(cx));
                    }
                    return Poll::Ready((**end).clone());
                }
            }
        }
    }
}

impl<R: Recipient> Link<R> {
    /// A link over an open transport. `leftover` are bytes that came with the handshake. The first beat of the
    /// heartbeat is delayed by a random share of a tenth of its interval.
    #[must_use]
    pub fn new(
        transport: Transport,
        leftover: &[u8],
        line: Arc<R::Connection>,
        config: Arc<LinkConfig>,
        heartbeat: Heartbeat,
        recipient: R,
    ) -> Self {
        let now = Instant::now();
        let Transport { reader, writer } = transport;
        (*line).as_ref().outbox.open(writer);
        let rates = (config.messages_per_second.is_some() || config.bytes_per_second.is_some()).then(|| {
            Box::new(Rates {
                messages: config.messages_per_second.map(|rate| Rate::new(rate.into(), now)),
                bytes: config.bytes_per_second.map(|rate| Rate::new(rate, now)),
            })
        });
        Self {
            phase: Phase::Open,
            engine: Engine::new(config.side, config.message_size),
            delivery: Delivery::new(recipient, Arc::clone(&line)),
            pulse: Pulse::new(heartbeat, now, rand::random()),
            repair: config.repairs_text.then(Box::default),
            line,
            config,
            reader: Some(reader),
            leftover: leftover.into(),
            rates,
            last_data: now,
            paused: None,
            alarm: None,
            closing: None,
            fault: None,
            drained: true,
            broken: None,
        }
    }

    /// Lets go of the transport.
    fn release(&mut self, end: &Disconnect) {
        tracing::debug!(side = ?self.config.side, code = end.code, by = ?end.by, clean = end.clean, "connection ended");
        self.reader = None;
        self.engine = Engine::new(self.config.side, 0);
        self.shared().set_end(end);
        self.shared().outbox.shut(end.by == EndedBy::Overflow);
        self.delivery.release();
    }

    fn shared(&self) -> &Line {
        (*self.line).as_ref()
    }

    /// One round; ready when the transport is done with.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Disconnect> {
        let orders = self.shared().outbox.begin_round(cx.waker());
        if let Some(request) = orders.close {
            self.begin_close(&request);
        }
        if orders.kill {
            self.delivery.give_up();
            self.close(EndedBy::Stop, CloseCode::GOING_AWAY, "");
            if let Some(closing) = &mut self.closing {
                closing.deadline = Instant::now();
            }
        }
        self.broken = self.broken.take().or(orders.failed);
        let mut reads = 0;
        loop {
            // What a handler of this connection sends is collected until the end of the round.
            let handled = self.delivery.poll(cx).is_ready();
            self.close_for_fault(handled);
            if self.delivery.has_panicked() {
                self.close(EndedBy::HandlerPanic, CloseCode::INTERNAL, "internal error");
            }
            match self.read(cx) {
                Read::Nothing => {
                    if self.paused.is_none()
                        && let Some(error) = self.broken.take()
                    {
                        self.transport_failed(error, ErrorStage::Send);
                    }
                    if self.look_at_the_clock() {
                        // The verdict is told in this round.
                        continue;
                    }
                    break;
                }
                Read::Something if reads == READS_PER_TURN => {
                    // A peer that never pauses is pinged too, but not judged: its answer may be still unread.
                    if !self.pulse.is_waiting() {
                        self.look_at_the_clock();
                    }
                    yield_turn(cx);
                    break;
                }
                Read::Something => reads += 1,
            }
        }
        let rest = self.shared().outbox.end_round();
        self.drained = rest == Rest::Nothing;
        if let Some(end) = self.poll_closing(cx) {
            return Poll::Ready(end);
        }
        if self.set_alarm(rest, cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads once, and takes in everything that brought.
    fn read(&mut self, cx: &mut Context<'_>) -> Read {
        if self.fault.is_some() || self.closing.as_ref().is_some_and(|closing| closing.is_peer_gone()) {
            return Read::Nothing;
        }
        if self.closing.is_none() && self.delivery.waiting_bytes() > self.config.read_ahead {
            self.paused.get_or_insert_with(Instant::now);
            return Read::Nothing;
        }
        if let Some(since) = self.paused.take() {
            let paused = since.elapsed();
            self.pulse.forgive(paused);
            self.last_data += paused;
        }
        if !self.leftover.is_empty() {
            let mut input = std::mem::take(&mut self.leftover);
            self.take_in(&mut input);
            return Read::Something;
        }
        let Some(reader) = &mut self.reader else { return Read::Nothing };
        if self.repair.is_none()
            && let Some((payload, missing)) = self.engine.large()
        {
            let polled = reader.poll_read_behind(cx, payload, missing);
            return self.came(polled, |link, len| link.take_in_large(len));
        }
        let mut buffer = borrow_buffer();
        let polled = reader.poll_read(cx, &mut buffer);
        let read = self.came(polled, |link, len| link.take_in(&mut buffer[..len]));
        // No code of the user's has run while the thread's buffer was away.
        return_buffer(buffer);
        read
    }

    /// Looks at what a try to read came to.
    fn came(&mut self, polled: Poll<io::Result<usize>>, take_in: impl FnOnce(&mut Self, usize)) -> Read {
        match polled {
            Poll::Pending => return Read::Nothing,
            Poll::Ready(Ok(0)) => self.peer_hung_up(),
            Poll::Ready(Ok(len)) => take_in(self, len),
            Poll::Ready(Err(error)) => self.transport_failed(error, ErrorStage::Transport),
        }
        Read::Something
    }

    /// Runs the input through the engine and parks what comes out.
    fn take_in(&mut self, mut input: &mut [u8]) {
        let Some(at) = self.arrived(input.len()) else { return };
        if let Some(repair) = &mut self.repair {
            repair.walk(input);
        }
        loop {
            let outbox = &(*self.line).as_ref().outbox;
            let step = self.engine.step(&mut input, |frame, own| outbox.push_own(frame, own));
            if !self.go_on(step, at) {
                return;
            }
        }
    }

    /// Takes note of the next `len` bytes of a large message, which are where they belong already.
    fn take_in_large(&mut self, len: usize) {
        let Some(at) = self.arrived(len) else { return };
        let step = self.engine.took(len);
        self.go_on(step, at);
    }

    /// Input has come. When, unless it is not to be looked at.
    fn arrived(&mut self, len: usize) -> Option<Moment> {
        if self.closing.as_ref().is_some_and(|closing| closing.deaf) {
            return None;
        }
        let at = Moment::now();
        self.heard(Heard::Traffic, at);
        let within = self.rates.as_mut().and_then(|rates| rates.bytes.as_mut());
        if within.is_some_and(|rate| !rate.take(len as u64, at.instant)) {
            self.limit_exceeded("too many bytes per second", at);
        }
        Some(at)
    }

    /// Acts on a step of the engine. False if it was the last one that the input allows.
    fn go_on(&mut self, step: Step, at: Moment) -> bool {
        match step {
            Step::Starved | Step::Over => return false,
            Step::Message(message) => self.message(message, at),
            Step::Ping => self.count_message(at),
            Step::Pong => {
                self.heard(Heard::PongFrame, at);
                self.count_message(at);
            }
            Step::Close(code, reason) => self.peer_closed(code, reason),
            Step::Fault(fault) => {
                self.fault(fault, at);
                return false;
            }
        }
        true
    }

    fn message(&mut self, message: Message, at: Moment) {
        if self.closing.is_some() {
            return;
        }
        let message = if self.repair.is_some() { repair::repaired(message) } else { message };
        self.count_message(at);
        if self.closing.is_some() {
            return;
        }
        if self.pulse.listens_for_text() && is_word(&message, "pong") {
            self.heard(Heard::PongText, at);
            return;
        }
        if self.config.answers_text_ping && is_word(&message, "ping") {
            self.send_own_text("pong");
            return;
        }
        self.last_data = at.instant;
        self.shared().count_received(message.len());
        self.delivery.message(message, at);
    }

    fn count_message(&mut self, at: Moment) {
        let within = self.rates.as_mut().and_then(|rates| rates.messages.as_mut());
        if within.is_some_and(|rate| !rate.take(1, at.instant)) {
            self.limit_exceeded("too many messages per second", at);
        }
    }

    fn limit_exceeded(&mut self, text: &'static str, at: Moment) {
        if self.closing.is_none() {
            self.delivery.error(ErrorStage::Limit, EventError::new(text), at);
            self.close(EndedBy::Limit, CloseCode::POLICY, text);
        }
    }

    fn heard(&mut self, what: Heard, at: Moment) {
        if let Some(round_trip) = self.pulse.heard(what, at.instant) {
            self.shared().measured(round_trip);
        }
    }

    fn send_own_text(&self, text: &str) {
        let frame = Frame::message(Message::text(text), self.config.side);
        self.shared().outbox.push_own(frame, Own::Text);
    }

    /// Heartbeat, idle limit. Their clocks stand still while nothing is read, and while the connection closes.
    /// True if a time was up and the connection closes for it.
    fn look_at_the_clock(&mut self) -> bool {
        if self.paused.is_some() || self.closing.is_some() {
            return false;
        }
        let at = Moment::now();
        if self.pulse.next().is_some_and(|next| next <= at.instant) {
            match self.pulse.tick(at.instant) {
                Beat::Ping { text, frame } => {
                    if text {
                        self.send_own_text(self.config.ping_text);
                    }
                    if frame {
                        self.shared().outbox.push_own(Frame::ping(self.config.side), Own::Ping);
                    }
                }
                Beat::Unresponsive => {
                    if self.pulse.listens_for_text() {
                        self.send_own_text(NO_PING_RESPONSE);
                    }
                    self.delivery.error(ErrorStage::Heartbeat, EventError::new("no answer to a ping"), at);
                    self.close(EndedBy::Heartbeat, CloseCode::UNRESPONSIVE, NO_PING_RESPONSE);
                    return true;
                }
            }
        }
        if self.config.idle.is_some_and(|idle| at.instant.saturating_duration_since(self.last_data) >= idle) {
            self.close(EndedBy::Idle, CloseCode::IDLE, "nothing was received for too long");
        }
        self.closing.is_some()
    }

    fn close(&mut self, by: EndedBy, code: CloseCode, reason: &str) {
        self.begin_close(&CloseRequest { code, reason: reason.to_owned(), by, discard: false });
    }

    /// Says Close, behind what is queued unless that is to be given up.
    fn begin_close(&mut self, request: &CloseRequest) {
        if self.closing.is_some() {
            return;
        }
        if request.by == EndedBy::Overflow {
            let error = EventError::new(request.reason.clone());
            self.delivery.error(ErrorStage::Overflow, error, Moment::now());
        }
        let outbox = &(*self.line).as_ref().outbox;
        outbox.stop_accepting();
        if request.discard {
            outbox.discard();
        }
        if let Some(frame) = self.engine.close(request.code, &request.reason) {
            outbox.push_own(frame, Own::Close);
        }
        self.drained = false;
        let patience = if request.discard { Duration::from_secs(1) } else { self.config.close_timeout };
        let end = Disconnect::new(request.by, Some(request.code.get()), request.reason.clone(), false);
        self.closing = Some(Box::new(Closing::ours(end, Instant::now() + patience)));
    }

    fn peer_closed(&mut self, code: Option<u16>, reason: String) {
        match &mut self.closing {
            Some(closing) => {
                closing.peer_has_closed();
                if self.config.closes_twice {
                    let again = Frame::close(CloseCode::NORMAL.get(), self.config.side);
                    (*self.line).as_ref().outbox.push_own(again, Own::Close);
                }
            }
            None => {
                (*self.line).as_ref().outbox.stop_accepting();
                let end = Disconnect::new(EndedBy::Peer, code, reason, true);
                let deadline = Instant::now() + self.config.close_timeout;
                self.closing = Some(Box::new(Closing::theirs(end, deadline)));
            }
        }
    }

    /// The peer broke the rules: it is told why, and what else it sends is not looked at. What it sent before is
    /// handled and answered first, as long as that does not take too long.
    fn fault(&mut self, fault: Fault, at: Moment) {
        if let Some(closing) = &mut self.closing {
            closing.deaf = true;
            return;
        }
        let (by, stage) = if fault.limit {
            (EndedBy::Limit, ErrorStage::Limit)
        } else {
            (EndedBy::Protocol, ErrorStage::Protocol)
        };
        let reason = crate::close::fit_reason(&fault.error.to_string()).to_owned();
        self.delivery.error(stage, EventError::new(fault.error), at);
        let request = CloseRequest { code: fault.code, reason, by, discard: false };
        self.fault = Some((Box::new(request), at.instant + self.config.close_timeout));
    }

    /// Closes for a fault once what came before it is handled.
    fn close_for_fault(&mut self, handled: bool) {
        let handled = handled || self.closing.is_some();
        let Some(fault) = self.fault.take_if(|(_, until)| handled || *until <= Instant::now()) else {
            return;
        };
        self.begin_close(&fault.0);
        if let Some(closing) = &mut self.closing {
            closing.deaf = true;
        }
    }

    fn peer_hung_up(&mut self) {
        match &mut self.closing {
            Some(closing) => closing.peer_has_hung_up(self.drained && self.broken.is_none()),
            None => match self.broken.take() {
                Some(error) => self.transport_failed(error, ErrorStage::Send),
                None => {
                    let reason = "the peer hung up without Close";
                    let end = Disconnect::new(EndedBy::Transport, None, reason, false);
                    self.closing = Some(Box::new(Closing::gone(end)));
                }
            },
        }
    }

    /// Reading or writing failed. After a Close was seen that is how some peers hang up.
    fn transport_failed(&mut self, error: io::Error, stage: ErrorStage) {
        match &mut self.closing {
            Some(closing) => {
                let drained = self.drained && self.broken.is_none();
                closing.peer_has_hung_up(drained && stage == ErrorStage::Transport);
            }
            None => {
                let end = Disconnect::new(EndedBy::Transport, None, error.to_string(), false);
                self.delivery.error(stage, EventError::new(error), Moment::now());
                self.closing = Some(Box::new(Closing::gone(end)));
            }
        }
    }

    fn poll_closing(&mut self, cx: &Context<'_>) -> Option<Disconnect> {
        let outbox = &(*self.line).as_ref().outbox;
        self.closing.as_mut()?.poll(self.drained, self.config.side, outbox, cx)
    }

    /// Sets the one timer for the earliest deadline. True if that has passed already.
    fn set_alarm(&mut self, rest: Rest, cx: &mut Context<'_>) -> bool {
        let mut next = match rest {
            Rest::Paced(until) => Some(until),
            Rest::Nothing | Rest::Refused => None,
        };
        let mut earliest = |deadline: Option<Instant>| next = next.into_iter().chain(deadline).min();
        earliest(self.fault.as_ref().map(|(_, until)| *until));
        match &self.closing {
            Some(closing) => earliest(Some(closing.deadline)),
            None if self.paused.is_none() => {
                earliest(self.pulse.next());
                earliest(self.config.idle.and_then(|idle| self.last_data.checked_add(idle)));
            }
            None => {}
        }
        let Some(next) = next else {
            self.alarm = None;
            return false;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if alarm.deadline() != next {
            alarm.as_mut().reset(next);
        }
        alarm.as_mut().poll(cx).is_ready()
    }
}

fn is_word(message: &Message, word: &str) -> bool {
    // The length first: looking for blanks in a megabyte of text is not free.
    matches!(message, Message::Text(text) if text.len() <= 64 && text.trim().eq_ignore_ascii_case(word))
}

thread_local! {
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

fn borrow_buffer() -> Box<[u8]> {
    BUFFER.take().unwrap_or_else(|| vec![0; READ_BUFFER].into_boxed_slice())
}

fn return_buffer(buffer: Box<[u8]>) {
    BUFFER.set(Some(buffer));
}

impl<R: Recipient> fmt::Debug for Link<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("side", &self.config.side)
            .field("delivery", &self.delivery)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
