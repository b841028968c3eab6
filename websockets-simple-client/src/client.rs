//! The handle of a client: connect, disconnect, send, groups.

use std::{fmt, sync::Arc};

use websockets_simple_core::{
    CloseCode, Disconnect, EndCause, IntoMessage, Message, MessageWriter, PartKind, SendError, SendStatus,
    Statistics, Subscriptions, Text, WithState, current_owner,
};

use crate::{
    config::ClientParams,
    connection::{ClientConnection, EndProgress, Shared, attempt},
    error::{ConnectError, GroupError, ParamsError},
    event::ClientEvent,
};

/// A WebSocket client that can connect repeatedly.
///
/// Clones are handles of the same client. When the last one is dropped, the connection is closed with 1001 in the
/// background.
///
/// Usage: [`new`](Self::new), [`on`](Self::on) or [`events`](Self::events),
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
/// client.send_text("hello").await?;
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

/// Closes the connection when the last handle of the user is dropped. The connection's task holds `Shared` without it.
struct Handles(Arc<Shared>);

impl WebsocketClient {
    /// Creates a client with these parameters. Opens no socket yet.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] says which parameter is wrong.
    pub fn new(params: ClientParams) -> Result<Self, ParamsError> {
        let shared = Arc::new(Shared::new(params.check()?)?);
        Ok(Self { handles: Arc::new(Handles(Arc::clone(&shared))), shared })
    }

    websockets_simple_core::subscribe_methods!(ClientEvent, ClientConnection);

