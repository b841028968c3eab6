//! What a handshake has of the registry before its connection is open: a place among those of its user, and its id.

use std::sync::Arc;

use crate::{
    addressing::registry::{Registry, UserEntry, forget},
    config::ClientId,
    users::Identity,
};

impl<I: Identity> Registry<I> {
    /// Counts a connection for a user; `None` if the limit is reached.
    pub(crate) fn user_permit(self: &Arc<Self>, user: &I::Id, limit: usize) -> Option<UserPermit<I>> {
        // Cloned and dropped outside of the lock, as the id is a value of the application.
        let (key, user) = (user.clone(), user.clone());
        {
            let mut maps = self.lock();
            match maps.users.get_mut(&user) {
                Some(entry) if entry.permits < limit => entry.permits += 1,
                None if limit > 0 => {
                    drop(maps.users.insert(key, UserEntry { permits: 1, ..UserEntry::new() }))
                }
                _ => return None,
            }
        }
        Some(UserPermit { registry: Arc::clone(self), user })
    }

    #[cfg(test)]
    pub(crate) fn permits_taken(&self, user: &I::Id) -> usize {
        self.lock().users.get(user).map_or(0, |entry| entry.permits)
    }

    /// Reserves an id for a connection to be opened; `None` if it is taken, unless an open connection has it that is found
    /// by it, and is to lose it.
    pub(crate) fn reserve(self: &Arc<Self>, id: &ClientId, takes_over: bool) -> Option<ReservedId<I>> {
        let mut maps = self.lock();
        let is_free = (takes_over || !maps.by_id.contains(id)) && maps.reserved.insert(id.clone());
        drop(maps);
        is_free.then(|| ReservedId { registry: Arc::clone(self), id: id.clone() })
    }
}

/// Counts one connection of a user until it is dropped.
pub(crate) struct UserPermit<I: Identity> {
    registry: Arc<Registry<I>>,
    user: I::Id,
}

impl<I: Identity> Drop for UserPermit<I> {
    fn drop(&mut self) {
        // Bound, so that the id is dropped after the lock.
        let _removed = {
            let mut maps = self.registry.lock();
            let Some(entry) = maps.users.get_mut(&self.user) else { return };
            entry.permits -= 1;
            if entry.permits == 0 { maps.users.remove_entry(&self.user) } else { None }
        };
        self.registry.has_freed();
    }
}

/// Reserves an id until it is dropped.
pub(crate) struct ReservedId<I: Identity> {
    registry: Arc<Registry<I>>,
    id: ClientId,
}

impl<I: Identity> Drop for ReservedId<I> {
    fn drop(&mut self) {
        forget(&mut self.registry.lock().reserved, &self.id);
        self.registry.has_freed();
    }
}
