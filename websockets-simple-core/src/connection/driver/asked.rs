//! Signs of life that the driver asks its peer for, out of turn: for who wants the place of the connection and judges by
//! themselves (`ask_for_life`), and with a deadline at which the connection ends (`probe`).

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    connection::{
        HeartbeatMode, driver::ConnectionDriver, observer::ConnectionObserver, sign_of_life::SignOfLife,
    },
    events::{EndCause, EventError, Moment, deadline},
    protocol::{Control, Frame, InternalFrame},
};

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// Asks for what is wanted. A connection that ends is left to that.
    pub(super) fn ask(&mut self) {
        let within = self.shared().take_probe();
        if self.cold.is_closing() || self.cold.ending.is_some() {
            return;
        }
        if let Some(within) = within {
            self.probe(within);
        }
        if self.shared().sign_of_life().is_some_and(SignOfLife::is_pending) {
            self.ask_for_life();
        }
    }

    /// Asks the peer for a sign of life within this time.
    fn probe(&mut self, within: Duration) {
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

    /// Gives up a peer that has given no sign of life by the deadline of a probe. True if it has not.
    pub(super) fn is_probe_over(&mut self, at: Moment) -> bool {
        let is_over = self.cold.probe.is_some_and(|until| until <= at.instant);
        if is_over {
            self.fail(&EndCause::PingUnanswered, Some(EventError::new("no answer to a probe")), at);
        }
        is_over
    }

    /// Asks in a way that the peer has to answer.
    fn ask_for_life(&mut self) {
        let outbox = &(*self.shared).as_ref().outbox;
        let by_text = matches!(self.clock.liveness().mode(), HeartbeatMode::Text | HeartbeatMode::Both);
        // A text may not come between the parts of a message.
        let (text, frame) = (by_text && !outbox.is_sending_parts(), self.config.answers_pings);
        if self.cold.paused.is_some() || !(text || frame) {
            self.shared().shows_life();
            return;
        }
        let sent = outbox.statistics();
        if text {
            self.send_internal_text(self.config.ping_text);
        }
        if frame {
            outbox.push_internal(Frame::ping(self.config.side), InternalFrame::Ping);
        }
        self.shared().asked_for_life((sent.queued > 0).then_some(sent.bytes));
        self.cold.make().asked = true;
    }

    /// Bytes have come.
    pub(super) fn has_shown_life(&mut self) {
        if let Some(cold) = self.cold.get() {
            cold.probe = None;
        }
        self.is_not_read();
    }

    /// Nothing is read for a while, so that nobody may take the peer for dead. A probe has its time later.
    pub(super) fn is_not_read(&mut self) {
        if let Some(cold) = self.cold.get()
            && std::mem::take(&mut cold.asked)
        {
            self.shared().shows_life();
        }
    }
}
