//! The channel, groups and id of a new connection.

use std::sync::Arc;

use crate::{addressing::reserved::ReservedId, config::ClientId, users::Identity};

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
    pub(crate) takes_over: bool,
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

    /// Sets the id. If another connection has it, its peer is asked for a sign of life: if none comes within two seconds,
    /// that connection is lost (4000), and this one gets its id. Otherwise this client is refused with 409. See
    /// [`takes_over`](Self::takes_over) for the other way round.
    #[must_use]
    pub fn client_id(mut self, id: ClientId) -> Self {
        self.client_id = Some(id);
        self
    }

    /// Whether the connection takes its [id](Self::client_id) over from one that has it: that one is closed with
    /// [`CloseCode::REPLACED`](crate::CloseCode::REPLACED), after which clients do not connect again, and nobody is refused.
    /// So who comes back is never locked out by a connection of their own that is dead, and of two programs with the same
    /// id the last one stays. Default: `false`.
    ///
    /// The connection has the id as soon as it is open; the other one then takes its time to close, cannot be looked up by
    /// the id any more, and its Disconnected event follows, in a task of its own: usually behind the Connected event of this
    /// one. So handlers that keep connections by their ids compare the connections when one ends. If both are of the same
    /// user, the other one does not count for [`Limits::connections_per_user`](crate::Limits::connections_per_user). Of a
    /// [local](crate::Scope::Local) connection the id is not taken over, only when it gives no sign of life.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ClientId, Placement, ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local()).with_placement(|request, _user| {
    ///     match request.head().query("terminal").and_then(|name| ClientId::new(&name).ok()) {
    ///         Some(id) => Placement::new().client_id(id).takes_over(true),
    ///         None => Placement::new(),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn takes_over(mut self, takes_over: bool) -> Self {
        self.takes_over = takes_over;
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
    /// As the application wants it, with its id, if it chose one.
    pub(crate) fn new(placement: Placement, reserved: Option<ReservedId<I>>) -> Self {
        let Placement { channel, groups, client_id, .. } = placement;
        Self { channel, groups, id: client_id.unwrap_or_else(ClientId::random), reserved }
    }

    /// The channel of the path, no groups, a random id.
    pub(crate) fn anywhere() -> Self {
        Self { channel: None, groups: Vec::new(), id: ClientId::random(), reserved: None }
    }
}
