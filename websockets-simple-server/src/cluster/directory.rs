//! Who is connected where, with what this node says of its own connections.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::{
    NodeId, NodeInfo,
    head::{Change, Changed},
    holders::{OWN, Place},
    interest::Interest,
    lane::Lane,
    view::{MemberEntry, Told, View},
};

/// How long who has come waits, so that several go in one message.
const JOINS_WAIT: Duration = Duration::from_millis(20);

/// The same for who has gone.
const LEAVES_WAIT: Duration = Duration::from_millis(200);

/// Bytes of changes in one message, roughly.
pub(crate) const PART: usize = 48 * 1024;

/// Who is connected where.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) view: View,
    nodes: HashMap<Place, NodeEntry>,
    next_place: Place,
    interest: Interest,
    /// Of what was said of the own connections.
    version: u64,
    /// What has changed since then.
    unsaid: HashSet<Key>,
    say_at: Option<Instant>,
    last_said: Option<Instant>,
}

/// A node whose connections are known.
#[derive(Clone, Debug)]
pub(crate) struct NodeEntry {
    pub(crate) info: NodeInfo,
    pub(crate) heard: Instant,
}

/// A connection, as far as other nodes know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnConnection<'a> {
    pub(crate) channel: &'a str,
    /// The JSON of the id.
    pub(crate) user: Option<&'a str>,
    /// Its id, if its channel has a list of members.
    pub(crate) listed: Option<&'a str>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Channel(Box<str>),
    Member(Box<str>, Box<str>),
    User(Box<str>),
}

