//! How connections are named and addressed.

use crate::config::{
    broadcast_level::BroadcastLevel,
    id_signing::IdSigning,
    identity_headers::IdentityHeaders,
    params::ServerParams,
    scope::Scope,
    signal_defaults::{SignalDefault, SignalReach},
};

impl ServerParams {
    /// What a send must name at least, in channels without a level of their own. Default: [`BroadcastLevel::Name`].
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{BroadcastError, BroadcastLevel, ServerParams, WebsocketServer};
    ///
    /// let params = ServerParams::local().broadcast_level_of("/payments", BroadcastLevel::ClientId);
    /// let server = WebsocketServer::new(params);
    /// assert!(matches!(server.to_channel("/payments").send("paid"), Err(BroadcastError::Level { .. })));
    /// assert!(server.to_channel("/news").send("hello").is_ok());
    /// ```
    #[must_use]
    pub fn broadcast_level(mut self, level: BroadcastLevel) -> Self {
        self.levels.of_all = level;
        self
    }

    /// What a send to this channel must name at least.
    #[must_use]
    pub fn broadcast_level_of(mut self, channel: &str, level: BroadcastLevel) -> Self {
        self.levels.of.insert(channel.into(), level);
        self
    }

    /// What happens to messages of channels without a route or a default of their own. Default:
    /// [`SignalDefault::Ignore`]; they are events in any case.
    #[must_use]
    pub fn signals(mut self, default: SignalDefault) -> Self {
        self.signals.of_all = default;
        self
    }

    /// What happens to messages of this channel, if it has no route.
    #[must_use]
    pub fn signals_of(mut self, channel: &str, default: SignalDefault) -> Self {
        self.signals.of.insert(channel.into(), default);
        self
    }

    /// Whom clients may address with signals. Default: [`SignalReach::OwnChannel`].
    #[must_use]
    pub fn signal_reach(mut self, reach: SignalReach) -> Self {
        self.signals.reach = reach;
        self
    }

    /// The scope of connections that come by [`Server::upgrade`](crate::Server::upgrade), where that does not say it. With
    /// [`Scope::Local`], one that is given no future by [`Upgrade::local`](crate::Upgrade::local) ends as soon as it has
    /// begun, so that none stays open by mistake. Default: [`Scope::Global`].
    #[must_use]
    pub fn default_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Signs the ids of connections wherever clients get them. Default: they are not signed, and who knows the id of a
    /// connection can pass for its client.
    #[must_use]
    pub fn id_signing(mut self, signing: IdSigning) -> Self {
        self.id_signing = Some(signing);
        self
    }

    /// Tells clients their place in headers of the answer to the handshake: `PREFIX-CLIENT-ID`, `PREFIX-NAME` (the
    /// channel) and `PREFIX-GROUP`, one for each group; [`Server::caller`](crate::Server::caller) reads them in ordinary
    /// requests. Default: those who come by [`Server::upgrade`](crate::Server::upgrade) are told, with the prefix
    /// `X-PODE-SIGNAL` that Pode has, and those who come to our own endpoints are not.
    /// A prefix that cannot begin the name of a header is an error of `start`.
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
