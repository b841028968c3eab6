//! Where a connection belongs, and what it is called.

use std::sync::Arc;

use crate::{addressing::registry::ReservedId, config::ClientId, users::Identity};

/// Where a connection belongs, and what it is called, said before its handshake is answered.
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
    /// In the channel of the path, in no group, with a random id.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts it into this channel, instead of that of its path.
    #[must_use]
    pub fn channel(mut self, name: &str) -> Self {
        self.channel = Some(name.into());
        self
    }

    /// Puts it into this group of its channel, and others that were named.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        if !self.groups.iter().any(|held| **held == *name) {
            self.groups.push(name.into());
        }
        self
    }

    /// Calls it this. While another connection is called so, the client is refused with 409.
    #[must_use]
    pub fn client_id(mut self, id: ClientId) -> Self {
        self.client_id = Some(id);
        self
    }
}

/// A connection's place, taken.
pub(crate) struct PlacedConnection<I: Identity> {
    pub(crate) channel: Option<Box<str>>,
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) id: ClientId,
    /// Nobody else gets the id until the connection is registered.
    pub(crate) reserved: Option<ReservedId<I>>,
}

impl<I: Identity> PlacedConnection<I> {
    /// In the channel of its path.
    pub(crate) fn anywhere() -> Self {
        Self { channel: None, groups: Vec::new(), id: ClientId::random(), reserved: None }
    }
}
