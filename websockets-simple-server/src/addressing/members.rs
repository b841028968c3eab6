//! Lists of connections.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{connection::Connection, users::Identity};

/// So many places are kept where there were connections: a list that is often empty is not made anew for each.
const FEW: usize = 16;

/// A list of connections, with a copy for broadcasts that is made once per change, not once per use.
pub(crate) struct Members<I: Identity> {
    kind: ListKind,
    list: Vec<Connection<I>>,
    copy: Option<Arc<[Connection<I>]>>,
}

/// The kind of a list. A connection is in one list of each kind, and stores its position there.
#[derive(Clone, Copy)]
pub(crate) enum ListKind {
    /// All open connections, or all draining ones: a connection is never in both lists.
    Server,
    Channel,
    User,
}

/// The positions of a connection in the list of each kind. Only used under the registry's lock. As many connections as
/// 32 bits count do not fit into the memory of any machine.
#[derive(Default)]
pub(crate) struct ListPositions([AtomicU32; 3]);

impl ListPositions {
    fn of(&self, kind: ListKind) -> usize {
        self.0[kind as usize].load(Ordering::Relaxed) as usize
    }

    fn set(&self, kind: ListKind, place: usize) {
        self.0[kind as usize].store(u32::try_from(place).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl<I: Identity> Members<I> {
    pub(crate) fn new(kind: ListKind) -> Self {
        Self { kind, list: Vec::new(), copy: None }
    }

    pub(crate) fn list(&self) -> &[Connection<I>] {
        &self.list
    }

    pub(crate) fn add(&mut self, connection: &Connection<I>) {
        self.copy = None;
        connection.0.positions.set(self.kind, self.list.len());
        self.list.push(connection.clone());
    }

    pub(crate) fn remove(&mut self, connection: &Connection<I>) {
        let place = connection.0.positions.of(self.kind);
        if self.list.get(place).is_none_or(|held| held != connection) {
            return;
        }
        self.copy = None;
        self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            moved.0.positions.set(self.kind, place);
        }
        if self.list.capacity() > FEW && self.list.len() < self.list.capacity() / 4 {
            self.list.shrink_to(self.list.len() * 2);
        }
    }

    pub(crate) fn copy(&mut self) -> Arc<[Connection<I>]> {
        Arc::clone(self.copy.get_or_insert_with(|| self.list.as_slice().into()))
    }
}

/// The members of a group. A connection can be in any number of groups, so it does not store its position in each.
pub(crate) struct Group<I: Identity> {
    members: BTreeMap<u64, Connection<I>>,
    copy: Option<Arc<[Connection<I>]>>,
}

impl<I: Identity> Group<I> {
    pub(crate) fn new() -> Self {
        Self { members: BTreeMap::new(), copy: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn add(&mut self, connection: &Connection<I>) {
        self.copy = None;
        self.members.insert(connection.0.serial, connection.clone());
    }

    pub(crate) fn remove(&mut self, connection: &Connection<I>) {
        self.copy = None;
        self.members.remove(&connection.0.serial);
    }

    pub(crate) fn copy(&mut self) -> Arc<[Connection<I>]> {
        Arc::clone(self.copy.get_or_insert_with(|| self.members.values().cloned().collect()))
    }
}
