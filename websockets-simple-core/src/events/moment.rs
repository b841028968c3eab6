//! One reading of the clock, shared by everything that one socket read caused.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// A point in time on both clocks: the steady one for deadlines, the wall clock for events.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Steady time, which tests may pause.
    pub instant: Instant,
    /// Wall-clock time in UTC.
    pub utc: DateTime<Utc>,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { instant: Instant::now(), utc: Utc::now() }
    }
}

/// The wall-clock time, moved by as much as a test has moved the clock of tokio. What expires by it does so in paused time
/// as timers do; outside of tests both clocks run alike, and it is the time of the system, also once that is set anew.
#[must_use]
pub fn wall_clock() -> DateTime<Utc> {
    let before = std::time::Instant::now();
    let ours = Instant::now().into_std();
    let (after, now) = (std::time::Instant::now(), Utc::now());
    if (before..=after).contains(&ours) {
        return now;
    }
    let moved = match ours.checked_duration_since(after) {
        Some(ahead) => TimeDelta::from_std(ahead),
        None => TimeDelta::from_std(after.saturating_duration_since(ours)).map(|behind| -behind),
    };
    moved.ok().and_then(|moved| now.checked_add_signed(moved)).unwrap_or(now)
}

/// The moment after a timeout, which is a year if it is longer than that: no clock reaches an endless one.
#[must_use]
pub fn deadline(from: Instant, timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    from.checked_add(timeout.min(YEAR)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_goes_where_a_test_moves_the_clock() {
        let before = wall_clock();
        tokio::time::advance(Duration::from_secs(3600)).await;
        let passed = wall_clock() - before;
        assert!((passed - TimeDelta::hours(1)).abs() < TimeDelta::seconds(1), "{passed}");
    }

    #[tokio::test]
    async fn it_is_that_of_the_system_otherwise() {
        for _ in 0..1000 {
            let (before, now, after) = (Utc::now(), wall_clock(), Utc::now());
            // As long as nobody sets the clock back.
            assert!(after < before || (before <= now && now <= after), "{before} {now} {after}");
        }
    }
}
