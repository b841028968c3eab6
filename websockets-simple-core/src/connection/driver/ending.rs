//! How a connection ends: by us, by the peer, by a fault, or because the stream is gone.

use std::{io, task::Context, time::Duration};

use tokio::time::Instant;

use crate::{
    connection::{closing::Closing, driver::ConnectionDriver, inbox::ConnectionObserver},
    events::{Disconnect, EndCause, ErrorStage, EventError, Moment},
    protocol::{CloseCode, Fault, Frame, InternalFrame, fit_reason},
};

/// Time for the peer to read our Close when the queue was discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// Raises the error event of a cause, if the cause has one, and closes. The event carries `error`, or the
    /// reason of the cause if there is none.
    pub(super) fn fail(&mut self, cause: &EndCause, error: Option<EventError>, at: Moment) {
        if self.closing.is_some() {
            return;
        }
        if let Some(stage) = cause.error_stage() {
            self.inbox.error(stage, error.unwrap_or_else(|| EventError::new(cause.reason().to_owned())), at);
        }
        self.close(cause);
    }

    /// Sends Close behind what is queued, unless the cause discards the queue.
    pub(super) fn close(&mut self, cause: &EndCause) {
        if self.closing.is_some() {
            return;
        }
        let outbox = &(*self.shared).as_ref().outbox;
        outbox.stop_accepting();
        if cause.discards_queue() {
            outbox.discard();
        }
        if let Some(code) = cause.close_code()
            && let Some(frame) = self.decoder.close(self.config.close_code(code), cause.reason())
        {
            outbox.push_internal(frame, InternalFrame::Close);
        }
        self.drained = false;
        let timeout = if cause.discards_queue() { DISCARD_TIMEOUT } else { self.config.close_timeout };
        self.closing = Some(Box::new(Closing::ours(cause.disconnect(false), Instant::now() + timeout)));
    }

    pub(super) fn peer_closed(&mut self, code: Option<u16>, reason: String) {
        match &mut self.closing {
            Some(closing) => {
                closing.peer_has_closed();
                if self.config.closes_twice {
                    let again = Frame::close(CloseCode::NORMAL.get(), self.config.side);
                    (*self.shared).as_ref().outbox.push_internal(again, InternalFrame::Close);
                }
            }
            None => {
                (*self.shared).as_ref().outbox.stop_accepting();
                let end = EndCause::PeerClosed { code, reason }.disconnect(true);
                let deadline = Instant::now() + self.config.close_timeout;
                self.closing = Some(Box::new(Closing::theirs(end, deadline)));
            }
        }
    }

    /// The peer broke the protocol: it gets a Close with the reason, and its further input is ignored. Its earlier
    /// messages are handled and answered first, for at most the close timeout.
    pub(super) fn fault(&mut self, fault: Fault, at: Moment) {
        if let Some(closing) = &mut self.closing {
            closing.deaf = true;
            return;
        }
        let reason = fit_reason(&fault.error.to_string()).to_owned();
        let cause = match fault.code {
            CloseCode::TOO_BIG => EndCause::TooBig { reason },
            code => EndCause::Violation { code, reason },
        };
        if let Some(stage) = cause.error_stage() {
            self.inbox.error(stage, EventError::new(fault.error), at);
        }
        self.fault = Some((Box::new(cause), at.instant + self.config.close_timeout));
    }

    /// Closes for a fault once the messages before it are handled, or its deadline has passed.
    pub(super) fn close_for_fault(&mut self, handled: bool) {
        let handled = handled || self.closing.is_some();
        let Some((cause, _)) = self.fault.take_if(|(_, until)| handled || *until <= Instant::now()) else {
            return;
        };
        self.close(&cause);
        if let Some(closing) = &mut self.closing {
            closing.deaf = true;
        }
    }

    pub(super) fn peer_hung_up(&mut self) {
        match &mut self.closing {
            Some(closing) => closing.peer_has_hung_up(self.drained && self.broken.is_none()),
            None => match self.broken.take() {
                Some(error) => self.transport_failed(error, ErrorStage::Send),
                None => self.gone(&EndCause::PeerHungUp),
            },
        }
    }

    /// Reading or writing failed. While the connection closes, that is how some peers hang up.
    pub(super) fn transport_failed(&mut self, error: io::Error, stage: ErrorStage) {
        if let Some(closing) = &mut self.closing {
            let drained = self.drained && self.broken.is_none();
            closing.peer_has_hung_up(drained && stage == ErrorStage::Transport);
            return;
        }
        let cause = EndCause::TransportFailed { stage, reason: error.to_string() };
        self.inbox.error(stage, EventError::new(error), Moment::now());
        self.gone(&cause);
    }

    fn gone(&mut self, cause: &EndCause) {
        self.closing = Some(Box::new(Closing::gone(cause.disconnect(false))));
    }

    pub(super) fn poll_closing(&mut self, cx: &Context<'_>) -> Option<Disconnect> {
        let outbox = &(*self.shared).as_ref().outbox;
        self.closing.as_mut()?.poll(self.drained, self.config.side, outbox, cx)
    }
}
