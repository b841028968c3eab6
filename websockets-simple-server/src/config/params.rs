//! How a server is set up.

use std::{net::SocketAddr, time::Duration};

use websockets_simple_core::{Compatibility, Heartbeat, HeartbeatMode, OverflowPolicy};

use crate::{
    config::{
        broadcast_level::Levels, endpoint::Endpoint, fallback::Fallback, heartbeat::HeartbeatOf,
        id_signing::IdSigning, identity_headers::IdentityHeaders, limits::Limits, scope::Scope,
        signal_defaults::SignalDefaults,
    },
    net::TrustedProxies,
};

/// Parameters of a server. Each has a default that is safe on the open internet.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{OverflowPolicy, ServerParams};
///
/// let params = ServerParams::new(8080)
///     .success_text("Connected Successfully")
///     .subprotocols(["chat"])
///     .overflow(OverflowPolicy::DropOldest);
/// ```
#[derive(Clone, Debug)]
pub struct ServerParams {
    pub(crate) endpoints: Vec<Endpoint>,
    endpoints_are_default: bool,
    pub(crate) success_text: Option<String>,
    pub(crate) unauthorized_text: String,
    pub(crate) unauthorized_delivery: UnauthorizedDelivery,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) heartbeat: Heartbeat,
    pub(super) heartbeat_is_default: bool,
    pub(super) heartbeat_of: Option<HeartbeatOf>,
    pub(crate) limits: Limits,
    pub(crate) outbox: usize,
    pub(crate) overflow: OverflowPolicy,
    pub(crate) compatibility: Compatibility,
    pub(super) origins: Option<Vec<String>>,
    same_origin: bool,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) token_placements: TokenPlacements,
    pub(crate) ask_without_credentials: bool,
    pub(crate) close_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) expiry_notice: Duration,
    pub(crate) expiry_grace: Duration,
    pub(crate) levels: Levels,
    pub(crate) signals: SignalDefaults,
    pub(crate) id_signing: Option<IdSigning>,
    pub(crate) scope: Scope,
    pub(crate) identity_headers: IdentityHeaders,
    /// What was asked for instead, and cannot be.
    pub(super) invalid_identity_prefix: Option<String>,
    /// Whether they are sent by our own endpoints, too.
    pub(crate) sends_identity_headers: bool,
}

/// How a client learns that it is not authorized.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum UnauthorizedDelivery {
    /// 401 whose body is the unauthorized text.
    #[default]
    Http401,
    /// The handshake succeeds, then the unauthorized text is sent and the connection closed with 1008: for
    /// browsers, whose scripts cannot read a refused handshake.
    UpgradeAndClose,
}

/// Where a server looks for a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct TokenPlacements {
    /// `Authorization: Bearer TOKEN`.
    pub header: bool,
    /// An offered subprotocol `bearer.BASE64URL(TOKEN)`.
    pub subprotocol: bool,
    /// The query parameter `token`. URLs reach logs.
    pub query: bool,
    /// The whole path, undecoded, when none of the others carried a token; as the .NET v6 client does. URLs
    /// reach logs.
    pub path: bool,
}

impl Default for TokenPlacements {
    fn default() -> Self {
        Self { header: true, subprotocol: true, query: true, path: true }
    }
}

impl TokenPlacements {
    /// The `Authorization` header alone.
    #[must_use]
    pub fn header_only() -> Self {
        Self { header: true, subprotocol: false, query: false, path: false }
    }
}

