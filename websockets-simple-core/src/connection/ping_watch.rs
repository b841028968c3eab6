//! Whether a server still pings by text, as .NET v6 servers do: pure logic, on which the driver acts.
//!
//! Such a server pings from one loop for all connections, and answers no pings. If the loop that reads a connection has
//! died, it is no longer pinged, while everything that is sent to it seems to arrive.

use std::time::Duration;

use tokio::time::Instant;

/// Between two pings of a .NET v6 server, which has no parameter for it.
const USUAL: Duration = Duration::from_secs(120);

/// The text pings that came. Their interval is the longest time between two in a row. Until there were three it is the
/// usual one, as a first ping that was late would make it look too short.
#[derive(Debug, Default)]
pub(crate) struct PingWatch {
    last: Option<Instant>,
    /// How long nothing was read since then.
    paused: Duration,
    longest: Duration,
    /// Times between two pings that were measured, up to the number that is needed.
    measured: u8,
}

/// Times that have to be measured.
const ENOUGH: u8 = 2;

impl PingWatch {
    /// A text ping has come.
    pub(crate) fn pinged(&mut self, now: Instant) {
        self.paused = Duration::ZERO;
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(last));
            self.measured = ENOUGH.min(self.measured + 1);
        }
    }

    /// When the server is given up: two intervals after its last ping, if it ever pinged.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let interval = if self.measured == ENOUGH { self.longest } else { USUAL };
        self.last?.checked_add(interval.saturating_mul(2).saturating_add(self.paused))
    }

    /// Nothing was read for this long because of our own handlers: that is not held against the server.
    pub(crate) fn extend(&mut self, pause: Duration) {
        self.paused = self.paused.saturating_add(pause);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pings_that_are_read_together_after_a_pause_of_ours_make_the_interval_no_shorter() {
        let mut watch = PingWatch::default();
        let start = Instant::now();
        watch.pinged(start);
        watch.extend(seconds(25));
        assert_eq!(watch.deadline(), Some(start + seconds(265)));
        watch.pinged(start + seconds(26));
        watch.pinged(start + seconds(26));
        assert_eq!(watch.deadline(), Some(start + seconds(26 + 52)));
    }

    #[test]
    fn a_server_that_never_pinged_is_never_given_up() {
        assert_eq!(PingWatch::default().deadline(), None);
    }

    #[test]
    fn until_three_pings_came_the_usual_interval_counts_and_then_their_own() {
        let mut watch = PingWatch::default();
        let start = Instant::now();
        watch.pinged(start);
        assert_eq!(watch.deadline(), Some(start + seconds(240)));
        watch.pinged(start + seconds(5));
        assert_eq!(watch.deadline(), Some(start + seconds(245)));
        watch.pinged(start + seconds(10));
        assert_eq!(watch.deadline(), Some(start + seconds(20)));
    }

    #[test]
    fn the_longest_time_between_two_pings_counts() {
        let mut watch = PingWatch::default();
        let start = Instant::now();
        for at in [0, 10, 25, 30] {
            watch.pinged(start + seconds(at));
        }
        assert_eq!(watch.deadline(), Some(start + seconds(60)));
    }

    #[test]
    fn time_in_which_nothing_was_read_does_not_count() {
        let mut watch = PingWatch::default();
        let start = Instant::now();
        watch.extend(seconds(9));
        assert_eq!(watch.deadline(), None);
        watch.pinged(start);
        watch.extend(seconds(7));
        assert_eq!(watch.deadline(), Some(start + seconds(247)));
    }

    proptest! {
        #[test]
        fn a_server_whose_pings_are_late_by_up_to_half_an_interval_is_never_given_up(
            interval in 1_u64..=120,
            late in prop::collection::vec(0_u64..=500, 2..50),
        ) {
            let mut watch = PingWatch::default();
            let start = Instant::now();
            for (n, late) in late.iter().enumerate() {
                let now = start + seconds(interval * n as u64) + Duration::from_millis(interval * late);
                prop_assert!(watch.deadline().is_none_or(|deadline| now <= deadline));
                watch.pinged(now);
            }
        }
    }
}