    /// Adds handlers that share a value of the application: each call gets a clone of it, so it is usually an [`Arc`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use websockets_simple_client::{ClientParams, WebsocketClient};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
    /// let ticks = Arc::new(AtomicU64::new(0));
    /// client.with_state(Arc::clone(&ticks)).on_message(|ticks, _connection, _message| async move {
    ///     ticks.fetch_add(1, Ordering::Relaxed);
    /// });
    /// # Ok(()) }
    /// ```
    #[must_use = "it adds no handler by itself"]
    pub fn with_state<S: Clone + Send + Sync + 'static>(&self, state: S) -> WithState<ClientEvent, S> {
        WithState::new(Arc::clone(&self.shared.subscriptions), state)
    }

    fn subscriptions(&self) -> &Arc<Subscriptions<ClientEvent>> {
        &self.shared.subscriptions
    }

    fn wake_for_replay(&self) {
        if let Some(connection) = self.connection() {
            connection.0.core.outbox.wake_driver();
        }
    }

    /// Connects: resolves the host name, opens TCP, TLS and the WebSocket, all within the connect timeout. With
    /// [`Compatibility::DotNetV6`](crate::Compatibility::DotNetV6) it also waits for the server's success text,
    /// as such a server reads nothing before it has sent that.
    ///
    /// If the previous connection is still closing, this waits for its end first, at most for the close timeout; the
    /// connect timeout begins then.
    ///
    /// Raises Connecting and one end of it, Connected or Refused. The handlers of Connecting and Refused are part of the
    /// time: at the connect timeout a handler of Connecting is dropped, and one of Refused goes on for at most a second
    /// in the background.
    ///
    /// The connection runs in a task of the current tokio runtime. If that runtime is dropped, the connection ends with
    /// 1001, its Disconnected is raised, and the client can connect again in another runtime. Handlers are then polled
    /// once more; what they wait for no longer comes.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed, and distinguishes a refusal by the server from a failure of the
    /// connection.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the attempt is aborted, the socket is closed, and Refused is raised.
    pub async fn connect(&self) -> Result<ClientConnection, ConnectError> {
        attempt::connect(&self.shared).await
    }

    /// Closes the connection with 1000 and waits for its end: the server's Close, and the handlers of this client,
    /// Disconnected included, together for at most the close timeout. Handlers that take longer are dropped, one of
    /// Disconnected a second later. Returns how the connection ended; `None` if there was no connection.
    ///
    /// In a handler of this client it waits for the transport alone and drops no handler.
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
        let connection = self.connection()?;
        let state = &*connection.0;
        let cause = EndCause::closed(code, reason);
        let progress = if current_owner() == Some(self.shared.owner) {
            state.core.outbox.close(cause);
            EndProgress::Released
        } else {
            state.end_soon(cause);
            // After this `connect` can be called at once.
            EndProgress::Over
        };
        // A caller that also reads the event stream reads no events while it waits here.
        self.shared.subscriptions.lift_bounds(true);
        state.ending.reached(progress, self.shared.params.close_timeout()).await;
        connection.end().cloned()
    }

    /// Sends a message. **A string is sent as a packet**, `{"Data":"hi","Timestamp":".."}`;
    /// [`send_text`](Self::send_text) sends the text as it is, and [`Json`](crate::Json)`(&value)` is any serializable
    /// value. [`IntoMessage`] lists the rest. Messages are sent in the order of the calls. Inside handlers use the
    /// connection of the event instead: a client that is owned by its own handler is never dropped.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room in the outbox, nothing was sent.
    pub async fn send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        self.connection().ok_or(SendError::Closed)?.send(message).await
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
    pub async fn send_text(&self, text: impl Into<Text>) -> Result<SendStatus, SendError> {
        self.send(Message::text(text)).await
    }

    /// Sends a message without ever waiting. **A string is sent as a packet**, as with [`send`](Self::send);
    /// `Message::text(..)` is sent as it is.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent. [`SendError::Full`] where [`send`](Self::send) would wait.
    pub fn try_send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        self.connection().ok_or(SendError::Closed)?.try_send(message)
    }

    /// Sends a long message in parts, which `produce` writes: `str` for a text message, `[u8]` for a binary one. Each
    /// part waits for room in the outbox.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], and the errors of `produce`.
    ///
    /// # Cancel safety
    ///
    /// Dropped after the first part was sent, the message stays incomplete and the connection is closed.
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

    /// Joins a group of this connection's channel, and waits until the server confirms it: from then on the client
    /// receives messages to that group. The server must have a rule that allows it, and the connection must have
    /// [control messages](ClientConnection::has_controls), which carry the request.
    ///
    /// Joining a group twice does nothing. A group is left when the connection ends: after the next
    /// [`connect`](Self::connect) it has to be joined again.
    ///
    /// Answers overtake queued messages, so that a message to a group can still arrive after the client has left it.
    /// Several requests may be pending at once. They are answered in order, each within the connect timeout.
    ///
    /// # Errors
    ///
    /// [`GroupError`]: the membership is unchanged. After [`GroupError::Timeout`] it is unknown.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the client may or may not join the group.
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
    ///     Err(GroupError::Refused { reason }) => println!("not allowed to join: {reason}"),
    ///     joined => joined?,
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn join(&self, group: &str) -> Result<(), GroupError> {
        self.connection().ok_or(GroupError::NotConnected)?.join(group).await
    }

    /// Leaves a group of this connection's channel. As with [`join`](Self::join), the server must have a rule that
    /// allows the group. Leaving a group that the client is not in does nothing.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the client may or may not leave the group.
    pub async fn leave(&self, group: &str) -> Result<(), GroupError> {
        self.connection().ok_or(GroupError::NotConnected)?.leave(group).await
    }

    /// Whether messages can be sent: false as soon as the connection begins to close, from whichever side. Then
    /// [`send`](Self::send) fails and [`connect`](Self::connect) opens another connection.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.connection().is_some_and(|connection| connection.is_open())
    }

    /// The current connection, if there is one; also while it closes.
    #[must_use]
    pub fn connection(&self) -> Option<ClientConnection> {
        self.shared.connection()
    }

    /// Statistics of the current connection, if there is one.
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
        self.0.abandoned.send_replace(true);
        if let Some(connection) = self.0.connection() {
            connection.0.end_soon(EndCause::HandleDropped);
        }
    }
}

impl fmt::Debug for WebsocketClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebsocketClient").field("connection", &self.connection()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