impl ServerParams {
    /// Listens on all interfaces: IPv6 and IPv4 on one port, or IPv4 alone where there is no IPv6. Port 0 lets
    /// the system choose.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self::with_endpoint(Endpoint::all(port))
    }

    /// Listens on a port of the loopback interface that the system chooses.
    #[must_use]
    pub fn local() -> Self {
        Self::with_endpoint(Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    /// Listens nowhere: all connections come by an HTTP server of the application, through
    /// [`upgrade`](crate::Server::upgrade).
    #[must_use]
    pub fn mounted() -> Self {
        Self::with_endpoints(Vec::new())
    }

    fn with_endpoint(endpoint: Endpoint) -> Self {
        Self::with_endpoints(vec![endpoint])
    }

    fn with_endpoints(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            endpoints_are_default: true,
            success_text: None,
            unauthorized_text: "Unauthorized".to_owned(),
            unauthorized_delivery: UnauthorizedDelivery::default(),
            subprotocols: Vec::new(),
            heartbeat: Heartbeat::default(),
            fallback: None,
            heartbeat_is_default: true,
            heartbeat_of: None,
            limits: Limits::default(),
            outbox: 1024 * 1024,
            overflow: OverflowPolicy::default(),
            compatibility: Compatibility::default(),
            origins: None,
            same_origin: false,
            trusted_proxies: TrustedProxies::default(),
            token_placements: TokenPlacements::default(),
            ask_without_credentials: false,
            close_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(10),
            retry_after: Duration::from_secs(5),
            expiry_notice: Duration::from_secs(60),
            expiry_grace: Duration::from_secs(30),
            levels: Levels::default(),
            signals: SignalDefaults::default(),
            id_signing: None,
            scope: Scope::default(),
            identity_headers: IdentityHeaders::default(),
            invalid_identity_prefix: None,
            sends_identity_headers: false,
        }
    }

    /// Listens here. The first call replaces the endpoint the parameters began with, later ones add to it.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        if std::mem::take(&mut self.endpoints_are_default) {
            self.endpoints.clear();
        }
        self.endpoints.push(endpoint);
        self
    }

    /// The text sent to every new connection, before anything else. Default: none.
    #[must_use]
    pub fn success_text(mut self, text: impl Into<String>) -> Self {
        self.success_text = Some(text.into());
        self
    }

    /// What a client that is not authorized is told. Default: `Unauthorized`.
    #[must_use]
    pub fn unauthorized_text(mut self, text: impl Into<String>) -> Self {
        self.unauthorized_text = text.into();
        self
    }

    /// How it is told so. Default: [`UnauthorizedDelivery::Http401`].
    #[must_use]
    pub fn unauthorized_delivery(mut self, delivery: UnauthorizedDelivery) -> Self {
        self.unauthorized_delivery = delivery;
        self
    }

    /// The subprotocols that clients may choose from, the preferred first. A client that offers some, but none
    /// of these, is refused. Default: none.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// What peers may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes that may wait for a peer that reads slowly. Default: 1 MiB, used only while a peer is slow.
    #[must_use]
    pub fn outbox(mut self, bytes: usize) -> Self {
        self.outbox = bytes;
        self
    }

    /// What happens beyond that. Default: the peer is disconnected.
    #[must_use]
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.overflow = policy;
        self
    }

    /// Adapts to deployed .NET peers. Default: [`Compatibility::None`].
    #[must_use]
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        if compatibility == Compatibility::DotNetV7 && self.heartbeat == Heartbeat::default() {
            // Its clients answer ping frames and would take a text for a message.
            let interval = Duration::from_secs(30);
            self.heartbeat = Heartbeat::new(interval, HeartbeatMode::Ping);
            self.heartbeat_is_default = false;
        }
        self
    }

    /// Accepts requests with these `Origin` headers only, compared as a whole and without regard to ASCII case;
    /// a request without the header comes from no browser and is accepted. Default: any origin.
    #[must_use]
    pub fn origins(mut self, allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.origins = Some(allowed.into_iter().map(Into::into).collect());
        self
    }

    /// The proxies that are believed when they tell the address of a client. Default: none.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// Accepts requests from pages that came from the host and port that the request itself goes to (its `Host`),
    /// beside those of [`origins`](Self::origins), and no others: for servers that serve their pages too and do not know
    /// under which names.
    ///
    /// A proxy has to pass `Host` on as it is. The scheme is not compared, as it changes at a proxy that ends TLS.
    #[must_use]
    pub fn same_origin(mut self) -> Self {
        self.same_origin = true;
        self
    }

    /// Where a token may be. Default: everywhere.
    #[must_use]
    pub fn token_placements(mut self, placements: TokenPlacements) -> Self {
        self.token_placements = placements;
        self
    }

    /// Whether the user service is asked about clients that show no credentials. Default: they are refused at
    /// once.
    #[must_use]
    pub fn ask_without_credentials(mut self, ask: bool) -> Self {
        self.ask_without_credentials = ask;
        self
    }

    /// Time for queued messages to leave and the peer to answer when a connection is closed. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Time for everybody to be gone when the server stops. Default: 10 s.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// What a refused client is told to wait before it tries again. Default: 5 s.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// How long before its credentials expire a client is asked for new ones, and how much longer than them its
    /// connection stays, waiting. Clients that did not choose the subprotocol `websockets-simple` cannot be asked, and
    /// are closed when the credentials expire. Default: 60 s before, 30 s longer.
    #[must_use]
    pub fn expiry(mut self, notice: Duration, grace: Duration) -> Self {
        self.expiry_notice = notice;
        self.expiry_grace = grace;
        self
    }

    pub(crate) fn allows_origin(&self, origin: &str, host: &str) -> bool {
        let Some(allowed) = &self.origins else {
            return !self.same_origin || is_of(origin, host);
        };
        allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
            || (self.same_origin && is_of(origin, host))
    }
}

/// Whether an origin is of a host, its port included. Browsers leave out the port of the scheme in both.
fn is_of(origin: &str, host: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_if_it_is_listed_or_that_of_the_host_where_either_is_asked_for() {
        let any = ServerParams::local();
        let same = ServerParams::local().same_origin();
        let both = ServerParams::local().origins(["https://Pages.example"]).same_origin();
        let listed = ServerParams::local().origins(["https://pages.example"]);
        for (origin, host, allowed) in [
            ("https://chat.example", "Chat.example", [true, true, true, false]),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", [true, true, true, false]),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", [true, false, false, false]),
            ("https://chat.example.evil", "chat.example", [true, false, false, false]),
            ("https://pages.example", "chat.example", [true, false, true, true]),
            ("null", "null", [true, false, false, false]),
            ("https://", "", [true, false, false, false]),
        ] {
            let of = |params: &ServerParams| params.allows_origin(origin, host);
            assert_eq!([&any, &same, &both, &listed].map(of), allowed, "{origin} on {host}");
        }
    }
}
