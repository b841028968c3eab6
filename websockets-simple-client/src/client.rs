//! `WebsocketClient`.

use std::{fmt, sync::Arc};

use websockets_simple_core::{
    Attempt, CloseCode, ConnectionEventKind, Disconnect, EndCause, IntoMessage, MessageWriter, PartKind,
    SendError, SendStatus, Statistics, Subscriptions, current_owner,
};

use crate::{
    config::ClientParams,
    connection::{AbandonGuard, ClientConnection, Connecting, Shared},
    error::{ConnectError, GroupError, ParamsError},
    event::ClientEvent,
};

/// A WebSocket client.
///
/// A value is a handle, and cloning it gives another handle of the same client. When the last one is dropped the
/// connection is closed with 1001 in the background.
///
/// The life of a client: [`new`](Self::new), [`on`](Self::on) or [`events`](Self::events),
/// [`connect`](Self::connect), [`disconnect`](Self::disconnect), and `connect` again; subscriptions survive.
///
/// # Examples
///
/// ```no_run
/// use websockets_simple_client::{ClientEvent, ClientParams, WebsocketClient};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = WebsocketClient::new(ClientParams::new("localhost", 8080).token("secret"))?;
/// let mut events = client.events();
/// client.connect().await?;
/// client.send("hello").await?;
/// while let Some(event) = events.recv().await {
///     if let ClientEvent::Message(event) = event {
///         println!("{:?}", event.message);
///         break;
///     }
/// }
/// client.disconnect().await;
/// # Ok(()) }
/// ```
pub struct WebsocketClient {
    shared: Arc<Shared>,
    handles: Arc<Handles>,
}

/// Closes the connection when the last handle of the user's goes; those of the connection's task do not count.
struct Handles(Arc<Shared>);

impl WebsocketClient {
    /// A client for these parameters. Opens no socket yet.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] says which parameter is wrong.
    pub fn new(params: ClientParams) -> Result<Self, ParamsError> {
        let shared = Arc::new(Shared::new(params.check()?)?);
        Ok(Self { handles: Arc::new(Handles(Arc::clone(&shared))), shared })
    }

    websockets_simple_core::subscribe_methods!(ClientEvent);

    fn subscriptions(&self) -> &Arc<Subscriptions<ClientEvent>> {
        &self.shared.subscriptions
    }

    fn wake_for_replay(&self) {
        if let Some(session) = self.shared.session() {
            session.connection.0.core.outbox.wake_driver();
        }
    }

    /// Connects: resolves the name, dials, secures, shakes hands. With
    /// [`Compatibility::DotNetV6`](crate::Compatibility::DotNetV6) it also waits for the server's success text,
    /// which such a server must have sent before it can read anything.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says at which of these steps it failed, and tells a refusal by the server apart from a
    /// failure on the way.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the attempt is given up and the socket closed.
    pub async fn connect(&self) -> Result<ClientConnection, ConnectError> {
        let attempt = Connecting::begin(&self.shared)?;
        let path = Attempt::new(None, self.shared.params.path_without_token());
        self.shared.raise(ConnectionEventKind::Connecting(path.clone())).await;
        let (params, dialed) = match self.shared.dial().await {
            Ok(dialed) => dialed,
            Err(error) => {
                drop(attempt);
                tracing::debug!(%error, "cannot connect");
                self.shared.raise_failure(&error).await;
                self.shared.raise(ConnectionEventKind::Refused(path, error.to_string())).await;
                return Err(error);
            }
        };
        let mut session = attempt.open(dialed);
        tracing::debug!(peer = %session.connection.peer_addr(), "connected");
        let unused = AbandonGuard(Some(session.connection.clone()));
        let patience = self.shared.params.connect_timeout();
        let ready = async {
            // An end before the success text drops the sender.
            session.ready.wait_for(|ready| *ready).await.is_ok()
        };
        match tokio::time::timeout(patience, ready).await {
            Ok(true) => {
                unused.keep();
                Ok(session.connection)
            }
            Ok(false) => Err(ConnectError::from_end(session.connection.end(), &params)),
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    /// Closes the connection with 1000 and waits for the server to agree, at most for the close timeout. Answers
    /// how the connection ended; `None` if there was none. May be called from a handler.
    ///
    /// # Cancel safety
    ///
    /// The connection closes even if this is dropped before it resolves, once it was polled.
    pub async fn disconnect(&self) -> Option<Disconnect> {
        self.disconnect_with(CloseCode::NORMAL, "").await
    }

    /// As [`disconnect`](Self::disconnect), with a code and reason (cut to 123 bytes).
    ///
    /// # Cancel safety
    ///
    /// The connection closes even if this is dropped before it resolves, once it was polled.
    pub async fn disconnect_with(&self, code: CloseCode, reason: &str) -> Option<Disconnect> {
        let mut session = self.shared.session()?;
        let core = &session.connection.0.core;
        core.outbox.close(EndCause::closed(code, reason));
        // Whoever calls this from the loop that takes the events does not take any meanwhile.
        self.shared.subscriptions.lift_bounds(true);
        core.outbox.closed().await;
        if current_owner() != Some(self.shared.owner) {
            // So that `connect` can follow at once. A handler of this client would wait for itself here.
            let _ = session.over.wait_for(|over| *over).await;
        }
        session.connection.end().cloned()
    }

    /// Sends a message: a reference to a packet as its JSON, a string wrapped into the default packet, a
    /// [`Message`](crate::Message) raw. Messages leave in the order of the calls. Inside handlers use the
    /// connection of the event instead: a handler that owns its client keeps it from ever being dropped.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent then.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room, nothing was sent.
    pub async fn send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        self.connection().ok_or(SendError::Closed)?.send(message).await
    }

    /// Sends a message without ever waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent then. [`SendError::Full`] where [`send`](Self::send) would wait.
    pub fn try_send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        self.connection().ok_or(SendError::Closed)?.try_send(message)
    }

