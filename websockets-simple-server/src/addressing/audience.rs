//! Whom a message goes to.

use std::{fmt, sync::Arc};

use websockets_simple_core::{BroadcastReport, CloseCode, IntoMessage, charge_sends, encode};

use crate::{
    config::{BroadcastError, BroadcastLevel, ClientId},
    connection::{Connection, ConnectionState},
    run::Shared,
    users::{Identity, User, UserId},
};

/// Some connections of a server, to send to, to close or to look at. Whom it means is decided when it is used.
///
/// Begins with [`Server::to_all`](crate::Server::to_all) and its sisters. Channels add up, and so do groups, users and
/// clients, which narrow the channels: `to_channel("/news").group("de").group("fr")` are those of `/news` that are in
/// either group.
#[must_use = "an audience does nothing until a message is sent to it"]
pub struct Audience<I: Identity> {
    shared: Arc<Shared<I>>,
    /// All, if there are none.
    channels: Vec<Box<str>>,
    /// Those of the channels that are meant; all, if there are none.
    only: Vec<Selector<I>>,
    except: Vec<Selector<I>>,
}

/// What connections can have in common.
pub(crate) enum Selector<I: Identity> {
    Channel(Box<str>),
    Client(ClientId),
    Connection(Connection<I>),
    Group(Box<str>),
    User(I::Id),
}

impl<I: Identity> Selector<I> {
    fn has(&self, connection: &Connection<I>) -> bool {
        match self {
            Self::Channel(channel) => *connection.channel() == **channel,
            Self::Client(id) => connection.id() == id,
            Self::Connection(other) => connection == other,
            Self::Group(group) => connection.is_in(group),
            Self::User(user) => connection.0.user.as_ref().is_some_and(|of| of.id() == user),
        }
    }

    /// What a send names that names this.
    fn level(&self) -> BroadcastLevel {
        match self {
            Self::Channel(_) => BroadcastLevel::Name,
            Self::Group(_) => BroadcastLevel::Group,
            Self::Client(_) | Self::Connection(_) | Self::User(_) => BroadcastLevel::ClientId,
        }
    }
}

impl<I: Identity> Audience<I> {
    pub(crate) fn all(shared: &Arc<Shared<I>>) -> Self {
        Self { shared: Arc::clone(shared), channels: Vec::new(), only: Vec::new(), except: Vec::new() }
    }

    pub(crate) fn only(mut self, part: Selector<I>) -> Self {
        self.only.push(part);
        self
    }

    /// Means this channel, and others that were named.
    pub fn channel(mut self, channel: &str) -> Self {
        self.channels.push(channel.into());
        self
    }

    /// Means only those of the channels that are in this group, or are named otherwise.
    pub fn group(self, group: &str) -> Self {
        self.only(Selector::Group(group.into()))
    }

    /// Means only those of the channels that have this id, or are named otherwise.
    pub fn client(self, id: &ClientId) -> Self {
        self.only(Selector::Client(id.clone()))
    }

    /// Leaves a connection out.
    pub fn except(mut self, connection: &Connection<I>) -> Self {
        self.except.push(Selector::Connection(connection.clone()));
        self
    }

