//! What was revoked at which node, for those that were cut off meanwhile.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::{
    NodeId,
    head::{Revocations, Revoked},
};

/// How long a revocation is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Most revocations that are kept.
const MOST: usize = 10_000;

/// Revocations in one message.
const PART: usize = 256;

/// What was revoked at which node. A node numbers its own from 1.
#[derive(Debug, Default)]
pub(crate) struct RevocationLog {
    entries: BTreeMap<(NodeId, u64), Entry>,
    /// The oldest first.
    order: VecDeque<(NodeId, u64)>,
    /// Up to where all of a node are known.
    known: HashMap<NodeId, u64>,
    /// Up to where those of a node were forgotten.
    forgotten: HashMap<NodeId, u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    at: Instant,
    is_user: bool,
    what: Box<str>,
}

/// A revocation that this node has not heard before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NewRevocation {
    pub(crate) at: Instant,
    pub(crate) is_user: bool,
    /// The JSON of the id of a user, or the id of a credential.
    pub(crate) what: Box<str>,
}

impl RevocationLog {
    /// Adds a revocation that was made at this node. Answers its number.
    pub(crate) fn add_own(&mut self, own: NodeId, is_user: bool, what: &str, now: Instant) -> u64 {
        let number = self.known(own) + 1;
        self.insert(own, number, Entry { at: now, is_user, what: what.into() }, now);
        number
    }

    /// Adds what another node says. Answers it if it is new.
    pub(crate) fn add(&mut self, revoked: &Revoked<'_>, now: Instant) -> Option<NewRevocation> {
        let Revoked { node, number, age, is_user, ref what } = *revoked;
        let is_known = number <= self.known(node) || self.entries.contains_key(&(node, number));
        let at = now.checked_sub(Duration::from_millis(age)).unwrap_or(now);
        if is_known || number == 0 {
            return None;
        }
        let what: Box<str> = (**what).into();
        self.insert(node, number, Entry { at, is_user, what: what.clone() }, now);
        Some(NewRevocation { at, is_user, what })
    }

    fn insert(&mut self, node: NodeId, number: u64, entry: Entry, now: Instant) {
        self.forget(now);
        self.entries.insert((node, number), entry);
        self.order.push_back((node, number));
        let known = self.known.entry(node).or_default();
        while self.entries.contains_key(&(node, *known + 1)) {
            *known += 1;
        }
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |key: &(NodeId, u64)| {
            self.entries.get(key).is_none_or(|entry| now.saturating_duration_since(entry.at) >= KEPT)
        };
        let mut old = Vec::new();
        while let Some(key) = self.order.front().copied() {
            if self.order.len() < MOST && !is_old(&key) {
                break;
            }
            self.order.pop_front();
            old.push(key);
        }
        for (node, number) in old {
            self.entries.remove(&(node, number));
            let forgotten = self.forgotten.entry(node).or_default();
            *forgotten = (*forgotten).max(number);
        }
    }

    /// Up to where all revocations of a node are known.
    pub(crate) fn known(&self, node: NodeId) -> u64 {
        self.known.get(&node).copied().unwrap_or(0)
    }

    /// Another node answered that it has nothing more to say behind this number.
    pub(crate) fn caught_up(&mut self, node: NodeId, number: u64) {
        let known = self.known.entry(node).or_default();
        *known = (*known).max(number);
    }

    /// What this node knows of each.
    pub(crate) fn all_known(&self) -> Vec<(NodeId, u64)> {
        self.known.iter().map(|(node, number)| (*node, *number)).collect()
    }

