//! The parameters of a client.

use std::{fmt, sync::Arc, time::Duration};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
#[cfg(feature = "deflate")]
use websockets_simple_core::Compression;
use websockets_simple_core::{
    Compatibility, ConnectionConfig, Heartbeat, HeartbeatMode, MessageParts, OverflowPolicy, Token,
};

use crate::config::{before_attempt::BeforeAttempt, token_provider::Provider};

mod before_attempt;
mod checked;
mod dialing;
mod from_url;
mod host;
mod offline;
mod reconnect;
mod remembered;
#[cfg(feature = "rustls")]
mod tls;
mod token_provider;

pub use before_attempt::{AttemptInfo, NoAttempt};
pub(crate) use checked::CheckedParams;
pub(crate) use dialing::Dialing;
#[cfg(feature = "proxy")]
pub use dialing::Proxy;
pub use dialing::{Connector, Io, Resolver, Target};
#[cfg(feature = "proxy")]
pub(crate) use dialing::{Credentials, ProxyKind, ProxyServer};
#[cfg(feature = "proxy")]
pub(crate) use host::Host;
pub use offline::Offline;
pub(crate) use reconnect::Circumstances;
pub use reconnect::{Loss, LossCause, Reconnect, Verdict};
pub use remembered::Remembered;
#[cfg(feature = "rustls")]
pub(crate) use tls::{TlsParams, Trust};
pub use token_provider::{IssuedToken, NotAuthorized, TokenProvider, TokenReason};

/// Characters that are percent-encoded in a path: those that RFC 3986 section 3.3 does not allow there, and those
/// that would end the path.
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
    dialing: Dialing,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    token: Option<Token>,
    token_provider: Option<Provider>,
    before_attempt: Option<BeforeAttempt>,
    /// What a hook has added, which may be secret.
    hidden: Vec<Token>,
    reconnect: Option<Reconnect>,
    offline: Offline,
    token_placement: Option<TokenPlacement>,
    heartbeat: Heartbeat,
    message_size: usize,
    message_parts: Option<MessageParts>,
    read_ahead: usize,
    outbox: usize,
    overflow: OverflowPolicy,
    connect_timeout: Duration,
    close_timeout: Duration,
    #[cfg(feature = "rustls")]
    tls: TlsParams,
    #[cfg(feature = "deflate")]
    compression: Option<Compression>,
    compatibility: Compatibility,
    first_frame_pause: Option<Duration>,
    frame_pause: Option<Duration>,
}

/// Where a client puts its token in the handshake.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenPlacement {
    /// The header `Authorization: Bearer TOKEN`, which logs usually leave out.
    Header,
    /// The whole path, as .NET v6 servers require. URLs end up in logs.
    Path,
    /// The query parameter `token`. URLs end up in logs.
    Query,
    /// An offered subprotocol `bearer.BASE64URL(TOKEN)`, as browsers send it.
    Subprotocol,
}

