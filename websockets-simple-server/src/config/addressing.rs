//! Server parameters for ids, broadcasts and signals.

use crate::config::{
    broadcast_level::BroadcastLevel,
    id_signing::IdSigning,
    identity_headers::IdentityHeaders,
    params::ServerParams,
    scope::Scope,
    signal_defaults::{SignalDefault, SignalReach},
};

impl ServerParams {
    /// Sets how specific broadcasts must be in channels without their own level. Default: [`BroadcastLevel::Name`].
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{BroadcastError, BroadcastLevel, ServerParams, WebsocketServer};
    ///
    /// let params = ServerParams::local().broadcast_level_of("/payments", BroadcastLevel::ClientId);
    /// let server = WebsocketServer::new(params);
    /// assert!(matches!(server.to_channel("/payments").send_text("paid"), Err(BroadcastError::Level { .. })));
    /// assert!(server.to_channel("/news").send_text("hello").is_ok());
    /// ```
    #[must_use]
    pub fn broadcast_level(mut self, level: BroadcastLevel) -> Self {
        self.levels.of_all = level;
        self
    }

    /// Sets how specific broadcasts to this channel must be.
    #[must_use]
    pub fn broadcast_level_of(mut self, channel: &str, level: BroadcastLevel) -> Self {
        self.levels.of.insert(channel.into(), level);
        self
    }

    /// Sets what happens to messages in channels without a route or their own default. Default:
    /// [`SignalDefault::Ignore`]. A message event is raised in any case.
    #[must_use]
    pub fn signals(mut self, default: SignalDefault) -> Self {
        self.signals.of_all = default;
        self
    }

    /// Sets what happens to messages in this channel if it has no route.
    #[must_use]
    pub fn signals_of(mut self, channel: &str, default: SignalDefault) -> Self {
        self.signals.of.insert(channel.into(), default);
        self
    }

    /// Sets which connections clients may address with signals. Default: [`SignalReach::OwnChannel`].
    #[must_use]
    pub fn signal_reach(mut self, reach: SignalReach) -> Self {
        self.signals.reach = reach;
        self
    }

    /// Sets the scope of connections made by [`Server::upgrade`](crate::Server::upgrade) that do not set their own.
    /// With [`Scope::Local`], a connection without a future ([`Upgrade::local`](crate::Upgrade::local)) is closed at
    /// once, so that none stays open by mistake. Default: [`Scope::Global`].
    #[must_use]
    pub fn default_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Signs the connection ids that are sent to clients. Default: ids are not signed, and a client that knows the id
    /// of another connection can impersonate its client in ordinary requests
    /// ([`Server::caller`](crate::Server::caller)).
    #[must_use]
    pub fn id_signing(mut self, signing: IdSigning) -> Self {
        self.id_signing = Some(signing);
        self
    }

    /// Sends clients their id, channel and groups in headers of the handshake response: `PREFIX-CLIENT-ID`,
    /// `PREFIX-NAME` (the channel) and one `PREFIX-GROUP` per group. [`Server::caller`](crate::Server::caller) reads
    /// them in ordinary requests. Default: with the prefix `X-PODE-SIGNAL` of Pode for connections through
    /// [`Server::upgrade`](crate::Server::upgrade), and no headers on the server's own endpoints. `start` fails if the
    /// prefix is not valid in a header name.
    #[must_use]
    pub fn identity_headers(mut self, prefix: &str) -> Self {
        match IdentityHeaders::new(prefix) {
            Some(headers) => {
                self.identity_headers = headers;
                self.invalid_identity_prefix = None;
            }
            None => self.invalid_identity_prefix = Some(prefix.to_owned()),
        }
        self.sends_identity_headers = true;
        self
    }
}
