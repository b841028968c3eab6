//! How a bus of a server elsewhere connects, and again when its connection is lost.

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use tokio::time::{Instant, sleep};

use crate::cluster::port::{BusInbox, BusLink};

/// The longest pause before the next attempt to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection that lasted so long was not refused: the next pause is a short one.
const SETTLED: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The end was asked for.
    Closed,
    /// It was lost, or given up. Why, without any secret.
    Lost(String),
}

impl End {
    /// The connection was given up, as [`Reconnect`](crate::BusCommand::Reconnect) asks for it.
    pub(crate) fn replaced() -> Self {
        Self::Lost("a new connection was asked for".to_owned())
    }
}

/// A bus that makes connections.
#[async_trait]
pub(crate) trait Connecting: Sync {
    /// A connection that is ready.
    type Open: Send;

    /// Connects. An error says why not, without any secret.
    async fn dial(&self, inbox: BusInbox) -> Result<Self::Open, String>;

    /// Does what the link says until the connection ends.
    async fn serve(&self, open: Self::Open, link: &mut BusLink) -> End;
}

/// Runs a bus until the link says that it is to close.
pub(crate) async fn keep_connected(bus: &impl Connecting, mut link: BusLink) {
    let mut failures = 0;
    while !link.is_closing() {
        let inbox = link.inbox();
        let dialled = tokio::select! {
            biased;
            () = link.closing() => return,
            dialled = bus.dial(inbox) => dialled,
        };
        failures += 1;
        let why = match dialled {
            Err(why) => why,
            Ok(open) => {
                let begun = Instant::now();
                let end = bus.serve(open, &mut link).await;
                if begun.elapsed() >= SETTLED {
                    failures = 0;
                }
                match end {
                    End::Closed => return,
                    End::Lost(why) => why,
                }
            }
        };
        link.down(why);
        tokio::select! {
            biased;
            () = link.closing() => return,
            () = sleep(pause(failures)) => {}
        }
    }
}

/// The pause after so many failures in a row, with jitter, so that the nodes of a cluster do not come all at once.
fn pause(failures: u32) -> Duration {
    let most = (Duration::from_millis(25) * 2_u32.pow(failures.min(6))).min(LONGEST_PAUSE);
    most.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_half_a_second_and_differ() {
        for (failures, most) in [(0, 25), (1, 50), (2, 100), (4, 400), (5, 500), (u32::MAX, 500)] {
            let pauses: Vec<_> = (0..100).map(|_| pause(failures)).collect();
            let most = Duration::from_millis(most);
            assert!(pauses.iter().all(|pause| (most / 2..=most).contains(pause)), "{failures}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{failures}");
        }
    }
}
