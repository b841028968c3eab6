//! Local connections, which cannot be looked up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{addressing::registry::ReservedId, connection::Connection, users::Identity};

/// The local connections of a server, kept for the stop and the replay of Connected.
pub(crate) struct UnlistedConnections<I: Identity>(Mutex<HashMap<u64, Connection<I>>>);

/// Keeps a local connection registered until it is dropped.
pub(crate) struct UnlistedGuard<I: Identity> {
    unlisted: Arc<UnlistedConnections<I>>,
    serial: u64,
    /// Reserves the id of the connection.
    _id: Option<ReservedId<I>>,
}

impl<I: Identity> UnlistedConnections<I> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    pub(crate) fn keep(
        self: &Arc<Self>,
        connection: &Connection<I>,
        id: Option<ReservedId<I>>,
    ) -> UnlistedGuard<I> {
        let serial = connection.0.serial;
        self.lock().insert(serial, connection.clone());
        UnlistedGuard { unlisted: Arc::clone(self), serial, _id: id }
    }

    pub(crate) fn all(&self) -> Vec<Connection<I>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Connection<I>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Identity> Drop for UnlistedGuard<I> {
    fn drop(&mut self) {
        // Bound, as it may be the last handle and must not be dropped under the lock.
        let _connection = self.unlisted.lock().remove(&self.serial);
    }
}
