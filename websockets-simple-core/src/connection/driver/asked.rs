//! A sign of life that the driver is to ask its peer for, out of turn.

use crate::{
    connection::{HeartbeatMode, driver::ConnectionDriver, observer::ConnectionObserver},
    protocol::{Frame, InternalFrame},
};

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// Asks in a way that the peer has to answer. A connection that ends is left to that.
    pub(super) fn ask_for_life(&mut self) {
        if self.cold.is_closing() || self.cold.ending.is_some() {
            return;
        }
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

    /// Bytes have come, or nothing is read for a while: either way the peer is not held to be dead.
    pub(super) fn has_shown_life(&mut self) {
        if let Some(cold) = self.cold.get()
            && std::mem::take(&mut cold.asked)
        {
            self.shared().shows_life();
        }
    }
}
