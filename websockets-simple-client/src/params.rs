//! Where a client connects, and how.

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;
use websockets_simple_core::{Compatibility, Heartbeat, HeartbeatMode, OverflowPolicy, Token};

use crate::error::ParamsError;

/// Names the subprotocol that carries a token.
const BEARER: &str = "bearer.";

/// A subprotocol that servers of this library always know, so that one is left to agree on beside the token.
const MARKER: &str = "websockets-simple";

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

/// A token in the path may bring a query along, as it did in the .NET library.
const PATH_TOKEN: &AsciiSet = &PATH.remove(b'?');

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
    token_placement: Option<TokenPlacement>,
    heartbeat: Heartbeat,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
    message_size: usize,
    outbox: usize,
    overflow: OverflowPolicy,
    connect_timeout: Duration,
    close_timeout: Duration,
    tls_versions: TlsVersions,
    roots: Vec<Vec<u8>>,
    only_roots: bool,
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

/// Versions of TLS to offer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
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
            token_placement: None,
            heartbeat: Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping),
            receive_buffer: None,
            send_buffer: None,
            message_size: 16 * 1024 * 1024,
            outbox: 1024 * 1024,
            overflow: OverflowPolicy::Wait(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            tls_versions: TlsVersions::default(),
            roots: Vec::new(),
            only_roots: false,
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

    /// Adds a request header. `Host` may be given; what the handshake itself is made of may not.
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

    /// Shows a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<Token>) -> Self {
        self.token = Some(token.into());
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

    /// Versions of TLS to offer. Default: 1.2 and 1.3.
    #[must_use]
    pub fn tls_versions(mut self, versions: TlsVersions) -> Self {
        self.tls_versions = versions;
        self
    }

    /// Trusts the certificates in this PEM, beside those the system trusts.
    #[must_use]
    pub fn root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Trusts nothing but what [`root_pem`](Self::root_pem) was given.
    #[must_use]
    pub fn only_given_roots(mut self) -> Self {
        self.only_roots = true;
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

    /// Checks everything, once, so that nothing later can fail for these reasons.
    pub(crate) fn check(self) -> Result<Plan, ParamsError> {
        let host = self.host.trim();
        if host.is_empty() {
            return Err(ParamsError::BlankHost);
        }
        let host = Host::parse(host)?;
        if self.port == 0 {
            return Err(ParamsError::ZeroPort);
        }
        for (name, duration) in [
            ("heartbeat interval", self.heartbeat.interval()),
            ("connect timeout", self.connect_timeout),
            ("close timeout", self.close_timeout),
        ] {
            if duration.is_zero() {
                return Err(ParamsError::Zero(name));
            }
        }
        for (name, size) in [
            ("message size", Some(self.message_size)),
            ("outbox", Some(self.outbox)),
            ("receive buffer", self.receive_buffer),
            ("send buffer", self.send_buffer),
        ] {
            if size == Some(0) {
                return Err(ParamsError::Zero(name));
            }
        }
        let placement = self.token_placement.unwrap_or(match self.compatibility {
            Compatibility::DotNetV6 => TokenPlacement::Path,
            _ => TokenPlacement::Header,
        });
        let token = self.token.as_ref().map(|token| (token, placement));
        let headers = headers(&self.headers, token.is_some_and(|(_, at)| at == TokenPlacement::Header))?;
        let mut offers = subprotocols(&self.subprotocols)?;
        let required = !offers.is_empty();
        let mut path = self.path.clone();
        let mut query = self.query.clone();
        let mut authorization = None;
        match token {
            None => {}
            Some((token, TokenPlacement::Header)) => {
                let value = Token::new(format!("Bearer {}", token.expose()));
                if HeaderValue::from_str(value.expose()).is_err()
                    || token.expose().contains(char::is_whitespace)
                {
                    return Err(ParamsError::Token("a header"));
                }
                authorization = Some(value);
            }
            Some((token, TokenPlacement::Path)) => {
                let token = token.expose().trim_start_matches('/');
                if token.is_empty() {
                    return Err(ParamsError::Token("a path"));
                }
                path = format!("/{}", utf8_percent_encode(token, PATH_TOKEN));
            }
            Some((token, TokenPlacement::Query)) => {
                if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "token") {
                    return Err(ParamsError::TokenTwice);
                }
                let mut pairs = url::form_urlencoded::Serializer::new(query);
                pairs.append_pair("token", token.expose());
                query = pairs.finish();
            }
            Some((token, TokenPlacement::Subprotocol)) => {
                if offers.is_empty() {
                    offers.push(MARKER.to_owned());
                }
                offers.push(format!("{BEARER}{}", BASE64_URL_SAFE_NO_PAD.encode(token.expose())));
            }
        }
        let target = match (query.is_empty(), path.contains('?')) {
            (true, _) => path,
            (false, false) => format!("{path}?{query}"),
            (false, true) => format!("{path}&{query}"),
        };
        Ok(Plan {
            host,
            target: Token::new(target),
            authorization,
            offers: Token::new(offers.join(", ")),
            required,
            headers,
            params: self,
        })
    }
}

