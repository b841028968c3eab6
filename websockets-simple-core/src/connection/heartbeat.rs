//! When to ping a peer, and when to give it up: pure logic, on which the driver acts.

use std::time::Duration;

use tokio::time::Instant;

/// How a connection checks that its peer still responds.
///
/// A ping goes out on every tick. A peer from which nothing at all has come by the next tick is closed with
/// [`CloseCode::UNRESPONSIVE`](crate::CloseCode::UNRESPONSIVE): at most two intervals after its last byte, plus the jitter
/// of the first tick. Bytes prove life whatever they are: a long message may be on its way, and its sender cannot answer
/// before its end. Only answers give the round trip.
///
/// A ping may also be behind what was sent before it: for that a slow peer gets as long as the bytes take at 16 KiB per
/// second, of at most 4 MiB. Time that this side spends waiting for its own handlers or event consumers does not count.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use std::time::Duration;
/// use websockets_simple_server::{Heartbeat, HeartbeatMode};
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
    /// A ping frame is sent; anything the peer sends counts as the answer, also for the round trip.
    AnyTraffic,
    /// Both a text `ping` and a ping frame are sent; either answer counts.
    Both,
    /// No pings and no timeout.
    Off,
    /// A ping frame (RFC 6455 section 5.5.2), answered by a pong frame.
    Ping,
    /// The text `ping`, answered by the text `pong` (any case, surrounding blanks ignored), which is
    /// never raised as a message. This is what the .NET library does.
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
pub(crate) struct Liveness {
    /// `None` while the heartbeat is off.
    next: Option<Instant>,
    /// In nanoseconds: half of a `Duration`, and enough for 584 years.
    interval: u64,
    mode: HeartbeatMode,
    /// Whether a ping has no answer yet. It left one interval before the next one.
    waiting: bool,
    /// Whether the answer gives no round trip: another ping followed before it, so that it belongs to one of several, or
    /// nothing was read for a while.
    is_late: bool,
    /// Whether anything has come since the last tick.
    heard: bool,
    /// What may still be on its way to the peer, ahead of a ping.
    backlog: u32,
    /// All that was written by the last tick.
    written: u64,
}

/// Bytes per second at which the slowest peer reads.
const SLOWEST: u64 = 16 * 1024;

/// Most bytes that wait for it: what Linux lets a send buffer grow to (`tcp_wmem`).
const LARGEST: u32 = 4 * 1024 * 1024;

/// So little, pings among it, delays no ping.
const NOTHING: u32 = 4 * 1024;

/// What to do on a tick.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LivenessAction {
    Ping { text: bool, frame: bool },
    Unresponsive,
}

/// What was observed from the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PeerActivity {
    Traffic,
    PongFrame,
    PongText,
}

