//! When to ping a peer, and when to give it up: pure, the link asks and acts.

use std::time::Duration;

use tokio::time::Instant;

/// How a connection makes sure that its peer is still there.
///
/// A ping goes out on every tick. A peer that has not answered by the next tick is closed with
/// [`CloseCode::UNRESPONSIVE`](crate::CloseCode::UNRESPONSIVE): at most two intervals after its last answer,
/// plus the jitter of the first tick. Time that this side spends waiting for its internal handlers or event
/// consumers does not count.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_core::{Heartbeat, HeartbeatMode};
///
/// let heartbeat = Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping);
/// assert_eq!(heartbeat.interval(), Duration::from_secs(30));
/// assert_eq!(Heartbeat::default(), Heartbeat::new(Duration::from_secs(120), HeartbeatMode::Text));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    interval: Duration,
    mode: HeartbeatMode,
}

/// What counts as a ping and as its answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HeartbeatMode {
    /// A ping frame is sent; anything the peer sends counts as the answer.
    AnyTraffic,
    /// Both a text `ping` and a ping frame are sent; either answer counts.
    Both,
    /// No pings, no verdict.
    Off,
    /// A ping frame (RFC 6455 section 5.5.2), answered by a pong frame.
    Ping,
    /// The text `ping`, answered by the text `pong` (any case, surrounding blanks ignored), which never
    /// surfaces as a message. The way of the .NET library.
    Text,
}

impl Heartbeat {
    /// A ping every `interval`.
    #[must_use]
    pub fn new(interval: Duration, mode: HeartbeatMode) -> Self {
        Self { interval, mode }
    }

    /// No heartbeat.
    #[must_use]
    pub fn off() -> Self {
        Self { interval: Duration::MAX, mode: HeartbeatMode::Off }
    }

    /// Time between two pings.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// What counts as a ping and as its answer.
    #[must_use]
    pub fn mode(&self) -> HeartbeatMode {
        self.mode
    }
}

impl Default for Heartbeat {
    /// Text `ping` every 120 s, as the .NET library.
    fn default() -> Self {
        Self::new(Duration::from_secs(120), HeartbeatMode::Text)
    }
}

/// The heartbeat of one connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    heartbeat: Heartbeat,
    /// `None` while the heartbeat is off.
    next: Option<Instant>,
    waiting: Option<Instant>,
}

/// What to do on a tick.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Beat {
    Ping { text: bool, frame: bool },
    Unresponsive,
}

/// What was heard from the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    Traffic,
    PongFrame,
    PongText,
}

impl Pulse {
    /// Starts with a first tick one interval after `now`, moved ahead by the share `jitter` (0 to 1) of a tenth
    /// of the interval, so that connections opened together do not ping together.
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant, jitter: f64) -> Self {
        let first = heartbeat.interval.checked_add(share(heartbeat.interval, jitter / 10.0));
        let next = match heartbeat.mode {
            HeartbeatMode::Off => None,
            _ => first.and_then(|first| now.checked_add(first)),
        };
        Self { heartbeat, next, waiting: None }
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a ping waits for its answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether a text `pong` is an answer, to be swallowed.
    pub(crate) fn listens_for_text(&self) -> bool {
        matches!(self.heartbeat.mode, HeartbeatMode::Text | HeartbeatMode::Both)
    }

    /// The verdict at a tick that is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Beat {
        self.next = now.checked_add(self.heartbeat.interval);
        if self.waiting.is_some() {
            self.next = None;
            return Beat::Unresponsive;
        }
        self.waiting = Some(now);
        let (text, frame) = match self.heartbeat.mode {
            HeartbeatMode::Text => (true, false),
            HeartbeatMode::Both => (true, true),
            HeartbeatMode::AnyTraffic | HeartbeatMode::Ping | HeartbeatMode::Off => (false, true),
        };
        Beat::Ping { text, frame }
    }

    /// Takes note of a sign of life; gives the round trip when it answers the last ping.
    pub(crate) fn heard(&mut self, what: Heard, now: Instant) -> Option<Duration> {
        let answers = match self.heartbeat.mode {
            HeartbeatMode::AnyTraffic => true,
            HeartbeatMode::Both => what != Heard::Traffic,
            HeartbeatMode::Ping => what == Heard::PongFrame,
            HeartbeatMode::Text => what == Heard::PongText,
            HeartbeatMode::Off => false,
        };
        if !answers {
            return None;
        }
        self.waiting.take().map(|since| now.saturating_duration_since(since))
    }

    /// Forgives the peer the time in which nothing was read from it.
    pub(crate) fn forgive(&mut self, paused: Duration) {
        if let Some(next) = &mut self.next {
            *next = next.checked_add(paused).unwrap_or(*next);
        }
    }
}

