//! The targets of messages.

use std::{borrow::Borrow, fmt, sync::Arc};

use websockets_simple_core::{
    BroadcastReport, CloseCode, Encoding, IntoMessage, Message, Text, charge_sends,
};

use crate::{
    addressing::Snapshot,
    config::{BroadcastError, BroadcastLevel, ClientId},
    connection::{Connection, ConnectionState},
    run::Shared,
    users::{Identity, User, UserId},
};

/// A selection of a server's connections, to send to them, close them or list them. It is evaluated at each use.
///
/// It begins with [`Server::to_all`](crate::Server::to_all), [`to_channel`](crate::Server::to_channel) or another of
/// these methods. Channels are combined with "or", and so are groups, users and clients, which narrow the channels:
/// `to_channel("/news").group("de").group("fr")` selects the connections in `/news` that are in either group.
#[must_use = "an audience does nothing until a message is sent to it"]
pub struct Audience<I: Identity> {
    pub(super) shared: Arc<Shared<I>>,
    /// Empty for all channels.
    pub(super) channels: Vec<Box<str>>,
    /// Narrows the channels; empty for all their connections.
    pub(super) only: Vec<Selector<I>>,
    pub(super) except: Vec<Selector<I>>,
    /// Whether only connections of this node are meant.
    #[cfg(feature = "cluster")]
    pub(super) is_here: bool,
}

/// A criterion for connections.
pub(crate) enum Selector<I: Identity> {
    Channel(Box<str>),
    Client(ClientId),
    Connection(Connection<I>),
    Group(Box<str>),
    User(I::Id),
}

impl<I: Identity> Selector<I> {
    fn matches(&self, connection: &Connection<I>) -> bool {
        match self {
            Self::Channel(channel) => *connection.channel() == **channel,
            Self::Client(id) => connection.id() == id,
            Self::Connection(other) => connection == other,
            Self::Group(group) => connection.is_in(group),
            Self::User(user) => connection.0.origin.user.as_ref().is_some_and(|of| of.id() == user),
        }
    }