    /// What somebody does not know yet who knows each node up to a number, in parts, and whether there is a gap in it.
    pub(crate) fn behind(&self, known: &[(NodeId, u64)], now: Instant) -> (Vec<Vec<Revoked<'_>>>, bool) {
        let known: HashMap<_, _> = known.iter().copied().collect();
        let of = |node: &NodeId| known.get(node).copied().unwrap_or(0);
        let has_gap = self.forgotten.iter().any(|(node, number)| *number > of(node));
        let unknown = self.entries.iter().filter(|((node, number), _)| *number > of(node));
        let unknown: Vec<_> = unknown
            .map(|((node, number), entry)| Revoked {
                node: *node,
                number: *number,
                age: now.saturating_duration_since(entry.at).as_millis() as u64,
                is_user: entry.is_user,
                what: (&*entry.what).into(),
            })
            .collect();
        (unknown.chunks(PART).map(<[_]>::to_vec).collect(), has_gap)
    }

    /// The last of what is said to who asked.
    pub(crate) fn answer(&self, said: u64, has_gap: bool, hears_for: Duration) -> Revocations {
        Revocations { said, has_gap, hears_for: hears_for.as_millis() as u64, known: self.all_known() }
    }

    /// Forgets up to where nodes are known that are gone, if nothing of them is kept.
    pub(crate) fn forget_nodes(&mut self, is_there: impl Fn(NodeId) -> bool, now: Instant) {
        self.forget(now);
        let Self { entries, known, forgotten, .. } = self;
        let is_kept =
            |node: NodeId| is_there(node) || entries.range((node, 0)..=(node, u64::MAX)).next().is_some();
        known.retain(|node, _| is_kept(*node));
        forgotten.retain(|node, _| is_kept(*node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoked(node: NodeId, number: u64, what: &str) -> Revoked<'_> {
        Revoked { node, number, age: 0, is_user: true, what: what.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_cut_off_is_told_what_it_has_not_heard_by_anybody_who_has() {
        let now = Instant::now();
        let (a, b) = (NodeId::random(), NodeId::random());
        let (mut at_a, mut at_b, mut at_c) =
            (RevocationLog::default(), RevocationLog::default(), RevocationLog::default());
        assert_eq!([at_a.add_own(a, true, "1", now), at_a.add_own(a, false, "x", now)], [1, 2]);
        assert!(at_b.add(&revoked(a, 1, "1"), now).is_some());
        assert!(at_b.add(&revoked(a, 1, "1"), now).is_none(), "it is known");
        let later = now + Duration::from_secs(5);
        let (parts, has_gap) = at_a.behind(&[(a, at_b.known(a)), (b, 7)], later);
        assert_eq!((parts.len(), has_gap), (1, false));
        let new = at_b.add(&parts[0][0], later).unwrap();
        assert_eq!(new, NewRevocation { at: now, is_user: false, what: "x".into() });
        assert_eq!(at_b.known(a), 2);
        // The node at which it was made may be gone.
        let (parts, _) = at_b.behind(&at_c.all_known(), later);
        for revoked in parts.iter().flatten() {
            at_c.add(revoked, later).unwrap();
        }
        assert_eq!((at_c.known(a), at_c.behind(&[], later).0.concat().len()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_lost_keeps_those_behind_it_from_counting_as_known() {
        let (mut log, node, now) = (RevocationLog::default(), NodeId::random(), Instant::now());
        assert!(log.add(&revoked(node, 2, "2"), now).is_some());
        assert_eq!(log.known(node), 0);
        assert!(log.add(&revoked(node, 1, "1"), now).is_some());
        assert_eq!(log.known(node), 2);
        assert!(log.add(&revoked(node, 0, "none"), now).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_a_gap_for_who_did_not_know_it() {
        let (mut log, node, now) = (RevocationLog::default(), NodeId::random(), Instant::now());
        log.add_own(node, true, "1", now);
        let later = now + KEPT;
        log.add_own(node, true, "2", later);
        assert!(log.behind(&[], later).1);
        assert!(!log.behind(&[(node, 1)], later).1);
        for n in 0..2 * MOST {
            log.add_own(node, true, &n.to_string(), later);
        }
        assert_eq!((log.entries.len(), log.order.len()), (MOST, MOST));
        log.forget_nodes(|_| false, later + KEPT);
        assert!(log.entries.is_empty() && log.known.is_empty() && log.forgotten.is_empty());
    }
}
