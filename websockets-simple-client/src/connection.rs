//! The info of one connection of a client.

use std::{fmt, net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use websockets_simple_core::{
    CloseCode, ConnectionShared, Disconnect, EndCause, IntoMessage, MessageWriter, PartKind, SUBPROTOCOL,
    SendError, SendStatus, Sending, Statistics, Subscriptions,
};

use crate::{
    connection::group_requests::GroupRequests,
    dial::{ConnectionInfo, TlsInfo},
    error::GroupError,
    event::ClientEvent,
};

pub(crate) use session::{AbandonGuard, Connecting, Shared};

mod group_requests;
mod observer;
mod session;

/// One connection of a client: where it goes and what was agreed on. Cloning it gives another handle of the
/// same; it may be kept after the end.
#[derive(Clone)]
pub struct ClientConnection(pub(crate) Arc<ConnectionState>);

pub(crate) struct ConnectionState {
    pub(crate) core: ConnectionShared,
    pub(crate) info: ConnectionInfo,
    pub(crate) group_requests: GroupRequests,
    pub(crate) subscriptions: Arc<Subscriptions<ClientEvent>>,
    pub(crate) since: DateTime<Utc>,
}

impl ClientConnection {
    /// Our address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.info.local_addr
    }

    /// The address of the server.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.info.peer_addr
    }

    /// The subprotocol the server chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.info.subprotocol.as_deref()
    }

    /// The headers of the server's answer to the handshake.
    #[must_use]
    pub fn response_headers(&self) -> &http::HeaderMap {
        &self.0.info.response_headers
    }

    /// What TLS agreed on, if the connection is secured.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.0.info.tls.as_ref()
    }

    /// When the handshake was complete.
    #[must_use]
    pub fn connected_since(&self) -> DateTime<Utc> {
        self.0.since
    }

    /// Messages and bytes each way, what waits, how far away the server is.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.core.statistics()
    }

    /// Sends a message: a reference to a packet as its JSON, a string wrapped into the default packet, a
    /// [`Message`](websockets_simple_core::Message) raw. Messages leave in the order of the calls.
    ///
    /// With [`OverflowPolicy::Wait`], the default, this waits for room in the outbox.
    ///
    /// [`OverflowPolicy::Wait`]: websockets_simple_core::OverflowPolicy::Wait
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent then.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room, nothing was sent.
    pub fn send(&self, message: impl IntoMessage) -> Sending<'_> {
        self.0.core.outbox.send(message, self.0.subscriptions.wants_notices())
    }

    /// Sends a message without ever waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent then. [`SendError::Full`] where [`send`](Self::send) would wait.
    pub fn try_send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        let message = message.into_message()?;
        self.0.core.outbox.try_send(message, self.0.subscriptions.wants_notices())
    }

    /// Begins a long message that is sent in parts, `str` for text and `[u8]` for binary, waiting until another
    /// one is finished.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, nothing has begun.
    pub async fn send_parts<K: PartKind + ?Sized>(&self) -> Result<MessageWriter<'_, K>, SendError> {
        MessageWriter::begin(&self.0.core.outbox).await
    }

    /// Joins a group of its channel, as [`WebsocketClient::join`](crate::WebsocketClient::join) does. May be called
    /// from a handler.
    ///
    /// # Errors
    ///
    /// [`GroupError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the server may or may not let it in.
    pub async fn join(&self, group: &str) -> Result<(), GroupError> {
        self.check_subprotocol()?;
        self.0.group_requests.join(&self.0.core, group).await
    }

    /// Leaves a group of its channel, as [`WebsocketClient::leave`](crate::WebsocketClient::leave) does. May be called
    /// from a handler.
    ///
    /// # Errors
    ///
    /// [`GroupError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the server may or may not let it out.
    pub async fn leave(&self, group: &str) -> Result<(), GroupError> {
        self.check_subprotocol()?;
        self.0.group_requests.leave(&self.0.core, group).await
    }

    fn check_subprotocol(&self) -> Result<(), GroupError> {
        if self.subprotocol() == Some(SUBPROTOCOL) { Ok(()) } else { Err(GroupError::Subprotocol) }
    }

    /// Asks for the end of the connection, with a code and reason (cut to 123 bytes), without waiting for it.
    /// False if it was ending already.
    pub fn close(&self, code: CloseCode, reason: &str) -> bool {
        self.0.core.outbox.close(EndCause::closed(code, reason))
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.core.outbox.is_open()
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&Disconnect> {
        self.0.core.end()
    }
}

impl AsRef<ConnectionShared> for ConnectionState {
    fn as_ref(&self) -> &ConnectionShared {
        &self.core
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
