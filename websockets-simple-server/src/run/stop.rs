//! The stop of one run, as its tasks see it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use tokio_util::sync::CancellationToken;

use crate::run::drain::Drain;

/// The stop of one run, in steps: it begins; the connections that are still open are closed, which is the same moment
/// unless they are closed in batches; and when its time is over, the handlers that still run are dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<Steps>);

#[derive(Debug, Default)]
struct Steps {
    begun: CancellationToken,
    closes_all: CancellationToken,
    handlers_aborted: CancellationToken,
    /// How its first caller wants it.
    drain: OnceLock<Drain>,
}

impl Stop {
    /// Begins it with the defaults. If it has begun already, the connections that are still open are closed at once.
    pub(crate) fn begin(&self) {
        self.begin_with(Drain::default());
    }

    /// Begins it. If it has begun already, it goes on as it is, and sooner if this one is not gradual.
    pub(crate) fn begin_with(&self, drain: Drain) {
        let _ = self.0.drain.set(drain);
        self.0.begun.cancel();
        if !drain.is_gradual() {
            self.close_all();
        }
    }

    pub(super) fn drain(&self) -> Drain {
        self.0.drain.get().copied().unwrap_or_default()
    }

    /// All connections that are still open are to be closed.
    pub(super) fn close_all(&self) {
        self.0.closes_all.cancel();
    }

    /// Resolves when all connections are closed that are still open: no other ones are accepted from then on.
    pub(super) async fn closes_all(&self) {
        self.0.closes_all.cancelled().await;
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
