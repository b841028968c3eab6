//! How far the end of a connection has come, for those who wait for it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::watch;

/// How long the task of a connection may be late before its runtime counts as one that does not run.
const STALLED: Duration = Duration::from_secs(2);

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum EndProgress {
    Open,
    /// The transport is gone; its handlers may still run.
    Released,
    /// The Disconnected event was handled.
    Over,
}

/// What the handles of a connection and its task know of its end.
pub(crate) struct Ending {
    progress: watch::Sender<EndProgress>,
    hurried: AtomicBool,
    released: AtomicBool,
    told: AtomicBool,
}

impl Ending {
    pub(crate) fn new() -> Self {
        Self {
            progress: watch::Sender::new(EndProgress::Open),
            hurried: AtomicBool::new(false),
            released: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }
    }

    /// Lets the connection's task drop its handlers after the close timeout. The caller wakes that task.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }

    /// Notes that the transport is gone. Those who wait are woken by the connection's task when it has told what it can
    /// tell at once.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Notes that Disconnected is being told. False if it was noted before.
    pub(crate) fn tell(&self) -> bool {
        !self.told.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Wakes those who wait for this, or for less.
    pub(crate) fn reach(&self, progress: EndProgress) {
        self.progress.send_if_modified(|reached| {
            let further = *reached < progress;
            *reached = progress.max(*reached);
            further
        });
    }

    /// Resolves when the end has come this far. The connection's task sees to it that this takes no longer than the
    /// close timeout, unless its runtime does not run; then it is given up.
    pub(crate) async fn reached(&self, progress: EndProgress, close_timeout: Duration) {
        let mut reached = self.progress.subscribe();
        let reaching = reached.wait_for(|reached| *reached >= progress);
        let _ = tokio::time::timeout(close_timeout.saturating_add(STALLED), reaching).await;
    }
}
