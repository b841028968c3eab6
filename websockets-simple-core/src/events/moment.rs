//! One reading of the clock, shared by everything that one socket read caused.

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
