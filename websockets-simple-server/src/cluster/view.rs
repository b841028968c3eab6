//! Who is connected to which node, as this node knows it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::{
    head::Change,
    holders::{Holders, OWN, Place},
    parts::Parts,
};

/// Places that an empty queue keeps.
const KEPT: usize = 1024;

/// Who is connected to which node.
#[derive(Debug)]
pub(crate) struct View {
    /// By the JSON of their ids.
    users: Parts<UserEntry>,
    channels: Parts<Holders>,
    /// Of the channels with a list of them.
    members: Parts<HashMap<Box<str>, MemberEntry>>,
    /// How long a user is still there after the last connection has ended.
    linger: Duration,
    /// Users of whom there may be something to tell.
    to_tell: VecDeque<Box<str>>,
    /// When users are gone, unless they come back.
    leaving: VecDeque<(Instant, Box<str>)>,
    /// Users with a connection.
    online: usize,
}

#[derive(Debug, Default)]
struct UserEntry {
    holders: Holders,
    /// Whether it was told that the user is there.
    is_told: bool,
    /// Whether it is in `to_tell`.
    is_queued: bool,
    leaves_at: Option<Instant>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MemberEntry {
    pub(crate) node: Place,
    /// The JSON of the id.
    pub(crate) user: Option<Box<str>>,
}

/// What something is known of.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Named<'a> {
    User(&'a str),
    Channel(&'a str),
    /// The channel, and the client.
    Member(&'a str, &'a str),
}

/// What is to be told of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    Joined(Box<str>),
    Left(Box<str>),
}

impl View {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            users: Parts::new(),
            channels: Parts::new(),
            members: Parts::new(),
            linger,
            to_tell: VecDeque::new(),
            leaving: VecDeque::new(),
            online: 0,
        }
    }

    /// Applies what a node says of its connections.
    pub(crate) fn apply(&mut self, node: Place, change: &Change<'_>, now: Instant) {
        match change {
            Change::User(user, count) => self.set_user(node, user, *count, now),
            Change::Channel(channel, count) => set_channel(&mut self.channels, node, channel, *count),
            Change::Member { channel, client, user } => {
                let member = MemberEntry { node, user: user.as_deref().map(Into::into) };
                let members = match self.members.get_mut(channel) {
                    Some(members) => members,
                    None => self.members.entry(channel),
                };
                members.insert((**client).into(), member);
            }
            Change::NoMember { channel, client } => {
                let Some(members) = self.members.get_mut(channel) else { return };
                // The same id may be at another node since.
                if members.get(&**client).is_some_and(|member| member.node == node) {
                    members.remove(&**client);
                }
                if members.is_empty() {
                    self.members.remove(channel);
                }
            }
        }
    }

    fn set_user(&mut self, node: Place, user: &str, count: u32, now: Instant) {
        let entry = match self.users.get_mut(user) {
            Some(entry) => entry,
            None if count == 0 => return,
            None => self.users.entry(user),
        };
        let was_empty = entry.holders.is_empty();
        entry.holders.set(node, count);
        match (was_empty, entry.holders.is_empty()) {
            (true, false) => {
                self.online += 1;
                entry.leaves_at = None;
                if !entry.is_told && !std::mem::replace(&mut entry.is_queued, true) {
                    self.to_tell.push_back(user.into());
                }
            }
            (false, true) => {
                self.online -= 1;
                if !entry.leaves(now + self.linger, user, &mut self.leaving) {
                    self.users.remove(user);
                }
            }
            _ => {}
        }
    }

    /// Forgets what a node has in one [part](crate::cluster::parts::PARTS), but for what is kept of it.
    pub(crate) fn sweep(
        &mut self,
        node: Place,
        part: usize,
        now: Instant,
        is_kept: impl Fn(Named<'_>) -> bool,
    ) {
        let Self { users, channels, members, leaving, online, .. } = self;
        let leaves_at = now + self.linger;
        users.retain(part, |user, entry| {
            if entry.holders.of(node) == 0 || is_kept(Named::User(user)) {
                return true;
            }
            entry.holders.set(node, 0);
            if !entry.holders.is_empty() {
                return true;
            }
            *online -= 1;
            entry.leaves(leaves_at, user, leaving)
        });
        channels.retain(part, |channel, holders| {
            if holders.of(node) > 0 && !is_kept(Named::Channel(channel)) {
                holders.set(node, 0);
            }
            !holders.is_empty()
        });
        members.retain(part, |channel, members| {
            members.retain(|client, member| member.node != node || is_kept(Named::Member(channel, client)));
            !members.is_empty()
        });
    }

    /// The next thing to tell, of those that are due.
    pub(crate) fn next_told(&mut self, now: Instant) -> Option<Told> {
        while let Some((at, user)) = self.leaving.pop_front_if(|(at, _)| *at <= now) {
            if let Some(entry) = self.users.get_mut(&user)
                && entry.leaves_at == Some(at)
                && !std::mem::replace(&mut entry.is_queued, true)
            {
                self.to_tell.push_back(user);
            }
        }
        while let Some(user) = self.to_tell.pop_front() {
            let Some(entry) = self.users.get_mut(&user) else { continue };
            entry.is_queued = false;
            let is_there = !entry.holders.is_empty();
            match (is_there, entry.is_told) {
                (true, false) => {
                    entry.is_told = true;
                    return Some(Told::Joined(user));
                }
                (false, true) if entry.leaves_at.is_some_and(|at| at <= now) => {
                    self.users.remove(&user);
                    return Some(Told::Left(user));
                }
                (false, false) => drop(self.users.remove(&user)),
                _ => {}
            }
        }
        shrink(&mut self.to_tell);
        shrink(&mut self.leaving);
        None
    }

    /// When there may be something to tell of a user who leaves.
    pub(crate) fn next_leaving(&self) -> Option<Instant> {
        self.leaving.front().map(|(at, _)| *at)
    }

    /// How many connections a user has at which nodes.
    pub(crate) fn user(&self, user: &str) -> Option<&Holders> {
        self.users.get(user).map(|entry| &entry.holders).filter(|holders| !holders.is_empty())
    }

    /// How many connections each node has.
    pub(crate) fn connections(&self) -> HashMap<Place, u64> {
        let mut counts = HashMap::new();
        for (place, count) in self.channels.all().flat_map(|(_, holders)| holders.iter()) {
            *counts.entry(place).or_default() += u64::from(count);
        }
        counts
    }

    pub(crate) fn channel(&self, channel: &str) -> Option<&Holders> {
        self.channels.get(channel)
    }

    pub(crate) fn members(&self, channel: &str) -> impl Iterator<Item = (&str, &MemberEntry)> {
        self.members.get(channel).into_iter().flatten().map(|(client, member)| (&**client, member))
    }

    pub(crate) fn member(&self, channel: &str, client: &str) -> Option<&MemberEntry> {
        self.members.get(channel)?.get(client)
    }

    /// How many users are there.
    pub(crate) fn online(&self) -> usize {
        self.online
    }

    /// Everything that is known of this node itself in one [part](crate::cluster::parts::PARTS).
    pub(crate) fn own(&self, part: usize) -> impl Iterator<Item = Change<'_>> {
        let users = self.users.part(part).map(|(user, entry)| Change::User(user, entry.holders.of(OWN)));
        let channels = self.channels.part(part);
        let channels = channels.map(|(channel, holders)| Change::Channel(channel, holders.of(OWN)));
        let counted = |change: &Change<'_>| !matches!(change, Change::User(_, 0) | Change::Channel(_, 0));
        let members = self.members.part(part).flat_map(|(channel, members)| {
            let own = members.iter().filter(|(_, member)| member.node == OWN);
            own.map(move |(client, member)| Change::Member {
                channel,
                client: (&**client).into(),
                user: member.user.as_deref().map(Into::into),
            })
        });
        users.chain(channels).filter(counted).chain(members)
    }

    /// How many parts are gone through in one go.
    pub(crate) fn parts_at_once(&self) -> usize {
        self.users.at_once().min(self.channels.at_once())
    }
}

