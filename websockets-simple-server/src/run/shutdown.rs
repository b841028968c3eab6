//! The shutdown of a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{connection::StopReport, run::shared::Shared, users::Identity};

/// Timeout for connections whose handlers were dropped, and for the handlers of the Stopped event.
pub(super) const FINAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for the stop, then ends all connections. Answers how many ended in which way.
pub(super) async fn shutdown<I: Identity>(
    shared: &Shared<I>,
    stop: &CancellationToken,
    accepting: &TaskTracker,
) -> StopReport {
    stop.cancelled().await;
    // 1. No new connections.
    accepting.close();
    accepting.wait().await;
    shared.close_entrance();
    // 2. Every connection is sent Close after its queued messages; handlers finish.
    shared.subscriptions.lift_bounds(true);
    shared.close_all();
    let in_time = tokio::time::timeout(shared.params.stop_timeout, shared.shutdown.at_rest()).await.is_ok();
    // 3. Handlers that have not finished are dropped; after that, connections end quickly.
    if !in_time {
        shared.abort_all_handlers();
        let _ = tokio::time::timeout(FINAL_TIMEOUT * 2, shared.shutdown.at_rest()).await;
    }
    shared.shutdown.take_report()
}

/// Counts the tasks that a stop waits for, and how connections ended.
#[derive(Debug, Default)]
pub(crate) struct ShutdownTracker {
    clean: AtomicUsize,
    unclean: AtomicUsize,
    dropped: AtomicUsize,
    /// Tasks of connections, handshakes included.
    sessions: AtomicUsize,
    /// Handlers that wait for the stop themselves.
    stop_waiters: AtomicUsize,
    /// Notified when one of the two above changes.
    changed: Notify,
}

impl ShutdownTracker {
    /// Counts the end of a connection during a stop.
    pub(crate) fn count(&self, aborted: bool, clean: bool) {
        let ended = match (aborted, clean) {
            (true, _) => &self.dropped,
            (false, true) => &self.clean,
            (false, false) => &self.unclean,
        };
        ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take_report(&self) -> StopReport {
        StopReport {
            clean: self.clean.swap(0, Ordering::Relaxed),
            unclean: self.unclean.swap(0, Ordering::Relaxed),
            dropped: self.dropped.swap(0, Ordering::Relaxed),
        }
    }

    /// Resolves when no task runs, except for those with a handler that waits for the stop.
    pub(crate) async fn at_rest(&self) {
        loop {
            let changed = self.changed.notified();
            if self.sessions.load(Ordering::Acquire) <= self.stop_waiters.load(Ordering::Acquire) {
                return;
            }
            changed.await;
        }
    }
}

/// Counts a connection's task until it is dropped, also by a panic.
pub(crate) struct SessionGuard<I: Identity>(Arc<Shared<I>>);

impl<I: Identity> SessionGuard<I> {
    pub(crate) fn new(shared: &Arc<Shared<I>>) -> Self {
        shared.shutdown.sessions.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl<I: Identity> Drop for SessionGuard<I> {
    fn drop(&mut self) {
        self.0.shutdown.sessions.fetch_sub(1, Ordering::AcqRel);
        self.0.shutdown.changed.notify_waiters();
    }
}

/// Counts a handler that waits for the stop.
pub(crate) struct StopWaiter<'a>(&'a ShutdownTracker);

impl<'a> StopWaiter<'a> {
    pub(crate) fn new(shutdown: &'a ShutdownTracker) -> Self {
        shutdown.stop_waiters.fetch_add(1, Ordering::AcqRel);
        shutdown.changed.notify_waiters();
        Self(shutdown)
    }
}

impl Drop for StopWaiter<'_> {
    fn drop(&mut self) {
        self.0.stop_waiters.fetch_sub(1, Ordering::AcqRel);
    }
}
