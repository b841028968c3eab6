//! Why a proxy did not connect a client to its server.

use std::{io, sync::Arc, time::Duration};

use super::is_passing;

/// Why a connect through a proxy failed before the server was reached.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// What the proxy sent is not an answer of such a proxy. Perhaps it is one of another kind.
    #[error("the proxy sent an invalid answer: {0}")]
    BadResponse(&'static str),
    /// The TCP connection to the proxy failed: check its address and the network.
    #[error("cannot connect to the proxy")]
    Connect(#[source] Arc<io::Error>),
    /// The connection to the proxy was lost before it had an answer.
    #[error("the connection to the proxy was lost before it answered")]
    Lost(#[source] Arc<io::Error>),
    /// The HTTP proxy did not connect to the server.
    #[error("the proxy did not connect to the server, with HTTP status {status}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// How long to wait before the next attempt, if the proxy asks for that: at most a day.
        retry_after: Option<Duration>,
    },
    /// The name of the proxy could not be resolved. That of the server is resolved by the proxy.
    #[error("cannot resolve the name of the proxy")]
    Resolve(#[source] Arc<io::Error>),
    /// The SOCKS5 proxy did not connect to the server, with this reply code (RFC 1928 section 6).
    #[error("the proxy did not connect to the server: {why} (SOCKS5 reply {0})", why = reply(*.0))]
    Socks5(u8),
    /// The proxy requires a user name and a password, or does not accept those that it was shown (HTTP status 407).
    #[error("the proxy requires a user name and a password, or does not accept those that it was shown")]
    Unauthorized,
}

impl ProxyError {
    /// Whether the same connect may succeed later.
    pub(super) fn is_worth_retrying(&self) -> bool {
        match self {
            Self::BadResponse(_) | Self::Connect(_) | Self::Lost(_) | Self::Resolve(_) => true,
            Self::Rejected { status, .. } => is_passing(*status),
            // Not allowed; no such command; no such kind of address.
            Self::Socks5(code) => !matches!(code, 2 | 7 | 8),
            Self::Unauthorized => false,
        }
    }
}

/// A reply of SOCKS5 in words.
fn reply(code: u8) -> &'static str {
    match code {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "the network cannot be reached",
        4 => "the host cannot be reached",
        5 => "the server refused the connection",
        6 => "the time to live expired",
        7 => "it does not support connections to servers",
        8 => "it does not support this kind of address",
        _ => "it gave no reason that is known",
    }
}
