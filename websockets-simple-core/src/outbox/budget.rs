//! The turn that the scheduler gives a connection: what it may spend, and what waits for its end.

use std::{
    cell::Cell,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Sends of a connection's handlers before others of the scheduler get their turn: some 100 ns each, about a
/// millisecond together.
const SENDS_PER_TURN: usize = 8192;

/// How long a connection that goes on in its next turn keeps flushers waiting: what it broadcasts meanwhile leaves in
/// the same writes, whichever thread does them.
const PATIENCE: Duration = Duration::from_millis(10);

thread_local! {
    static SENDS: Cell<usize> = const { Cell::new(0) };
    /// Whether the connection has asked for another turn.
    static GOES_ON: Cell<bool> = const { Cell::new(false) };
    /// Whom to wake at the end of the turn; `None` when no connection has its turn.
    static DEFERRED: Cell<Option<DeferredWakes>> = const { Cell::new(None) };
}

/// Flushers to wake. Dropped, it wakes them.
#[derive(Debug, Default)]
pub(crate) struct DeferredWakes {
    flushers: Vec<Arc<Notify>>,
    /// When the first turn ended that did not wake them.
    since: Option<Instant>,
}

impl Drop for DeferredWakes {
    fn drop(&mut self) {
        self.flushers.iter().for_each(|wake| wake.notify_one());
    }
}

/// While this lives, a connection has its turn on this thread.
pub(crate) struct Turn {
    outer: Option<DeferredWakes>,
}

impl Turn {
    /// Begins a turn, with what the last one kept.
    pub(crate) fn begin(kept: Option<Box<DeferredWakes>>) -> Self {
        SENDS.set(0);
        GOES_ON.set(false);
        let deferred = kept.map_or_else(DeferredWakes::default, |kept| *kept);
        Self { outer: DEFERRED.replace(Some(deferred)) }
    }

    /// Ends the turn. If another one follows at once, those who are to be woken may be kept for it.
    pub(crate) fn end(self) -> Option<Box<DeferredWakes>> {
        if !GOES_ON.get() {
            return None;
        }
        let mut deferred = DEFERRED.take()?;
        DEFERRED.set(Some(DeferredWakes::default()));
        let since = *deferred.since.get_or_insert_with(Instant::now);
        (!deferred.flushers.is_empty() && since.elapsed() < PATIENCE).then(|| Box::new(deferred))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(DEFERRED.replace(self.outer.take()));
    }
}

/// Wakes at the end of the turn, or at once when no connection has its turn on this thread.
pub(crate) fn wake_at_its_end(wake: &Arc<Notify>) {
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
pub fn spent(receivers: usize) {
    SENDS.set(SENDS.get().saturating_add(receivers));
}

/// Whether the turn has made as many sends as it may.
pub(crate) fn is_spent() -> bool {
    SENDS.get() > SENDS_PER_TURN
}

/// Has the task polled again once the others and the driver had their turn. A task that merely wakes itself is
/// polled dozens of times before the driver is.
pub(crate) fn give_up(cx: &mut Context<'_>) {
    GOES_ON.set(true);
    let _: Poll<()> = pin!(tokio::task::yield_now()).poll(cx);
}
