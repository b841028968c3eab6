//! What is known of the user of a connection, now.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use crate::users::Authenticated;

/// The user of a connection: who it is stays, what the credentials say may be renewed.
#[derive(Debug)]
pub(crate) struct CurrentUser<T> {
    first: Arc<Authenticated<T>>,
    said: Mutex<Arc<Authenticated<T>>>,
    /// Tokens that were shown to renew the credentials and not accepted.
    refused: AtomicU8,
}

impl<T> CurrentUser<T> {
    pub(crate) fn new(authenticated: Authenticated<T>) -> Self {
        let first = Arc::new(authenticated);
        Self { said: Mutex::new(Arc::clone(&first)), first, refused: AtomicU8::new(0) }
    }

    pub(crate) fn id(&self) -> &T {
        self.first.id()
    }

    /// What the user service said last.
    pub(crate) fn said(&self) -> Arc<Authenticated<T>> {
        Arc::clone(&self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn renew(&self, authenticated: Authenticated<T>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(authenticated);
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Counts a token that was not accepted; how many that were since the last that was.
    pub(crate) fn refuse(&self) -> u8 {
        self.refused.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}
