//! The turn that the scheduler gives a connection: what it may spend, and what waits for its end.

use std::{
    cell::Cell,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::Notify;

/// Sends of a connection's handlers before others of the scheduler get their turn: some 100 ns each, about a
/// millisecond together.
const SENDS_PER_TURN: usize = 8192;

thread_local! {
    static SENDS: Cell<usize> = const { Cell::new(0) };
    /// Whom to wake at the end of the turn; `None` when no connection has its turn.
    static DUE: Cell<Option<Vec<Arc<Notify>>>> = const { Cell::new(None) };
}

/// While this lives, a connection has its turn on this thread.
pub(crate) struct Turn(Option<Vec<Arc<Notify>>>);

impl Turn {
    pub(crate) fn begin() -> Self {
        SENDS.set(0);
        Self(DUE.replace(Some(Vec::new())))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let due = DUE.replace(self.0.take());
        due.into_iter().flatten().for_each(|wake| wake.notify_one());
    }
}

/// Wakes at the end of the turn, or at once when no connection has its turn on this thread.
pub(crate) fn wake_at_its_end(wake: &Arc<Notify>) {
    match DUE.take() {
        None => wake.notify_one(),
        Some(mut due) => {
            if !due.iter().any(|known| Arc::ptr_eq(known, wake)) {
                due.push(Arc::clone(wake));
            }
            DUE.set(Some(due));
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
    let _: Poll<()> = pin!(tokio::task::yield_now()).poll(cx);
}
