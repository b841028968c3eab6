//! The budget of one poll of a connection: how many sends it may make, and which flushers are woken at its end.

use std::{
    cell::Cell,
    mem::ManuallyDrop,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Sends that a connection's handlers may make in one poll before other tasks run: some 100 ns each, about a
/// millisecond together.
const SENDS_PER_POLL: usize = 8192;

/// How long a connection that continues in its next poll keeps flushers waiting: what it broadcasts meanwhile leaves in
/// the same writes, whichever thread does them.
const PATIENCE: Duration = Duration::from_millis(10);

thread_local! {
    static SENDS: Cell<usize> = const { Cell::new(0) };
    /// Whether the connection has asked for another poll.
    static YIELDED: Cell<bool> = const { Cell::new(false) };
    /// The flushers to wake at the end of the poll; `None` when no connection is polled. Without a destructor, as those
    /// of other thread-locals may send.
    static DEFERRED: Cell<Option<ManuallyDrop<DeferredWakes>>> = const { Cell::new(None) };
}

fn replace_deferred(deferred: Option<DeferredWakes>) -> Option<DeferredWakes> {
    DEFERRED.replace(deferred.map(ManuallyDrop::new)).map(ManuallyDrop::into_inner)
}

/// Flushers to wake. Dropping this wakes them.
#[derive(Debug, Default)]
pub(crate) struct DeferredWakes {
    flushers: Vec<Arc<Notify>>,
    /// When the first poll ended that did not wake them.
    since: Option<Instant>,
}

impl Drop for DeferredWakes {
    fn drop(&mut self) {
        self.flushers.iter().for_each(|wake| wake.notify_one());
    }
}

/// While this lives, a connection is polled on this thread.
pub(crate) struct PollBudget {
    outer: Option<DeferredWakes>,
}

impl PollBudget {
    /// Begins a poll, with the wakes that the last one kept.
    pub(crate) fn begin(kept: Option<Box<DeferredWakes>>) -> Self {
        SENDS.set(0);
        YIELDED.set(false);
        let deferred = kept.map_or_else(DeferredWakes::default, |kept| *kept);
        Self { outer: replace_deferred(Some(deferred)) }
    }

    /// Ends the poll. If another one follows at once, the wakes may be kept for it.
    pub(crate) fn end(self) -> Option<Box<DeferredWakes>> {
        if !YIELDED.get() {
            return None;
        }
        let mut deferred = replace_deferred(Some(DeferredWakes::default()))?;
        let since = *deferred.since.get_or_insert_with(Instant::now);
        (!deferred.flushers.is_empty() && since.elapsed() < PATIENCE).then(|| Box::new(deferred))
    }
}

impl Drop for PollBudget {
    fn drop(&mut self) {
        drop(replace_deferred(self.outer.take()));
    }
}

/// Wakes at the end of the poll, or at once when no connection is polled on this thread.
pub(crate) fn wake_after_poll(wake: &Arc<Notify>) {
    match replace_deferred(None) {
        None => wake.notify_one(),
        Some(mut deferred) => {
            if !deferred.flushers.iter().any(|known| Arc::ptr_eq(known, wake)) {
                deferred.flushers.push(Arc::clone(wake));
            }
            replace_deferred(Some(deferred));
        }
    }
}

/// Counts one message to `receivers` against the budget of the current poll, so that a handler which is called for one
/// message after the other does not keep its thread for too long.
pub fn charge_sends(receivers: usize) {
    SENDS.set(SENDS.get().saturating_add(receivers));
}

/// Counts the compression of a message against the budget of the current poll. At the lowest level, in whose bytes the
/// work is given, 16 bytes take the time of a send.
pub(super) fn charge_compression(work: usize) {
    charge_sends(work / 16);
}

/// Whether the current poll has made as many sends as it may.
pub(crate) fn is_exhausted() -> bool {
    SENDS.get() > SENDS_PER_POLL
}

/// Has the task polled again after other tasks and the runtime's I/O driver have run. A task that merely wakes itself
/// is polled dozens of times before the I/O driver runs.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    YIELDED.set(true);
    let _: Poll<()> = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_may_make_as_many_sends_as_it_may_and_each_poll_begins_anew() {
        for _ in 0..2 {
            let _budget = PollBudget::begin(None);
            charge_sends(SENDS_PER_POLL);
            assert!(!is_exhausted());
            charge_sends(1);
            assert!(is_exhausted());
            charge_sends(usize::MAX);
            assert!(is_exhausted());
        }
    }

    #[test]
    fn the_compression_of_128_kib_is_what_a_poll_may_do() {
        let _budget = PollBudget::begin(None);
        for _ in 0..128 {
            charge_compression(1024);
        }
        assert!(!is_exhausted());
        charge_compression(1024);
        assert!(is_exhausted());
    }
}