impl Liveness {
    /// Starts with a first tick one interval after `now`, delayed by the share `jitter` (0 to 1) of a tenth
    /// of the interval, so that connections opened together do not ping together.
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant, jitter: f64) -> Self {
        let first = heartbeat.interval.checked_add(share(heartbeat.interval, jitter / 10.0));
        let next = match heartbeat.mode {
            HeartbeatMode::Off => None,
            _ => first.and_then(|first| now.checked_add(first)),
        };
        let interval = u64::try_from(heartbeat.interval.as_nanos()).unwrap_or(u64::MAX);
        Self {
            next,
            interval,
            mode: heartbeat.mode,
            waiting: false,
            is_late: false,
            heard: false,
            backlog: 0,
            written: 0,
        }
    }

    pub(crate) fn mode(&self) -> HeartbeatMode {
        self.mode
    }

    fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a text `pong` is an answer and not a message.
    pub(crate) fn expects_text_pong(&self) -> bool {
        matches!(self.mode, HeartbeatMode::Text | HeartbeatMode::Both)
    }

    /// What to do at a tick that is due. `written` are all bytes that the transport has taken so far.
    pub(crate) fn tick(&mut self, now: Instant, written: u64) -> LivenessAction {
        let backlog = self.is_backlog_left(written, self.interval());
        let heard = std::mem::take(&mut self.heard);
        if self.waiting && !heard && !backlog {
            self.next = None;
            return LivenessAction::Unresponsive;
        }
        self.next = now.checked_add(self.interval());
        self.is_late = std::mem::replace(&mut self.waiting, true);
        let (text, frame) = match self.mode {
            HeartbeatMode::Text => (true, false),
            HeartbeatMode::Both => (true, true),
            HeartbeatMode::AnyTraffic | HeartbeatMode::Ping | HeartbeatMode::Off => (false, true),
        };
        LivenessAction::Ping { text, frame }
    }

    /// Whether any is left that delays a ping. `written` counts all bytes ever written, and `passed` is the time between
    /// two calls.
    fn is_backlog_left(&mut self, written: u64, passed: Duration) -> bool {
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let read = SLOWEST.saturating_mul(micros) / 1_000_000;
        let new = written - std::mem::replace(&mut self.written, written);
        let left = u64::from(self.backlog).saturating_add(new).saturating_sub(read);
        self.backlog = u32::try_from(left).unwrap_or(u32::MAX).min(LARGEST);
        self.backlog > NOTHING
    }

    /// Records activity of the peer; returns the round trip when it answers the last ping.
    pub(crate) fn observe(&mut self, what: PeerActivity, now: Instant) -> Option<Duration> {
        self.heard = true;
        let answers = match self.mode {
            HeartbeatMode::AnyTraffic => true,
            HeartbeatMode::Both => what != PeerActivity::Traffic,
            HeartbeatMode::Ping => what == PeerActivity::PongFrame,
            HeartbeatMode::Text => what == PeerActivity::PongText,
            HeartbeatMode::Off => false,
        };
        if !answers || !std::mem::take(&mut self.waiting) || self.is_late {
            return None;
        }
        let since = self.next?.checked_sub(self.interval())?;
        Some(now.saturating_duration_since(since))
    }

    /// Delays the next tick by the time in which nothing was read from the peer.
    pub(crate) fn extend(&mut self, paused: Duration) {
        if let Some(next) = &mut self.next {
            *next = next.checked_add(paused).unwrap_or(*next);
            self.is_late = true;
        }
    }
}

