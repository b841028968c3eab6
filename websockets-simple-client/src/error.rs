//! The errors of a client: invalid parameters, failed connects, failed group requests.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::HeaderMap;
use websockets_simple_core::{CloseCode, Disconnect, EndedBy, ErrorStage};

use crate::config::{CheckedParams, NoAttempt};

pub use proxy::ProxyError;

mod proxy;

/// Why the parameters of a client are invalid. No socket was opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// The host is empty, or all blanks.
    #[error("the host is blank")]
    BlankHost,
    /// The level of the compression is not one of 1 to 9.
    #[cfg(feature = "deflate")]
    #[error("the compression level is not one of 1 to 9")]
    CompressionLevel,
    /// A time is longer than ten years.
    #[error("the {0} is longer than ten years")]
    Endless(&'static str),
    /// The name of a header is malformed.
    #[error("`{0}` is not a valid header name")]
    HeaderName(String),
    /// The header is part of the handshake, or carries the token.
    #[error("the header `{0}` is reserved for the handshake or the token")]
    HeaderReserved(String),
    /// The value of a header contains characters other than visible ASCII, spaces and tabs.
    #[error("the value of the header `{0}` may contain only visible ASCII characters, spaces and tabs")]
    HeaderValue(String),
    /// The host is neither a host name nor an IP address.
    #[error("the host is not a valid host name or IP address; for a URL use `ClientParams::url`")]
    Host,
    /// No address is given for a host whose addresses are given.
    #[error("no address is given for the host `{0}`")]
    NoAddress(String),
    /// A parameter would have no effect, as another one replaces it.
    #[error("{what} has no effect beside {beside}")]
    NoEffect {
        /// The parameter.
        what: &'static str,
        /// The one that replaces it.
        beside: &'static str,
    },
    /// A proxy cannot be used as it was given.
    #[error("{what} is not usable: {why}")]
    Proxy {
        /// What is wrong: the URL of the proxy, a variable of the environment, a user name, a password.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// The name of a subprotocol is malformed, or begins with `websockets-simple+`, which the client adds by itself.
    #[error("`{0}` is not a valid subprotocol name")]
    Subprotocol(String),
    /// A subprotocol is offered twice.
    #[error("the subprotocol `{0}` is offered twice")]
    SubprotocolTwice(String),
    /// A certificate or key cannot be read, or TLS cannot be set up with these parameters.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The token is empty, or contains characters that its placement does not allow.
    #[error("the token is empty or contains characters that are not allowed in {0}")]
    Token(&'static str),
    /// The token goes into the query, which already has a parameter `token`.
    #[error("the query already has a parameter `token`, which is where the token goes")]
    TokenTwice,
    /// A number is too large.
    #[error("the {what} is more than {most}")]
    TooLarge {
        /// Which parameter.
        what: &'static str,
        /// The largest value.
        most: usize,
    },
    /// A number is too small.
    #[error("the {what} is less than {least}")]
    TooSmall {
        /// Which parameter.
        what: &'static str,
        /// The smallest value.
        least: usize,
    },
    /// The URL is malformed, or is not one that a client can connect to.
    #[error("the URL is not usable: {0}")]
    Url(&'static str),
    /// A duration or size is zero.
    #[error("the {0} must not be zero")]
    Zero(&'static str),
    /// The port is zero.
    #[error("the port must not be zero")]
    ZeroPort,
}

/// Why a client could not connect. [`is_worth_retrying`](Self::is_worth_retrying) says which of these may pass.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client is already connected or connecting.
    #[error("the client is already connected or connecting")]
    AlreadyConnected,
    /// The server's response is not a valid response to a WebSocket handshake.
    #[error("invalid handshake response: {0}")]
    BadResponse(String),
    /// The caller gave the connect up: it dropped the future. Only Refused tells it.
    #[error("the connect was cancelled")]
    Cancelled,
    /// The connection ended before it could be used.
    #[error("the connection ended before it could be used")]
    Closed,
    /// The TCP connection failed: check the server, its address and the network.
    #[error("cannot connect")]
    Connect(#[source] Arc<io::Error>),
    /// A handler of the event Connecting panicked. What it said is in an error event.
    #[error("a handler panicked")]
    HandlerPanic,
    /// The connection was lost during the handshake.
    #[error("the connection was lost during the handshake")]
    Lost(#[source] Arc<io::Error>),
    /// A proxy did not connect the client to the server.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The hook of [`ClientParams::before_attempt`](crate::ClientParams::before_attempt) wants no attempt.
    #[error("no attempt: {0}")]
    NoAttempt(NoAttempt),
    /// The hook of [`ClientParams::before_attempt`](crate::ClientParams::before_attempt) has returned invalid parameters.
    #[error("the parameters of this attempt are invalid")]
    Params(#[source] ParamsError),
    /// The server redirects. Redirects are not followed, as the token would go to another server.
    #[error("the server redirects to {location}; redirects are not followed")]
    Redirected {
        /// The target. `***` stands for the token, if the server put it there.
        location: String,
        /// The headers of the response, as far as they could be read.
        headers: Box<HeaderMap>,
        /// How long to wait before the next attempt, if the server asks for that: at most a day.
        retry_after: Option<Duration>,
    },
    /// The server refused the handshake.
    #[error("the server refused the handshake with HTTP status {status}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The headers of the response, as far as they could be read: at most 16 KiB. Values may be secrets; their
        /// `Debug` shows none.
        headers: Box<HeaderMap>,
        /// The beginning of the body, at most 4 KiB. `***` stands for the token, if the server quotes it.
        body: String,
        /// How long to wait before the next attempt, if the server asks for that (`Retry-After`, as a number of seconds
        /// or a date): at most a day.
        retry_after: Option<Duration>,
    },
    /// The host name could not be resolved.
    #[error("cannot resolve the host name")]
    Resolve(#[source] Arc<io::Error>),
    /// The server chose no subprotocol, or one that was not offered.
    #[error("the server chose none of the offered subprotocols")]
    SubprotocolRejected,
    /// Connecting took longer than the connect timeout.
    #[error("the connect timeout expired")]
    Timeout,
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(TlsFailure),
    /// The token provider failed, or returned a token that its placement cannot carry.
    #[error("the token provider returned no usable token")]
    TokenProvider(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The server does not accept the token, or requires one.
    #[error("not authorized: {message}")]
    Unauthorized {
        /// The message of the server.
        message: String,
        /// The headers of the response, as far as they could be read. Empty if the refusal was no HTTP response.
        headers: Box<HeaderMap>,
        /// How long to wait before the next attempt, if the server asks for that: at most a day.
        retry_after: Option<Duration>,
    },
}

/// Why [`open`](crate::WebsocketClient::open) gives no client.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A parameter is wrong. No socket was opened.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The connect failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What needs no conversion.
impl From<Infallible> for OpenError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why a client could not join or leave a group.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The connection ended before the server answered. All its group memberships ended with it.
    #[error("the connection ended before the server answered")]
    Ended,
    /// The group name is invalid. No request was sent.
    #[error("the group name is invalid: it must have 1 to 128 bytes and no control characters")]
    Name,
    /// The client is not connected. Connect first.
    #[error("the client is not connected")]
    NotConnected,
    /// The server refused the request.
    #[error("the server refused: {reason}")]
    Refused {
        /// The reason of the server: `not allowed here`, or `too many groups`.
        reason: String,
    },
    /// The connection has no [control messages](crate::ClientConnection::has_controls), which group requests need. Offer
    /// `websockets-simple` or a subprotocol of the server with
    /// [`ClientParams::subprotocol`](crate::ClientParams::subprotocol); the server has to be one of this library.
    #[error("groups need control messages: offer `websockets-simple` or a subprotocol of the server")]
    NoControls,
    /// The request was made in a handler of its own connection, or while an event stream was full, and so many messages
    /// came in front of the answer that no more are read: as many as the outbox holds
    /// ([`ClientParams::outbox`](crate::ClientParams::outbox)). The answer could come only after this call. Ask in another
    /// task, or again later. The server may have carried out the request all the same.
    #[error("more messages than are read ahead came before the answer, and wait for the one who asked")]
    Stalled,
    /// No answer came within the connect timeout. The server may have carried out the request all the same.
    #[error("the server did not answer within the connect timeout")]
    Timeout,
}

/// Why a TLS handshake failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The server did not accept the client's certificate.
    #[error("the server refused the client's certificate: {0}")]
    ClientCertificateRefused(String),
    /// The server requires a client certificate, and the client has none.
    #[error("the server requires a client certificate")]
    ClientCertificateRequired,
    /// The server's certificate has expired.
    #[error("the server's certificate has expired")]
    Expired,
    /// The host is not a name that a certificate can be issued for.
    #[error("the host is not a name that a certificate can be issued for")]
    HostName,
    /// The server hung up during the handshake.
    #[error("the server hung up during the TLS handshake")]
    HungUp,
    /// The server speaks TLS, but other protocols than HTTP/1.1, such as HTTP/2 alone.
    #[error("the server does not speak HTTP/1.1 on this port")]
    NoHttp,
    /// The server's certificate is not a pinned one.
    #[error("the server's certificate is not a pinned one")]
    NotPinned,
    /// The response of the server is not TLS.
    #[error("the server does not speak TLS on this port")]
    NotTls,
    /// The server's certificate is not valid yet.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// Any other failure.
    #[error("{0}")]
    Other(String),
    /// Client and server have no cipher suite, or no other parameter of TLS, in common.
    #[error("client and server have no TLS cipher suite or other parameters in common")]
    Parameters,
    /// The client does not use TLS, and the server does.
    #[error("the server speaks TLS on this port: connect with wss")]
    Required,
    /// The server's certificate was revoked.
    #[error("the server's certificate was revoked")]
    Revoked,
    /// The server's certificate was issued by an untrusted issuer.
    #[error("the server's certificate was issued by an untrusted issuer")]
    UnknownIssuer,
    /// Client and server have no TLS version in common.
    #[error("client and server have no TLS version in common")]
    Version,
    /// The server's certificate is for another name than the host.
    #[error("the server's certificate is for another host name")]
    WrongName,
}

impl ConnectError {
    /// The headers of the response that refused the handshake, if there was one. Values may be secrets, such as cookies:
    /// their `Debug` shows none.
    #[must_use]
    pub fn response_headers(&self) -> Option<&HeaderMap> {
        match self {
            Self::Redirected { headers, .. }
            | Self::Rejected { headers, .. }
            | Self::Unauthorized { headers, .. } => Some(headers),
            _ => None,
        }
    }

    /// Whether the same connect may succeed later, as a default for those who decide by themselves.
    ///
    /// | error | again? | because |
    /// |---|---|---|
    /// | [`Resolve`](Self::Resolve), [`Connect`](Self::Connect), [`Lost`](Self::Lost), [`Timeout`](Self::Timeout), [`Closed`](Self::Closed) | yes | networks and servers come back |
    /// | [`BadResponse`](Self::BadResponse) | yes | proxies answer like this while what is behind them restarts |
    /// | [`Proxy`](Self::Proxy) that cannot be resolved or reached, is lost, or answers badly | yes | as with servers |
    /// | [`Proxy`](Self::Proxy) that refuses with a status of those below, or with another reply than 2, 7 and 8 of SOCKS5 | yes | the server may come back |
    /// | [`Proxy`](Self::Proxy) that wants other credentials, or does not allow it | no | the parameters, or the proxy's rules, have to change |
    /// | [`Tls`](Self::Tls) | yes | certificates are renewed, and captive portals left; wait longer |
    /// | [`TokenProvider`](Self::TokenProvider) | yes | the issuer may be down; the next token may be a good one |
    /// | [`NoAttempt`](Self::NoAttempt) | if it says [`again`](NoAttempt::again) | the application has decided |
    /// | [`Rejected`](Self::Rejected) with 408, 409, 425, 429 | yes | too early, too often, or the id is still taken |
    /// | [`Rejected`](Self::Rejected) with 500 and above, but 501 and 505 | yes | the server has failed, or is overloaded |
    /// | [`Rejected`](Self::Rejected) with any other status | no | the server would say it again |
    /// | [`Unauthorized`](Self::Unauthorized) | no | the token is not accepted: a client with a provider may try another one, once |
    /// | [`Redirected`](Self::Redirected), [`SubprotocolRejected`](Self::SubprotocolRejected), [`Params`](Self::Params) | no | the parameters have to change |
    /// | [`AlreadyConnected`](Self::AlreadyConnected), [`Cancelled`](Self::Cancelled), [`HandlerPanic`](Self::HandlerPanic) | no | it was this end |
    ///
    /// Not before [`retry_after`](Self::retry_after), if the server asks for that. Statuses that are not registered count
    /// as the first of their class (RFC 9110 section 15).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use websockets_simple_client::{ClientConnection, ConnectError, WebsocketClient};
    ///
    /// async fn connect(client: &WebsocketClient) -> Result<ClientConnection, ConnectError> {
    ///     loop {
    ///         match client.connect().await {
    ///             Err(error) if error.is_worth_retrying() => {
    ///                 tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(5))).await;
    ///             }
    ///             connected => return connected,
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::BadResponse(_)
            | Self::Closed
            | Self::Connect(_)
            | Self::Lost(_)
            | Self::Resolve(_)
            | Self::Timeout
            | Self::Tls(_)
            | Self::TokenProvider(_) => true,
            Self::NoAttempt(no) => no.is_again(),
            Self::Proxy(error) => error.is_worth_retrying(),
            Self::Rejected { status, .. } => is_passing(*status),
            Self::AlreadyConnected
            | Self::Cancelled
            | Self::HandlerPanic
            | Self::Params(_)
            | Self::Redirected { .. }
            | Self::SubprotocolRejected
            | Self::Unauthorized { .. } => false,
        }
    }

    /// How long to wait before the next attempt, if the server asked for that (`Retry-After`): at most a day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Proxy(ProxyError::Rejected { retry_after, .. })
            | Self::Redirected { retry_after, .. }
            | Self::Rejected { retry_after, .. }
            | Self::Unauthorized { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Bytes that an event with it counts in a stream: its text, and what the server has sent.
    pub(crate) fn weight(&self) -> usize {
        let body = if let Self::Rejected { body, .. } = self { body.len() } else { 0 };
        let headers = self.response_headers().into_iter().flatten();
        let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.to_string().len() + body + headers
    }

    /// A refusal that is no HTTP response.
    pub(crate) fn unauthorized(message: String) -> Self {
        Self::Unauthorized { message, headers: Box::default(), retry_after: None }
    }

    /// Turns the end of a connection that was never ready into an error.
    pub(crate) fn from_end(end: Option<&Disconnect>, params: &CheckedParams) -> Self {
        match end {
            Some(end) if end.by == EndedBy::Peer && end.code == Some(CloseCode::POLICY.get()) => {
                Self::unauthorized(params.without_reason_token(&end.reason))
            }
            _ => Self::Closed,
        }
    }

    /// The stage of the error event; `None` for a call at the wrong time and for one that was given up, which are no
    /// failures of the connection, and for a panic, which is one already.
    pub(crate) fn stage(&self) -> Option<ErrorStage> {
        match self {
            Self::AlreadyConnected | Self::Cancelled | Self::HandlerPanic => None,
            Self::Tls(_) => Some(ErrorStage::Tls),
            Self::TokenProvider(_) => Some(ErrorStage::TokenProvider),
            Self::Connect(_) | Self::Lost(_) | Self::Proxy(_) | Self::Resolve(_) => {
                Some(ErrorStage::Transport)
            }
            _ => Some(ErrorStage::Handshake),
        }
    }
}

/// Whether a refusal with this status may pass.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429 | 500 | 502..=504 | 506..)
}

#[cfg(test)]
mod tests;
