//! The current user data of a connection.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use crate::users::Authenticated;

/// The user of a connection. The id is constant; the rest may change when credentials are renewed.
#[derive(Debug)]
pub(crate) struct CurrentUser<T> {
    first: Arc<Authenticated<T>>,
    latest: Mutex<Arc<Authenticated<T>>>,
    /// Renewal tokens in a row that were refused.
    refused: AtomicU8,
}

impl<T> CurrentUser<T> {
    pub(crate) fn new(authenticated: Authenticated<T>) -> Self {
        let first = Arc::new(authenticated);
        Self { latest: Mutex::new(Arc::clone(&first)), first, refused: AtomicU8::new(0) }
    }

    pub(crate) fn id(&self) -> &T {
        self.first.id()
    }

    /// The last result of the user service.
    pub(crate) fn latest(&self) -> Arc<Authenticated<T>> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn renew(&self, authenticated: Authenticated<T>) {
        let latest = Arc::new(authenticated);
        let before =
            std::mem::replace(&mut *self.latest.lock().unwrap_or_else(PoisonError::into_inner), latest);
        // Outside of the lock, as it holds a value of the application.
        drop(before);
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Counts a refused token; answers how many were refused since the last accepted one.
    pub(crate) fn refuse(&self) -> u8 {
        self.refused.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}