    /// The level that a broadcast with this selector satisfies.
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
        Self {
            shared: Arc::clone(shared),
            channels: Vec::new(),
            only: Vec::new(),
            except: Vec::new(),
            #[cfg(feature = "cluster")]
            is_here: false,
        }
    }

    fn only(mut self, part: Selector<I>) -> Self {
        self.only.push(part);
        self
    }

    /// Adds a channel. Without one, all channels are selected.
    pub fn channel(mut self, channel: &str) -> Self {
        self.channels.push(channel.into());
        self
    }

    /// Adds the connections of the channels that are in this group. Without a group, client or user, all connections of
    /// the channels are selected.
    pub fn group(self, group: &str) -> Self {
        self.only(Selector::Group(group.into()))
    }

    /// Adds the connection of the channels with this id, as [`group`](Self::group) does for a group.
    pub fn client(self, id: &ClientId) -> Self {
        self.only(Selector::Client(id.clone()))
    }

    /// Excludes a connection.
    pub fn except(mut self, connection: &Connection<I>) -> Self {
        self.except.push(Selector::Connection(connection.clone()));
        self
    }

    /// Excludes connections.
    pub fn except_all<'a>(mut self, connections: impl IntoIterator<Item = &'a Connection<I>>) -> Self {
        self.except.extend(connections.into_iter().cloned().map(Selector::Connection));
        self
    }

    /// Excludes a channel.
    pub fn except_channel(mut self, channel: &str) -> Self {
        self.except.push(Selector::Channel(channel.into()));
        self
    }

    /// Excludes connections that are in a group of this name.
    pub fn except_group(mut self, group: &str) -> Self {
        self.except.push(Selector::Group(group.into()));
        self
    }

    /// Excludes the connection with this id.
    pub fn except_client(mut self, id: &ClientId) -> Self {
        self.except.push(Selector::Client(id.clone()));
        self
    }

    /// Selects connections of this node alone, not those of the other nodes of a [cluster](crate::cluster).
    #[cfg(feature = "cluster")]
    pub fn here(mut self) -> Self {
        self.is_here = true;
        self
    }

    /// The connections that are selected now, of this node alone.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection<I>> {
        self.members().iter().filter(|member| !self.is_excluded(member)).cloned().collect()
    }

    /// The ids of the connections that are selected now, of this node alone.
    #[must_use]
    pub fn client_ids(&self) -> Vec<ClientId> {
        self.connections().iter().map(|connection| connection.id().clone()).collect()
    }

    /// Sends a message to all selected connections, without waiting. **A string is sent as a packet**,
    /// `{"Data":"hi","Timestamp":".."}`; [`send_text`](Self::send_text) sends the text as it is, and
    /// [`Json`](crate::Json)`(&value)` is any serializable value. [`IntoMessage`] lists the rest. It is encoded once, and queued in every outbox
    /// when this returns, in the order of the calls. The overflow policy applies to a connection whose outbox is full.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`] if the value cannot be encoded, or if a [`BroadcastLevel`] requires a more specific target.
    /// No message is sent then.
    pub fn send(&self, message: impl IntoMessage) -> Result<BroadcastReport, BroadcastError> {
        self.check_levels()?;
        let encoding = Encoding::new(message, self.shared.subscriptions.wants_notices())?;
        #[cfg_attr(not(feature = "cluster"), expect(unused_mut, reason = "there are no other nodes"))]
        let mut report = self.offer(&encoding);
        #[cfg(feature = "cluster")]
        {
            report.remote = self.send_there(&encoding);
        }
        Ok(report)
    }

    /// Sends what another node has sent, whose broadcast levels were satisfied.
    #[cfg(feature = "cluster")]
    pub(crate) fn send_here(&self, message: impl IntoMessage) -> Result<BroadcastReport, BroadcastError> {
        Ok(self.offer(&Encoding::new(message, self.shared.subscriptions.wants_notices())?))
    }

    /// Offers a message to the connections of this node.
    fn offer(&self, encoding: &Encoding) -> BroadcastReport {
        let mut report = BroadcastReport::default();
        let flushers = &self.shared.flushers;
        let mut lists: Vec<Vec<Arc<ConnectionState<I>>>> = flushers.iter().map(|_| Vec::new()).collect();
        let members = self.members();
        charge_sends(members.len());
        // Faster than a loop, which goes from chunk to chunk in each of its steps.
        members.iter().for_each(|member| {
            if !self.is_excluded(member) && member.0.core.outbox.broadcast(encoding, &mut report) {
                // With one flusher the serial need not be loaded into the cache.
                let flusher = if lists.len() == 1 { 0 } else { member.0.serial as usize % lists.len() };
                lists[flusher].push(Arc::clone(&member.0));
            }
        });
        for (flusher, list) in flushers.iter().zip(&mut lists) {
            flusher.list(list);
        }
        report
    }

    /// Sends a text to all selected connections as it is: [`send`](Self::send) would make a packet of it.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`] if a [`BroadcastLevel`] requires a more specific target. No message is sent then.
    pub fn send_text(&self, text: impl Into<Text>) -> Result<BroadcastReport, BroadcastError> {
        self.send(Message::text(text))
    }

    /// Closes all selected connections, each after its queued messages; answers how many were open, at this node alone.
    /// Broadcast levels do not apply.
    pub fn close(&self, code: CloseCode, reason: &str) -> usize {
        #[cfg(feature = "cluster")]
        self.close_there(code, reason);
        self.close_here(code, reason)
    }

    pub(crate) fn close_here(&self, code: CloseCode, reason: &str) -> usize {
        self.connections().iter().filter(|connection| connection.close(code, reason)).count()
    }

    fn is_excluded(&self, member: &Connection<I>) -> bool {
        self.except.iter().any(|part| part.matches(member))
    }

    fn check_levels(&self) -> Result<(), BroadcastError> {
        let named = self.only.iter().map(Selector::level).min().unwrap_or(BroadcastLevel::Name);
        self.shared.params.levels.check(&self.channels, named)
    }

    fn members(&self) -> Snapshot<I> {
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
        let is_selected = |connection: &Connection<I>| {
            (self.channels.is_empty() || self.channels.iter().any(|name| **name == *connection.channel()))
                && (self.only.is_empty() || self.only.iter().any(|part| part.matches(connection)))
        };
        let mut selected = Vec::new();
        let mut add = |candidates: Snapshot<I>| {
            selected.extend(candidates.iter().filter(|one| is_selected(one)).cloned());
        };
        let has_direct_lookup =
            !self.only.is_empty() && self.only.iter().all(|part| part.level() == BroadcastLevel::ClientId);
        if has_direct_lookup {
            for part in &self.only {
                match part {
                    Selector::Client(id) => add(Vec::from_iter(registry.client(id)).into()),
                    Selector::User(user) => add(registry.user(user)),
                    Selector::Channel(_) | Selector::Connection(_) | Selector::Group(_) => {}
                }
            }
        } else if self.channels.is_empty() {
            add(registry.all());
        } else {
            self.channels.iter().for_each(|channel| add(registry.channel(channel)));
        }
        // A connection that was named twice is selected once.
        selected.sort_unstable_by_key(|connection| connection.0.serial);
        selected.dedup();
        selected
    }
}

impl<T: UserId> Audience<User<T>> {
    /// Adds the connections of the channels that belong to this user, as [`group`](Self::group) does for a group.
    pub fn user<Q>(self, user: &Q) -> Self
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.only(Selector::User(user.to_owned()))
    }

    /// Excludes a user's connections.
    pub fn except_user<Q>(mut self, user: &Q) -> Self
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.except.push(Selector::User(user.to_owned()));
        self
    }
}

impl<I: Identity> Clone for Selector<I> {
    fn clone(&self) -> Self {
        match self {
            Self::Channel(name) => Self::Channel(name.clone()),
            Self::Client(id) => Self::Client(id.clone()),
            Self::Connection(connection) => Self::Connection(connection.clone()),
            Self::Group(name) => Self::Group(name.clone()),
            Self::User(id) => Self::User(id.clone()),
        }
    }
}

impl<I: Identity> Clone for Audience<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            channels: self.channels.clone(),
            only: self.only.clone(),
            except: self.except.clone(),
            #[cfg(feature = "cluster")]
            is_here: self.is_here,
        }
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
