//! The bounded, shared writing end of one connection.
//!
//! Every message enters the queue at once, in call order, under one short lock. Only the write may come later: at the
//! end of the driver's round (corked), at the end of the scheduler round of a broadcast (listed with a
//! [`Flusher`]), or when the socket has room again (the driver's waker).

use std::{
    io,
    task::{Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    compatibility::Pacing,
    dotnet::V6Server,
    events::EndCause,
    message::IntoMessage,
    outbox::waiters::Waiter,
    protocol::{Agreement, Form, Frame, Message, Side},
    transport::Writer,
};

use after_lock::Locked;
use pace::Pace;
use queue::{OutboxState, Stage};
use send::KeptPolicy;
use sync::{AtomicBool, Mutex, Ordering};
use waiters::Place;

pub(crate) use coalesce::Coalesced;

mod round;

pub use broadcast::{BroadcastReport, Encoding, Remote};
pub use budget::charge_sends;
pub use flusher::Flusher;
pub use fragmented::{MessageWriter, PartKind};
pub use send::{OverflowPolicy, SendError, SendStatus, Sending};
pub use sink::{OwnedSending, SendHandle, SendSink};

mod after_lock;
mod broadcast;
pub(crate) mod budget;
mod coalesce;
mod cold_state;
mod flusher;
mod fragmented;
mod gather;
mod internal_counts;
mod joined;
mod pace;
mod queue;
mod send;
mod sent_events;
mod sink;
mod sync;
mod waiters;

/// The bounded queue of frames that wait for the socket of one connection.
///
/// In this order, so that an offer touches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct Outbox {
    /// Whether Sent events wait: read before each event, to take the lock only if there are some.
    has_sent_events: AtomicBool,
    /// Whether messages that were received are to be dropped: read before each of them.
    drops_received: AtomicBool,
    /// Whether the driver is in a round: read before each send, to take the shorter way in one.
    corked: AtomicBool,
    side: Side,
    v6_server: Option<V6Server>,
    compression: Option<Agreement>,
    capacity: u32,
    policy: KeptPolicy,
    state: Mutex<OutboxState>,
}

/// The capacity, overflow policy and pacing of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct OutboxConfig {
    /// Most unsent bytes of encoded frames, headers included; above 4 GiB, those. At most a 64th of this number of frames waits, but never
    /// fewer than 256, so that the smallest frames take no more memory than large ones.
    pub capacity: usize,
    /// What happens to a message that does not fit.
    pub policy: OverflowPolicy,
    /// How frames leave; by default as the socket takes them.
    pub pacing: Pacing,
    /// The .NET v6 server that reads them, if it is one: what it certainly loses is not sent.
    pub v6_server: Option<V6Server>,
    /// What both ends agreed on, if it was compression.
    pub compression: Option<Agreement>,
}

impl OutboxConfig {
    /// An outbox for a peer that reads as RFC 6455 has it.
    #[must_use]
    pub fn new(capacity: usize, policy: OverflowPolicy) -> Self {
        Self { capacity, policy, pacing: Pacing::default(), v6_server: None, compression: None }
    }
}

/// What happened to a frame that was offered.
#[derive(Debug)]
pub(crate) enum Offer {
    Closed,
    Dropped,
    Full(Frame),
    /// Queued; the caller lists the connection with its flusher.
    List,
    Overflow,
    Queued,
    Sent,
}

/// When a frame is to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlushWhen {
    /// By this call, unless the driver is in the middle of a round.
    Now,
    /// At the end of the scheduler round, together with the broadcasts of other tasks.
    Round,
}

/// What the driver has to act on, taken at the start of each of its rounds.
#[derive(Debug, Default)]
pub(crate) struct DriverCommands {
    pub(crate) close: Option<EndCause>,
    pub(crate) failed: Option<io::Error>,
    pub(crate) abort_handlers: bool,
    /// The peer is to be asked for a sign of life.
    pub(crate) asked: bool,
    /// Whether the driver was polled with another waker than in its last round.
    pub(crate) new_waker: bool,
}

/// What a flush left unwritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlushOutcome {
    Nothing,
    /// More can be written, after other tasks have run.
    More,
    /// The next frame may leave at this time.
    Throttled(Instant),
    /// The stream wakes the driver when it takes more.
    Refused,
}

/// The counters of an outbox at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct OutboxStatistics {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    pub(crate) queued: usize,
}

