//! A table in parts, each of which grows, and is gone through, by itself: whoever holds the lock of a large one holds it
//! for a part at a time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// How many parts there are. Of a million entries each has four thousand.
pub(crate) const PARTS: usize = 256;

/// Entries that are gone through in one go: a fraction of a millisecond, and of a small table all of them.
const AT_ONCE: usize = 8 * 1024;

/// Room that a part without entries keeps.
const KEPT: usize = 16;

/// A table by names.
#[derive(Debug)]
pub(crate) struct Parts<V> {
    of: Box<[HashMap<Box<str>, V>]>,
    hasher: RandomState,
}

impl<V> Parts<V> {
    pub(crate) fn new() -> Self {
        Self { of: (0..PARTS).map(|_| HashMap::new()).collect(), hasher: RandomState::new() }
    }

    fn number(&self, name: &str) -> usize {
        // Modulo a constant that is small enough.
        (self.hasher.hash_one(name) % PARTS as u64) as usize
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.of[self.number(name)].get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.of[self.number(name)].get_mut(name)
    }

    /// The entry of a name, made if there is none.
    pub(crate) fn entry(&mut self, name: &str) -> &mut V
    where
        V: Default,
    {
        self.of[self.number(name)].entry(name.into()).or_default()
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<V> {
        let part = &mut self.of[self.number(name)];
        let removed = part.remove(name);
        // Rarely, so that it costs those little who come and go.
        if part.capacity() > KEPT.max(8 * part.len()) {
            part.shrink_to(KEPT.max(2 * part.len()));
        }
        removed
    }

    /// One part of the table.
    pub(crate) fn part(&self, number: usize) -> impl Iterator<Item = (&str, &V)> {
        self.of[number].iter().map(|(name, value)| (&**name, value))
    }

    /// The whole table.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &V)> {
        (0..PARTS).flat_map(|number| self.part(number))
    }

    /// Keeps of one part what is wanted, and of its memory what that takes.
    pub(crate) fn retain(&mut self, number: usize, mut wanted: impl FnMut(&str, &mut V) -> bool) {
        let part = &mut self.of[number];
        part.retain(|name, value| wanted(name, value));
        if part.capacity() > KEPT.max(4 * part.len()) {
            part.shrink_to(KEPT.max(2 * part.len()));
        }
    }

    /// How many parts are gone through in one go.
    pub(crate) fn at_once(&self) -> usize {
        // The names are as good as even.
        (AT_ONCE / self.of[0].len().max(1)).clamp(1, PARTS)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.of.iter().all(HashMap::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_one_part_and_parts_give_their_memory_back() {
        let mut table = Parts::new();
        assert_eq!(table.at_once(), PARTS, "there is nothing to go through");
        for number in 0..100_000 {
            *table.entry(&number.to_string()) = number;
        }
        assert!((10..40).contains(&table.at_once()), "{}", table.at_once());
        let mut found: Vec<_> =
            (0..PARTS).flat_map(|part| table.part(part).map(|(_, number)| *number)).collect();
        found.sort_unstable();
        assert!(found.into_iter().eq(0..100_000));
        assert_eq!(table.get("7"), Some(&7));
        assert_eq!(table.remove("7"), Some(7));
        assert_eq!(table.get("7"), None);
        for part in 0..PARTS {
            table.retain(part, |name, _| name == "8");
        }
        assert_eq!((0..PARTS).map(|part| table.part(part).count()).sum::<usize>(), 1);
        assert_eq!(table.get_mut("8"), Some(&mut 8));
        assert!(table.of.iter().all(|part| part.capacity() <= 2 * KEPT));
        let names = |numbers: std::ops::Range<usize>| numbers.map(|number| number.to_string());
        names(0..100_000).for_each(|name| *table.entry(&name) = 0);
        names(0..100_000).for_each(|name| assert_eq!(table.remove(&name), Some(0)));
        assert!(table.is_empty() && table.of.iter().all(|part| part.capacity() <= 2 * KEPT));
    }
}
