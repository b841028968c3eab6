//! Lists of connections.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{connection::Connection, users::Identity};

/// Connections of a chunk: what a change copies at most, if a broadcast is going through the list meanwhile.
const CHUNK: usize = 256;

/// Connections in chunks, of which all but the last are full. A chunk is shared with the snapshots of the list until it
/// changes: neither a broadcast nor a change copies the list.
struct Chunks<I: Identity>(Vec<Arc<Vec<Connection<I>>>>);

/// A list of connections as it was at one moment.
pub(crate) struct Snapshot<I: Identity>(Vec<Arc<Vec<Connection<I>>>>);

impl<I: Identity> Chunks<I> {
    fn len(&self) -> usize {
        self.0.split_last().map_or(0, |(last, full)| full.len() * CHUNK + last.len())
    }

    fn get(&self, place: usize) -> Option<&Connection<I>> {
        self.0.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn push(&mut self, connection: &Connection<I>) {
        match self.0.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => Arc::make_mut(last).push(connection.clone()),
            None => self.0.push(Arc::new(vec![connection.clone()])),
        }
    }

    /// Removes a connection. The last one takes its place, and is returned unless it was that.
    fn swap_remove(&mut self, place: usize) -> Option<&Connection<I>> {
        let last = Arc::make_mut(self.0.last_mut()?).pop()?;
        // The memory of the first chunk is kept, as a list that is often empty is not made anew for each connection.
        if self.0.len() > 1 && self.0.last().is_some_and(|chunk| chunk.is_empty()) {
            self.0.pop();
        }
        let held = Arc::make_mut(self.0.get_mut(place / CHUNK)?).get_mut(place % CHUNK)?;
        *held = last;
        Some(held)
    }

    fn snapshot(&self) -> Snapshot<I> {
        Snapshot(self.0.clone())
    }
}

impl<I: Identity> Snapshot<I> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.len()).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection<I>> {
        self.0.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<I: Identity> Default for Snapshot<I> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<I: Identity> From<Vec<Connection<I>>> for Snapshot<I> {
    fn from(list: Vec<Connection<I>>) -> Self {
        Self(vec![Arc::new(list)])
    }
}

/// A list of connections that know their places in it.
pub(crate) struct Members<I: Identity> {
    kind: ListKind,
    list: Chunks<I>,
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
        Self { kind, list: Chunks(Vec::new()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn first(&self) -> Option<&Connection<I>> {
        self.list.get(0)
    }

    pub(crate) fn add(&mut self, connection: &Connection<I>) {
        connection.0.positions.set(self.kind, self.list.len());
        self.list.push(connection);
    }

    pub(crate) fn remove(&mut self, connection: &Connection<I>) {
        let place = connection.0.positions.of(self.kind);
        if self.list.get(place).is_some_and(|held| held == connection)
            && let Some(moved) = self.list.swap_remove(place)
        {
            moved.0.positions.set(self.kind, place);
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot<I> {
        self.list.snapshot()
    }
}

/// The members of a group. A connection can be in any number of groups, so it does not store its position in each.
pub(crate) struct Group<I: Identity> {
    list: Chunks<I>,
    /// By serial.
    places: BTreeMap<u64, usize>,
}

impl<I: Identity> Group<I> {
    pub(crate) fn new() -> Self {
        Self { list: Chunks(Vec::new()), places: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a connection that is not in it.
    pub(crate) fn add(&mut self, connection: &Connection<I>) {
        self.places.insert(connection.0.serial, self.list.len());
        self.list.push(connection);
    }

    pub(crate) fn remove(&mut self, connection: &Connection<I>) {
        if let Some(place) = self.places.remove(&connection.0.serial)
            && let Some(moved) = self.list.swap_remove(place)
        {
            self.places.insert(moved.0.serial, place);
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot<I> {
        self.list.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        connection::testing::{server, unconnected},
        users::User,
    };

    type TestConnection = Connection<User<i64>>;

    fn connections(number: usize) -> Vec<TestConnection> {
        let shared = server();
        (0..number).map(|_| unconnected(&shared, None)).collect()
    }

    fn serials<'a>(list: impl Iterator<Item = &'a TestConnection>) -> Vec<u64> {
        let mut serials: Vec<_> = list.map(|connection| connection.0.serial).collect();
        serials.sort_unstable();
        serials
    }

    proptest! {
        #[test]
        fn a_list_holds_whom_it_was_given_and_not_whom_it_was_told_to_forget(
            steps in prop::collection::vec((0..600_usize, any::<bool>()), 0..2_000),
        ) {
            let connections = connections(600);
            let (mut members, mut group) = (Members::new(ListKind::Channel), Group::new());
            let mut held = std::collections::BTreeSet::new();
            for (at, adds) in steps {
                let connection = &connections[at];
                if adds && held.insert(at) {
                    members.add(connection);
                    group.add(connection);
                } else if !adds {
                    held.remove(&at);
                    members.remove(connection);
                    group.remove(connection);
                }
            }
            let expected = serials(held.iter().map(|at| &connections[*at]));
            prop_assert_eq!(&serials(members.snapshot().iter()), &expected);
            prop_assert_eq!(&serials(group.snapshot().iter()), &expected);
            prop_assert_eq!((members.len(), group.is_empty()), (expected.len(), expected.is_empty()));
            prop_assert_eq!(members.snapshot().len(), expected.len());
        }
    }

    #[test]
    fn a_snapshot_stays_as_it_was_and_what_changes_meanwhile_copies_no_other_chunk() {
        let connections = connections(3 * CHUNK + 1);
        let mut members = Members::new(ListKind::Server);
        connections[..3 * CHUNK].iter().for_each(|connection| members.add(connection));
        let before = members.snapshot();
        members.remove(&connections[0]);
        members.add(&connections[3 * CHUNK]);
        let after = members.snapshot();
        assert_eq!(serials(before.iter()), serials(connections[..3 * CHUNK].iter()));
        assert_eq!(serials(after.iter()), serials(connections[1..].iter()));
        let same: Vec<_> =
            before.0.iter().zip(&after.0).map(|(one, other)| Arc::ptr_eq(one, other)).collect();
        assert_eq!(same, [false, true, false], "where it was, and where the last one was");
    }

    #[test]
    fn without_a_snapshot_nothing_is_copied_and_a_list_that_was_long_gives_its_memory_back() {
        let connections = connections(2 * CHUNK);
        let mut members = Members::new(ListKind::Server);
        connections.iter().for_each(|connection| members.add(connection));
        let chunk = Arc::as_ptr(&members.list.0[0]);
        connections.iter().for_each(|connection| members.remove(connection));
        assert!(members.is_empty() && members.first().is_none() && members.snapshot().is_empty());
        assert_eq!(members.list.0.iter().map(Arc::as_ptr).collect::<Vec<_>>(), [chunk]);
    }
}
