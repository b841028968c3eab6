//! What has happened so far, counted by all connections together.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::{CreationError, Histogram};

use crate::ws::exit::Exit;

/// The longest time that is told apart from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// Digits of a time that count.
const DIGITS: u8 = 3;

/// Reasons that are told apart; a server could give a new one each time.
const MOST_REASONS: usize = 30;

/// Counts of one kind.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often each reason was given.
#[derive(Debug, Default)]
pub(super) struct Reasons(Mutex<BTreeMap<String, u64>>);

impl Reasons {
    pub(super) fn add(&self, reason: String) {
        let mut reasons = locked(&self.0);
        let is_known = reasons.contains_key(&reason);
        let reason =
            if is_known || reasons.len() < MOST_REASONS { reason } else { "other reasons".to_owned() };
        *reasons.entry(reason).or_default() += 1;
    }

    pub(super) fn all(&self) -> BTreeMap<String, u64> {
        locked(&self.0).clone()
    }
}

/// Times, of which percentiles are asked.
#[derive(Debug)]
pub(super) struct Times(Mutex<Histogram<u64>>);

impl Times {
    fn new() -> Result<Self, CreationError> {
        Ok(Self(Mutex::new(Histogram::new_with_bounds(1, LONGEST, DIGITS)?)))
    }

    pub(super) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        locked(&self.0).saturating_record(micros);
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Histogram<u64>) -> T) -> T {
        read(&locked(&self.0))
    }
}

/// All counts of a measurement.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) opened: Count,
    pub(super) failed: Count,
    pub(super) lost: Count,
    pub(super) sent: Count,
    /// Answers, and those among them that came before the end of the measurement.
    pub(super) answered: Count,
    pub(super) answered_in_time: Count,
    pub(super) unanswered: Count,
    /// Messages that came and are no echo of what was sent.
    pub(super) unexpected: Count,
    /// Messages that were due and could not be sent before the end.
    pub(super) overdue: Count,
    pub(super) failures: Reasons,
    pub(super) losses: Reasons,
    pub(super) latencies: Times,
    /// How long after it was due a message was sent.
    pub(super) delays: Times,
    first_failure: Mutex<Option<Exit>>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            opened: Count::default(),
            failed: Count::default(),
            lost: Count::default(),
            sent: Count::default(),
            answered: Count::default(),
            answered_in_time: Count::default(),
            unanswered: Count::default(),
            unexpected: Count::default(),
            overdue: Count::default(),
            failures: Reasons::default(),
            losses: Reasons::default(),
            latencies: Times::new()?,
            delays: Times::new()?,
            first_failure: Mutex::new(None),
        })
    }

    /// A connection could not be opened.
    pub(super) fn fail(&self, exit: Exit, reason: String) {
        self.failed.add(1);
        self.failures.add(reason);
        locked(&self.first_failure).get_or_insert(exit);
    }

    /// A connection ended before its time.
    pub(super) fn lose(&self, reason: String) {
        self.lost.add(1);
        self.losses.add(reason);
    }

    /// The exit code of the first connection that failed.
    pub(super) fn first_failure(&self) -> Option<Exit> {
        *locked(&self.first_failure)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_without_end_are_counted_and_not_kept() {
        let reasons = Reasons::default();
        for number in 0..1000 {
            reasons.add(format!("reason {number}"));
        }
        reasons.add("reason 0".to_owned());
        let all = reasons.all();
        assert_eq!(all.len(), MOST_REASONS + 1);
        assert_eq!(all.values().sum::<u64>(), 1001);
        assert_eq!(all["reason 0"], 2);
    }

    #[test]
    fn a_time_beyond_an_hour_counts_as_an_hour() {
        let times = Times::new().unwrap();
        times.add(Duration::from_secs(1_000_000));
        assert!(times.read(Histogram::max) >= LONGEST);
    }
}
