//! Questions to the peer, whose answers come behind messages that may wait for the one who asks.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::connection::{inbox::is_inside, shared::ConnectionShared};

/// The questions of one connection that are not answered.
#[derive(Debug)]
pub(super) struct Questions {
    pending: AtomicUsize,
    /// Changes whenever the driver reads no further although there are any.
    stalls: watch::Sender<()>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { pending: AtomicUsize::new(0), stalls: watch::Sender::new(()) }
    }
}

impl Questions {
    /// Whether there are any.
    pub(super) fn are_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire) > 0
    }

    /// Tells those who ask that nothing more is read.
    pub(super) fn stall(&self) {
        self.stalls.send_replace(());
    }
}

/// A question to the peer that is not answered. As long as it lives, messages are read beyond the
/// [`read_ahead`](crate::ConnectionConfig::read_ahead), up to [`waiting_ahead`](crate::ConnectionConfig::waiting_ahead).
#[derive(Debug)]
pub struct Question<'a> {
    questions: &'a Questions,
    stalls: watch::Receiver<()>,
    is_inside: bool,
}

impl ConnectionShared {
    /// Begins a question. To be called by the future that waits for the answer, so that it is known whether a handler of
    /// this connection polls it.
    pub fn ask(&self) -> Question<'_> {
        let questions = self.questions_or_new();
        let question =
            Question { questions, stalls: questions.stalls.subscribe(), is_inside: is_inside(&self.outbox) };
        questions.pending.fetch_add(1, Ordering::AcqRel);
        // It may have paused already.
        self.outbox.wake_driver();
        question
    }
}

impl Question<'_> {
    /// Whether a handler of this connection asked, so that no message is handled before it has its answer.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Resolves when nothing more is read, as so much waits for the handlers. The answer may be behind it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn stalled(&mut self) {
        if self.stalls.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.pending.fetch_sub(1, Ordering::AcqRel);
    }
}