    /// Sends a long message in parts, `str` for text and `[u8]` for binary, as `write` takes them from
    /// `produce`. Each part waits for room.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped after the first part was sent, the message is torn and the connection is closed.
    pub async fn send_parts<K, F>(&self, produce: F) -> Result<(), SendError>
    where
        K: PartKind + ?Sized,
        F: AsyncFnOnce(&mut MessageWriter<'_, K>) -> Result<(), SendError>,
    {
        let connection = self.connection().ok_or(SendError::Closed)?;
        let mut parts = connection.send_parts().await?;
        produce(&mut parts).await?;
        parts.finish().await
    }

    /// Joins a group of the channel of this connection, and waits until the server has let us in: from then on we
    /// get what is sent to that group. The server must have a rule that lets us, and the client has to have offered
    /// the subprotocol `websockets-simple` ([`ClientParams::subprotocol`]), in which this is asked.
    ///
    /// Joining a group twice does nothing. A group is left when the connection ends: after the next
    /// [`connect`](Self::connect) it has to be joined again.
    ///
    /// Answers pass messages that are on their way, so that a message to the group can still come after it was left.
    /// Several requests can be under way at once. They are answered in order, each within the connect timeout.
    ///
    /// # Errors
    ///
    /// [`GroupError`]: we are in the group no more and no less than before, except after [`GroupError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the server may or may not let us in.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use websockets_simple_client::{ClientParams, GroupError, WebsocketClient};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let params = ClientParams::new("localhost", 8080).subprotocol("websockets-simple");
    /// let client = WebsocketClient::new(params)?;
    /// client.connect().await?;
    /// match client.join("red").await {
    ///     Err(GroupError::Refused { reason }) => println!("not for us: {reason}"),
    ///     joined => joined?,
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn join(&self, group: &str) -> Result<(), GroupError> {
        self.connection().ok_or(GroupError::NotConnected)?.join(group).await
    }

    /// Leaves a group of the channel of this connection, as [`join`](Self::join) joins it: the server lets us out of
    /// those groups that it would let us into. Leaving a group that we are not in does nothing.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the server may or may not let us out.
    pub async fn leave(&self, group: &str) -> Result<(), GroupError> {
        self.connection().ok_or(GroupError::NotConnected)?.leave(group).await
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.session().is_some_and(|session| session.connection.is_open())
    }

    /// The connection, while there is one.
    #[must_use]
    pub fn connection(&self) -> Option<ClientConnection> {
        self.shared.session().map(|session| session.connection)
    }

    /// Figures of the connection, while there is one.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        self.connection().map(|connection| connection.statistics())
    }
}

impl Clone for WebsocketClient {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), handles: Arc::clone(&self.handles) }
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        if let Some(session) = self.0.session() {
            session.connection.0.core.outbox.close(EndCause::HandleDropped);
        }
    }
}

impl fmt::Debug for WebsocketClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebsocketClient").field("connection", &self.connection()).finish_non_exhaustive()
    }
}
