//! The parameters of a server.

use std::{net::SocketAddr, num::NonZeroU16, time::Duration};

use websockets_simple_core::{
    Compatibility, Heartbeat, HeartbeatMode, MessageParts, OverflowPolicy, Pacing, SUBPROTOCOL,
};

use crate::{
    config::{
        broadcast_level::Levels, endpoint::Endpoint, fallback::Fallback, id_signing::IdSigning,
        identity_headers::IdentityHeaders, limits::Limits, operations::Operations, per_request::PerRequest,
        scope::Scope, signal_defaults::SignalDefaults,
    },
    net::TrustedProxies,
};

/// The parameters of a server. All defaults are safe on the open internet.
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
    pub(super) heartbeat_of: Option<PerRequest<Option<Heartbeat>>>,
    #[cfg(feature = "deflate")]
    pub(super) compression: Option<websockets_simple_core::Compression>,
    #[cfg(feature = "deflate")]
    pub(super) compression_if: Option<PerRequest<bool>>,
    pub(crate) limits: Limits,
    pub(super) message_parts: Option<MessageParts>,
    pub(super) message_parts_of: Option<PerRequest<Option<MessageParts>>>,
    pub(crate) outbox: usize,
    pub(crate) overflow: OverflowPolicy,
    pub(crate) compatibility: Compatibility,
    pub(crate) first_frame_pause: Option<Duration>,
    pub(super) origins: Option<Vec<String>>,
    same_origin: bool,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) operations: Option<Operations>,
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
    /// An address that is not valid; `start` reports it.
    pub(super) invalid_address: Option<String>,
    /// A prefix for `identity_headers` that is not valid; `start` reports it.
    pub(super) invalid_identity_prefix: Option<String>,
    /// Whether the server's own endpoints send them, too.
    pub(crate) sends_identity_headers: bool,
    pub(crate) logs_users: bool,
}

/// How a server refuses an unauthorized client.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum UnauthorizedDelivery {
    /// The handshake is refused with 401, whose body is the unauthorized text.
    #[default]
    Http401,
    /// The handshake succeeds, then the unauthorized text is sent and the connection is closed with 1008: for
    /// browsers, where scripts cannot read the response of a refused handshake.
    UpgradeAndClose,
}

/// The parts of a request in which a server looks for a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct TokenPlacements {
    /// `Authorization: Bearer TOKEN`.
    pub header: bool,
    /// An offered subprotocol `bearer.BASE64URL(TOKEN)`.
    pub subprotocol: bool,
    /// The query parameter `token`. URLs reach logs.
    pub query: bool,
    /// The whole path, undecoded, if no other part carries a token, as the .NET v6 client sends it. URLs reach
    /// logs.
    pub path: bool,
}

impl Default for TokenPlacements {
    fn default() -> Self {
        Self { header: true, subprotocol: true, query: true, path: true }
    }
}

impl TokenPlacements {
    /// Accepts tokens only in the `Authorization` header.
    #[must_use]
    pub fn header_only() -> Self {
        Self { header: true, subprotocol: false, query: false, path: false }
    }
}

