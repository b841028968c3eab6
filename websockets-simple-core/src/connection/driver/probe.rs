//! A sign of life that is asked for at once, beside the heartbeat.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    connection::{driver::ConnectionDriver, observer::ConnectionObserver},
    events::{EndCause, EventError, Moment, deadline},
    protocol::{Control, Frame, InternalFrame},
};

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// Asks the peer for a sign of life within this time.
    pub(super) fn probe(&mut self, within: Duration) {
        if self.cold.is_closing() || self.cold.ending.is_some() {
            return;
        }
        let until = deadline(Instant::now(), within);
        let earlier = self.cold.make().probe.get_or_insert(until);
        *earlier = until.min(*earlier);
        let shared = self.shared();
        // Proxies answer ping frames themselves. A message would wait for the end of one in parts.
        let number = u64::from(rand::random::<u32>());
        if shared.outbox.is_sending_parts() || !shared.send_control(&Control::Probe(number)) {
            shared.outbox.push_internal(Frame::ping(self.config.side), InternalFrame::Ping);
        }
    }

    /// Gives up a peer that has given no sign of life by the deadline. True if it has not.
    pub(super) fn is_probe_over(&mut self, at: Moment) -> bool {
        let is_over = self.cold.probe.is_some_and(|until| until <= at.instant);
        if is_over {
            self.fail(&EndCause::PingUnanswered, Some(EventError::new("no answer to a probe")), at);
        }
        is_over
    }
}
