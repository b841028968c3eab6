//! Local connections, which cannot be looked up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{addressing::reserved::ReservedId, config::ClientId, connection::Connection, users::Identity};

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

    pub(crate) fn client(&self, id: &ClientId) -> Option<Connection<I>> {
        self.lock().values().find(|connection| connection.id() == id).cloned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::{server, unconnected};

    #[test]
    fn local_connections_that_come_and_go_leave_nothing_behind() {
        let shared = server();
        let unlisted = UnlistedConnections::new();
        let id = ClientId::new("the-same").unwrap();
        let stays = unconnected(&shared, None);
        let _kept = unlisted.keep(&stays, None);
        let connection = unconnected(&shared, None);
        for n in 0..100_000 {
            let reserved =
                (n % 2 == 0).then(|| shared.registry.reserve(&id, false).expect("it was given back"));
            let kept = unlisted.keep(&connection, reserved);
            assert_eq!(
                (unlisted.all().len(), shared.registry.reserve(&id, false).is_none()),
                (2, n % 2 == 0)
            );
            drop(kept);
            assert_eq!(Arc::strong_count(&connection.0), 1, "nobody keeps it");
        }
        assert_eq!(unlisted.all(), [stays]);
    }
}