impl ServerParams {
    /// Listens on all interfaces: IPv6 and IPv4 on one port, or IPv4 alone where there is no IPv6. With port 0 the
    /// system chooses a port.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self::with_endpoint(Endpoint::all(port))
    }

    /// Listens on this address, an IP address and a port such as `127.0.0.1:8080` or `[::1]:8080`; `0.0.0.0:8080` is
    /// every IPv4 interface. With port 0 the system chooses a port. [`start`](crate::Server::start) reports an address
    /// that is invalid: a host name is.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServer::new(ServerParams::bind("127.0.0.1:0"));
    /// server.start().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn bind(addr: &str) -> Self {
        match addr.parse() {
            Ok(addr) => Self::with_endpoint(Endpoint::tcp(addr)),
            Err(_) => Self { invalid_address: Some(addr.to_owned()), ..Self::with_endpoints(Vec::new()) },
        }
    }

    /// Listens on a port of the loopback interface that the system chooses.
    #[must_use]
    pub fn local() -> Self {
        Self::with_endpoint(Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    /// Opens no port: all connections come from the application, through [`upgrade`](crate::Server::upgrade) of its HTTP
    /// server or [`serve`](crate::Server::serve).
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
            operations: None,
            heartbeat_is_default: true,
            heartbeat_of: None,
            #[cfg(feature = "deflate")]
            compression: None,
            #[cfg(feature = "deflate")]
            compression_if: None,
            limits: Limits::default(),
            message_parts: None,
            message_parts_of: None,
            outbox: 1024 * 1024,
            overflow: OverflowPolicy::default(),
            compatibility: Compatibility::default(),
            first_frame_pause: None,
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
            invalid_address: None,
            invalid_identity_prefix: None,
            sends_identity_headers: false,
            logs_users: false,
        }
    }

    /// Listens on this endpoint. The first call replaces the default endpoint, later calls add more.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        if std::mem::take(&mut self.endpoints_are_default) {
            self.endpoints.clear();
        }
        self.endpoints.push(endpoint);
        self
    }

    /// Sets a text that every new connection is sent as its first message. Default: none.
    #[must_use]
    pub fn success_text(mut self, text: impl Into<String>) -> Self {
        self.success_text = Some(text.into());
        self
    }

    /// Sets the text that an unauthorized client is sent. Default: `Unauthorized`.
    #[must_use]
    pub fn unauthorized_text(mut self, text: impl Into<String>) -> Self {
        self.unauthorized_text = text.into();
        self
    }

    /// Sets how an unauthorized client is refused. Default: [`UnauthorizedDelivery::Http401`].
    #[must_use]
    pub fn unauthorized_delivery(mut self, delivery: UnauthorizedDelivery) -> Self {
        self.unauthorized_delivery = delivery;
        self
    }

    /// Sets the supported subprotocols, the preferred first. A client that offers only unsupported subprotocols is
    /// refused. Each of them is supported with [control messages](crate::Connection::has_controls), too, which is what a
    /// client gets that offers both. Default: none.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the limits that apply to peers.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the size of each outbox: bytes that are queued for a slow peer. Default: 1 MiB. The memory is used only
    /// while a peer is slow.
    #[must_use]
    pub fn outbox(mut self, bytes: usize) -> Self {
        self.outbox = bytes;
        self
    }

    /// Sets what happens when an outbox is full. Default: the peer is disconnected.
    #[must_use]
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.overflow = policy;
        self
    }

    /// Enables compatibility with a deployed version of the .NET library. Default: [`Compatibility::None`].
    #[must_use]
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        if compatibility == Compatibility::DotNetV7 && self.heartbeat == Heartbeat::default() {
            // Its clients answer ping frames, and would treat a text as a message.
            let interval = Duration::from_secs(30);
            self.heartbeat = Heartbeat::new(interval, HeartbeatMode::Ping);
            self.heartbeat_is_default = false;
        }
        self
    }

    /// Sets how long the first frame of a connection waits after the handshake. Default: not at all, or 50 ms with a
    /// [`compatibility`](Self::compatibility): a .NET client takes a frame that it finds beside the response for a part
    /// of that, and on a busy machine it may look late.
    #[must_use]
    pub fn first_frame_pause(mut self, pause: Duration) -> Self {
        self.first_frame_pause = Some(pause);
        self
    }

    /// Accepts only requests with one of these `Origin` headers, compared as a whole, ASCII case-insensitively. A
    /// request without the header is accepted, as it does not come from a browser. Default: any origin.
    #[must_use]
    pub fn origins(mut self, allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.origins = Some(allowed.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the proxies that may state the address of a client. Default: none.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// Accepts only requests whose `Origin`, if present, has the host and port of their `Host` header, and those
    /// that [`origins`](Self::origins) allows: for servers that serve their own pages and do not know their public
    /// names.
    ///
    /// A proxy must pass `Host` on unchanged. The scheme is not compared, as it changes at a proxy that terminates TLS.
    #[must_use]
    pub fn same_origin(mut self) -> Self {
        self.same_origin = true;
        self
    }

    /// Sets which parts of a request may carry a token. Default: all.
    #[must_use]
    pub fn token_placements(mut self, placements: TokenPlacements) -> Self {
        self.token_placements = placements;
        self
    }

    /// Sets whether the user service is also asked about clients without credentials. Default: they are refused at
    /// once.
    #[must_use]
    pub fn ask_without_credentials(mut self, ask: bool) -> Self {
        self.ask_without_credentials = ask;
        self
    }

    /// Sets the timeout for a close: to send queued messages and receive the peer's Close. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets how long a stop waits for connections to close and handlers to finish; zero drops the handlers at once.
    /// Default: 10 s.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Sets the `Retry-After` of temporary refusals: each response has whole seconds at random between this and twice as
    /// much, so that clients do not come back all at once. Default: 5 s.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// Sets how long before its credentials expire a client is asked for new ones (`notice`), and how long after the
    /// expiry the connection stays open (`grace`). Clients without
    /// [control messages](crate::Connection::has_controls) cannot be asked, and are closed when the credentials expire.
    /// Default: 60 s and 30 s.
    #[must_use]
    pub fn expiry(mut self, notice: Duration, grace: Duration) -> Self {
        self.expiry_notice = notice;
        self.expiry_grace = grace;
        self
    }

    /// Sets whether log lines name users, by the `Debug` of their ids. Each connection has one line when it begins and one
    /// when it ends, at the level `INFO`, with its id, channel, client address and, at the end, the reason: that of this
    /// side, not one that the peer wrote. Default: they do not.
    #[must_use]
    pub fn log_users(mut self, log: bool) -> Self {
        self.logs_users = log;
        self
    }

    /// Whether it answers requests that ask for no WebSocket.
    pub(crate) fn answers_requests(&self) -> bool {
        self.fallback.is_some() || self.operations.is_some()
    }

    /// The subprotocol of this number, from 1 on: those that are set come first, then the library's own.
    pub(crate) fn subprotocol(&self, number: NonZeroU16) -> &str {
        self.subprotocols.get(usize::from(number.get()) - 1).map_or(SUBPROTOCOL, String::as_str)
    }

    /// How the frames of a connection leave.
    pub(crate) fn pacing(&self) -> Pacing {
        let pacing = self.compatibility.server_pacing();
        let first_frame_pause = self.first_frame_pause.unwrap_or(pacing.first_frame_pause);
        Pacing { first_frame_pause, ..pacing }
    }

    pub(crate) fn allows_origin(&self, origin: &str, host: &str) -> bool {
        let Some(allowed) = &self.origins else {
            return !self.same_origin || is_of(origin, host);
        };
        allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
            || (self.same_origin && is_of(origin, host))
    }
}

/// Whether an origin has this host and port. Browsers leave out the default port in both.
fn is_of(origin: &str, host: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pause_before_the_first_frame_depends_on_the_mode_and_it_can_be_chosen() {
        let v6 = ServerParams::local().compatibility(Compatibility::DotNetV6);
        assert_eq!(v6.pacing(), Pacing { first_frame_pause: Duration::from_millis(50), ..Pacing::default() });
        let second = Duration::from_secs(1);
        for params in [
            v6.first_frame_pause(second),
            ServerParams::local().first_frame_pause(second).compatibility(Compatibility::DotNetV6),
        ] {
            assert_eq!(params.pacing().first_frame_pause, second);
        }
        assert_eq!(ServerParams::local().pacing(), Pacing::default());
    }

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
