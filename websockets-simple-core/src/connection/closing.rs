//! A connection that is closing: what is left to write, what it waits for, and until when.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::{events::Disconnect, outbox::Outbox};

/// The state of a connection that is closing.
#[derive(Debug)]
pub(crate) struct Closing {
    end: Disconnect,
    pub(crate) deadline: Instant,
    /// The peer has sent its Close.
    peer_closed: bool,
    /// The stream has ended or failed: nothing more can be read or written.
    peer_gone: bool,
    /// The peer broke the protocol; its input is discarded.
    pub(crate) deaf: bool,
    /// The peer hangs up itself, after our second Close.
    hangs_up: bool,
    /// Our writing direction has ended.
    finished: bool,
}

impl Closing {
    /// We send Close and wait for the peer's.
    pub(crate) fn ours(end: Disconnect, deadline: Instant) -> Self {
        Self {
            end,
            deadline,
            peer_closed: false,
            peer_gone: false,
            deaf: false,
            hangs_up: false,
            finished: false,
        }
    }

    /// The peer sent Close, and the answer is queued.
    pub(crate) fn theirs(end: Disconnect, deadline: Instant) -> Self {
        Self { peer_closed: true, ..Self::ours(end, deadline) }
    }

    /// The peer is to hang up itself when both have closed.
    pub(crate) fn until_peer_hangs_up(&mut self) {
        self.hangs_up = true;
    }

    /// The stream is gone already.
    pub(crate) fn gone(end: Disconnect) -> Self {
        Self { peer_gone: true, ..Self::ours(end, Instant::now()) }
    }

    pub(crate) fn peer_has_closed(&mut self) {
        self.peer_closed = true;
        self.end.clean = true;
    }

    /// Nothing more comes from the peer. If it could read our Close, the end is clean: the .NET client hangs up that
    /// way.
    pub(crate) fn peer_has_hung_up(&mut self, drained: bool) {
        self.peer_gone = true;
        self.end.clean |= drained;
    }

    pub(crate) fn is_peer_gone(&self) -> bool {
        self.peer_gone
    }

    /// The end, once the transport can be released.
    pub(crate) fn poll(&mut self, drained: bool, outbox: &Outbox, cx: &Context<'_>) -> Option<Disconnect> {
        if self.peer_gone {
            return Some(self.end.clone());
        }
        if self.deadline <= Instant::now() {
            // The peer has perhaps closed, but cannot have read our Close.
            self.end.clean &= drained;
            return Some(self.end.clone());
        }
        if !drained {
            return None;
        }
        // The server hangs up first, so that it is the one to keep TIME_WAIT (RFC 6455 section 7.1.1), if it does so at
        // once: a client that has exchanged Close waits for nothing else. A peer whose input is discarded gets the end of
        // the stream, as it may never send a Close.
        let hang_up = self.deaf || (self.peer_closed && !self.hangs_up);
        if hang_up && !self.finished {
            match outbox.poll_end(cx.waker()) {
                Poll::Pending => return None,
                Poll::Ready(_) => self.finished = true,
            }
        }
        (self.finished && self.peer_closed).then(|| self.end.clone())
    }
}
