//! What is shared of one connection: its outbox, its statistics, how it ended.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use once_cell::race::OnceBox;
use serde::{Serialize, Serializer};

use crate::{
    connection::{Heartbeat, HeartbeatMode, questions::Questions, sign_of_life::SignOfLife},
    events::{Disconnect, EndCause},
    outbox::{Outbox, OutboxConfig},
    protocol::{Control, Controls, Frame, InternalFrame, Side},
};

/// The part of a connection that its handles and its driver share.
#[derive(Debug)]
pub struct ConnectionShared {
    /// The writing end.
    pub outbox: Outbox,
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
    round_trip_micros: AtomicU64,
    /// Made when the first of it is there.
    cold: OnceBox<ColdParts>,
}

/// What an idle connection does not have.
#[derive(Debug, Default)]
struct ColdParts {
    end: OnceLock<Disconnect>,
    controls: OnceLock<Controls>,
    questions: OnceLock<Box<Questions>>,
    sign_of_life: OnceLock<Box<SignOfLife>>,
    /// In how many milliseconds the peer is to give a sign of life; 0 if nobody has asked.
    probe: AtomicU32,
}

/// Counters of one connection, and its last round trip.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Messages received, heartbeat answers not counted. One that comes in parts counts with the last of them.
    pub messages_received: u64,
    /// Payload bytes of the messages and parts received.
    pub bytes_received: u64,
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Bytes that the transport took, headers and control frames included.
    pub bytes_sent: u64,
    /// Messages that an overflow policy dropped, or that were still queued when the connection ended.
    pub dropped: u64,
    /// Bytes that wait in the outbox now.
    pub queued_bytes: usize,
    /// Time between the last answered heartbeat ping and its answer. Serialized as seconds.
    #[serde(serialize_with = "as_seconds")]
    pub round_trip: Option<Duration>,
}

fn as_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

impl ConnectionShared {
    /// The shared part of a connection whose transport comes with its driver.
    #[must_use]
    pub fn new(side: Side, config: OutboxConfig) -> Self {
        Self {
            outbox: Outbox::new(side, config),
            received_messages: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            round_trip_micros: AtomicU64::new(u64::MAX),
            cold: OnceBox::new(),
        }
    }

    /// Begins control messages with a `hello`, as a server does before anything else is sent. The heartbeat is that of the
    /// connection, of which the `hello` tells.
    pub fn begin_controls(&self, heartbeat: Heartbeat) {
        let controls = Controls::new();
        let hello = controls.hello((heartbeat.mode() != HeartbeatMode::Off).then(|| heartbeat.interval()));
        self.outbox.push_internal(Frame::message(hello, self.outbox.side()), InternalFrame::Control);
        let _ = self.cold().controls.set(controls);
    }

    /// Takes part in the control messages that the peer has begun.
    pub(crate) fn join_controls(&self, controls: Controls) {
        let _ = self.cold().controls.set(controls);
    }

    pub(crate) fn controls(&self) -> Option<&Controls> {
        self.cold.get()?.controls.get()
    }

    /// Whether both ends take part in control messages.
    #[must_use]
    pub fn has_controls(&self) -> bool {
        self.controls().is_some()
    }

    /// Over how long a server that closes wants its clients back, if it has said so.
    #[must_use]
    pub fn closing_spread(&self) -> Option<Duration> {
        self.controls()?.closing_spread()
    }

    /// Sends a control message. False, and nothing is sent, if the ends did not agree on control messages, or the other
    /// one does not understand this one.
    pub fn send_control(&self, control: &Control) -> bool {
        let Some(controls) = self.controls().filter(|controls| controls.may_say(control)) else {
            return false;
        };
        let frame = Frame::message(controls.message(control), self.outbox.side());
        self.outbox.push_internal(frame, InternalFrame::Control);
        self.outbox.wake_driver();
        true
    }

