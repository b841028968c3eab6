//! One reading of the clock, shared by everything that one socket read caused.

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
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
        Self { instant: Instant::now(), utc: utc_now() }
    }
}

/// `Utc::now()`, for which most of the work is to find the date.
fn utc_now() -> DateTime<Utc> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.ok().and_then(utc).unwrap_or_else(Utc::now)
}

/// The time that long after the begin of 1970, the date of which the thread remembers from the last time.
fn utc(since_1970: Duration) -> Option<DateTime<Utc>> {
    const DAY: u64 = 24 * 60 * 60;
    thread_local! {
        static TODAY: Cell<Option<(u64, NaiveDate)>> = const { Cell::new(None) };
    }
    let seconds = since_1970.as_secs();
    let day = seconds / DAY;
    let date = match TODAY.get() {
        Some((today, date)) if today == day => date,
        _ => {
            let date = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?.date_naive();
            TODAY.set(Some((day, date)));
            date
        }
    };
    let second = u32::try_from(seconds % DAY).ok()?;
    let time = NaiveTime::from_num_seconds_from_midnight_opt(second, since_1970.subsec_nanos())?;
    Some(date.and_time(time).and_utc())
}

/// The moment after a timeout, which is a year if it is longer than that: no clock reaches an endless one.
#[must_use]
pub fn deadline(from: Instant, timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    from.checked_add(timeout.min(YEAR)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_right(seconds: u64, nanos: u32) {
        let expected =
            i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, nanos));
        assert_eq!(utc(Duration::new(seconds, nanos)), expected, "{seconds} s, {nanos} ns");
    }

    proptest! {
        #[test]
        fn any_two_moments_in_a_row_are_told_as_the_calendar_has_them(
            seconds in prop_oneof![0..5_000_000_000_u64, any::<u64>()],
            then in 0..200_000_u64,
            nanos in 0..1_000_000_000_u32,
        ) {
            assert_right(seconds, nanos);
            assert_right(seconds.saturating_add(then), nanos);
            assert_right(seconds, nanos);
        }
    }

    #[test]
    fn the_days_around_the_end_of_a_leap_year_are_told_apart() {
        for seconds in
            [1_735_603_199, 1_735_603_200, 1_735_689_599, 1_735_689_600, 951_782_400, 951_868_800, 0]
        {
            assert_right(seconds, 999_999_999);
        }
    }

    #[test]
    fn now_is_now() {
        let (before, now, after) = (Utc::now(), Moment::now().utc, Utc::now());
        assert!(before <= now && now <= after);
    }
}
