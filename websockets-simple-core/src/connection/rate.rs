//! A token bucket: so much per second, and no more than a second's worth at once.

use tokio::time::Instant;

/// A token bucket. Its unit is what the caller takes: messages or bytes.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket.
    pub(crate) fn new(per_second: u64, now: Instant) -> Self {
        let per_second = per_second as f64;
        Self { per_second, left: per_second, at: now }
    }

    /// Takes `amount` if that much is left. A single amount above the whole bucket passes when it is full, so
    /// that one large message is judged by the size limit and not by the rate.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) -> bool {
        // All messages of one read have the same time.
        if now != self.at {
            let passed = now.saturating_duration_since(self.at);
            self.at = now;
            self.left = self.per_second.min(self.left + passed.as_secs_f64() * self.per_second);
        }
        let amount = amount as f64;
        if amount > self.left && self.left < self.per_second {
            return false;
        }
        self.left -= amount;
        true
    }
}

/// The rates of one connection.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) messages: Option<Rate>,
    pub(crate) bytes: Option<Rate>,
}

impl Rates {
    /// Full buckets; `None` if nothing is limited.
    pub(crate) fn new(messages: Option<u32>, bytes: Option<u64>, now: Instant) -> Option<Box<Self>> {
        let messages = messages.map(|rate| Rate::new(rate.into(), now));
        let bytes = bytes.map(|rate| Rate::new(rate, now));
        (messages.is_some() || bytes.is_some()).then(|| Box::new(Self { messages, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_holds_its_share_and_the_next_one_refills() {
        let now = Instant::now();
        let mut rate = Rate::new(1000, now);
        assert!((0..1000).all(|_| rate.take(1, now)));
        assert!(!rate.take(1, now));
        assert!(rate.take(500, now + Duration::from_millis(500)));
        assert!(!rate.take(1, now + Duration::from_millis(500)));
    }

    #[test]
    fn one_amount_above_the_bucket_passes_once() {
        let now = Instant::now();
        let mut rate = Rate::new(10, now);
        assert!(rate.take(25, now));
        assert!(!rate.take(1, now + Duration::from_secs(1)));
        assert!(rate.take(1, now + Duration::from_secs(2)));
    }

    #[test]
    fn unused_time_does_not_pile_up() {
        let now = Instant::now();
        let mut rate = Rate::new(5, now);
        let later = now + Duration::from_secs(3600);
        assert!((0..5).all(|_| rate.take(1, later)));
        assert!(!rate.take(1, later));
    }
}
