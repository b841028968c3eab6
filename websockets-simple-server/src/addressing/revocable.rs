//! The open connections by what a revocation names.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    connection::Connection,
    users::{Identity, Revocation},
};

/// The connections with credentials that can be revoked alone, and the local connections of users: the registry, which
/// finds the others of a user, does not list these. A revocation looks at nothing else.
pub(crate) struct RevocableConnections<I: Identity>(Mutex<Index<I>>);

struct Index<I: Identity> {
    connections: HashMap<Entry<I>, BTreeMap<u64, Connection<I>>>,
    /// The entries of each connection, by its serial number.
    entries: HashMap<u64, Vec<Entry<I>>>,
}

/// What a revocation may name.
type Entry<I> = Arc<Revocation<<I as Identity>::Id>>;

impl<I: Identity> RevocableConnections<I> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Index { connections: HashMap::new(), entries: HashMap::new() }))
    }

    /// Adds a connection, or changes its entries once its credentials are renewed.
    pub(crate) fn set(&self, connection: &Connection<I>, is_listed: bool) {
        let Some(user) = &connection.0.origin.user else { return };
        let latest = user.latest();
        let credential = latest.credential_id().map(|id| Revocation::Credential(id.to_owned()));
        let of_user = (!is_listed).then(|| Revocation::User(latest.id().clone()));
        let entries: Vec<_> = credential.into_iter().chain(of_user).map(Arc::new).collect();
        let replaced = {
            let mut index = self.lock();
            let replaced = index.remove(connection);
            index.add(connection, entries);
            replaced
        };
        drop(replaced);
    }

    pub(crate) fn remove(&self, connection: &Connection<I>) {
        // Dropped outside of the lock: ids of users and connections may hold values of the application.
        let removed =
            if connection.0.origin.user.is_some() { self.lock().remove(connection) } else { Vec::new() };
        drop(removed);
    }

    /// The connections that a revocation names, in the order in which they were opened.
    pub(crate) fn of(&self, revocation: &Revocation<I::Id>) -> Vec<Connection<I>> {
        let index = self.lock();
        index.connections.get(revocation).map(|found| found.values().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Index<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of the connection, that of the index if it was the last one, and the connection.
type Removed<I> = Vec<(Entry<I>, Option<Entry<I>>, Option<Connection<I>>)>;

impl<I: Identity> Index<I> {
    fn add(&mut self, connection: &Connection<I>, entries: Vec<Entry<I>>) {
        if entries.is_empty() {
            return;
        }
        let serial = connection.0.serial;
        for entry in &entries {
            self.connections.entry(Arc::clone(entry)).or_default().insert(serial, connection.clone());
        }
        self.entries.insert(serial, entries);
    }

    fn remove(&mut self, connection: &Connection<I>) -> Removed<I> {
        let serial = connection.0.serial;
        let entries = self.entries.remove(&serial).unwrap_or_default();
        let remove = |entry: Entry<I>| {
            let found = self.connections.get_mut(&entry)?;
            let removed = found.remove(&serial);
            let emptied = found.is_empty();
            let key = emptied.then(|| self.connections.remove_entry(&entry)).flatten().map(|(key, _)| key);
            Some((entry, key, removed))
        };
        entries.into_iter().filter_map(remove).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{
        connection::testing::{server, unconnected},
        users::{Authenticated, User},
    };

    const TIMES: i64 = 100_000;

    fn sizes(revocable: &RevocableConnections<User<i64>>) -> (usize, usize) {
        let index = revocable.lock();
        (index.connections.len(), index.entries.len())
    }

    fn credential(n: i64) -> Authenticated<i64> {
        Authenticated::new(n).credential(format!("token {n}"))
    }

    #[test]
    fn connections_that_come_and_go_leave_nothing_behind() {
        let (shared, revocable) = (server(), RevocableConnections::new());
        let connections: Vec<_> = (0..1000).map(|n| unconnected(&shared, Some(credential(n)))).collect();
        for (connection, n) in connections.iter().zip(0..).cycle().take(TIMES as usize) {
            revocable.set(connection, n % 2 == 0);
            assert_eq!(revocable.of(&Revocation::Credential(format!("token {n}"))).len(), 1);
            assert_eq!(revocable.of(&Revocation::User(n)).len(), usize::from(n % 2 != 0));
            revocable.remove(connection);
            revocable.remove(connection);
        }
        assert_eq!(sizes(&revocable), (0, 0));
    }

    #[test]
    fn credentials_that_are_renewed_over_and_over_leave_the_last_ones_behind() {
        let (shared, revocable) = (server(), RevocableConnections::new());
        let (one, other) =
            (unconnected(&shared, Some(credential(0))), unconnected(&shared, Some(credential(0))));
        revocable.set(&other, true);
        for n in 0..TIMES {
            let renewed = Authenticated::new(0).credential(format!("token {n}"));
            one.0.origin.user.as_ref().unwrap().renew(renewed, Instant::now());
            revocable.set(&one, true);
        }
        assert_eq!(sizes(&revocable), (2, 2));
        let of = |n: i64| revocable.of(&Revocation::Credential(format!("token {n}")));
        assert_eq!((of(0), of(1), of(TIMES - 1)), (vec![other], vec![], vec![one]));
    }

    #[test]
    fn who_has_no_credentials_to_revoke_has_no_entry() {
        let (shared, revocable) = (server(), RevocableConnections::new());
        let users = [None, Some(Authenticated::new(7))];
        let connections = users.map(|user| unconnected(&shared, user));
        for connection in connections.iter().cycle().take(TIMES as usize) {
            revocable.set(connection, true);
        }
        assert_eq!(sizes(&revocable), (0, 0));
    }
}
