//! Token buckets: so much per second, and no more than a second's worth at once.

use std::time::Duration;

use crate::connection::config::ConnectionConfig;

/// The rates of one connection. How much there is per second is in the configuration, which all connections share.
#[derive(Debug)]
pub(crate) struct Rates {
    messages: Bucket,
    bytes: Bucket,
}

/// What is left in a token bucket.
#[derive(Debug)]
struct Bucket(f64);

impl Rates {
    /// Full buckets.
    pub(crate) fn new(config: &ConnectionConfig) -> Self {
        let messages = Bucket(config.messages_per_second.map_or(0.0, f64::from));
        let bytes = Bucket(config.bytes_per_second.map_or(0.0, |rate| rate as f64));
        Self { messages, bytes }
    }

    /// Takes one message if there is one left, or no limit.
    pub(crate) fn take_message(&mut self, config: &ConnectionConfig) -> bool {
        config.messages_per_second.is_none_or(|rate| self.messages.take(1.0, rate.into()))
    }

    /// Takes so many bytes if that much is left, or there is no limit.
    pub(crate) fn take_bytes(&mut self, bytes: usize, config: &ConnectionConfig) -> bool {
        config.bytes_per_second.is_none_or(|rate| self.bytes.take(bytes as f64, rate as f64))
    }

    /// So much time has passed since they were filled last.
    pub(crate) fn fill(&mut self, passed: Duration, config: &ConnectionConfig) {
        let passed = passed.as_secs_f64();
        if let Some(per_second) = config.messages_per_second {
            self.messages.fill(passed, per_second.into());
        }
        if let Some(per_second) = config.bytes_per_second {
            self.bytes.fill(passed, per_second as f64);
        }
    }
}

impl Bucket {
    fn fill(&mut self, passed: f64, per_second: f64) {
        self.0 = per_second.min(self.0 + passed * per_second);
    }

    /// A single amount above the whole bucket passes when it is full, so that one large message is judged by the size
    /// limit and not by the rate.
    fn take(&mut self, amount: f64, per_second: f64) -> bool {
        if amount > self.0 && self.0 < per_second {
            return false;
        }
        self.0 -= amount;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Side;

    fn config(messages: Option<u32>, bytes: Option<u64>) -> ConnectionConfig {
        let mut config = ConnectionConfig::new(Side::Server);
        (config.messages_per_second, config.bytes_per_second) = (messages, bytes);
        config
    }

    #[test]
    fn a_second_holds_its_share_and_the_next_one_refills() {
        let config = config(Some(1000), None);
        let mut rates = Rates::new(&config);
        assert!((0..1000).all(|_| rates.take_message(&config)));
        assert!(!rates.take_message(&config));
        rates.fill(Duration::from_millis(500), &config);
        assert!((0..500).all(|_| rates.take_message(&config)));
        assert!(!rates.take_message(&config));
        assert!(rates.take_bytes(usize::MAX, &config), "bytes have no limit");
    }

    #[test]
    fn one_amount_above_the_bucket_passes_once() {
        let config = config(None, Some(10));
        let mut rates = Rates::new(&config);
        assert!(rates.take_bytes(25, &config));
        rates.fill(Duration::from_secs(1), &config);
        assert!(!rates.take_bytes(1, &config));
        rates.fill(Duration::from_secs(1), &config);
        assert!(rates.take_bytes(1, &config));
        assert!(rates.take_message(&config), "messages have no limit");
    }

    #[test]
    fn unused_time_does_not_pile_up() {
        let config = config(Some(5), Some(7));
        let mut rates = Rates::new(&config);
        rates.fill(Duration::from_secs(3600), &config);
        assert!((0..5).all(|_| rates.take_message(&config)) && !rates.take_message(&config));
        assert!((0..7).all(|_| rates.take_bytes(1, &config)) && !rates.take_bytes(1, &config));
    }
}