impl Outbox {
    /// An outbox whose writer comes later, with [`open`](Self::open).
    pub(crate) fn new(side: Side, config: OutboxConfig) -> Self {
        let OutboxConfig { capacity, policy, pacing, v6_server, compression } = config;
        Self {
            side,
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            policy: KeptPolicy::new(policy),
            v6_server,
            compression,
            has_sent_events: AtomicBool::new(false),
            drops_received: AtomicBool::new(false),
            corked: AtomicBool::new(false),
            state: Mutex::new(OutboxState::new(Pace::new(pacing, Instant::now()))),
        }
    }

    /// Hands over the stream to write to.
    pub(crate) fn open(&self, writer: Writer) {
        self.lock().writer = Some(writer);
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// Sends one message as the overflow policy says. `notice` asks for a Sent event.
    pub fn send(&self, message: impl IntoMessage, notice: bool) -> Sending<'_> {
        let may_be_compressed = message.may_be_compressed();
        Sending::new(self, message.into_message(), may_be_compressed, notice)
    }

    /// Sends one message without ever waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent then.
    pub fn try_send(&self, message: impl IntoMessage, notice: bool) -> Result<SendStatus, SendError> {
        let may_be_compressed = message.may_be_compressed();
        let message = message.into_message()?;
        let notice = notice.then(|| message.clone());
        self.offer_message(message, may_be_compressed, notice.as_ref())?.into_result()
    }

    /// Queues a message in call order, if the policy allows it.
    pub(crate) fn offer_message(
        &self,
        message: Message,
        may_be_compressed: bool,
        notice: Option<&Message>,
    ) -> Result<Offer, SendError> {
        self.check(&message)?;
        let form = self.form(message.len(), may_be_compressed);
        if form.is_none() && self.join(&message, notice) {
            return Ok(Offer::Queued);
        }
        let frame = form.and_then(|form| {
            budget::charge_compression(form.work(message.len()));
            form.frame(message.as_bytes(), message.is_text(), self.side)
        });
        let frame = frame.unwrap_or_else(|| Frame::message(message, self.side));
        Ok(self.offer(frame, FlushWhen::Now, notice))
    }

    /// Whether the peer can read this message.
    pub(crate) fn check(&self, message: &Message) -> Result<(), SendError> {
        match self.v6_server {
            Some(server) => server.check(message).map_err(SendError::Unreadable),
            None => Ok(()),
        }
    }

    /// What both ends agreed on, if it was compression.
    pub(crate) fn compression(&self) -> Option<Agreement> {
        self.compression
    }

    /// Whether both ends agreed on compression.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// How a message of this length is compressed; `None` if it goes as it is.
    pub(crate) fn form(&self, len: usize, may_be_compressed: bool) -> Option<Form> {
        self.compression.filter(|_| may_be_compressed)?.form(len)
    }

