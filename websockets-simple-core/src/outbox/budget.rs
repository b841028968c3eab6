//! The budget that the scheduler gives a connection: what it may spend, and what waits for its end.

use std::{
    cell::Cell,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Sends of a connection's handlers before others of the scheduler get their budget: some 100 ns each, about a
/// millisecond together.
const SENDS_PER_POLL: usize = 8192;

/// How long a connection that goes on in its next budget keeps flushers waiting: what it broadcasts meanwhile leaves in
/// the same writes, whichever thread does them.
const PATIENCE: Duration = Duration::from_millis(10);

thread_local! {
    static SENDS: Cell<usize> = const { Cell::new(0) };
    /// Whether the connection has asked for another budget.
    static YIELDED: Cell<bool> = const { Cell::new(false) };
    /// Whom to wake at the end of the budget; `None` when no connection has its budget.
    static DEFERRED: Cell<Option<DeferredWakes>> = const { Cell::new(None) };
}

/// Flushers to wake. Dropped, it wakes them.
#[derive(Debug, Default)]
pub(crate) struct DeferredWakes {
    flushers: Vec<Arc<Notify>>,
    /// FlushWhen the first budget ended that did not wake them.
    since: Option<Instant>,
}

impl Drop for DeferredWakes {
    fn drop(&mut self) {
        self.flushers.iter().for_each(|wake| wake.notify_one());
    }
}

/// While this lives, a connection has its budget on this thread.
pub(crate) struct PollBudget {
    outer: Option<DeferredWakes>,
}

impl PollBudget {
    /// Begins a budget, with what the last one kept.
    pub(crate) fn begin(kept: Option<Box<DeferredWakes>>) -> Self {
        SENDS.set(0);
        YIELDED.set(false);
        let deferred = kept.map_or_else(DeferredWakes::default, |kept| *kept);
        Self { outer: DEFERRED.replace(Some(deferred)) }
    }

    /// Ends the budget. If another one follows at once, those who are to be woken may be kept for it.
    pub(crate) fn end(self) -> Option<Box<DeferredWakes>> {
        if !YIELDED.get() {
            return None;
        }
        let mut deferred = DEFERRED.take()?;
        DEFERRED.set(Some(DeferredWakes::default()));
        let since = *deferred.since.get_or_insert_with(Instant::now);
        (!deferred.flushers.is_empty() && since.elapsed() < PATIENCE).then(|| Box::new(deferred))
    }
}

impl Drop for PollBudget {
    fn drop(&mut self) {
        drop(DEFERRED.replace(self.outer.take()));
    }
}

/// Wakes at the end of the budget, or at once when no connection has its budget on this thread.
pub(crate) fn wake_after_poll(wake: &Arc<Notify>) {
    match DEFERRED.take() {
        None => wake.notify_one(),
        Some(mut deferred) => {
            if !deferred.flushers.iter().any(|known| Arc::ptr_eq(known, wake)) {
                deferred.flushers.push(Arc::clone(wake));
            }
            DEFERRED.set(Some(deferred));
        }
    }
}

/// Takes note that a message went to so many receivers, so that a handler which is called for one message after the
/// other does not keep its thread for too long.
pub fn charge_sends(receivers: usize) {
    SENDS.set(SENDS.get().saturating_add(receivers));
}

/// Whether the budget has made as many sends as it may.
pub(crate) fn is_exhausted() -> bool {
    SENDS.get() > SENDS_PER_POLL
}

/// Has the task polled again once the others and the driver had their budget. A task that merely wakes itself is
/// polled dozens of times before the driver is.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    YIELDED.set(true);
    let _: Poll<()> = pin!(tokio::task::yield_now()).poll(cx);
}
