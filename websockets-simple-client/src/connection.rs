//! One connection of a client.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use websockets_simple_core::{
    CloseCode, ConnectionShared, Control, Disconnect, EndCause, GroupName, IntoMessage, Message,
    MessageWriter, OwnedSending, PartKind, SendError, SendHandle, SendSink, SendStatus, Sending, Statistics,
    Subscriptions, Text,
};

use crate::{
    connection::{ending::Ending, group_requests::GroupRequests, wanted_groups::WantedGroups},
    dial::{ConnectionInfo, TlsInfo},
    error::GroupError,
    event::ClientEvent,
};

pub use client_state::{ClientState, States};
pub(crate) use ending::EndProgress;
pub use figures::ClientFigures;
pub(crate) use session::Shared;

pub(crate) mod attempt;
mod client_state;
mod ending;
mod figures;
mod group_requests;
mod kept;
mod observer;
mod session;
mod supervision;
mod supervisor;
mod task;
mod wanted_groups;

/// One connection of a client: its addresses, what was negotiated, and sending. Clones are handles of the same
/// connection, and may be kept after it has ended.
#[derive(Clone)]
pub struct ClientConnection(pub(crate) Arc<ConnectionState>);

pub(crate) struct ConnectionState {
    pub(crate) id: u64,
    pub(crate) core: ConnectionShared,
    pub(crate) info: ConnectionInfo,
    pub(crate) group_requests: GroupRequests,
    pub(crate) subscriptions: Arc<Subscriptions<ClientEvent>>,
    /// Where joined groups are noted, if the client reconnects.
    pub(crate) wanted_groups: Option<Arc<WantedGroups>>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) ending: Ending,
}

