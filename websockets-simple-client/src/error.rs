//! What can go wrong before a client is connected, and with what it asks its server afterwards.

use std::{io, time::Duration};

use websockets_simple_core::{CloseCode, Disconnect, EndedBy, ErrorStage};

use crate::config::CheckedParams;

/// Which parameter is wrong. No socket was opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// There is no host.
    #[error("the host is blank")]
    BlankHost,
    /// The name of a header is malformed.
    #[error("`{0}` is not the name of a header")]
    HeaderName(String),
    /// A header belongs to the handshake, or to the token.
    #[error("the header `{0}` is set by the handshake itself")]
    HeaderReserved(String),
    /// The value of a header holds what a header cannot.
    #[error("the value of the header `{0}` holds characters that a header cannot")]
    HeaderValue(String),
    /// The host is neither a name nor an address.
    #[error("the host is neither a name nor an address; paths and schemes go elsewhere")]
    Host,
    /// The name of a subprotocol is malformed.
    #[error("`{0}` is not the name of a subprotocol")]
    Subprotocol(String),
    /// A subprotocol is offered twice.
    #[error("the subprotocol `{0}` is offered twice")]
    SubprotocolTwice(String),
    /// A root certificate cannot be read, or TLS cannot be set up with these parameters.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The token is empty or holds what its placement cannot carry.
    #[error("the token cannot be carried by {0}")]
    Token(&'static str),
    /// There is a query parameter `token` beside the token.
    #[error("there is a query parameter `token` beside the token that goes into the query")]
    TokenTwice,
    /// The URL is not one to connect to.
    #[error("the URL is not usable: {0}")]
    Url(&'static str),
    /// Something is zero that must not be.
    #[error("the {0} is zero")]
    Zero(&'static str),
    /// The port is zero.
    #[error("the port is zero")]
    ZeroPort,
}

/// Why a client did not get connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client is connected, or connecting, already.
    #[error("the client is connected already")]
    AlreadyConnected,
    /// The server's answer is no answer to a WebSocket handshake.
    #[error("the server did not answer the handshake properly: {0}")]
    BadResponse(String),
    /// The connection ended before it could be used.
    #[error("the connection ended at once")]
    Closed,
    /// The TCP connection could not be made; the server, its address or the network is at fault.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection was lost during the handshake.
    #[error("the connection was lost during the handshake")]
    Lost(#[source] io::Error),
    /// The server asks to go elsewhere. Redirects are not followed, as a token would go along.
    #[error("the server redirects to {location}")]
    Redirected {
        /// Where to. `***` stands for the token, if the server put it there.
        location: String,
    },
    /// The server refused.
    #[error("the server refused with {status}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body, at most 4 KiB.
        body: String,
        /// How long to wait before trying again, if the server says so.
        retry_after: Option<Duration>,
    },
    /// The name of the host could not be resolved.
    #[error("cannot resolve the host")]
    Resolve(#[source] io::Error),
    /// Client and server have no subprotocol in common.
    #[error("the server agrees to none of the subprotocols")]
    SubprotocolRejected,
    /// It took longer than the connect timeout.
    #[error("connecting took too long")]
    Timeout,
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(TlsFailure),
    /// The token provider gave no token, or one that cannot be shown.
    #[error("there is no token to show")]
    TokenProvider(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server does not accept the token, or there is none.
    #[error("not authorized: {message}")]
    Unauthorized {
        /// What the server says.
        message: String,
    },
}

/// Why a client did not get into a group, or out of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The connection ended before the server answered, and all of its groups with it.
    #[error("the connection ended before the server answered")]
    Ended,
    /// No group that a client may ask for is called so. Nothing was asked.
    #[error("the name of a group has 1 to 128 bytes and no control characters")]
    Name,
    /// There is no connection. Connect first.
    #[error("the client is not connected")]
    NotConnected,
    /// The server does not let the client in or out.
    #[error("the server refused: {reason}")]
    Refused {
        /// What it says about it: `not allowed here`, or `too many groups`.
        reason: String,
    },
    /// Client and server have not agreed on the subprotocol in which this is asked. Offer it with
    /// [`ClientParams::subprotocol`](crate::ClientParams::subprotocol), before any other.
    #[error(
        "client and server have not agreed on the subprotocol `websockets-simple`, which the client has to offer"
    )]
    Subprotocol,
    /// No answer came within the connect timeout. The server may have done it all the same.
    #[error("the server did not answer in time")]
    Timeout,
}

/// Why a TLS handshake failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The server did not accept the certificate of the client.
    #[error("the server refused the client's certificate: {0}")]
    ClientCertificateRefused(String),
    /// The server wants a certificate of the client, and there was none.
    #[error("the server wants a client certificate")]
    ClientCertificateRequired,
    /// The certificate has expired.
    #[error("the server's certificate has expired")]
    Expired,
    /// No certificate can be for the host.
    #[error("the host cannot be the name of a certificate")]
    HostName,
    /// The certificate is none of those that were pinned.
    #[error("the server's certificate is not the one that was pinned")]
    NotPinned,
    /// What answered is no TLS.
    #[error("the server does not speak TLS there")]
    NotTls,
    /// The certificate is not valid yet.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// The certificate was revoked.
    #[error("the server's certificate was revoked")]
    Revoked,
    /// Nobody who is trusted has issued the certificate.
    #[error("the server's certificate was issued by nobody who is trusted here")]
    UnknownIssuer,
    /// There is no version of TLS that both sides speak.
    #[error("client and server have no version of TLS in common")]
    Version,
    /// The certificate is for another name than that of the host.
    #[error("the server's certificate is for another name")]
    WrongName,
}

impl ConnectError {
    /// Reads the end of a connection that was over before it began to be used.
    pub(crate) fn from_end(end: Option<&Disconnect>, params: &CheckedParams) -> Self {
        match end {
            Some(end) if end.by == EndedBy::Peer && end.code == Some(CloseCode::POLICY.get()) => {
                Self::Unauthorized { message: params.without_token(&end.reason, false) }
            }
            _ => Self::Closed,
        }
    }

    /// Where it failed; a call that came at the wrong time is not a failure of the connection.
    pub(crate) fn stage(&self) -> Option<ErrorStage> {
        match self {
            Self::AlreadyConnected => None,
            Self::Tls(_) => Some(ErrorStage::Tls),
            Self::TokenProvider(_) => Some(ErrorStage::TokenProvider),
            Self::Connect(_) | Self::Lost(_) | Self::Resolve(_) => Some(ErrorStage::Transport),
            _ => Some(ErrorStage::Handshake),
        }
    }
}
