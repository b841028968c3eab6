//! One open WebSocket: reads, control frames, deadlines, and the one place where it ends.
//!
//! A driver is a future for one task. In each round, which is one poll, it runs the handlers, reads the input, checks
//! the deadlines, and then writes everything that this produced at once.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use crate::{
    connection::{
        config::ConnectionConfig,
        heartbeat::{Heartbeat, Liveness, LivenessAction},
        inbox::Inbox,
        kept_buffers::KeptBuffers,
        observer::ConnectionObserver,
        ping_watch::PingWatch,
        rate::Rates,
        shared::ConnectionShared,
    },
    events::{Disconnect, EndCause, EndedBy, ErrorStage, EventError, Moment},
    outbox::{
        FlushOutcome,
        budget::{self, PollBudget},
    },
    protocol::{Decoder, Frame, InternalFrame, Message, MessageParts},
    transport::{Reader, Transport},
};

use clock::Clock;
use cold::Cold;
use reading::Read;

mod asked;
mod clock;
mod cold;
mod ending;
mod reading;

/// Reads after a failed write: more than what had arrived by then, which kernels bound by some megabytes.
const LAST_READS: u32 = 256;

/// Reads of one connection before other tasks run.
const READS_PER_POLL: usize = 4;

/// Drives one open WebSocket: reads, runs the handlers, checks deadlines, writes, and ends the connection.
pub struct ConnectionDriver<O: ConnectionObserver> {
    phase: Phase,
    shared: Arc<O::Connection>,
    config: Arc<ConnectionConfig>,
    /// None that reads anything, once the connection has ended.
    reader: Reader,
    decoder: Decoder,
    inbox: Inbox<O>,
    clock: Pin<Box<Clock>>,
    rates: Rates,
    /// When the last bytes came, and how many nanoseconds before that the last data: less than none, if nothing was read
    /// for a while because of our own handlers.
    last_read: Instant,
    quiet: i64,
    /// Whether the next message may begin control messages.
    expects_hello: bool,
    cold: Cold,
    /// Whether the last round left nothing to write.
    drained: bool,
}

/// Input of which the first part is decoded.
#[derive(Debug)]
struct Leftover {
    input: Box<[u8]>,
    used: usize,
}

/// How far a driver has come.
#[derive(Clone, Copy)]
enum Phase {
    Open,
    /// The transport is gone; what was received is still handled.
    Released,
    /// The Disconnected event is being handled.
    Disconnected,
    Done,
}