/// Checked parameters, as the dial uses them. What may hold the token is a [`Token`] itself.
pub(crate) struct Plan {
    pub(crate) host: Host,
    /// Path and query of the request line.
    pub(crate) target: Token,
    pub(crate) authorization: Option<Token>,
    /// The value of `Sec-WebSocket-Protocol`, or nothing.
    pub(crate) offers: Token,
    /// Whether the user asked for a subprotocol, so that none is a failure.
    pub(crate) required: bool,
    pub(crate) headers: Vec<(HeaderName, String, HeaderValue)>,
    params: ClientParams,
}

/// A host that can be resolved and named in a header.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// For the resolver and TLS: no brackets.
    pub(crate) name: String,
    /// For the Host header: IPv6 in brackets.
    pub(crate) shown: String,
}

impl Host {
    fn parse(host: &str) -> Result<Self, ParamsError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let parsed = if bare.contains(':') {
            bare.parse().map(url::Host::Ipv6).map_err(|_| ParamsError::Host)
        } else {
            url::Host::parse(bare).map_err(|_| ParamsError::Host)
        };
        let shown = parsed?.to_string();
        let name = shown.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { name, shown })
    }
}

fn headers(
    given: &[(String, String)],
    token_in_header: bool,
) -> Result<Vec<(HeaderName, String, HeaderValue)>, ParamsError> {
    let mut headers = Vec::new();
    for (name, value) in given {
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| ParamsError::HeaderName(name.clone()))?;
        let reserved =
            [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let taken = reserved.contains(&parsed)
            || parsed.as_str().starts_with("sec-websocket-")
            || (token_in_header && parsed == header::AUTHORIZATION);
        if taken {
            return Err(ParamsError::HeaderReserved(name.clone()));
        }
        let mut value =
            HeaderValue::from_str(value.trim()).map_err(|_| ParamsError::HeaderValue(name.clone()))?;
        value.set_sensitive(true);
        headers.push((parsed, name.clone(), value));
    }
    Ok(headers)
}

fn subprotocols(given: &[String]) -> Result<Vec<String>, ParamsError> {
    for (n, name) in given.iter().enumerate() {
        // A token of RFC 9110 section 5.6.2, as the name of a header is.
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(ParamsError::Subprotocol(name.clone()));
        }
        if given[..n].contains(name) {
            return Err(ParamsError::SubprotocolTwice(name.clone()));
        }
    }
    Ok(given.to_vec())
}

impl Plan {
    pub(crate) fn port(&self) -> u16 {
        self.params.port
    }

    pub(crate) fn secured(&self) -> bool {
        self.params.secured
    }

    /// The path, unless it is or holds the token.
    pub(crate) fn path_without_token(&self) -> &str {
        let in_path = self.params.token.is_some()
            && match self.params.token_placement {
                Some(placement) => placement == TokenPlacement::Path,
                None => self.params.compatibility == Compatibility::DotNetV6,
            };
        if in_path { "/" } else { &self.params.path }
    }

    pub(crate) fn shows_token(&self) -> bool {
        self.params.token.is_some()
    }

    pub(crate) fn receive_buffer(&self) -> Option<usize> {
        self.params.receive_buffer
    }

    pub(crate) fn send_buffer(&self) -> Option<usize> {
        self.params.send_buffer
    }

    pub(crate) fn message_size(&self) -> usize {
        self.params.message_size
    }

    pub(crate) fn outbox_bytes(&self) -> usize {
        self.params.outbox
    }

    pub(crate) fn overflow(&self) -> OverflowPolicy {
        self.params.overflow
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.params.heartbeat
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.params.connect_timeout
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.params.close_timeout
    }

    pub(crate) fn compatibility(&self) -> Compatibility {
        self.params.compatibility
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_versions(&self) -> TlsVersions {
        self.params.tls_versions
    }

    #[cfg(feature = "tls")]
    pub(crate) fn roots(&self) -> &[Vec<u8>] {
        &self.params.roots
    }

    #[cfg(feature = "tls")]
    pub(crate) fn only_roots(&self) -> bool {
        self.params.only_roots
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