/// The duration times `factor`. `Duration::mul_f64` panics on overflow, and the user chooses the interval.
fn share(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor.clamp(0.0, 1.0)).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn liveness(mode: HeartbeatMode) -> (Liveness, Instant) {
        let now = Instant::now();
        (Liveness::new(Heartbeat::new(Duration::from_secs(120), mode), now, 0.0), now)
    }

    #[test]
    fn at_most_4_mib_are_on_their_way_and_256_s_are_time_to_read_them() {
        let written = 1 << 40;
        let (mut liveness, _) = liveness(HeartbeatMode::Ping);
        assert!(liveness.is_backlog_left(written, Duration::ZERO));
        assert!(liveness.is_backlog_left(written, Duration::from_secs(255)));
        assert!(!liveness.is_backlog_left(written, Duration::from_secs(1)));
        let heartbeat = Heartbeat::new(Duration::from_secs(7), HeartbeatMode::Ping);
        assert_eq!((heartbeat.interval(), heartbeat.mode()), (Duration::from_secs(7), HeartbeatMode::Ping));
    }

    #[test]
    fn a_silent_peer_is_given_up_at_the_second_tick() {
        let (mut liveness, now) = liveness(HeartbeatMode::Text);
        let first = liveness.next().unwrap();
        assert_eq!(first, now + Duration::from_secs(120));
        assert_eq!(liveness.tick(first, 0), LivenessAction::Ping { text: true, frame: false });
        let second = liveness.next().unwrap();
        assert_eq!(second, now + Duration::from_secs(240));
        assert_eq!(liveness.tick(second, 0), LivenessAction::Unresponsive);
        assert_eq!(liveness.next(), None);
    }

    #[test]
    fn an_answer_in_time_keeps_the_peer_and_gives_the_round_trip() {
        let (mut liveness, now) = liveness(HeartbeatMode::Text);
        let first = now + Duration::from_secs(120);
        liveness.tick(first, 0);
        let trip = liveness.observe(PeerActivity::PongText, first + Duration::from_millis(3));
        assert_eq!(trip, Some(Duration::from_millis(3)));
        assert!(matches!(liveness.tick(liveness.next().unwrap(), 0), LivenessAction::Ping { .. }));
    }

    #[test]
    fn each_mode_accepts_its_own_answers_only() {
        use PeerActivity::{PongFrame, PongText, Traffic};
        for (mode, accepted) in [
            (HeartbeatMode::AnyTraffic, vec![Traffic, PongFrame, PongText]),
            (HeartbeatMode::Both, vec![PongFrame, PongText]),
            (HeartbeatMode::Ping, vec![PongFrame]),
            (HeartbeatMode::Text, vec![PongText]),
        ] {
            for observe in [Traffic, PongFrame, PongText] {
                let (mut liveness, now) = liveness(mode);
                liveness.tick(now, 0);
                assert_eq!(
                    liveness.observe(observe, now).is_some(),
                    accepted.contains(&observe),
                    "{mode:?} {observe:?}"
                );
            }
        }
    }

    #[test]
    fn any_byte_since_the_last_tick_proves_life_and_only_an_answer_gives_the_round_trip() {
        let (mut liveness, now) = liveness(HeartbeatMode::Text);
        let tick = |number: u32| now + Duration::from_secs(120) * number;
        assert!(matches!(liveness.tick(tick(1), 0), LivenessAction::Ping { .. }));
        for number in 2..10 {
            assert_eq!(liveness.observe(PeerActivity::Traffic, tick(number)), None);
            assert!(matches!(liveness.tick(tick(number), 0), LivenessAction::Ping { .. }), "{number}");
        }
        let answered = liveness.observe(PeerActivity::PongText, tick(10));
        assert_eq!(answered, None, "it answers one of nine");
        assert!(matches!(liveness.tick(tick(10), 0), LivenessAction::Ping { .. }));
        assert_eq!(liveness.tick(tick(11), 0), LivenessAction::Unresponsive);
    }

    #[test]
    fn a_ping_behind_much_data_has_as_long_as_a_slow_peer_takes_to_read_it() {
        let now = Instant::now();
        let interval = Duration::from_secs(30);
        let mut liveness = Liveness::new(Heartbeat::new(interval, HeartbeatMode::Ping), now, 0.0);
        let all = 4 * 1024 * 1024;
        let last =
            (1..).find(|tick| liveness.tick(now + interval * *tick, all) == LivenessAction::Unresponsive);
        // 256 s at 16 KiB per second.
        assert_eq!(last, Some(9));
        let mut liveness = Liveness::new(Heartbeat::new(interval, HeartbeatMode::Ping), now, 0.0);
        let last =
            (1..).find(|tick| liveness.tick(now + interval * *tick, 400_000) == LivenessAction::Unresponsive);
        assert_eq!(last, Some(2), "what 30 s suffice for makes no difference");
        let interval = Duration::from_millis(100);
        let mut liveness = Liveness::new(Heartbeat::new(interval, HeartbeatMode::Ping), now, 0.0);
        let mut written = 0;
        let last = (1..).find(|tick| {
            written += 100;
            liveness.tick(now + interval * *tick, written) == LivenessAction::Unresponsive
        });
        assert_eq!(last, Some(2), "an interval of less than a second counts too");
        let mut liveness =
            Liveness::new(Heartbeat::new(Duration::from_nanos(1), HeartbeatMode::Ping), now, 0.0);
        let last = (1..).find(|tick| {
            let ping = 6 * u64::from(*tick);
            liveness.tick(now + Duration::from_nanos(1) * *tick, ping) == LivenessAction::Unresponsive
        });
        assert_eq!(last, Some(2), "pings are no backlog");
    }

    #[test]
    fn time_in_which_nothing_was_read_is_forgiven() {
        let (mut liveness, now) = liveness(HeartbeatMode::Ping);
        liveness.tick(now + Duration::from_secs(120), 0);
        liveness.extend(Duration::from_secs(30));
        assert_eq!(liveness.next(), Some(now + Duration::from_secs(270)));
    }

    #[test]
    fn an_endless_interval_and_off_never_tick() {
        let now = Instant::now();
        let endless = Heartbeat::new(Duration::MAX, HeartbeatMode::Ping);
        assert_eq!(Liveness::new(endless, now, 1.0).next(), None);
        assert_eq!(Liveness::new(Heartbeat::off(), now, 0.5).next(), None);
    }

    #[test]
    fn jitter_delays_the_first_tick_by_a_tenth_at_most() {
        let now = Instant::now();
        let liveness = Liveness::new(Heartbeat::default(), now, 1.0);
        assert_eq!(liveness.next(), Some(now + Duration::from_secs(132)));
    }
}