/// That share of a duration. `Duration::mul_f64` panics on overflow, and the interval is the user's.
fn share(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor.clamp(0.0, 1.0)).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(mode: HeartbeatMode) -> (Pulse, Instant) {
        let now = Instant::now();
        (Pulse::new(Heartbeat::new(Duration::from_secs(120), mode), now, 0.0), now)
    }

    #[test]
    fn a_silent_peer_is_given_up_at_the_second_tick() {
        let (mut pulse, now) = pulse(HeartbeatMode::Text);
        let first = pulse.next().unwrap();
        assert_eq!(first, now + Duration::from_secs(120));
        assert_eq!(pulse.tick(first), Beat::Ping { text: true, frame: false });
        let second = pulse.next().unwrap();
        assert_eq!(second, now + Duration::from_secs(240));
        assert_eq!(pulse.tick(second), Beat::Unresponsive);
        assert_eq!(pulse.next(), None);
    }

    #[test]
    fn an_answer_in_time_keeps_the_peer_and_gives_the_round_trip() {
        let (mut pulse, now) = pulse(HeartbeatMode::Text);
        let first = now + Duration::from_secs(120);
        pulse.tick(first);
        let trip = pulse.heard(Heard::PongText, first + Duration::from_millis(3));
        assert_eq!(trip, Some(Duration::from_millis(3)));
        assert!(matches!(pulse.tick(pulse.next().unwrap()), Beat::Ping { .. }));
    }

    #[test]
    fn each_mode_accepts_its_own_answers_only() {
        use Heard::{PongFrame, PongText, Traffic};
        for (mode, accepted) in [
            (HeartbeatMode::AnyTraffic, vec![Traffic, PongFrame, PongText]),
            (HeartbeatMode::Both, vec![PongFrame, PongText]),
            (HeartbeatMode::Ping, vec![PongFrame]),
            (HeartbeatMode::Text, vec![PongText]),
        ] {
            for heard in [Traffic, PongFrame, PongText] {
                let (mut pulse, now) = pulse(mode);
                pulse.tick(now);
                assert_eq!(
                    pulse.heard(heard, now).is_some(),
                    accepted.contains(&heard),
                    "{mode:?} {heard:?}"
                );
            }
        }
    }

    #[test]
    fn time_in_which_nothing_was_read_is_forgiven() {
        let (mut pulse, now) = pulse(HeartbeatMode::Ping);
        pulse.tick(now + Duration::from_secs(120));
        pulse.forgive(Duration::from_secs(30));
        assert_eq!(pulse.next(), Some(now + Duration::from_secs(270)));
    }

    #[test]
    fn an_endless_interval_and_off_never_tick() {
        let now = Instant::now();
        let endless = Heartbeat::new(Duration::MAX, HeartbeatMode::Ping);
        assert_eq!(Pulse::new(endless, now, 1.0).next(), None);
        assert_eq!(Pulse::new(Heartbeat::off(), now, 0.5).next(), None);
    }

    #[test]
    fn jitter_delays_the_first_tick_by_a_tenth_at_most() {
        let now = Instant::now();
        let pulse = Pulse::new(Heartbeat::default(), now, 1.0);
        assert_eq!(pulse.next(), Some(now + Duration::from_secs(132)));
    }
}
