//! The stop of one run, as its tasks see it.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio_util::sync::CancellationToken;

/// The stop of one run, in two steps: it begins, and when its time is over, the handlers that still run are dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<Steps>);

#[derive(Debug, Default)]
struct Steps {
    begun: CancellationToken,
    handlers_aborted: CancellationToken,
}

impl Stop {
    pub(crate) fn begin(&self) {
        self.0.begun.cancel();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun.is_cancelled()
    }

    /// Resolves when the stop begins.
    pub(crate) async fn begun(&self) {
        self.0.begun.cancelled().await;
    }

    /// Runs a future until it is ready or the stop begins.
    pub(crate) async fn run_until_begun<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.begun.run_until_cancelled(future).await
    }

    /// Drops handlers that run outside of open connections, which have an abort of their own.
    pub(crate) fn abort_handlers(&self) {
        self.0.handlers_aborted.cancel();
    }

    /// Runs a future in which handlers run, until it is ready or handlers are dropped. It is pinned by the caller: an
    /// `async fn` that owns a future holds it twice.
    pub(crate) async fn run_until_aborted<F: Future>(&self, future: Pin<&mut F>) -> Option<F::Output> {
        self.0.handlers_aborted.run_until_cancelled(future).await
    }
}
