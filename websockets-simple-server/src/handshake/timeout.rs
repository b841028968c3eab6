//! The deadline of a connection that is not upgraded yet.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use websockets_simple_core::deadline;

/// The deadline of a connection that is not upgraded yet: first for a request head, then for the response.
#[derive(Debug)]
pub(crate) struct HandshakeTimeout {
    each: Duration,
    now: Mutex<(TimeoutPhase, Instant)>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TimeoutPhase {
    /// The response of the fallback service.
    Answer,
    /// The opening handshake, or another first request.
    Handshake,
    /// Another request, which is optional.
    Request,
}

/// A response that is being made and sent; dropping it begins the next phase.
#[derive(Debug)]
pub(crate) struct ResponseGuard {
    deadline: Arc<HandshakeTimeout>,
    failed: bool,
}

impl HandshakeTimeout {
    pub(crate) fn new(each: Duration) -> Arc<Self> {
        Arc::new(Self { each, now: Mutex::new((TimeoutPhase::Handshake, deadline(Instant::now(), each))) })
    }

    /// Begins the phase of a response, which lasts until the guard is dropped.
    pub(crate) fn answering(self: &Arc<Self>) -> ResponseGuard {
        self.begin(TimeoutPhase::Answer);
        ResponseGuard { deadline: Arc::clone(self), failed: false }
    }

    /// Begins the phase of the handshake, after other requests.
    pub(crate) fn handshaking(&self) {
        self.begin(TimeoutPhase::Handshake);
    }

    pub(crate) fn phase(&self) -> TimeoutPhase {
        self.now().0
    }

    /// The deadline.
    #[cfg(feature = "http2")]
    pub(crate) fn ends(&self) -> Instant {
        self.now().1
    }

    /// Resolves when the deadline has passed.
    pub(crate) async fn passed(&self) {
        loop {
            let (_, ends) = *self.now();
            tokio::time::sleep_until(ends).await;
            if self.now().1 == ends {
                return;
            }
        }
    }

    fn begin(&self, phase: TimeoutPhase) {
        *self.now() = (phase, deadline(Instant::now(), self.each));
    }

    fn now(&self) -> MutexGuard<'_, (TimeoutPhase, Instant)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResponseGuard {
    /// Marks the response as failed, so that no other request is waited for.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        if !self.failed {
            self.deadline.begin(TimeoutPhase::Request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_request_and_each_answer_begins_it_anew() {
        let begun = Instant::now();
        let deadline = HandshakeTimeout::new(Duration::from_secs(10));
        let passed = tokio::spawn({
            let deadline = Arc::clone(&deadline);
            async move {
                deadline.passed().await;
                begun.elapsed()
            }
        });
        assert_eq!(deadline.phase(), TimeoutPhase::Handshake);
        tokio::time::sleep(Duration::from_secs(9)).await;
        let answering = deadline.answering();
        assert_eq!(deadline.phase(), TimeoutPhase::Answer);
        tokio::time::sleep(Duration::from_secs(9)).await;
        drop(answering);
        assert_eq!(deadline.phase(), TimeoutPhase::Request);
        tokio::time::sleep(Duration::from_secs(9)).await;
        deadline.handshaking();
        assert_eq!(deadline.phase(), TimeoutPhase::Handshake);
        assert_eq!(passed.await.unwrap(), Duration::from_secs(37));
    }
}
