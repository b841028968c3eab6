//! How a connection ends: by us, by the peer, by a fault, or because the stream is gone.

use std::{io, task::Context, time::Duration};

use tokio::time::Instant;

use crate::{
    connection::{closing::Closing, driver::ConnectionDriver, observer::ConnectionObserver},
    events::{Disconnect, EndCause, ErrorStage, EventError, Moment, deadline},
    protocol::{CloseCode, Fault, Frame, InternalFrame, fit_reason},
};

/// How the peer ends the connection, and until when that waits for the handlers of what came before.
#[derive(Debug)]
pub(super) struct Ending {
    cause: EndCause,
    pub(super) until: Instant,
}

/// Time for the peer to read our Close when the queue was discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

impl<O: ConnectionObserver> ConnectionDriver<O> {
    /// Raises the error event of a cause, if the cause has one, and closes. The event carries `error`, or the
    /// reason of the cause if there is none.
    pub(super) fn fail(&mut self, cause: &EndCause, error: Option<EventError>, at: Moment) {
        if self.cold.is_closing() {
            return;
        }
        if let Some(stage) = cause.error_stage() {
            self.inbox.error(stage, error.unwrap_or_else(|| EventError::new(cause.reason().to_owned())), at);
        }
        self.close(cause);
    }

    /// Sends Close behind what is queued, unless the cause discards the queue.
    pub(super) fn close(&mut self, cause: &EndCause) {
        if self.cold.is_closing() {
            return;
        }
        if cause.drops_received() {
            self.inbox.drop_messages();
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
        let timeout = match cause {
            // It gave no sign of life: Close leaves if the stream takes it at once, and nothing is waited for.
            EndCause::PingUnanswered => Duration::ZERO,
            cause if cause.discards_queue() => DISCARD_TIMEOUT,
            _ => self.config.close_timeout,
        };
        let deadline = deadline(Instant::now(), timeout);
        self.cold.make().closing = Some(Closing::ours(cause.disconnect(false), deadline));
    }

    /// The peer has sent Close. Its earlier messages are handled and answered before our Close, for at most the close
    /// timeout.
    pub(super) fn peer_closed(&mut self, code: Option<u16>, reason: String, at: Moment) {
        match self.cold.closing() {
            Some(closing) => {
                closing.peer_has_closed();
                if self.config.closes_twice {
                    let again = Frame::close(CloseCode::NORMAL.get(), "", self.config.side);
                    (*self.shared).as_ref().outbox.push_internal(again, InternalFrame::Close);
                    closing.until_peer_hangs_up();
                }
            }
            None => self.end_with(EndCause::PeerClosed { code, reason }, at),
        }
    }

    /// The peer broke the protocol: it gets a Close with the reason, and its further input is ignored. Its earlier
    /// messages are handled and answered first, for at most the close timeout.
    pub(super) fn fault(&mut self, fault: Fault, at: Moment) {
        if let Some(closing) = self.cold.closing() {
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
        self.end_with(cause, at);
    }

    fn end_with(&mut self, cause: EndCause, at: Moment) {
        let until = deadline(at.instant, self.config.close_timeout);
        self.cold.make().ending = Some(Ending { cause, until });
    }

    /// Answers the peer's Close, or closes for its fault, once the messages before it are handled or the deadline has
    /// passed.
    pub(super) fn end_after_handlers(&mut self, handled: bool) {
        let Some(cold) = self.cold.get() else { return };
        let handled = handled || cold.closing.is_some();
        let ended = cold.ending.take_if(|ending| handled || ending.until <= Instant::now());
        let Some(Ending { cause, .. }) = ended else { return };
        let EndCause::PeerClosed { code, reason } = &cause else {
            self.close(&cause);
            if let Some(closing) = self.cold.closing() {
                closing.deaf = true;
            }
            return;
        };
        if let Some(closing) = self.cold.closing() {
            closing.peer_has_closed();
            return;
        }
        let outbox = &(*self.shared).as_ref().outbox;
        if let Some(answer) = self.decoder.close_reply(self.config.close_reply(*code), reason) {
            outbox.push_internal(answer, InternalFrame::Close);
        }
        outbox.stop_accepting();
        self.drained = false;
        let deadline = deadline(Instant::now(), self.config.close_timeout);
        self.cold.make().closing = Some(Closing::theirs(cause.disconnect(true), deadline));
    }

    pub(super) fn peer_hung_up(&mut self) {
        let drained = self.drained && self.cold.broken.is_none();
        match self.cold.closing() {
            Some(closing) => closing.peer_has_hung_up(drained),
            None => match self.cold.take_broken() {
                Some(error) => self.transport_failed(error, ErrorStage::Send),
                None => self.gone(&EndCause::PeerHungUp),
            },
        }
    }

    /// Reading or writing failed. While the connection closes, that is how some peers hang up.
    pub(super) fn transport_failed(&mut self, error: io::Error, stage: ErrorStage) {
        let drained = self.drained && self.cold.broken.is_none();
        if let Some(closing) = self.cold.closing() {
            closing.peer_has_hung_up(drained && stage == ErrorStage::Transport);
            return;
        }
        if let Some(ending) = self.cold.get().and_then(|cold| cold.ending.take()) {
            // It has closed, or broken the protocol, and does not wait for our Close.
            let clean = matches!(ending.cause, EndCause::PeerClosed { .. });
            self.cold.make().closing = Some(Closing::gone(ending.cause.disconnect(clean)));
            return;
        }
        let cause = EndCause::TransportFailed { stage, reason: error.to_string() };
        self.inbox.error(stage, EventError::new(error), Moment::now());
        self.gone(&cause);
    }

    fn gone(&mut self, cause: &EndCause) {
        self.cold.make().closing = Some(Closing::gone(cause.disconnect(false)));
    }

    pub(super) fn poll_closing(&mut self, cx: &Context<'_>) -> Option<Disconnect> {
        let outbox = &(*self.shared).as_ref().outbox;
        self.cold.closing()?.poll(self.drained, outbox, cx)
    }
}