    /// Asks the peer for a sign of life: by a [`Control::Probe`] where it understands that, else by a ping frame. If nothing at
    /// all has come from it within that time, the connection ends as after a heartbeat without an answer. Time in which
    /// nothing is read, as the handlers are behind, does not count. False, and nothing is asked, if the connection is closing.
    pub fn probe(&self, within: Duration) -> bool {
        if !self.outbox.is_open() {
            return false;
        }
        let milliseconds = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        self.cold().probe.store(milliseconds.max(1), Ordering::Release);
        self.outbox.ask_for_life();
        true
    }

    /// Within which time the peer is to give a sign of life, if that was asked for.
    pub(super) fn take_probe(&self) -> Option<Duration> {
        let within = self.cold.get()?.probe.swap(0, Ordering::AcqRel);
        (within > 0).then(|| Duration::from_millis(within.into()))
    }

    /// The questions to the peer, if there ever were any.
    pub(super) fn questions(&self) -> Option<&Questions> {
        self.cold.get()?.questions.get().map(Box::as_ref)
    }

    pub(super) fn questions_or_new(&self) -> &Questions {
        self.cold().questions.get_or_init(Box::default)
    }

    /// What is known of the peer's life, if it was ever asked.
    pub(super) fn sign_of_life(&self) -> Option<&SignOfLife> {
        self.cold.get()?.sign_of_life.get().map(Box::as_ref)
    }

    pub(super) fn sign_of_life_or_new(&self) -> &SignOfLife {
        self.cold().sign_of_life.get_or_init(Box::default)
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&Disconnect> {
        self.cold.get()?.end.get()
    }

    /// Resolves when the connection has ended, with how it did.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn closed(&self) -> Disconnect {
        self.outbox.closed().await;
        // The driver notes the end before it releases the stream.
        self.end().cloned().unwrap_or_else(|| EndCause::TaskDropped.disconnect(false))
    }

    /// The counters at this moment.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let sent = self.outbox.statistics();
        let micros = self.round_trip_micros.load(Ordering::Relaxed);
        Statistics {
            messages_received: self.received_messages.load(Ordering::Relaxed),
            bytes_received: self.received_bytes.load(Ordering::Relaxed),
            messages_sent: sent.messages,
            bytes_sent: sent.bytes,
            dropped: sent.dropped,
            queued_bytes: sent.queued,
            round_trip: (micros != u64::MAX).then(|| Duration::from_micros(micros)),
        }
    }

    /// Counts bytes of a message, and the message if they are the last.
    pub(crate) fn count_received(&self, bytes: usize, last: bool) {
        // Only the driver writes these, so a plain load and store is enough.
        let messages = self.received_messages.load(Ordering::Relaxed) + u64::from(last);
        self.received_messages.store(messages, Ordering::Relaxed);
        let bytes = self.received_bytes.load(Ordering::Relaxed) + bytes as u64;
        self.received_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn measured(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX - 1);
        self.round_trip_micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn set_end(&self, end: &Disconnect) {
        let _ = self.cold().end.set(end.clone());
    }

    fn cold(&self) -> &ColdParts {
        self.cold.get_or_init(Box::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_known_once_they_have_begun_and_any_round_trip_is_one() {
        let config = OutboxConfig::new(1 << 20, crate::OverflowPolicy::Disconnect);
        let shared = ConnectionShared::new(Side::Server, config);
        assert!(!shared.has_controls() && !shared.send_control(&Control::Hello));
        shared.begin_controls(Heartbeat::off());
        assert!(shared.has_controls() && shared.send_control(&Control::Hello));
        assert_eq!(shared.statistics().round_trip, None);
        shared.measured(Duration::MAX);
        assert_eq!(shared.statistics().round_trip, Some(Duration::from_micros(u64::MAX - 1)));
    }

    #[test]
    fn statistics_are_written_with_the_round_trip_in_seconds() {
        let statistics = Statistics { round_trip: Some(Duration::from_millis(250)), ..Statistics::default() };
        let json = serde_json::to_string(&statistics).unwrap();
        assert!(
            json.starts_with(r#"{"messages_received":0,"#) && json.ends_with(r#""round_trip":0.25}"#),
            "{json}"
        );
    }
}
