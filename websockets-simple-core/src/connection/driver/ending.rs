//! How a link ends: by us, by the peer, by a fault, or because the stream is gone.

use std::{io, task::Context, time::Duration};

use tokio::time::Instant;

use crate::{
    connection::{closing::Closing, driver::ConnectionDriver, inbox::ConnectionObserver},
    events::{Disconnect, EndedBy, ErrorStage, EventError, Moment},
    outbox::CloseRequest,
    protocol::{CloseCode, Fault, Frame, InternalFrame},
};

impl<R: ConnectionObserver> ConnectionDriver<R> {
    pub(super) fn close(&mut self, by: EndedBy, code: CloseCode, reason: &str) {
        self.begin_close(&CloseRequest { code, reason: reason.to_owned(), by, discard: false });
    }

    /// Says Close, behind what is queued unless that is to be given up.
    pub(super) fn begin_close(&mut self, request: &CloseRequest) {
        if self.closing.is_some() {
            return;
        }
        if request.by == EndedBy::Overflow {
            let error = EventError::new(request.reason.clone());
            self.inbox.error(ErrorStage::Overflow, error, Moment::now());
        }
        let outbox = &(*self.shared).as_ref().outbox;
        outbox.stop_accepting();
        if request.discard {
            outbox.discard();
        }
        if let Some(frame) = self.decoder.close(request.code, &request.reason) {
            outbox.push_internal(frame, InternalFrame::Close);
        }
        self.drained = false;
        let patience = if request.discard { Duration::from_secs(1) } else { self.config.close_timeout };
        let end = Disconnect::new(request.by, Some(request.code.get()), request.reason.clone(), false);
        self.closing = Some(Box::new(Closing::ours(end, Instant::now() + patience)));
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
                let end = Disconnect::new(EndedBy::Peer, code, reason, true);
                let deadline = Instant::now() + self.config.close_timeout;
                self.closing = Some(Box::new(Closing::theirs(end, deadline)));
            }
        }
    }

    /// The peer broke the rules: it is told why, and what else it sends is not looked at. What it sent before is
    /// handled and answered first, as long as that does not take too long.
    pub(super) fn fault(&mut self, fault: Fault, at: Moment) {
        if let Some(closing) = &mut self.closing {
            closing.deaf = true;
            return;
        }
        let (by, stage) = if fault.limit {
            (EndedBy::Limit, ErrorStage::Limit)
        } else {
            (EndedBy::Protocol, ErrorStage::Protocol)
        };
        let reason = crate::protocol::fit_reason(&fault.error.to_string()).to_owned();
        self.inbox.error(stage, EventError::new(fault.error), at);
        let request = CloseRequest { code: fault.code, reason, by, discard: false };
        self.fault = Some((Box::new(request), at.instant + self.config.close_timeout));
    }

    /// Closes for a fault once what came before it is handled.
    pub(super) fn close_for_fault(&mut self, handled: bool) {
        let handled = handled || self.closing.is_some();
        let Some(fault) = self.fault.take_if(|(_, until)| handled || *until <= Instant::now()) else {
            return;
        };
        self.begin_close(&fault.0);
        if let Some(closing) = &mut self.closing {
            closing.deaf = true;
        }
    }

    pub(super) fn peer_hung_up(&mut self) {
        match &mut self.closing {
            Some(closing) => closing.peer_has_hung_up(self.drained && self.broken.is_none()),
            None => match self.broken.take() {
                Some(error) => self.transport_failed(error, ErrorStage::Send),
                None => {
                    let reason = "the peer hung up without Close";
                    let end = Disconnect::new(EndedBy::Transport, None, reason, false);
                    self.closing = Some(Box::new(Closing::gone(end)));
                }
            },
        }
    }

    /// Reading or writing failed. After a Close was seen that is how some peers hang up.
    pub(super) fn transport_failed(&mut self, error: io::Error, stage: ErrorStage) {
        match &mut self.closing {
            Some(closing) => {
                let drained = self.drained && self.broken.is_none();
                closing.peer_has_hung_up(drained && stage == ErrorStage::Transport);
            }
            None => {
                let end = Disconnect::new(EndedBy::Transport, None, error.to_string(), false);
                self.inbox.error(stage, EventError::new(error), Moment::now());
                self.closing = Some(Box::new(Closing::gone(end)));
            }
        }
    }

    pub(super) fn poll_closing(&mut self, cx: &Context<'_>) -> Option<Disconnect> {
        let outbox = &(*self.shared).as_ref().outbox;
        self.closing.as_mut()?.poll(self.drained, self.config.side, outbox, cx)
    }
}
