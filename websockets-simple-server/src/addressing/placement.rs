//! The channel, groups and id of a new connection.

use std::sync::Arc;

use crate::{addressing::registry::ReservedId, config::ClientId, users::Identity};

/// The channel, groups and id of a new connection, set by the application before the handshake is answered.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{Placement, ServerParams, WebsocketServer};
///
/// let server = WebsocketServer::new(ServerParams::local()).with_placement(|request, _user| {
///     let placement = Placement::new().channel("news");
///     match request.head().query("lang") {
///         Some(language) => placement.group(&language),
///         None => placement,
///     }
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Placement {
    pub(crate) channel: Option<Box<str>>,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) client_id: Option<ClientId>,
}

impl Placement {
    /// The default: the channel of the path, no groups, a random id.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the channel, instead of that of the path.
    #[must_use]
    pub fn channel(mut self, name: &str) -> Self {
        self.channel = Some(name.into());
        self
    }

    /// Adds a group of the channel.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        if !self.groups.iter().any(|held| **held == *name) {
            self.groups.push(name.into());
        }
        self
    }

    /// Sets the id. If another connection has it, the client is refused with 409.
    #[must_use]
    pub fn client_id(mut self, id: ClientId) -> Self {
        self.client_id = Some(id);
        self
    }
}

/// The channel, groups and id of a connection to be opened.
pub(crate) struct PlacedConnection<I: Identity> {
    pub(crate) channel: Option<Box<str>>,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) id: ClientId,
    /// Reserves a chosen id until the connection is registered.
    pub(crate) reserved: Option<ReservedId<I>>,
}

impl<I: Identity> PlacedConnection<I> {
    /// The channel of the path, no groups, a random id.
    pub(crate) fn anywhere() -> Self {
        Self { channel: None, groups: Vec::new(), id: ClientId::random(), reserved: None }
    }
}