impl Directory {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            view: View::new(linger),
            nodes: HashMap::new(),
            next_place: OWN + 1,
            interest: Interest::new(),
            version: 0,
            unsaid: HashSet::new(),
            say_at: None,
            last_said: None,
        }
    }

    /// A connection of this node has opened. Answers what to subscribe to.
    pub(crate) fn opened(&mut self, connection: OwnConnection<'_>, now: Instant) -> Option<Lane> {
        let OwnConnection { channel, user, listed } = connection;
        let count = self.view.channel(channel).map_or(0, |holders| holders.of(OWN));
        self.change(&Change::Channel(channel, count + 1), now);
        if let Some(user) = user {
            let count = self.view.user(user).map_or(0, |holders| holders.of(OWN));
            self.change(&Change::User(user, count + 1), now);
        }
        if let Some(client) = listed {
            let user = user.map(Into::into);
            self.change(&Change::Member { channel, client: client.into(), user }, now);
        }
        let wait = self.last_said.map_or(now, |said| now.max(said + JOINS_WAIT));
        self.say_by(wait);
        if count == 0 { self.interest.add(channel) } else { None }
    }

    /// A connection of this node has ended. `listed` is `None` as well if another one has its id since.
    pub(crate) fn ended(&mut self, connection: OwnConnection<'_>, now: Instant) {
        let OwnConnection { channel, user, listed } = connection;
        let count = self.view.channel(channel).map_or(0, |holders| holders.of(OWN));
        self.change(&Change::Channel(channel, count.saturating_sub(1)), now);
        if let Some(user) = user {
            let count = self.view.user(user).map_or(0, |holders| holders.of(OWN));
            self.change(&Change::User(user, count.saturating_sub(1)), now);
        }
        if let Some(client) = listed {
            self.change(&Change::NoMember { channel, client: client.into() }, now);
        }
        self.say_by(now + LEAVES_WAIT);
        if count == 1 {
            self.interest.remove(channel, now);
        }
    }

    fn change(&mut self, change: &Change<'_>, now: Instant) {
        self.view.apply(OWN, change, now);
        self.unsaid.insert(match change {
            Change::Channel(channel, _) => Key::Channel((*channel).into()),
            Change::User(user, _) => Key::User((*user).into()),
            Change::Member { channel, client, .. } | Change::NoMember { channel, client } => {
                Key::Member((*channel).into(), (**client).into())
            }
        });
    }

    fn say_by(&mut self, at: Instant) {
        self.say_at = Some(self.say_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When there is something to say to the other nodes.
    pub(crate) fn say_at(&self) -> Option<Instant> {
        self.say_at
    }

    /// What the other nodes are to be told, in one message. `say` answers whether it was published: if not, it waits.
    /// Answers whether there is more.
    pub(crate) fn say(&mut self, now: Instant, say: impl FnOnce(Changed<'_>) -> bool) -> bool {
        self.say_at = None;
        let (mut part, mut size) = (Vec::new(), 0);
        for key in &self.unsaid {
            size += key.size();
            part.push(key.clone());
            if size >= PART {
                break;
            }
        }
        if part.is_empty() {
            return false;
        }
        let changes = part.iter().map(|key| self.current(key)).collect();
        if !say(Changed { from: self.version, to: self.version + 1, changes }) {
            self.say_later(now + LEAVES_WAIT);
            return false;
        }
        self.version += 1;
        for key in &part {
            self.unsaid.remove(key);
        }
        self.last_said = Some(now);
        let is_more = !self.unsaid.is_empty();
        if is_more {
            self.say_at = Some(now);
        } else {
            self.unsaid.shrink_to(64);
        }
        is_more
    }

    /// What is to be said waits, as there is no room for it.
    pub(crate) fn say_later(&mut self, at: Instant) {
        self.say_at = Some(at);
    }

    fn current<'a>(&self, key: &'a Key) -> Change<'a> {
        match key {
            Key::Channel(channel) => {
                Change::Channel(channel, self.view.channel(channel).map_or(0, |holders| holders.of(OWN)))
            }
            Key::User(user) => Change::User(user, self.view.user(user).map_or(0, |holders| holders.of(OWN))),
            Key::Member(channel, client) => match self.own_member(channel, client) {
                Some(member) => {
                    let user = member.user.as_deref().map(|user| user.to_owned().into());
                    Change::Member { channel, client: (&**client).into(), user }
                }
                None => Change::NoMember { channel, client: (&**client).into() },
            },
        }
    }

    fn own_member(&self, channel: &str, client: &str) -> Option<&MemberEntry> {
        self.view.member(channel, client).filter(|member| member.node == OWN)
    }

    /// The version of what was said.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether messages of this bucket of channels are subscribed to.
    pub(crate) fn wants(&self, bucket: u16) -> bool {
        self.interest.wants(bucket)
    }

    /// A lane that nobody needs any more.
    pub(crate) fn next_unwanted(&mut self, now: Instant) -> Option<Lane> {
        self.interest.next_unwanted(now)
    }

    /// Another node is there. Answers its place.
    pub(crate) fn add(&mut self, info: NodeInfo, now: Instant) -> Place {
        let place = self.next_place;
        self.next_place += 1;
        self.nodes.insert(place, NodeEntry { info, heard: now });
        place
    }

    pub(crate) fn heard(&mut self, place: Place, name: Option<&str>, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&place) {
            node.heard = now;
            if let Some(name) = name.filter(|name| **name != *node.info.name) {
                node.info.name = name.into();
            }
        }
    }

    /// Another node is gone. What is known of its connections is to be swept out of the view.
    pub(crate) fn remove(&mut self, place: Place) {
        self.nodes.remove(&place);
    }

    /// The places of the other nodes.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.nodes.keys().copied().collect()
    }

    /// The other nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (Place, &NodeEntry)> {
        self.nodes.iter().map(|(place, node)| (*place, node))
    }

    /// For how long the node was not heard that was not heard for the longest time.
    pub(crate) fn age(&self) -> Duration {
        self.nodes.values().map(|node| node.heard.elapsed()).max().unwrap_or_default()
    }

    /// The members of a channel that are known one by one, each with the JSON of its user and its node.
    pub(crate) fn members(&self, channel: &str, own: NodeId) -> Vec<(Box<str>, Option<Box<str>>, NodeId)> {
        let node = |place| if place == OWN { Some(own) } else { Some(self.nodes.get(&place)?.info.id) };
        let members = self.view.members(channel);
        members
            .filter_map(|(client, member)| Some((client.into(), member.user.clone(), node(member.node)?)))
            .collect()
    }

    pub(crate) fn node(&self, place: Place) -> Option<&NodeEntry> {
        self.nodes.get(&place)
    }

    /// The other nodes at which a user is connected; `None` if none is known.
    pub(crate) fn nodes_of(&self, user: &str) -> Option<Vec<NodeId>> {
        let holders = self.view.user(user)?;
        let others: Vec<_> =
            holders.iter().filter_map(|(place, _)| Some(self.nodes.get(&place)?.info.id)).collect();
        (!others.is_empty()).then_some(others)
    }

    pub(crate) fn next_told(&mut self, now: Instant) -> Option<Told> {
        self.view.next_told(now)
    }
}