impl UserEntry {
    /// The last connection has ended. Answers whether there is still something to tell.
    fn leaves(&mut self, at: Instant, user: &str, leaving: &mut VecDeque<(Instant, Box<str>)>) -> bool {
        if self.is_told {
            self.leaves_at = Some(at);
            leaving.push_back((at, user.into()));
        }
        self.is_told || self.is_queued
    }
}

impl<'a> Named<'a> {
    /// What a change is about.
    pub(crate) fn of(change: &'a Change<'_>) -> Self {
        match change {
            Change::User(user, _) => Self::User(user),
            Change::Channel(channel, _) => Self::Channel(channel),
            Change::Member { channel, client, .. } | Change::NoMember { channel, client } => {
                Self::Member(channel, client)
            }
        }
    }
}

/// Gives the memory of what was a long queue back.
fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

fn set_channel(channels: &mut Parts<Holders>, node: Place, channel: &str, count: u32) {
    match channels.get_mut(channel) {
        Some(holders) => {
            holders.set(node, count);
            if holders.is_empty() {
                channels.remove(channel);
            }
        }
        None if count > 0 => *channels.entry(channel) = Holders::One((node, count)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::parts::PARTS;

    const LINGER: Duration = Duration::from_secs(3);

    fn told(view: &mut View, now: Instant) -> Vec<Told> {
        std::iter::from_fn(|| view.next_told(now)).collect()
    }

    fn sweep(view: &mut View, node: Place, now: Instant, is_kept: impl Fn(Named<'_>) -> bool) {
        (0..PARTS).for_each(|part| view.sweep(node, part, now, &is_kept));
    }

    fn joined(user: &str) -> Told {
        Told::Joined(user.into())
    }

    fn left(user: &str) -> Told {
        Told::Left(user.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_joins_with_the_first_connection_of_all_nodes_and_leaves_after_the_last() {
        let (mut view, now) = (View::new(LINGER), Instant::now());
        view.apply(1, &Change::User("7", 2), now);
        view.apply(2, &Change::User("7", 1), now);
        assert_eq!(told(&mut view, now), [joined("7")]);
        view.apply(1, &Change::User("7", 0), now);
        assert_eq!((told(&mut view, now + LINGER), view.online()), (vec![], 1));
        view.apply(2, &Change::User("7", 0), now);
        assert_eq!((told(&mut view, now), view.online()), (vec![], 0), "it may come back");
        assert_eq!(view.next_leaving(), Some(now + LINGER));
        assert_eq!(told(&mut view, now + LINGER), [left("7")]);
        assert!(view.users.is_empty() && view.leaving.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_in_time_at_another_node_has_not_left() {
        let (mut view, now) = (View::new(LINGER), Instant::now());
        view.apply(1, &Change::User("7", 1), now);
        assert_eq!(told(&mut view, now), [joined("7")]);
        view.apply(1, &Change::User("7", 0), now);
        view.apply(2, &Change::User("7", 1), now + LINGER / 2);
        assert_eq!(told(&mut view, now + LINGER * 2), []);
        view.apply(2, &Change::User("7", 0), now + LINGER * 2);
        view.apply(2, &Change::User("7", 1), now + LINGER * 2);
        view.apply(2, &Change::User("7", 0), now + LINGER * 2 + LINGER / 2);
        assert_eq!(told(&mut view, now + LINGER * 3), [], "the linger begins anew");
        assert_eq!(told(&mut view, now + LINGER * 4), [left("7")]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_who_was_there_only_while_nobody_was_told_nothing_is_told_and_nothing_kept() {
        let (mut view, now) = (View::new(LINGER), Instant::now());
        for _ in 0..1000 {
            view.apply(1, &Change::User("7", 1), now);
            view.apply(1, &Change::User("7", 0), now);
        }
        assert_eq!((view.to_tell.len(), view.leaving.len()), (1, 0));
        assert_eq!(told(&mut view, now), []);
        assert!(view.users.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_forgets_what_is_not_kept_of_a_node_and_nothing_else() {
        let (mut view, now) = (View::new(Duration::ZERO), Instant::now());
        let member =
            |client: &'static str| Change::Member { channel: "/a", client: client.into(), user: None };
        for change in [Change::User("1", 1), Change::User("2", 1), Change::Channel("/a", 2), member("x")] {
            view.apply(1, &change, now);
        }
        for change in [Change::User("1", 1), Change::Channel("/a", 1), member("y")] {
            view.apply(2, &change, now);
        }
        assert_eq!(told(&mut view, now).len(), 2);
        let snapshot = [Change::User("3", 4), Change::Channel("/b", 1), member("z")];
        snapshot.iter().for_each(|change| view.apply(1, change, now));
        sweep(&mut view, 1, now, |named| match named {
            Named::User(user) => user == "3",
            Named::Channel(channel) => channel == "/b",
            Named::Member(channel, client) => (channel, client) == ("/a", "z"),
        });
        assert_eq!(told(&mut view, now), [joined("3"), left("2")]);
        assert_eq!(view.user("1"), Some(&Holders::One((2, 1))));
        assert_eq!(view.channel("/a"), Some(&Holders::One((2, 1))));
        assert_eq!(view.channel("/b"), Some(&Holders::One((1, 1))));
        let mut members: Vec<_> = view.members("/a").map(|(client, member)| (client, member.node)).collect();
        members.sort_unstable();
        assert_eq!(members, [("y", 2), ("z", 1)]);
        sweep(&mut view, 1, now, |_| false);
        sweep(&mut view, 2, now, |_| false);
        assert_eq!(told(&mut view, now).len(), 2);
        assert!(view.users.is_empty() && view.channels.is_empty() && view.members.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_moved_is_not_removed_by_the_node_it_left() {
        let (mut view, now) = (View::new(LINGER), Instant::now());
        let there = Change::Member { channel: "/a", client: "x".into(), user: Some("7".into()) };
        view.apply(1, &there, now);
        view.apply(2, &there, now);
        view.apply(1, &Change::NoMember { channel: "/a", client: "x".into() }, now);
        assert_eq!(view.members("/a").count(), 1);
        view.apply(2, &Change::NoMember { channel: "/a", client: "x".into() }, now);
        assert_eq!(view.members("/a").count(), 0);
    }
}