    /// Leaves connections out.
    pub fn except_all<'a>(mut self, connections: impl IntoIterator<Item = &'a Connection<I>>) -> Self {
        self.except.extend(connections.into_iter().cloned().map(Selector::Connection));
        self
    }

    /// Leaves a channel out.
    pub fn except_channel(mut self, channel: &str) -> Self {
        self.except.push(Selector::Channel(channel.into()));
        self
    }

    /// Leaves those out that are in a group of this name.
    pub fn except_group(mut self, group: &str) -> Self {
        self.except.push(Selector::Group(group.into()));
        self
    }

    /// Leaves the connection with this id out.
    pub fn except_client(mut self, id: &ClientId) -> Self {
        self.except.push(Selector::Client(id.clone()));
        self
    }

    /// The connections it means now.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection<I>> {
        self.members().iter().filter(|member| !self.leaves_out(member)).cloned().collect()
    }

    /// Their ids.
    #[must_use]
    pub fn client_ids(&self) -> Vec<ClientId> {
        self.connections().iter().map(|connection| connection.id().clone()).collect()
    }

    /// Sends a message to all of them. It is encoded once and is in every outbox when this returns, in the order
    /// of the calls; it waits for nobody. A receiver whose outbox is full meets its overflow policy.
    ///
    /// # Errors
    ///
    /// When the value has no form on the wire, or a [`BroadcastLevel`] wants more to be named. Nothing is sent then.
    pub fn send(&self, message: impl IntoMessage) -> Result<BroadcastReport, BroadcastError> {
        self.check_levels()?;
        let (frame, notice) = encode(message, self.shared.subscriptions.wants_notices())?;
        let mut report = BroadcastReport::default();
        let flushers = &self.shared.flushers;
        let mut lists: Vec<Vec<Arc<ConnectionState<I>>>> = flushers.iter().map(|_| Vec::new()).collect();
        let members = self.members();
        charge_sends(members.len());
        for member in members.iter() {
            if self.leaves_out(member) {
                continue;
            }
            if member.0.core.outbox.broadcast(&frame, notice.as_ref(), &mut report) {
                // Where there is no choice, the number stays out of the cache.
                let flusher = if lists.len() == 1 { 0 } else { member.0.serial as usize % lists.len() };
                lists[flusher].push(Arc::clone(&member.0));
            }
        }
        for (flusher, list) in flushers.iter().zip(&mut lists) {
            flusher.list(list);
        }
        Ok(report)
    }

    /// Closes all of them, each after what is queued for it; answers how many were open. Broadcast levels do not
    /// matter here.
    pub fn close(&self, code: CloseCode, reason: &str) -> usize {
        self.connections().iter().filter(|connection| connection.close(code, reason)).count()
    }

    fn leaves_out(&self, member: &Connection<I>) -> bool {
        self.except.iter().any(|part| part.has(member))
    }

    fn check_levels(&self) -> Result<(), BroadcastError> {
        let named = self.only.iter().map(Selector::level).min().unwrap_or(BroadcastLevel::Name);
        self.shared.params.levels.check(&self.channels, named)
    }

    fn members(&self) -> Arc<[Connection<I>]> {
        let registry = &self.shared.registry;
        match (&*self.channels, &*self.only) {
            ([], []) => registry.all(),
            ([channel], []) => registry.channel(channel),
            ([channel], [Selector::Group(group)]) => registry.group(channel, group),
            ([], [Selector::User(user)]) => registry.user(user),
            _ => self.selected().into(),
        }
    }

    fn selected(&self) -> Vec<Connection<I>> {
        let registry = &self.shared.registry;
        let is_meant = |connection: &Connection<I>| {
            (self.channels.is_empty() || self.channels.iter().any(|name| **name == *connection.channel()))
                && (self.only.is_empty() || self.only.iter().any(|part| part.has(connection)))
        };
        let mut selected = Vec::new();
        let mut add = |candidates: &[Connection<I>]| {
            selected.extend(candidates.iter().filter(|one| is_meant(one)).cloned());
        };
        let is_among_few =
            !self.only.is_empty() && self.only.iter().all(|part| part.level() == BroadcastLevel::ClientId);
        if is_among_few {
            for part in &self.only {
                match part {
                    Selector::Client(id) => add(registry.client(id).as_slice()),
                    Selector::User(user) => add(&registry.user(user)),
                    Selector::Channel(_) | Selector::Connection(_) | Selector::Group(_) => {}
                }
            }
        } else if self.channels.is_empty() {
            add(&registry.all());
        } else {
            self.channels.iter().for_each(|channel| add(&registry.channel(channel)));
        }
        // Named twice is sent once.
        selected.sort_unstable_by_key(|connection| connection.0.serial);
        selected.dedup();
        selected
    }
}

impl<T: UserId> Audience<User<T>> {
    /// Means only those of the channels that are this user's, or are named otherwise.
    pub fn user(self, user: &T) -> Self {
        self.only(Selector::User(user.clone()))
    }

    /// Leaves a user's connections out.
    pub fn except_user(mut self, user: &T) -> Self {
        self.except.push(Selector::User(user.clone()));
        self
    }
}

impl<I: Identity> fmt::Debug for Selector<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => f.debug_tuple("Channel").field(name).finish(),
            Self::Client(id) => f.debug_tuple("Client").field(id).finish(),
            Self::Connection(connection) => f.debug_tuple("Connection").field(connection.id()).finish(),
            Self::Group(name) => f.debug_tuple("Group").field(name).finish(),
            Self::User(id) => f.debug_tuple("User").field(id).finish(),
        }
    }
}

impl<I: Identity> fmt::Debug for Audience<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience")
            .field("channels", &self.channels)
            .field("only", &self.only)
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}
