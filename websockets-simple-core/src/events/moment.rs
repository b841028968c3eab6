//! One reading of the clock, shared by everything that one socket read caused.

use std::time::Duration;

use chrono::{DateTime, Utc};
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

/// The moment after a timeout, which is a year if it is longer than that: no clock reaches an endless one.
#[must_use]
pub fn deadline(from: Instant, timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    from.checked_add(timeout.min(YEAR)).unwrap_or(from)
}
