//! The facts of one connection of a client.

use std::{fmt, net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use websockets_simple_core::{Disconnect, Line, Statistics};

use crate::dial::{ConnectionFacts, TlsFacts};

/// One connection of a client: where it goes and what was agreed on. Cloning it gives another handle of the
/// same; it may be kept after the end.
#[derive(Clone)]
pub struct ClientConnection(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) line: Line,
    pub(crate) facts: ConnectionFacts,
    pub(crate) since: DateTime<Utc>,
}

impl ClientConnection {
    /// Our address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.facts.local_addr
    }

    /// The address of the server.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.facts.peer_addr
    }

    /// The subprotocol the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.facts.subprotocol.as_deref()
    }

    /// The headers of the server's answer to the handshake.
    #[must_use]
    pub fn response_headers(&self) -> &http::HeaderMap {
        &self.0.facts.response_headers
    }

    /// What TLS agreed on, if the connection is secured.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.0.facts.tls.as_ref()
    }

    /// When the handshake was complete.
    #[must_use]
    pub fn connected_since(&self) -> DateTime<Utc> {
        self.0.since
    }

    /// Messages and bytes each way, what waits, how far away the server is.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.line.statistics()
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.line.is_open()
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&Disconnect> {
        self.0.line.end()
    }
}

impl AsRef<Line> for Inner {
    fn as_ref(&self) -> &Line {
        &self.line
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection")
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .field("subprotocol", &self.subprotocol())
            .finish_non_exhaustive()
    }
}
