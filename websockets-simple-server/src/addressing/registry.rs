//! The open connections: by id, by user, by channel and group.

use std::{
    borrow::Borrow,
    cmp::Reverse,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};
use websockets_simple_core::EndCause;

use crate::{
    addressing::members::{Group, ListKind, Members, Snapshot},
    config::ClientId,
    connection::Connection,
    users::Identity,
};

/// All open connections of a server.
pub(crate) struct Registry<I: Identity> {
    maps: Mutex<Maps<I>>,
    /// Notified when a place of a user or an id may have become free.
    freed: Notify,
}

pub(super) struct Maps<I: Identity> {
    all: Members<I>,
    pub(super) by_id: HashSet<ById<I>>,
    /// The ids of pending handshakes and of connections that cannot be looked up.
    pub(super) reserved: HashSet<ClientId>,
    channels: HashMap<Box<str>, Channel<I>>,
    pub(super) users: HashMap<I::Id, UserEntry<I>>,
    /// Released connections whose handlers have not finished.
    draining: Members<I>,
}

/// A connection that is found by its id, which it brings along.
pub(super) struct ById<I: Identity>(Connection<I>);

struct Channel<I: Identity> {
    members: Members<I>,
    groups: HashMap<Arc<str>, Group<I>>,
}

pub(super) struct UserEntry<I: Identity> {
    pub(super) members: Members<I>,
    /// Permits held by connections and pending handshakes.
    pub(super) permits: usize,
}

impl<I: Identity> Registry<I> {
    pub(crate) fn new() -> Self {
        let maps = Maps {
            all: Members::new(ListKind::Server),
            by_id: HashSet::new(),
            reserved: HashSet::new(),
            channels: HashMap::new(),
            users: HashMap::new(),
            draining: Members::new(ListKind::Server),
        };
        Self { maps: Mutex::new(maps), freed: Notify::new() }
    }

    /// Registers a connection until the guard is dropped. Another one with its id is closed: it takes it over.
    pub(crate) fn register(&self, connection: &Connection<I>) -> Registered<I> {
        let mut maps = self.lock();
        maps.all.add(connection);
        let replaced = maps.by_id.replace(ById(connection.clone()));
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
        replaced.inspect(ById::close);
        #[cfg(feature = "cluster")]
        connection.0.shared.tell_opened(connection);
        Registered(connection.clone())
    }

    /// Closes the connection that is found by this id: a local one takes it over.
    pub(crate) fn displace(&self, id: &ClientId) {
        let displaced = self.lock().by_id.take(id);
        displaced.inspect(ById::close);
    }

    fn unregister(&self, connection: &Connection<I>) {
        let mut maps = self.lock();
        maps.all.remove(connection);
        let is_listed = maps.is_listed(connection);
        if is_listed {
            forget(&mut maps.by_id, connection.id());
        }
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
        drop(maps);
        #[cfg(feature = "cluster")]
        connection.0.shared.tell_ended(connection, is_listed);
        self.has_freed();
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

    /// How many channels there are, and how many groups in all of them.
    pub(crate) fn channel_and_group_count(&self) -> (usize, usize) {
        let maps = self.lock();
        (maps.channels.len(), maps.channels.values().map(|channel| channel.groups.len()).sum())
    }

    /// The channels with the most connections, with how many these are, the largest first.
    pub(crate) fn largest_channels(&self, limit: usize) -> Vec<(String, usize)> {
        let maps = self.lock();
        let mut channels: Vec<_> =
            maps.channels.iter().map(|(name, channel)| (Reverse(channel.members.len()), &**name)).collect();
        channels.sort_unstable();
        channels.truncate(limit);
        channels.into_iter().map(|(Reverse(count), name)| (name.to_owned(), count)).collect()
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

    /// Resolves when a place of a user or an id may have become free since this was called.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    pub(super) fn has_freed(&self) {
        self.freed.notify_waiters();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Maps<I>> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Identity> Maps<I> {
    /// Whether this connection is the one that is found by its id.
    fn is_listed(&self, connection: &Connection<I>) -> bool {
        self.by_id.get(connection.id()).is_some_and(|held| held.0 == *connection)
    }

    /// The channel of a connection that is open.
    fn channel_of(&mut self, connection: &Connection<I>) -> Option<&mut Channel<I>> {
        if !self.is_listed(connection) {
            return None;
        }
        self.channels.get_mut(connection.channel())
    }
}

/// Removes an id, and gives memory back.
pub(super) fn forget<T: Borrow<ClientId> + Hash + Eq>(ids: &mut HashSet<T>, id: &ClientId) {
    ids.remove(id);
    if ids.len() < ids.capacity() / 4 {
        ids.shrink_to(ids.len() * 2);
    }
}

impl<I: Identity> ById<I> {
    fn close(&self) {
        self.0.0.core.outbox.close(EndCause::Replaced);
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
    pub(super) fn new() -> Self {
        Self { members: Members::new(ListKind::User), permits: 0 }
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
            let reserved = registry.reserve(connection.id(), false).unwrap();
            let registered = registry.register(connection);
            drop(reserved);
            assert!(
                registry.client(connection.id()).is_some()
                    && registry.reserve(connection.id(), false).is_none()
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
            let reserved = registry.reserve(&id, false).unwrap();
            assert!(registry.reserve(&id, false).is_none(), "it is taken");
            assert!(registry.client(&id).is_none(), "nobody is connected");
            drop(reserved);
        }
        // And if all were held at once.
        let ids = (0..TIMES).map(|n| ClientId::new(&format!("client-{n}")).unwrap());
        let reserved: Vec<_> = ids.map(|id| registry.reserve(&id, false).unwrap()).collect();
        assert_eq!(registry.lock().reserved.len(), TIMES);
        drop(reserved);
        let maps = registry.lock();
        assert_eq!(maps.reserved.len(), 0);
        assert!(maps.reserved.capacity() < 100, "{}", maps.reserved.capacity());
    }
}
