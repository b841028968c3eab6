//! Who is connected: by id, by user, by channel.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{Connection, ConnectionId, Identity};

/// All open connections of a server.
pub(crate) struct Registry<I: Identity>(Mutex<Maps<I>>);

struct Maps<I: Identity> {
    all: Members<I>,
    by_id: HashMap<ConnectionId, Connection<I>>,
    channels: HashMap<Box<str>, Members<I>>,
    users: HashMap<I::Id, UserEntry<I>>,
    /// Released connections whose handlers are still at work.
    draining: Members<I>,
}

struct UserEntry<I: Identity> {
    members: Members<I>,
    /// Places taken, by connections and by handshakes on their way.
    seats: usize,
}

/// Connections side by side, with a copy for broadcasts that is made once per change and not once per use.
struct Members<I: Identity> {
    kind: Kind,
    list: Vec<Connection<I>>,
    copy: Option<Arc<[Connection<I>]>>,
}

/// What a list of members is of. A connection is in one list of each kind, and knows where.
#[derive(Clone, Copy)]
enum Kind {
    /// All that are open, or all that are draining: a connection is not both.
    Server,
    Channel,
    User,
}

/// Where a connection stands in the list of each kind. Only used under the registry's lock.
#[derive(Default)]
pub(crate) struct Places([AtomicUsize; 3]);

impl Places {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        &self.0[kind as usize]
    }
}

impl<I: Identity> Registry<I> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Maps {
            all: Members::new(Kind::Server),
            by_id: HashMap::new(),
            channels: HashMap::new(),
            users: HashMap::new(),
            draining: Members::new(Kind::Server),
        }))
    }

    /// Reserves a place for a user; `None` when all `limit` are taken.
    pub(crate) fn seat(self: &Arc<Self>, user: &I::Id, limit: usize) -> Option<Seat<I>> {
        let mut maps = self.lock();
        let seats = &mut maps.users.entry(user.clone()).or_insert_with(UserEntry::new).seats;
        if *seats >= limit {
            return None;
        }
        *seats += 1;
        Some(Seat { registry: Arc::clone(self), user: user.clone() })
    }

    /// Makes a connection known until the guard is dropped.
    pub(crate) fn register(self: &Arc<Self>, connection: &Connection<I>) -> Registered<I> {
        let mut maps = self.lock();
        maps.all.add(connection);
        maps.by_id.insert(connection.id(), connection.clone());
        match maps.channels.get_mut(connection.channel()) {
            Some(channel) => channel.add(connection),
            None => {
                let mut channel = Members::new(Kind::Channel);
                channel.add(connection);
                maps.channels.insert(connection.channel().into(), channel);
            }
        }
        if let Some(user) = &connection.0.user {
            maps.users.entry(user.id().clone()).or_insert_with(UserEntry::new).members.add(connection);
        }
        Registered { registry: Arc::clone(self), connection: connection.clone() }
    }

    fn unregister(&self, connection: &Connection<I>) {
        let mut maps = self.lock();
        maps.all.remove(connection);
        maps.by_id.remove(&connection.id());
        if maps.by_id.len() < maps.by_id.capacity() / 4 {
            let rest = maps.by_id.len() * 2;
            maps.by_id.shrink_to(rest);
        }
        if let Some(channel) = maps.channels.get_mut(connection.channel()) {
            channel.remove(connection);
            if channel.list.is_empty() {
                maps.channels.remove(connection.channel());
            }
        }
        if let Some(user) = &connection.0.user
            && let Some(entry) = maps.users.get_mut(user.id())
        {
            entry.members.remove(connection);
        }
        maps.draining.add(connection);
    }

    pub(crate) fn all(&self) -> Arc<[Connection<I>]> {
        self.lock().all.copy()
    }

    pub(crate) fn draining(&self) -> Arc<[Connection<I>]> {
        self.lock().draining.copy()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().all.list.len()
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Connection<I>> {
        self.lock().by_id.get(&id).cloned()
    }

    pub(crate) fn channel(&self, channel: &str) -> Arc<[Connection<I>]> {
        self.lock().channels.get_mut(channel).map(Members::copy).unwrap_or_default()
    }

    pub(crate) fn user(&self, user: &I::Id) -> Arc<[Connection<I>]> {
        self.lock().users.get_mut(user).map(|entry| entry.members.copy()).unwrap_or_default()
    }

    pub(crate) fn users(&self) -> Vec<I::Id> {
        let maps = self.lock();
        maps.users
            .iter()
            .filter(|(_, entry)| !entry.members.list.is_empty())
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(crate) fn has_user(&self, user: &I::Id) -> bool {
        self.lock().users.get(user).is_some_and(|entry| !entry.members.list.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Maps<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Identity> UserEntry<I> {
    fn new() -> Self {
        Self { members: Members::new(Kind::User), seats: 0 }
    }
}

impl<I: Identity> Members<I> {
    fn new(kind: Kind) -> Self {
        Self { kind, list: Vec::new(), copy: None }
    }

    fn add(&mut self, connection: &Connection<I>) {
        self.copy = None;
        connection.0.places.of(self.kind).store(self.list.len(), Ordering::Relaxed);
        self.list.push(connection.clone());
    }

    fn remove(&mut self, connection: &Connection<I>) {
        let place = connection.0.places.of(self.kind).load(Ordering::Relaxed);
        if self.list.get(place).is_none_or(|held| held.id() != connection.id()) {
            return;
        }
        self.copy = None;
        self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            moved.0.places.of(self.kind).store(place, Ordering::Relaxed);
        }
        if self.list.len() < self.list.capacity() / 4 {
            self.list.shrink_to(self.list.len() * 2);
        }
    }

    fn copy(&mut self) -> Arc<[Connection<I>]> {
        Arc::clone(self.copy.get_or_insert_with(|| self.list.as_slice().into()))
    }
}

/// A place for a connection of a user.
pub(crate) struct Seat<I: Identity> {
    registry: Arc<Registry<I>>,
    user: I::Id,
}

impl<I: Identity> Drop for Seat<I> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.registry.lock().users.entry(self.user.clone()) {
            entry.get_mut().seats -= 1;
            if entry.get().seats == 0 {
                entry.remove();
            }
        }
    }
}

/// Keeps a connection known; dropped when its transport is gone, also by a panic.
pub(crate) struct Registered<I: Identity> {
    registry: Arc<Registry<I>>,
    connection: Connection<I>,
}

impl<I: Identity> Drop for Registered<I> {
    fn drop(&mut self) {
        self.registry.unregister(&self.connection);
    }
}

impl<I: Identity> Registry<I> {
    /// The handlers of a released connection have finished.
    pub(crate) fn drained(&self, connection: &Connection<I>) {
        self.lock().draining.remove(connection);
    }
}