    /// Queues a frame in call order, if the policy allows it.
    pub(crate) fn offer(&self, frame: Frame, when: FlushWhen, notice: Option<&Message>) -> Offer {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Offer::Closed;
        }
        if state.is_waited_for() || !state.fits(frame.len(), self.capacity()) {
            return self.offer_to_full(&mut state, frame, when, notice);
        }
        self.enter(&mut state, frame, when, notice)
    }

    /// As `offer`, for a frame that does not fit or that others wait in front of.
    #[cold]
    fn offer_to_full(
        &self,
        state: &mut OutboxState,
        frame: Frame,
        when: FlushWhen,
        notice: Option<&Message>,
    ) -> Offer {
        // The policy applies to bytes that the socket refused, so try to write first.
        state.flush_for(frame.len(), self.capacity());
        if state.stage != Stage::Open {
            return Offer::Closed;
        }
        if state.is_waited_for() || !state.fits(frame.len(), self.capacity()) {
            match self.policy.get() {
                OverflowPolicy::Wait(_) if when == FlushWhen::Now => return Offer::Full(frame),
                OverflowPolicy::DropOldest if state.make_room(frame.len(), self.capacity()) => {}
                OverflowPolicy::Wait(_) | OverflowPolicy::DropNewest | OverflowPolicy::DropOldest => {
                    state.drops(1);
                    return Offer::Dropped;
                }
                OverflowPolicy::Disconnect => {
                    state.request_close(EndCause::SlowReader);
                    return Offer::Overflow;
                }
            }
        }
        self.enter(state, frame, when, notice)
    }

    /// One attempt of a sender that waits for room.
    pub(crate) fn offer_waiting(
        &self,
        waiter: &mut Waiter,
        frame: &mut Option<Frame>,
        notice: Option<&Message>,
        waker: &Waker,
    ) -> Poll<Result<SendStatus, SendError>> {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Poll::Ready(Err(SendError::Closed));
        }
        let Some(len) = frame.as_ref().map(Frame::len) else { return Poll::Ready(Err(SendError::Closed)) };
        if state.cold().waiters.is_first(waiter) {
            state.flush_for(len, self.capacity());
            if state.stage != Stage::Open {
                return Poll::Ready(Err(SendError::Closed));
            }
            if state.fits(len, self.capacity())
                && let Some(frame) = frame.take()
            {
                state.cold().waiters.leave(waiter);
                let status = self.enter(&mut state, frame, FlushWhen::Now, notice);
                state.wake_waiting();
                return Poll::Ready(status.into_result());
            }
        }
        state.cold().waiters.wait(waiter, waker);
        Poll::Pending
    }

    /// Removes a sender that no longer waits for room.
    pub(crate) fn forget_waiter(&self, waiter: &mut Waiter) {
        let mut state = self.lock();
        if state.cold().waiters.leave(waiter) {
            state.wake_waiting();
        }
    }

    /// Asks the driver to end the connection; false when it is ending already. From here on every send fails with
    /// `Closed`.
    pub fn close(&self, cause: EndCause) -> bool {
        let drops_received = cause.drops_received();
        let mut state = self.lock();
        let is_first = state.request_close(cause);
        if is_first && drops_received {
            self.drops_received.store(true, Ordering::Release);
        }
        is_first
    }

    /// Whether messages that were received and not yet handled are to be dropped: the connection was closed for a cause
    /// after which none is handled.
    #[must_use]
    pub fn drops_received(&self) -> bool {
        self.drops_received.load(Ordering::Acquire)
    }

    /// Resolves when the stream is released, which does not wait for handlers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn closed(&self) {
        let mut place = Place::new(self, |cold| &mut cold.before_end);
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.stage == Stage::Closed && state.writer.is_none() {
                return Poll::Ready(());
            }
            place.wait(&mut state, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Lets the driver drop its handlers: the deadline of a stop has passed.
    pub fn abort_handlers(&self) {
        let mut state = self.lock();
        state.abort_handlers = true;
        state.wake_driver();
    }

    /// Whether the driver was told to drop its handlers.
    #[must_use]
    pub fn handlers_aborted(&self) -> bool {
        self.lock_unsettled().abort_handlers
    }

    /// Wakes the driver's task.
    pub fn wake_driver(&self) {
        self.lock_unsettled().wake_driver();
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock_unsettled().stage == Stage::Open
    }

    pub(crate) fn statistics(&self) -> OutboxStatistics {
        let state = self.lock_unsettled();
        OutboxStatistics {
            messages: state.messages,
            bytes: state.sent_bytes,
            dropped: state.dropped(),
            queued: state.bytes + state.behind_bytes(),
        }
    }

    /// Writes the frames that a round of broadcasts queued.
    pub(crate) fn flush_round(&self, coalesced: &mut Coalesced) {
        let mut state = self.lock();
        state.listed = false;
        if !state.corked {
            state.flush(false, Some(coalesced));
        }
    }

    /// Queues a message, and writes it if it is time.
    #[inline]
    fn enter(
        &self,
        state: &mut OutboxState,
        frame: Frame,
        when: FlushWhen,
        notice: Option<&Message>,
    ) -> Offer {
        let dropped = state.dropped();
        let status = if state.accept(frame) { state.write_when(when) } else { Offer::Queued };
        if matches!(status, Offer::Closed) {
            // A write that fails takes the message with it, and the sender is told so: it is not lost besides.
            state.forget_drop_since(dropped);
            return status;
        }
        state.count(notice);
        if notice.is_some() {
            self.has_sent_events.store(true, Ordering::Release);
        }
        status
    }

    /// The state, with all that was sent in the queue.
    fn lock(&self) -> Locked<'_> {
        Locked::new(&self.state)
    }

    /// The state for those who neither look at the queue nor add to it.
    fn lock_unsettled(&self) -> Locked<'_> {
        Locked::unsettled(&self.state)
    }
}

#[cfg(test)]
#[cfg(shuttle)]
mod model;
#[cfg(test)]
#[cfg(not(shuttle))]
mod tests;