impl ClientParams {
    /// Parameters for a host and port, without TLS unless [`secured`](Self::secured). An IPv6 address may have a zone,
    /// the name or number of a network interface: `fe80::1%eth0`.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            secured: false,
            dialing: Dialing::default(),
            path: "/".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            token: None,
            token_provider: None,
            before_attempt: None,
            hidden: Vec::new(),
            reconnect: None,
            offline: Offline::Refuse,
            token_placement: None,
            heartbeat: Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping),
            message_size: 16 * 1024 * 1024,
            message_parts: None,
            read_ahead: ConnectionConfig::READ_AHEAD,
            outbox: 1024 * 1024,
            overflow: OverflowPolicy::Wait(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            #[cfg(feature = "rustls")]
            tls: TlsParams::default(),
            #[cfg(feature = "deflate")]
            compression: None,
            compatibility: Compatibility::default(),
            first_frame_pause: None,
            frame_pause: None,
        }
    }

    /// Whether to use TLS. Default: no, or what the URL says.
    #[must_use]
    pub fn secured(mut self, secured: bool) -> Self {
        self.secured = secured;
        self
    }

    /// The path, which is the channel on servers of this library. Characters that a path does not allow are
    /// percent-encoded; existing percent-encoding is kept. Default: `/`.
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

    /// Adds a request header. Its value may contain visible ASCII characters, spaces and tabs. `Host` may be given;
    /// the other headers of the handshake may not.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers a subprotocol, the preferred one first. If the server then chooses none, `connect` fails, unless
    /// [`compatibility`](Self::compatibility) is on.
    ///
    /// Unless that is on, each `NAME` is also offered as `websockets-simple+NAME`. Servers of this library prefer that,
    /// and the connection then has [control messages](crate::ClientConnection::has_controls); others choose `NAME`.
    /// `websockets-simple` alone is a subprotocol of every server of this library.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Sends a token with the handshake. Servers may quote it in their response: a quoted token of four bytes or more
    /// is replaced by `***` in every error.
    #[must_use]
    pub fn token(mut self, token: impl Into<Token>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Asks a provider for a token before each connect, instead of using [`token`](Self::token). When a server of this
    /// library reports that the token is about to expire, the client sends it a new one over the open connection. For
    /// that it offers the subprotocol `websockets-simple` if it offers no other, unless
    /// [`compatibility`](Self::compatibility) is on.
    #[must_use]
    pub fn token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.token_provider = Some(Provider(Arc::new(provider)));
        self
    }

    /// Lets the client connect again by itself after it was lost, as [`Reconnect`] says. Groups that it has joined are
    /// joined again. Default: no; each [`connect`](crate::WebsocketClient::connect) is one attempt.
    #[must_use]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = Some(reconnect);
        self
    }

    /// What [`WebsocketClient::send`](crate::WebsocketClient::send) does while a client that
    /// [reconnects](Self::reconnect) is not connected. Default: it fails.
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// Where the token goes. Default: [`TokenPlacement::Header`], or [`TokenPlacement::Path`] with
    /// [`Compatibility::DotNetV6`].
    #[must_use]
    pub fn token_placement(mut self, placement: TokenPlacement) -> Self {
        self.token_placement = Some(placement);
        self
    }

    /// How the client detects a dead connection. Default: a ping frame every 30 s; the connection is closed if the
    /// server has not answered by the next one. With [`Compatibility::DotNetV6`] the default is none, as such servers
    /// answer no ping frames; set another one after [`compatibility`](Self::compatibility), which turns off one that
    /// pings by frames.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Largest message accepted, in payload bytes. Default: 16 MiB.
    #[must_use]
    pub fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes;
        self
    }

    /// Receives messages of more than a part in [parts](MessageParts), for
    /// [`on_message_part`](crate::WebsocketClient::on_message_part). Default: a message comes whole, and one that is
    /// larger than [`message_size`](Self::message_size) closes the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::{ClientParams, MessageParts};
    ///
    /// let params = ClientParams::new("localhost", 8080).message_parts(MessageParts::new(256 * 1024, 10 << 30));
    /// ```
    #[must_use]
    pub fn message_parts(mut self, parts: MessageParts) -> Self {
        self.message_parts = Some(parts);
        self
    }

    /// Bytes of received messages that wait for the handlers, each counted with about 200 bytes for its place in the
    /// queue. When more wait, nothing is read from the server until the handlers have caught up: neither its messages nor
    /// its pings, which wait behind them. While a request such as [`join`](crate::WebsocketClient::join) has no answer, as
    /// much is read as the [outbox](Self::outbox) holds, if that is more. Default: 256 KiB.
    #[must_use]
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.read_ahead = bytes;
        self
    }

    /// Bytes that may wait to be sent while the server reads slowly. Default: 1 MiB.
    #[must_use]
    pub fn outbox(mut self, bytes: usize) -> Self {
        self.outbox = bytes;
        self
    }

    /// What a send does when the [`outbox`](Self::outbox) is full. Default: it waits for up to 30 s.
    #[must_use]
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.overflow = policy;
        self
    }

    /// Time for name resolution, TCP or another way to the server, TLS and handshake together. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Time to send queued messages and wait for the server's Close when the connection is closed. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Offers compression (permessage-deflate, RFC 7692), which takes place if the server agrees to it. Messages are
    /// compressed each on its own; those of a server that insists on keeping a window cost 47 KiB for the connection.
    /// [`message_size`](Self::message_size) counts a received message as it is once it is decompressed. A client with
    /// [`message_parts`](Self::message_parts) makes no offer. Default: no offer.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Adapts to deployed .NET servers. Default: [`Compatibility::None`].
    ///
    /// With [`Compatibility::DotNetV6`] a [`heartbeat`](Self::heartbeat) that was set before and pings by frames is
    /// turned off. The client watches the server's text pings instead: once one has come, the connection is closed
    /// after two intervals without another. The interval is the longest time between two pings in a row, and 120 s
    /// until three have come.
    #[must_use]
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        if compatibility == Compatibility::DotNetV6 && self.heartbeat.mode() == HeartbeatMode::Ping {
            // .NET v6 servers take a ping frame with payload for a message and never answer one.
            self.heartbeat = Heartbeat::off();
        }
        self
    }

    /// How long the first frame waits after the handshake. Default: not at all, or 50 ms with a
    /// [`compatibility`](Self::compatibility): a .NET server takes a frame that comes too early for a part of the
    /// request.
    #[must_use]
    pub fn first_frame_pause(mut self, pause: Duration) -> Self {
        self.first_frame_pause = Some(pause);
        self
    }

    /// How far apart frames leave, each in a write of its own; zero joins them freely. The first three pauses after the
    /// connection has opened are ten times as long. Default: zero, or 10 ms with [`Compatibility::DotNetV6`], whose
    /// servers take all bytes that they find at once for one frame and lose the others.
    ///
    /// No pause is a promise: what such a server reads too late is lost, and [`send`](crate::WebsocketClient::send)
    /// does not notice.
    #[must_use]
    pub fn frame_pause(mut self, pause: Duration) -> Self {
        self.frame_pause = Some(pause);
        self
    }
}

impl fmt::Debug for ClientParams {
    /// Leaves out path, query, header values and token, any of which may be secret.
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
