//! The open connections: by id, by user, by channel and group.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    addressing::members::{Group, ListKind, Members, Snapshot},
    config::ClientId,
    connection::Connection,
    users::Identity,
};

/// All open connections of a server.
pub(crate) struct Registry<I: Identity>(Mutex<Maps<I>>);

struct Maps<I: Identity> {
    all: Members<I>,
    by_id: HashSet<ById<I>>,
    /// The ids of pending handshakes and of connections that cannot be looked up.
    reserved: HashSet<ClientId>,
    channels: HashMap<Box<str>, Channel<I>>,
    users: HashMap<I::Id, UserEntry<I>>,
    /// Released connections whose handlers have not finished.
    draining: Members<I>,
}

/// A connection that is found by its id, which it brings along.
struct ById<I: Identity>(Connection<I>);

struct Channel<I: Identity> {
    members: Members<I>,
    groups: HashMap<Arc<str>, Group<I>>,
}

struct UserEntry<I: Identity> {
    members: Members<I>,
    /// Permits held by connections and pending handshakes.
    permits: usize,
}

impl<I: Identity> Registry<I> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Maps {
            all: Members::new(ListKind::Server),
            by_id: HashSet::new(),
            reserved: HashSet::new(),
            channels: HashMap::new(),
            users: HashMap::new(),
            draining: Members::new(ListKind::Server),
        }))
    }

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

    /// Reserves an id for a connection to be opened; `None` if it is taken.
    pub(crate) fn reserve(self: &Arc<Self>, id: &ClientId) -> Option<ReservedId<I>> {
        let mut maps = self.lock();
        let is_free = !maps.by_id.contains(id) && maps.reserved.insert(id.clone());
        drop(maps);
        is_free.then(|| ReservedId { registry: Arc::clone(self), id: id.clone() })
    }

    /// Registers a connection until the guard is dropped.
    pub(crate) fn register(&self, connection: &Connection<I>) -> Registered<I> {
        let mut maps = self.lock();
        maps.all.add(connection);
        maps.by_id.insert(ById(connection.clone()));
        let channel = match maps.channels.get_mut(connection.channel()) {
            Some(channel) => channel,
            None => maps.channels.entry(connection.channel().into()).or_insert_with(Channel::new),
        };
        channel.members.add(connection);
        for group in connection.0.groups().iter().flat_map(|groups| groups.iter()) {
            channel.groups.entry(Arc::clone(group)).or_insert_with(Group::new).add(connection);
        }
        // It has an entry since the permit was given.
        if let Some(user) = &connection.0.origin.user
            && let Some(entry) = maps.users.get_mut(user.id())
        {
            entry.members.add(connection);
        }
        drop(maps);
        Registered(connection.clone())
    }

    fn unregister(&self, connection: &Connection<I>) {
        let mut maps = self.lock();
        maps.all.remove(connection);
        forget(&mut maps.by_id, connection.id());
        if let Some(channel) = maps.channels.get_mut(connection.channel()) {
            channel.members.remove(connection);
            for group in connection.0.groups().iter().flat_map(|groups| groups.iter()) {
                channel.leave(connection, group);
            }
            if channel.members.is_empty() {
                maps.channels.remove(connection.channel());
            }
        }
        if let Some(user) = &connection.0.origin.user
            && let Some(entry) = maps.users.get_mut(user.id())
        {
            entry.members.remove(connection);
        }
        maps.draining.add(connection);
    }

    /// False if the connection is in that group already, or is not open.
    pub(crate) fn join(&self, connection: &Connection<I>, group: &str) -> bool {
        let mut maps = self.lock();
        let Some(channel) = maps.channel_of(connection) else { return false };
        let mut groups = connection.0.groups_to_join();
        if groups.iter().any(|joined| **joined == *group) {
            return false;
        }
        let name =
            channel.groups.get_key_value(group).map_or_else(|| group.into(), |(name, _)| Arc::clone(name));
        channel.groups.entry(Arc::clone(&name)).or_insert_with(Group::new).add(connection);
        groups.push(name);
        true
    }

    /// False if the connection is not in that group, or is not open.
    pub(crate) fn leave(&self, connection: &Connection<I>, group: &str) -> bool {
        let mut maps = self.lock();
        let Some(channel) = maps.channel_of(connection) else { return false };
        let Some(mut groups) = connection.0.groups() else { return false };
        let Some(place) = groups.iter().position(|joined| **joined == *group) else { return false };
        groups.swap_remove(place);
        channel.leave(connection, group);
        true
    }

    pub(crate) fn all(&self) -> Snapshot<I> {
        self.lock().all.snapshot()
    }

    pub(crate) fn draining(&self) -> Snapshot<I> {
        self.lock().draining.snapshot()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().all.len()
    }

    pub(crate) fn client(&self, id: &ClientId) -> Option<Connection<I>> {
        self.lock().by_id.get(id).map(|held| held.0.clone())
    }

    pub(crate) fn channel(&self, channel: &str) -> Snapshot<I> {
        self.lock().channels.get(channel).map(|channel| channel.members.snapshot()).unwrap_or_default()
    }

    pub(crate) fn channels(&self) -> Vec<String> {
        self.lock().channels.keys().map(|name| name.to_string()).collect()
    }

    pub(crate) fn group(&self, channel: &str, group: &str) -> Snapshot<I> {
        let maps = self.lock();
        let group = maps.channels.get(channel).and_then(|channel| channel.groups.get(group));
        group.map(Group::snapshot).unwrap_or_default()
    }

    /// The groups of a channel with at least one connection.
    pub(crate) fn groups(&self, channel: &str) -> Vec<String> {
        let maps = self.lock();
        let groups = maps.channels.get(channel).into_iter().flat_map(|channel| channel.groups.keys());
        groups.map(|name| name.to_string()).collect()
    }

    pub(crate) fn user<Q>(&self, user: &Q) -> Snapshot<I>
    where
        I::Id: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.lock().users.get(user).map(|entry| entry.members.snapshot()).unwrap_or_default()
    }

    pub(crate) fn users(&self) -> Vec<I::Id> {
        let one_each: Vec<_> = {
            let maps = self.lock();
            maps.users.values().filter_map(|entry| entry.members.first().cloned()).collect()
        };
        // Cloned outside of the lock, as the ids are values of the application.
        one_each
            .iter()
            .filter_map(|connection| Some(connection.0.origin.user.as_ref()?.id().clone()))
            .collect()
    }

    pub(crate) fn has_user<Q>(&self, user: &Q) -> bool
    where
        I::Id: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.lock().users.get(user).is_some_and(|entry| !entry.members.is_empty())
    }

    /// Removes a released connection whose handlers have finished.
    pub(crate) fn drained(&self, connection: &Connection<I>) {
        self.lock().draining.remove(connection);
    }

    /// Forgets the connections whose handlers have not finished and never will, as their runtime is gone. They are
    /// returned, as dropping them runs code of the application.
    #[must_use]
    pub(crate) fn abandon_draining(&self) -> Members<I> {
        std::mem::replace(&mut self.lock().draining, Members::new(ListKind::Server))
    }

    fn lock(&self) -> MutexGuard<'_, Maps<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Identity> Maps<I> {
    /// The channel of a connection that is open.
    fn channel_of(&mut self, connection: &Connection<I>) -> Option<&mut Channel<I>> {
        self.by_id.get(connection.id()).filter(|held| held.0 == *connection)?;
        self.channels.get_mut(connection.channel())
    }
}

