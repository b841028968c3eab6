//! Writes what a scheduler round of broadcasts left in many outboxes: once per socket.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::line::Line;

/// Sockets written to before others get their turn.
const WRITES_PER_TURN: usize = 250;

/// A list of connections to write to, and the loop that does. The owner spawns [`run`](Self::run).
pub struct Flusher<C> {
    listed: Mutex<Vec<Arc<C>>>,
    wake: Notify,
}

impl<C: AsRef<Line>> Flusher<C> {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self { listed: Mutex::new(Vec::new()), wake: Notify::new() }
    }

    /// Adds connections whose outbox asked for it, and wakes the loop.
    pub fn list(&self, connections: &mut Vec<Arc<C>>) {
        if connections.is_empty() {
            return;
        }
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).append(connections);
        self.wake.notify_one();
    }

    /// Writes to whatever is listed, for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves listed connections to a later `run`.
    pub async fn run(&self) {
        let mut batch = Vec::new();
        loop {
            std::mem::swap(&mut batch, &mut *self.listed.lock().unwrap_or_else(PoisonError::into_inner));
            if batch.is_empty() {
                batch.shrink_to(1024);
                self.wake.notified().await;
                // Everybody else who is ready to broadcast goes first: their messages leave in the same write.
                tokio::task::yield_now().await;
                continue;
            }
            for (n, connection) in batch.drain(..).enumerate() {
                connection.as_ref().as_ref().outbox.flush_round();
                if n % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl<C: AsRef<Line>> Default for Flusher<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for Flusher<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher").finish_non_exhaustive()
    }
}
