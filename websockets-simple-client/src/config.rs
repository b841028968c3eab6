//! Where a client connects, and how.

use std::{fmt, sync::Arc, time::Duration};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;
use websockets_simple_core::{Compatibility, Heartbeat, HeartbeatMode, OverflowPolicy, Token};

use crate::{config::token_provider::Provider, error::ParamsError};

mod checked;
#[cfg(feature = "rustls")]
mod tls;
mod token_provider;

pub(crate) use checked::CheckedParams;
#[cfg(feature = "rustls")]
pub(crate) use tls::{TlsParams, Trust};
pub use token_provider::TokenProvider;

/// What is encoded in a path: what RFC 3986 section 3.3 does not allow there, and what would end it.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Parameters of a client. All are checked by [`WebsocketClient::new`](crate::WebsocketClient::new), before any
/// socket is opened.
///
/// # Examples
///
/// ```
/// use websockets_simple_client::ClientParams;
///
/// let params = ClientParams::new("localhost", 8080).path("/room").query("name", "Ronald").token("secret");
/// let same = ClientParams::url("ws://localhost:8080/room?name=Ronald").unwrap().token("secret");
/// # drop((params, same));
/// ```
#[derive(Clone)]
pub struct ClientParams {
    host: String,
    port: u16,
    secured: bool,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    token: Option<Token>,
    token_provider: Option<Provider>,
    token_placement: Option<TokenPlacement>,
    heartbeat: Heartbeat,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
    message_size: usize,
    outbox: usize,
    overflow: OverflowPolicy,
    connect_timeout: Duration,
    close_timeout: Duration,
    #[cfg(feature = "rustls")]
    tls: TlsParams,
    compatibility: Compatibility,
}

/// Where the token goes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenPlacement {
    /// `Authorization: Bearer TOKEN`: reaches no log by itself.
    Header,
    /// The whole path, as .NET v6 servers want it. URLs reach logs.
    Path,
    /// The query parameter `token`. URLs reach logs.
    Query,
    /// An offered subprotocol `bearer.BASE64URL(TOKEN)`, the way of browsers.
    Subprotocol,
}

impl ClientParams {
    /// Connects to a host and port, unencrypted unless [`secured`](Self::secured).
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            secured: false,
            path: "/".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            token: None,
            token_provider: None,
            token_placement: None,
            heartbeat: Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping),
            receive_buffer: None,
            send_buffer: None,
            message_size: 16 * 1024 * 1024,
            outbox: 1024 * 1024,
            overflow: OverflowPolicy::Wait(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            #[cfg(feature = "rustls")]
            tls: TlsParams::default(),
            compatibility: Compatibility::default(),
        }
    }

    /// Takes host, port, path, query and whether to encrypt from a URL: `ws`, `wss`, `http` or `https`.
    ///
    /// # Errors
    ///
    /// [`ParamsError::Url`] when it is none of these, or carries a user name, a password or a fragment, which
    /// have no place in a handshake.
    pub fn url(url: &str) -> Result<Self, ParamsError> {
        let url = Url::parse(url).map_err(|_| ParamsError::Url("it cannot be read"))?;
        let secured = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(ParamsError::Url("its scheme is not ws, wss, http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ParamsError::Url("it carries a user name or password; use a token or a header"));
        }
        if url.fragment().is_some() {
            return Err(ParamsError::Url("it carries a fragment (`#`)"));
        }
        let host = url.host_str().ok_or(ParamsError::BlankHost)?;
        let port = url.port().unwrap_or(if secured { 443 } else { 80 });
        let mut params = Self::new(host, port).secured(secured).path(url.path());
        params.query = url.query().unwrap_or_default().to_owned();
        Ok(params)
    }

    /// Whether to use TLS. Default: no, or what the URL says.
    #[must_use]
    pub fn secured(mut self, secured: bool) -> Self {
        self.secured = secured;
        self
    }

    /// The path, which is the channel on servers of this library. What a path cannot hold is percent-encoded;
    /// what is encoded already stays. Default: `/`.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<str>) -> Self {
        let path = path.as_ref();
        let slash = if path.starts_with('/') { "" } else { "/" };
        self.path = format!("{slash}{}", utf8_percent_encode(path, PATH));
        self
    }

    /// Adds a query parameter; name and value are encoded.
    #[must_use]
    pub fn query(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let mut query = url::form_urlencoded::Serializer::new(self.query);
        query.append_pair(name.as_ref(), value.as_ref());
        self.query = query.finish();
        self
    }

    /// Adds a request header of visible ASCII characters, spaces and tabs. `Host` may be given; what the
    /// handshake itself is made of may not.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers a subprotocol, the preferred first. A server that then agrees to none is an error of `connect`.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Shows a token. Servers like to quote what they were asked; where one quotes a token of four bytes or more,
    /// `***` stands for it in every error.
    #[must_use]
    pub fn token(mut self, token: impl Into<Token>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Asks for a token before each connect, in place of one that is given here. Servers of this library that admitted
    /// the client for a limited time are shown a new one in time, over the open connection; for that the client offers
    /// the subprotocol `websockets-simple`, if it offers no other and is not to talk to a .NET server.
    #[must_use]
    pub fn token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.token_provider = Some(Provider(Arc::new(provider)));
        self
    }

    /// Where the token goes. Default: [`TokenPlacement::Header`], or [`TokenPlacement::Path`] with
    /// [`Compatibility::DotNetV6`].
    #[must_use]
    pub fn token_placement(mut self, placement: TokenPlacement) -> Self {
        self.token_placement = Some(placement);
        self
    }

    /// How the server is kept honest. Default: a ping frame every 30 s; a server that does not answer by the
    /// next one is given up.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Size of the socket's receive buffer in bytes. Default: the system's.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Size of the socket's send buffer in bytes. Default: the system's.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Largest message accepted, in payload bytes. Default: 16 MiB.
    #[must_use]
    pub fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes;
        self
    }

    /// Bytes that may wait while the server reads slowly. Default: 1 MiB.
    #[must_use]
    pub fn outbox(mut self, bytes: usize) -> Self {
        self.outbox = bytes;
        self
    }

    /// What happens beyond that. Default: a send waits for up to 30 s.
    #[must_use]
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.overflow = policy;
        self
    }

    /// Time for name resolution, TCP, TLS and handshake together. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Time for queued messages to leave and the server to answer when the connection is closed. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Adapts to deployed .NET servers. Default: [`Compatibility::None`].
    #[must_use]
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        if compatibility == Compatibility::DotNetV6 && self.heartbeat.mode() == HeartbeatMode::Ping {
            // Its servers take a ping frame with payload for a message and never answer one.
            self.heartbeat = Heartbeat::off();
        }
        self
    }
}

impl fmt::Debug for ClientParams {
    /// Leaves out query, header values and token, any of which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("ClientParams")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("secured", &self.secured)
            .field("headers", &headers)
            .field("subprotocols", &self.subprotocols)
            .field("token", &self.token)
            .field("compatibility", &self.compatibility)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
