//! Lookup of connections, and messages to several of them.

use websockets_simple_core::{BroadcastReport, IntoMessage, Text};

use super::Server;
use crate::{
    addressing::Audience,
    config::{BroadcastError, ClientId},
    connection::Connection,
    users::Identity,
};

impl<I: Identity> Server<I> {
    /// All open connections, in no particular order.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection<I>> {
        self.shared.registry.all().iter().cloned().collect()
    }

    /// The open connection with this id.
    #[must_use]
    pub fn connection(&self, id: &ClientId) -> Option<Connection<I>> {
        self.shared.registry.client(id)
    }

    /// The channels with at least one connection, in no particular order.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        self.shared.registry.channels()
    }

    /// Whether this channel has a connection.
    #[must_use]
    pub fn has_channel(&self, channel: &str) -> bool {
        !self.shared.registry.channel(channel).is_empty()
    }

    /// The groups of a channel with at least one connection, in no particular order.
    #[must_use]
    pub fn groups(&self, channel: &str) -> Vec<String> {
        self.shared.registry.groups(channel)
    }

    /// Whether this group of a channel has a connection.
    #[must_use]
    pub fn has_group(&self, channel: &str, group: &str) -> bool {
        !self.shared.registry.group(channel, group).is_empty()
    }

    /// Whether a connection with this id is open.
    #[must_use]
    pub fn has_client(&self, id: &ClientId) -> bool {
        self.shared.registry.client(id).is_some()
    }

    /// The number of open connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.registry.count()
    }

    /// Selects all connections.
    pub fn to_all(&self) -> Audience<I> {
        Audience::all(&self.shared)
    }

    /// Selects all connections of a channel: those whose request had this path, percent-decoded, leading slash
    /// included, case-sensitive, unless their [`Placement`](crate::Placement) set another channel.
    pub fn to_channel(&self, channel: &str) -> Audience<I> {
        self.to_all().channel(channel)
    }

    /// Selects all connections in a group of a channel.
    pub fn to_group(&self, channel: &str, group: &str) -> Audience<I> {
        self.to_channel(channel).group(group)
    }

    /// Selects the connection with this id.
    pub fn to_client(&self, id: &ClientId) -> Audience<I> {
        self.to_all().client(id)
    }

    /// Sends a message to all connections, as [`to_all`](Self::to_all) and [`send`](Audience::send) do. **A string is
    /// sent as a packet**, `{"Data":"hi","Timestamp":".."}`; [`broadcast_text`](Self::broadcast_text) sends the text as
    /// it is, and [`Json`](crate::Json)`(&value)` is any serializable value.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`] if the value cannot be encoded, or if a [`BroadcastLevel`](crate::BroadcastLevel) requires a
    /// more specific target.
    pub fn broadcast(&self, message: impl IntoMessage) -> Result<BroadcastReport, BroadcastError> {
        self.to_all().send(message)
    }

    /// Sends a text to all connections as it is: [`broadcast`](Self::broadcast) would make a packet of it.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`] if a [`BroadcastLevel`](crate::BroadcastLevel) requires a more specific target.
    pub fn broadcast_text(&self, text: impl Into<Text>) -> Result<BroadcastReport, BroadcastError> {
        self.to_all().send_text(text)
    }
}