impl ClientConnection {
    /// The number of the connection: unique in the process, ascending, the first is 1. The id that the server has given
    /// the connection, if it tells one, is in the [response headers](Self::response_headers).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The local address of the TCP connection. `None` over a Unix domain socket and the streams of a
    /// [connector](crate::ClientParams::connector).
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.info.local_addr
    }

    /// The address at the other end of the TCP connection. `None` over a Unix domain socket and the streams of a
    /// [connector](crate::ClientParams::connector).
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.info.peer_addr
    }

    /// Whether both ends agreed on compression ([`ClientParams::compression`](crate::ClientParams::compression)).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.0.core.outbox.is_compressed()
    }

    /// The subprotocol that the server chose. Without the `websockets-simple+` of an offer with
    /// [control messages](Self::has_controls).
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.info.subprotocol.as_deref()
    }

    /// Whether both ends agreed on control messages, by which tokens are renewed and groups are joined. A server of this
    /// library always does where the client [offers](crate::ClientParams::subprotocol) a subprotocol of it.
    #[must_use]
    pub fn has_controls(&self) -> bool {
        self.0.info.controls
    }

    /// The headers of the server's handshake response.
    #[must_use]
    pub fn response_headers(&self) -> &http::HeaderMap {
        &self.0.info.response_headers
    }

    /// The negotiated TLS version and cipher suite, if the connection uses TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.0.info.tls.as_ref()
    }

    /// The time when the handshake was complete.
    #[must_use]
    pub fn connected_since(&self) -> DateTime<Utc> {
        self.0.since
    }

    /// Messages and bytes in each direction, queued bytes, and the round-trip time.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.core.statistics()
    }

    /// Sends a message. **A string is sent as a packet**, `{"Data":"hi","Timestamp":".."}`;
    /// [`send_text`](Self::send_text) sends the text as it is, and [`Json`](crate::Json)`(&value)` is any serializable
    /// value. [`IntoMessage`] lists the rest. Messages are sent in the order of the calls.
    ///
    /// With [`OverflowPolicy::Wait`], the default, this waits for room in the outbox.
    ///
    /// [`OverflowPolicy::Wait`]: websockets_simple_core::OverflowPolicy::Wait
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room in the outbox, nothing was sent.
    pub fn send(&self, message: impl IntoMessage) -> Sending<'_> {
        self.0.core.outbox.send(message, self.0.subscriptions.wants_notices())
    }

    /// Sends a text as it is: [`send`](Self::send) would make a packet of it.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room in the outbox, nothing was sent.
    pub fn send_text(&self, text: impl Into<Text>) -> Sending<'_> {
        self.send(Message::text(text))
    }

    /// Sends a message without ever waiting. **A string is sent as a packet**, as with [`send`](Self::send);
    /// `Message::text(..)` is sent as it is.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent. [`SendError::Full`] where [`send`](Self::send) would wait.
    pub fn try_send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        self.0.core.outbox.try_send(message, self.0.subscriptions.wants_notices())
    }

    /// The connection as a `Sink` of messages, which sends as [`send`](Self::send) does.
    #[must_use]
    pub fn sink(&self) -> SendSink<Self> {
        SendSink::new(self.clone())
    }

    /// Begins a long message that is sent in parts: `str` for a text message, `[u8]` for a binary one. Waits until
    /// another such message is finished.
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

    /// Joins a group of the connection's channel, as [`WebsocketClient::join`](crate::WebsocketClient::join) does.
    /// May be called from a handler.
    ///
    /// # Errors
    ///
    /// [`GroupError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the connection may or may not join the group.
    pub async fn join(&self, group: &str) -> Result<(), GroupError> {
        self.ask(Control::Join, group).await?;
        if let Some(wanted) = &self.0.wanted_groups {
            wanted.joined(group);
        }
        Ok(())
    }

    /// Leaves a group of the connection's channel, as [`WebsocketClient::leave`](crate::WebsocketClient::leave) does.
    /// May be called from a handler.
    ///
    /// # Errors
    ///
    /// [`GroupError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the connection may or may not leave the group.
    pub async fn leave(&self, group: &str) -> Result<(), GroupError> {
        if let Some(wanted) = &self.0.wanted_groups {
            wanted.left(group);
        }
        self.ask(Control::Leave, group).await
    }

    async fn ask(&self, ask: fn(GroupName) -> Control, group: &str) -> Result<(), GroupError> {
        if !self.has_controls() {
            return Err(GroupError::NoControls);
        }
        self.0.group_requests.ask(&self.0.core, &self.0.subscriptions, ask, group).await
    }

    /// Starts to close the connection with a code and reason (cut to 123 bytes), without waiting for the end. False
    /// if it was already closing.
    pub fn close(&self, code: CloseCode, reason: &str) -> bool {
        self.0.core.outbox.close(EndCause::closed(code, reason))
    }

    /// Over how long the server wants its clients back, if it has said so before it closed the connection: each of them
    /// at a random time within it, at most an hour. Servers of this library say it when they stop.
    #[must_use]
    pub fn closing_spread(&self) -> Option<Duration> {
        self.0.core.closing_spread()
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.core.outbox.is_open()
    }

    /// Waits until the connection has ended, and returns how: at once if it has already.
    ///
    /// It has ended when its transport is released, whoever closed it: [`end`](Self::end) is set from then on, nothing is
    /// sent or received any more, and the
    /// client can connect again. Handlers of messages that were received before may still run then, and
    /// Disconnected is raised behind them. Any number of tasks may wait, and it closes nothing by itself. In a
    /// handler of this connection it resolves as well; a Close of the peer is then answered only at the close timeout, as
    /// its answer waits for the handlers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: websockets_simple_client::WebsocketClient) -> Result<(), websockets_simple_client::ConnectError> {
    /// while client.connect().await?.closed().await.should_reconnect() {
    ///     tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn closed(&self) -> Disconnect {
        self.0.core.closed().await
    }

    /// How the connection ended; `None` while it has not.
    #[must_use]
    pub fn end(&self) -> Option<&Disconnect> {
        self.0.core.end()
    }
}

impl ConnectionState {
    /// Closes the connection, whose handlers get the close timeout to end.
    pub(crate) fn end_soon(&self, cause: EndCause) {
        self.ending.hurry();
        self.core.outbox.close(cause);
        // It may have been closing already.
        self.core.outbox.wake_driver();
    }

    /// The number of the next connection.
    pub(crate) fn next_id() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

impl SendHandle for ClientConnection {
    fn send_owned(self, message: Message) -> OwnedSending {
        Box::pin(async move { self.send(message).await })
    }
}

/// Handles of the same connection are equal.
impl PartialEq for ClientConnection {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ClientConnection {}

impl Hash for ClientConnection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
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
            .field("id", &self.0.id)
            .field("local_addr", &self.local_addr())
            .field("peer_addr", &self.peer_addr())
            .field("subprotocol", &self.subprotocol())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