/// Resolves when the connection has ended and its Disconnected event was handled.
///
/// Dropped before that, as when its runtime ends, the connection is cut, waits for its end resolve, and handlers of the
/// Disconnected event run up to their first wait. To end it in order, call [`Outbox::close`](crate::Outbox::close) or
/// [`Outbox::abort_handlers`](crate::Outbox::abort_handlers).
impl<O: ConnectionObserver> Future for ConnectionDriver<O> {
    type Output = Disconnect;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Disconnect> {
        let driver = self.get_mut();
        let budget = PollBudget::begin(driver.cold.take_deferred());
        loop {
            match driver.phase {
                Phase::Open => {
                    let Poll::Ready(end) = driver.poll_open(cx) else {
                        if let Some(deferred) = budget.end() {
                            driver.cold.make().deferred = Some(deferred);
                        }
                        return Poll::Pending;
                    };
                    driver.release(&end);
                    driver.cold.make().end = Some(end);
                    driver.phase = Phase::Released;
                }
                Phase::Released => {
                    let outbox = &(*driver.shared).as_ref().outbox;
                    let aborted = outbox.begin_round(cx.waker()).abort_handlers;
                    if aborted {
                        driver.inbox.give_up();
                        outbox.discard_sent_events();
                    }
                    if driver.inbox.poll(&(*driver.shared).as_ref().outbox, cx).is_pending() {
                        if !aborted {
                            return Poll::Pending;
                        }
                        // Error events have the time of the last one, too.
                        ready!(driver.clock.as_mut().poll_last_word(cx));
                        driver.inbox.drop_all();
                    }
                    if let Some(end) = driver.cold.end.clone() {
                        driver.inbox.end(end);
                    }
                    driver.clock.as_mut().clear();
                    driver.phase = Phase::Disconnected;
                }
                Phase::Disconnected => {
                    let aborted = (*driver.shared).as_ref().outbox.begin_round(cx.waker()).abort_handlers;
                    if driver.inbox.poll(&(*driver.shared).as_ref().outbox, cx).is_pending() {
                        if !aborted {
                            return Poll::Pending;
                        }
                        // The last event has a deadline of its own, so that a stop does not wait for ever.
                        ready!(driver.clock.as_mut().poll_last_word(cx));
                        if driver.inbox.owes_end()
                            && let Some(end) = driver.cold.end.clone()
                        {
                            driver.inbox.end_unpolled(end);
                        }
                    }
                    driver.phase = Phase::Done;
                    let end = driver.cold.get().and_then(|cold| cold.end.take());
                    return end.map_or(Poll::Pending, Poll::Ready);
                }
                Phase::Done => return Poll::Pending,
            }
        }
    }
}

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// A driver over an open transport. `leftover` are bytes that came with the handshake. The first tick of the
    /// heartbeat is delayed at random, by at most a tenth of its interval.
    #[must_use]
    pub fn new(
        transport: Transport,
        leftover: &[u8],
        shared: Arc<O::Connection>,
        config: Arc<ConnectionConfig>,
        heartbeat: Heartbeat,
        observer: O,
    ) -> Self {
        let now = Instant::now();
        let Transport { reader, writer } = transport;
        let outbox = &(*shared).as_ref().outbox;
        outbox.open(writer);
        let decoder = Decoder::new(config.side, config.message_size, config.text);
        let decoder = decoder.with_compression(outbox.compression());
        let mut cold = Cold::default();
        if !leftover.is_empty() {
            cold.make().leftover = Some(Leftover { input: leftover.into(), used: 0 });
        }
        if config.watches_text_pings {
            cold.make().ping_watch = Some(PingWatch::default());
        }
        Self {
            phase: Phase::Open,
            decoder,
            inbox: Inbox::new(observer),
            clock: Clock::new(Liveness::new(heartbeat, now, rand::random())),
            rates: Rates::new(&config),
            shared,
            expects_hello: false,
            config,
            reader,
            last_read: now,
            quiet: 0,
            cold,
            drained: true,
        }
    }

    /// Lets the peer begin control messages with its first message, as both ends have agreed.
    #[must_use]
    pub fn with_hello(mut self) -> Self {
        self.expects_hello = true;
        self
    }

    /// Receives large messages in parts, if there are sizes for that.
    #[must_use]
    pub fn with_message_parts(mut self, parts: Option<MessageParts>) -> Self {
        parts.into_iter().for_each(|parts| self.decoder.receive_parts(parts));
        self
    }

    /// Releases the transport.
    fn release(&mut self, end: &Disconnect) {
        tracing::debug!(side = ?self.config.side, code = end.code, by = ?end.by, clean = end.clean, "connection ended");
        self.reader = Reader::none();
        if let Some(cold) = self.cold.get() {
            (cold.kept_buffers, cold.leftover) = (None, None);
        }
        self.decoder = Decoder::new(self.config.side, 0, self.config.text);
        self.clock.as_mut().clear();
        self.shared().set_end(end);
        self.shared().outbox.shut(end.by == EndedBy::Overflow);
        self.inbox.release();
    }

    fn shared(&self) -> &ConnectionShared {
        (*self.shared).as_ref()
    }

    /// One round; ready when the transport can be released.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Disconnect> {
        let commands = self.shared().outbox.begin_round(cx.waker());
        if let Some(cause) = commands.close {
            match cause.ended_by() {
                // The outbox asks for it, but cannot raise the error event itself.
                EndedBy::Overflow | EndedBy::Heartbeat => self.fail(&cause, None, Moment::now()),
                _ => self.close(&cause),
            }
        }
        if commands.abort_handlers {
            self.inbox.give_up();
            self.close(&EndCause::StopDeadline);
            if let Some(closing) = self.cold.closing() {
                closing.deadline = Instant::now();
            }
        }
        if commands.asked {
            self.ask();
        }
        if let Some(failed) = commands.failed {
            self.cold.make().broken.get_or_insert(failed);
        }
        let mut reads = 0;
        loop {
            // What a handler of this connection sends is collected until the end of the round.
            let handled = self.inbox.poll(&(*self.shared).as_ref().outbox, cx).is_ready();
            self.end_after_handlers(handled);
            if self.inbox.has_panicked() {
                // The inbox has raised the error event, with the text of the panic.
                self.close(&EndCause::HandlerPanicked);
            }
            match self.read(cx) {
                Read::Nothing => {
                    if self.cold.paused.is_none()
                        && let Some(error) = self.cold.take_broken()
                    {
                        self.transport_failed(error, ErrorStage::Send);
                    }
                    if self.look_at_the_clock() {
                        // The events of the close are handled in this round.
                        continue;
                    }
                    break;
                }
                Read::Something if reads == READS_PER_POLL => {
                    // A peer that never pauses is pinged too. What it sends keeps it from being given up.
                    self.look_at_the_clock();
                    budget::yield_to_others(cx);
                    break;
                }
                Read::Something => {
                    reads += 1;
                    if let Some(cold) = self.cold.get()
                        && cold.broken.is_some()
                    {
                        cold.last_reads += 1;
                        if cold.last_reads > LAST_READS
                            && let Some(error) = cold.broken.take()
                        {
                            self.transport_failed(error, ErrorStage::Send);
                        }
                    }
                }
            }
        }
        let rest = self.shared().outbox.end_round();
        self.drained = rest == FlushOutcome::Nothing;
        if rest == FlushOutcome::More {
            budget::yield_to_others(cx);
        }
        if let Some(end) = self.poll_closing(cx) {
            return Poll::Ready(end);
        }
        if self.set_alarm(rest, commands.new_waker, cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn send_internal_text(&self, text: &str) {
        let frame = Frame::message(Message::text(text), self.config.side);
        self.shared().outbox.push_internal(frame, InternalFrame::Text);
    }

    /// Checks the heartbeat and the idle limit. Both are paused while nothing is read, and once the peer or this end has
    /// begun to end the connection.
    /// True if a deadline has passed and the connection closes for it.
    fn look_at_the_clock(&mut self) -> bool {
        if self.cold.paused.is_some() || self.cold.ending.is_some() || self.cold.is_closing() {
            return false;
        }
        // Nothing is due before the alarm.
        if self.clock.waits() {
            return false;
        }
        let at = Moment::now();
        if self.clock.liveness().next().is_some_and(|next| next <= at.instant) {
            let outbox = &(*self.shared).as_ref().outbox;
            match self.clock.as_mut().liveness_mut().tick(at.instant, outbox.statistics().bytes) {
                LivenessAction::Ping { text, frame } => {
                    // A text would wait for the end of a message in parts; a frame passes between its parts.
                    let is_sending_parts = outbox.is_sending_parts();
                    let (text, frame) = (text && !is_sending_parts, frame || is_sending_parts);
                    if text {
                        self.send_internal_text(self.config.ping_text);
                    }
                    if frame {
                        outbox.push_internal(Frame::ping(self.config.side), InternalFrame::Ping);
                    }
                }
                LivenessAction::Unresponsive => {
                    if self.clock.liveness().expects_text_pong() {
                        self.send_internal_text(EndCause::PingUnanswered.reason());
                    }
                    self.fail(&EndCause::PingUnanswered, Some(EventError::new("no answer to a ping")), at);
                    return true;
                }
            }
        }
        let watch = self.cold.ping_watch.as_ref().and_then(|watch| watch.deadline());
        if watch.is_some_and(|deadline| deadline <= at.instant) {
            self.fail(&EndCause::PingsStopped, None, at);
            return true;
        }
        if self.is_probe_over(at) {
            return true;
        }
        if let Some(cold) = self.cold.get() {
            cold.kept_buffers.take_if(|kept_buffers| kept_buffers.until() <= at.instant);
        }
        if self.idle_until().is_some_and(|until| until <= at.instant) {
            self.close(&EndCause::Idle);
        }
        self.cold.is_closing()
    }

    /// Sets the one timer for the earliest deadline, and has it wake this task if the last round had another waker.
    /// True if the deadline has passed already.
    fn set_alarm(&mut self, rest: FlushOutcome, new_waker: bool, cx: &mut Context<'_>) -> bool {
        let mut next = match rest {
            FlushOutcome::Throttled(until) => Some(until),
            FlushOutcome::More | FlushOutcome::Nothing | FlushOutcome::Refused => None,
        };
        let mut earliest = |deadline: Option<Instant>| next = next.into_iter().chain(deadline).min();
        self.cold.shrink();
        earliest(self.cold.ending.as_ref().map(|ending| ending.until));
        if self.config.nudges {
            earliest(self.shared().outbox.nudge_due());
        }
        match &self.cold.closing {
            Some(closing) => earliest(Some(closing.deadline)),
            None if self.cold.paused.is_none() && self.cold.ending.is_none() => {
                earliest(self.clock.liveness().next());
                earliest(self.cold.probe);
                earliest(self.cold.ping_watch.as_ref().and_then(|watch| watch.deadline()));
                earliest(self.cold.kept_buffers.as_ref().map(KeptBuffers::until));
                earliest(self.idle_until());
            }
            None => {}
        }
        let Some(next) = next else {
            self.clock.as_mut().clear();
            return false;
        };
        self.clock.as_mut().set(next, new_waker, cx)
    }
}

impl<O: ConnectionObserver> Drop for ConnectionDriver<O> {
    fn drop(&mut self) {
        let end = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Open => {
                let end = EndCause::TaskDropped.disconnect(false);
                self.release(&end);
                end
            }
            // Something else was raised before it, if that is not over.
            Phase::Disconnected if !self.inbox.owes_end() => return,
            Phase::Released | Phase::Disconnected => match self.cold.get().and_then(|cold| cold.end.take()) {
                Some(end) => end,
                None => return,
            },
            Phase::Done => return,
        };
        self.inbox.end_unpolled(end);
    }
}

impl<O: ConnectionObserver> fmt::Debug for ConnectionDriver<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionDriver")
            .field("side", &self.config.side)
            .field("inbox", &self.inbox)
            .field("closing", &self.cold.closing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