impl Key {
    fn size(&self) -> usize {
        match self {
            Self::Channel(text) | Self::User(text) => text.len() + 16,
            Self::Member(channel, client) => channel.len() + client.len() + 64,
        }
    }
}

impl Change<'_> {
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Channel(text, _) | Self::User(text, _) => text.len() + 16,
            Self::Member { channel, client, user } => {
                channel.len() + client.len() + user.as_deref().map_or(0, str::len) + 16
            }
            Self::NoMember { channel, client } => channel.len() + client.len() + 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: OwnConnection<'static> =
        OwnConnection { channel: "/a", user: Some("\"alice\""), listed: Some("x") };

    fn said(directory: &mut Directory, now: Instant) -> Vec<(u64, u64, Vec<String>)> {
        let mut said = Vec::new();
        let mut say = || {
            directory.say(now, |changed| {
                let mut changes: Vec<_> =
                    changed.changes.iter().map(|change| format!("{change:?}")).collect();
                changes.sort();
                said.push((changed.from, changed.to, changes));
                true
            })
        };
        while say() {}
        said
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_is_told_at_once_and_who_goes_a_little_later_each_by_what_is_so_then() {
        let (mut directory, now) = (Directory::new(Duration::ZERO), Instant::now());
        assert_eq!(directory.opened(ALICE, now), Some(Lane::of_channel("/a")));
        assert_eq!(
            directory.opened(OwnConnection { listed: None, ..ALICE }, now),
            None,
            "of the same channel"
        );
        assert_eq!(directory.say_at(), Some(now));
        let changes = [
            r#"Channel("/a", 2)"#,
            r#"Member { channel: "/a", client: "x", user: Some("\"alice\"") }"#,
            r#"User("\"alice\"", 2)"#,
        ];
        assert_eq!(said(&mut directory, now), [(0, 1, changes.map(str::to_owned).to_vec())]);
        assert_eq!((said(&mut directory, now), directory.say_at()), (vec![], None));
        directory.opened(OwnConnection { channel: "/b", ..ALICE }, now);
        assert_eq!(directory.say_at(), Some(now + JOINS_WAIT), "it was said just now");
        said(&mut directory, now);
        directory.ended(ALICE, now);
        assert_eq!(directory.say_at(), Some(now + LEAVES_WAIT));
        let changes =
            [r#"Channel("/a", 1)"#, r#"NoMember { channel: "/a", client: "x" }"#, r#"User("\"alice\"", 2)"#];
        assert_eq!(said(&mut directory, now), [(2, 3, changes.map(str::to_owned).to_vec())]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_published_is_said_later_in_as_many_parts_as_it_takes() {
        let (mut directory, now) = (Directory::new(Duration::ZERO), Instant::now());
        for n in 0..10_000 {
            let channel = format!("/{n}");
            directory.opened(OwnConnection { channel: &channel, user: None, listed: None }, now);
        }
        assert!(directory.say(now, |_| true), "there is more than fits in a message");
        assert!(directory.say(now, |_| true));
        assert_eq!(directory.say_at(), Some(now));
        assert!(!directory.say(now, |_| false), "it could not be published");
        assert_eq!((directory.version(), directory.say_at()), (2, Some(now + LEAVES_WAIT)));
        let rest = said(&mut directory, now);
        assert_eq!(rest.first().map(|(from, ..)| *from), Some(2));
        assert_eq!(rest.last().map(|(_, to, _)| *to), Some(directory.version()));
        let said: usize = rest.iter().map(|(.., changes)| changes.len()).sum();
        assert!(said < 10_000 && rest.len() > 1 && directory.say_at().is_none(), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_to_a_user_go_to_the_nodes_that_have_one_and_nowhere_known_to_all() {
        let (mut directory, now) = (Directory::new(Duration::ZERO), Instant::now());
        let info = || NodeInfo { id: NodeId::random(), name: "b".into() };
        let (one, other) = (info(), info());
        let (first, second) = (directory.add(one.clone(), now), directory.add(other.clone(), now));
        directory.opened(OwnConnection { user: Some("7"), ..ALICE }, now);
        assert_eq!((directory.nodes_of("7"), directory.nodes_of("8")), (None, None));
        directory.view.apply(first, &Change::User("7", 1), now);
        directory.view.apply(second, &Change::User("7", 1), now);
        assert_eq!(directory.nodes_of("7"), Some(vec![one.id, other.id]));
        directory.remove(first);
        assert_eq!(directory.nodes_of("7"), Some(vec![other.id]));
    }
}
