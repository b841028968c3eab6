//! Which subjects of channels a node is subscribed to: those of the channels in which it has connections.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::cluster::lane::{BUCKETS, Lane};

/// How long a subject stays subscribed to without a connection: clients come and go.
const KEPT: Duration = Duration::from_secs(10);

/// How many channels with connections each bucket has.
#[derive(Debug)]
pub(crate) struct Interest {
    channels: Box<[u32]>,
    /// Buckets without one, and until when they are kept.
    unwanted: VecDeque<(Instant, u16)>,
}

impl Interest {
    pub(crate) fn new() -> Self {
        Self { channels: vec![0; usize::from(BUCKETS)].into(), unwanted: VecDeque::new() }
    }

    /// A channel has its first connection. Answers what to subscribe to.
    pub(crate) fn add(&mut self, channel: &str) -> Option<Lane> {
        let Lane::Channels(bucket) = Lane::of_channel(channel) else { return None };
        let channels = self.channels.get_mut(usize::from(bucket))?;
        *channels += 1;
        if *channels > 1 {
            return None;
        }
        let before = self.unwanted.len();
        self.unwanted.retain(|(_, unwanted)| *unwanted != bucket);
        // It was kept until now.
        (before == self.unwanted.len()).then_some(Lane::Channels(bucket))
    }

    /// A channel has no connection any more.
    pub(crate) fn remove(&mut self, channel: &str, now: Instant) {
        let Lane::Channels(bucket) = Lane::of_channel(channel) else { return };
        let Some(channels) = self.channels.get_mut(usize::from(bucket)) else { return };
        *channels = channels.saturating_sub(1);
        if *channels == 0 {
            self.unwanted.push_back((now + KEPT, bucket));
        }
    }

    /// Whether a bucket is subscribed to.
    pub(crate) fn wants(&self, bucket: u16) -> bool {
        self.channels.get(usize::from(bucket)).is_some_and(|channels| *channels > 0)
            || self.unwanted.iter().any(|(_, unwanted)| *unwanted == bucket)
    }

    /// The next lane that was kept for long enough.
    pub(crate) fn next_unwanted(&mut self, now: Instant) -> Option<Lane> {
        self.unwanted.pop_front_if(|(until, _)| *until <= now).map(|(_, bucket)| Lane::Channels(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_wanted_from_its_first_channel_until_a_while_after_its_last() {
        let (mut interest, now) = (Interest::new(), Instant::now());
        let lane = Lane::of_channel("/a");
        let shares = (0..).map(|n| format!("/{n}")).find(|name| Lane::of_channel(name) == lane).unwrap();
        assert_eq!(interest.add("/a"), Some(lane));
        assert_eq!(interest.add(&shares), None, "it is subscribed to");
        interest.remove("/a", now);
        assert_eq!(interest.next_unwanted(now + KEPT), None, "the other is still there");
        interest.remove(&shares, now);
        assert_eq!(interest.add("/a"), None, "it was kept");
        assert_eq!(interest.next_unwanted(now + KEPT), None);
        interest.remove("/a", now + KEPT);
        assert_eq!(interest.next_unwanted(now + KEPT), None);
        assert_eq!(interest.next_unwanted(now + KEPT * 2), Some(lane));
        assert_eq!(interest.add("/a"), Some(lane));
    }
}
