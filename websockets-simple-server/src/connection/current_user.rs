//! The current user data of a connection.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use tokio::time::Instant;

use crate::users::Authenticated;

/// The user of a connection. The id is constant; the rest may change when credentials are renewed.
#[derive(Debug)]
pub(crate) struct CurrentUser<T> {
    first: Arc<Authenticated<T>>,
    latest: Mutex<Latest<T>>,
    /// Renewal tokens in a row that were refused.
    refused: AtomicU8,
}

/// The last result of the user service.
#[derive(Debug)]
struct Latest<T> {
    authenticated: Arc<Authenticated<T>>,
    /// The moment just before the service was asked.
    asked: Instant,
}

impl<T> CurrentUser<T> {
    pub(crate) fn new(authenticated: Authenticated<T>, asked: Instant) -> Self {
        let first = Arc::new(authenticated);
        let latest = Latest { authenticated: Arc::clone(&first), asked };
        Self { latest: Mutex::new(latest), first, refused: AtomicU8::new(0) }
    }

    pub(crate) fn id(&self) -> &T {
        self.first.id()
    }

    /// The last result of the user service.
    pub(crate) fn latest(&self) -> Arc<Authenticated<T>> {
        Arc::clone(&self.lock().authenticated)
    }

    /// The moment just before the user service was asked for it.
    pub(crate) fn asked(&self) -> Instant {
        self.lock().asked
    }

    pub(crate) fn renew(&self, authenticated: Authenticated<T>, asked: Instant) {
        let latest = Latest { authenticated: Arc::new(authenticated), asked };
        let before = std::mem::replace(&mut *self.lock(), latest);
        // Outside of the lock, as it holds a value of the application.
        drop(before);
        self.refused.store(0, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refused token; answers how many were refused since the last accepted one.
    pub(crate) fn refuse(&self) -> u8 {
        self.refused.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}