/// Removes an id, and gives memory back.
fn forget<T: Borrow<ClientId> + Hash + Eq>(ids: &mut HashSet<T>, id: &ClientId) {
    ids.remove(id);
    if ids.len() < ids.capacity() / 4 {
        ids.shrink_to(ids.len() * 2);
    }
}

impl<I: Identity> Borrow<ClientId> for ById<I> {
    fn borrow(&self) -> &ClientId {
        self.0.id()
    }
}

impl<I: Identity> PartialEq for ById<I> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl<I: Identity> Eq for ById<I> {}

impl<I: Identity> Hash for ById<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl<I: Identity> Channel<I> {
    fn new() -> Self {
        Self { members: Members::new(ListKind::Channel), groups: HashMap::new() }
    }

    fn leave(&mut self, connection: &Connection<I>, group: &str) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(connection);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
    }
}

impl<I: Identity> UserEntry<I> {
    fn new() -> Self {
        Self { members: Members::new(ListKind::User), permits: 0 }
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
    }
}

/// Keeps a connection registered; dropped when its transport is released, also by a panic.
pub(crate) struct Registered<I: Identity>(Connection<I>);

impl<I: Identity> Drop for Registered<I> {
    fn drop(&mut self) {
        self.0.0.shared.registry.unregister(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::testing::{server, unconnected},
        users::{Authenticated, User},
    };

    const TIMES: usize = 100_000;

    #[test]
    fn a_user_without_connections_has_no_entry_whether_it_was_refused_or_has_gone() {
        let registry = Arc::new(Registry::<User<i64>>::new());
        for user in 0..100_000 {
            assert!(registry.user_permit(&user, 0).is_none());
            drop(registry.user_permit(&user, 1).unwrap());
        }
        let held = registry.user_permit(&7, 1).unwrap();
        assert!(registry.user_permit(&7, 1).is_none());
        assert_eq!(registry.permits_taken(&7), 1);
        assert_eq!(registry.lock().users.len(), 1);
        drop(held);
        assert!(registry.lock().users.is_empty());
    }

    #[test]
    fn groups_that_are_joined_and_left_leave_nothing_behind() {
        let shared = server();
        let registry = &shared.registry;
        let (connection, other) = (unconnected(&shared, None), unconnected(&shared, None));
        let guards = [registry.register(&connection), registry.register(&other)];
        for n in 0..TIMES {
            let group = format!("group {n}");
            assert!(registry.join(&connection, &group) && !registry.join(&connection, &group));
            assert!(!registry.leave(&other, &group), "it was never in it");
            assert!(registry.leave(&connection, &group) && !registry.leave(&connection, &group));
        }
        let groups = || registry.lock().channels.get("/").map(|channel| channel.groups.len());
        let of = |connection: &Connection<User<i64>>| connection.0.groups().map(|groups| groups.len());
        assert_eq!((groups(), of(&connection), of(&other)), (Some(0), Some(0), None));
        assert!(connection.0.groups_to_join().capacity() < 100);
        // Those it is in when it ends.
        assert!(registry.join(&connection, "left by the end") && registry.join(&other, "left by the end"));
        drop(guards);
        assert_eq!(groups(), None);
        assert!(!registry.join(&connection, "after the end"));
    }

    #[test]
    fn connections_that_come_and_go_leave_nothing_behind() {
        let shared = server();
        let registry = &shared.registry;
        let connect = |user| unconnected(&shared, Some(Authenticated::new(user)));
        let connections: Vec<_> = (0..1000).map(connect).collect();
        for connection in connections.iter().cycle().take(TIMES) {
            let permit = registry.user_permit(connection.0.origin.user.as_ref().unwrap().id(), 1).unwrap();
            let reserved = registry.reserve(connection.id()).unwrap();
            let registered = registry.register(connection);
            drop(reserved);
            assert!(
                registry.client(connection.id()).is_some() && registry.reserve(connection.id()).is_none()
            );
            registry.join(connection, "all");
            assert_eq!(registry.group("/", "all").len(), 1);
            drop(registered);
            registry.drained(connection);
            drop(permit);
        }
        let maps = registry.lock();
        assert!(maps.by_id.is_empty() && maps.reserved.is_empty());
        assert!(maps.channels.is_empty() && maps.users.is_empty());
        assert!(maps.all.is_empty() && maps.draining.is_empty());
        assert!(maps.by_id.capacity() < 100, "{}", maps.by_id.capacity());
    }

    #[test]
    fn ids_that_are_reserved_and_given_back_leave_nothing_behind() {
        let shared = server();
        let registry = &shared.registry;
        for n in 0..TIMES {
            let id = ClientId::new(&format!("client-{n}")).unwrap();
            let reserved = registry.reserve(&id).unwrap();
            assert!(registry.reserve(&id).is_none(), "it is taken");
            assert!(registry.client(&id).is_none(), "nobody is connected");
            drop(reserved);
        }
        // And if all were held at once.
        let ids = (0..TIMES).map(|n| ClientId::new(&format!("client-{n}")).unwrap());
        let reserved: Vec<_> = ids.map(|id| registry.reserve(&id).unwrap()).collect();
        assert_eq!(registry.lock().reserved.len(), TIMES);
        drop(reserved);
        let maps = registry.lock();
        assert_eq!(maps.reserved.len(), 0);
        assert!(maps.reserved.capacity() < 100, "{}", maps.reserved.capacity());
    }
}
