//! When a client connects again: a state machine that has no clock, no socket and no random numbers.
//!
//! Its owner tells it what has happened, at which time and with which random number, and sees in the state what has to
//! exist: one dial, one connection, one timer, or none of them. Every end of the library that connects again, in any
//! language, takes the same steps: `tests/vectors/reconnect.json` holds them.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// How often and for how long a client connects again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReconnectPolicy {
    /// The longest pause before the first attempt. It doubles with each further one.
    pub base: Duration,
    /// The longest pause of all.
    pub most: Duration,
    /// How long a connection has to be open before the pauses begin at `base` again.
    pub stable_after: Duration,
    /// Most attempts in a row. `None`: no end.
    pub attempts: Option<u32>,
    /// For how long after a loss attempts are made. `None`: for ever.
    pub within: Option<Duration>,
    /// Whether the first connect is tried again, too.
    pub first: bool,
}

/// Steps of the ladder before the pause that follows where a server asks for time: all of its clients come back.
const LATER: u32 = 3;

impl Default for ReconnectPolicy {
    /// At random between 0 and 0.5 s, then up to 30 s, for ever, after a connection was open once.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            most: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
            attempts: None,
            within: None,
            first: false,
        }
    }
}

impl ReconnectPolicy {
    /// The pause before an attempt after `failures` in a row, `random` being from 0 up to 1: full jitter, by which
    /// clients that were lost together do not come back together.
    fn pause(&self, failures: u32, next: Next, random: f64) -> Option<Duration> {
        let ladder = |failures: u32| {
            let longest = self.base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX));
            longest.min(self.most).mul_f64(random)
        };
        Some(match next {
            Next::Stop => return None,
            Next::Again => ladder(failures),
            Next::Later => ladder(failures.max(LATER)),
            Next::NotBefore(least) => {
                ladder(failures).max(least.saturating_add(least.min(self.most).mul_f64(random)))
            }
            Next::Exactly(pause) => pause,
            // Only the server knows how many have to come back. Those that fail then climb the ladder.
            Next::Spread(over) if failures == 0 => over.mul_f64(random),
            Next::Spread(_) => ladder(failures.max(LATER)),
        })
    }
}

/// What follows a loss.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// The next attempt, after a pause of the ladder.
    Again,
    /// After a pause some steps up the ladder.
    Later,
    /// After this time, and up to as long again.
    NotBefore(Duration),
    /// After exactly this time.
    Exactly(Duration),
    /// At random within this time.
    Spread(Duration),
    /// No further attempt.
    Stop,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happened {
    /// The application asks for a connection.
    Connect,
    /// The dial has become a connection.
    Opened,
    /// The dial has failed, or the connection has ended.
    Lost(Next),
    /// The timer of the pause has fired.
    PauseOver,
    /// The application asks for an attempt without a pause.
    Now,
    /// The application wants no connection any more.
    Disconnect,
}

/// What has to exist. Times are since whatever the owner counts from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReconnectState {
    /// Nothing: no connection is wanted.
    Idle,
    /// A dial.
    Connecting,
    /// A connection.
    Open {
        /// Since when.
        since: Duration,
    },
    /// A timer.
    Waiting {
        /// When it fires.
        until: Duration,
    },
    /// Nothing: no further attempt is made.
    GivenUp,
}

/// Decides when a client connects again: it is told what has happened, and its [state](Self::state) is what has to exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconnector {
    policy: ReconnectPolicy,
    state: ReconnectState,
    /// Attempts that have failed since a connection was stable, and connections that were not.
    failures: u32,
    /// Whether the server had asked for time: all of its clients come back, those whose attempts fail as well.
    spreads: bool,
    /// When the first of them was lost.
    losing_since: Option<Duration>,
    /// Whether there was a connection since the application has asked for one.
    was_open: bool,
}

impl Reconnector {
    /// Of a client that is not connected.
    #[must_use]
    pub fn new(policy: ReconnectPolicy) -> Self {
        Self {
            policy,
            state: ReconnectState::Idle,
            failures: 0,
            spreads: false,
            losing_since: None,
            was_open: false,
        }
    }

    /// What has to exist now.
    #[must_use]
    pub fn state(&self) -> ReconnectState {
        self.state
    }

    /// The number of the attempt that is made, or comes next: 0 unless something was lost.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.failures
    }

    /// Takes one step. Whether the state has changed: what does not fit the state, such as a timer that fires late,
    /// changes nothing. `random` is from 0 up to 1.
    pub fn step(&mut self, happened: Happened, now: Duration, random: f64) -> bool {
        use ReconnectState::{Connecting, GivenUp, Idle, Open, Waiting};
        let next = match (happened, self.state) {
            (Happened::Connect, Idle | GivenUp) | (Happened::Now, GivenUp) => {
                *self = Self::new(self.policy);
                Connecting
            }
            (Happened::Opened, Connecting) => {
                self.was_open = true;
                Open { since: now }
            }
            (Happened::Lost(next), Open { since }) => {
                if now.saturating_sub(since) >= self.policy.stable_after {
                    (self.failures, self.spreads, self.losing_since) = (0, false, None);
                }
                self.lost(next, now, random)
            }
            (Happened::Lost(next), Connecting) => {
                let tries_again = self.was_open || self.policy.first;
                self.lost(if tries_again { next } else { Next::Stop }, now, random)
            }
            (Happened::PauseOver | Happened::Now, Waiting { .. }) => Connecting,
            (Happened::Disconnect, Connecting | Open { .. } | Waiting { .. } | GivenUp) => Idle,
            _ => return false,
        };
        self.state = next;
        true
    }

    fn lost(&mut self, next: Next, now: Duration, random: f64) -> ReconnectState {
        let since = *self.losing_since.get_or_insert(now);
        self.spreads |= matches!(next, Next::Spread(_));
        let next = if next == Next::Again && self.spreads { Next::Later } else { next };
        let pause = self.policy.pause(self.failures, next, random);
        self.failures = self.failures.saturating_add(1);
        let enough = self.policy.attempts.is_some_and(|most| self.failures > most);
        let Some(until) = pause.filter(|_| !enough).and_then(|pause| now.checked_add(pause)) else {
            return ReconnectState::GivenUp;
        };
        match self.policy.within {
            Some(within) if until.saturating_sub(since) > within => ReconnectState::GivenUp,
            _ => ReconnectState::Waiting { until },
        }
    }
}
