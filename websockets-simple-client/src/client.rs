//! The handle of a client: connect, disconnect, send, groups.

use std::{fmt, sync::Arc};

use websockets_simple_core::{
    CloseCode, Disconnect, EndCause, Events, Statistics, Subscriptions, WithState, current_owner,
};

use crate::{
    config::{AttemptInfo, ClientParams, TokenReason},
    connection::{ClientConnection, ClientFigures, EndProgress, Shared, attempt},
    error::{ConnectError, GroupError, OpenError, ParamsError},
    event::ClientEvent,
};

/// A WebSocket client that can connect repeatedly.
///
/// Clones are handles of the same client. When the last one is dropped, the connection is closed with 1001 in the
/// background, and no other is opened.
///
/// With [`ClientParams::reconnect`] it connects again by itself after it was lost: see [`Reconnect`](crate::Reconnect),
/// [`state`](Self::state) and [`connected`](Self::connected).
///
/// Usage: [`new`](Self::new), [`on`](Self::on) or [`events`](Self::events),
/// [`connect`](Self::connect), [`disconnect`](Self::disconnect), and `connect` again; subscriptions survive.
/// [`open`](Self::open) is the first three in one, and the function [`connect`] its short form.
///
/// # Examples
///
/// ```no_run
/// use websockets_simple_client::{ClientParams, WebsocketClient};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = WebsocketClient::new(ClientParams::new("localhost", 8080).token("secret"))?;
/// let mut events = client.events();
/// client.connect().await?;
/// client.send_text("hello").await?;
/// while let Some(event) = events.recv().await {
///     if let Some(message) = event.message() {
///         println!("{message}");
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

/// Opens a client: its parameters, or a URL (`ws`, `wss`, `http` or `https`), are all that it takes. As
/// [`WebsocketClient::open`], of which this is the short form.
///
/// # Errors
///
/// [`OpenError`]: the URL or a parameter is wrong, or the connect failed.
///
/// # Cancel safety
///
/// Dropped before it resolves, the attempt is aborted and the socket is closed.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, mut events) = websockets_simple_client::connect("ws://localhost:8080/news").await?;
/// client.send_text("hello").await?;
/// while let Some(event) = events.recv().await {
///     if let Some(message) = event.message() {
///         println!("{message}");
///     }
/// }
/// # Ok(()) }
/// ```
pub async fn connect<P>(to: P) -> Result<(WebsocketClient, Events<ClientEvent>), OpenError>
where
    P: TryInto<ClientParams>,
    OpenError: From<P::Error>,
{
    WebsocketClient::open(to.try_into()?).await
}

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

    /// Creates a client, subscribes to its events, and connects: the stream begins with the event Connecting, and holds
    /// everything that the server sends. It is as bounded as that of [`events`](Self::events), so it has to be read.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: a parameter is wrong, or the connect failed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the attempt is aborted and the socket is closed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use websockets_simple_client::{ClientParams, WebsocketClient};
    ///
    /// # async fn example() -> Result<(), websockets_simple_client::OpenError> {
    /// let (client, mut events) = WebsocketClient::open(ClientParams::new("localhost", 8080)).await?;
    /// while let Some(event) = events.recv().await {
    ///     if let Some(message) = event.message() {
    ///         println!("{message}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn open(params: ClientParams) -> Result<(Self, Events<ClientEvent>), OpenError> {
        let client = Self::new(params)?;
        let events = client.events();
        client.connect().await?;
        Ok((client, events))
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
    /// Messages that the server sends at once are not lost if the first subscription to messages comes after this call:
    /// as long as there was none, they wait for it, up to the [read-ahead](ClientParams::read_ahead), and errors and
    /// the end of the connection pass them. If more comes, or the connection ends, the client is one that only sends:
    /// messages are dropped, and the first [message event](crate::MessageEvent::missed) says how many. A peer is never
    /// made to wait for a subscription, and pings and Close are always answered. [`open`](Self::open) needs no such rule.
    ///
    /// The connection runs in a task of the current tokio runtime. If that runtime is dropped, the connection ends with
    /// 1001, its Disconnected is raised, and the client can connect again in another runtime. Handlers are then polled
    /// once more; what they wait for no longer comes.
    ///
    /// With [`ClientParams::reconnect`] the attempts are made in a task of their own. This resolves at the first
    /// connection, or when the client gives up; without [`first`](crate::Reconnect::first) that is after one attempt.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says which step failed, and distinguishes a refusal by the server from a failure of the
    /// connection.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the attempt is aborted, the socket is closed, and Refused is raised. No further
    /// attempt is made.
    pub async fn connect(&self) -> Result<ClientConnection, ConnectError> {
        match self.shared.params.reconnect() {
            None => attempt::connect(&self.shared, AttemptInfo::default(), TokenReason::First).await,
            Some(reconnect) => self.shared.supervision.connect(&self.shared, reconnect).await,
        }
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
        let cause = EndCause::closed(code, reason);
        let connection = self.connection();
        if self.shared.params.reconnect().is_some() {
            self.shared.supervision.disconnect(cause.clone());
        }
        let end = match connection {
            Some(connection) => self.end(connection, cause).await,
            None => None,
        };
        if self.shared.params.reconnect().is_some() {
            self.shared.supervision.at_rest(self.shared.params.close_timeout()).await;
        }
        end
    }

    /// Closes the connection and waits for its end.
    async fn end(&self, connection: ClientConnection, cause: EndCause) -> Option<Disconnect> {
        let state = &*connection.0;
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

    /// Joins a group of this connection's channel, and waits until the server confirms it: from then on the client
    /// receives messages to that group. The server must have a rule that allows it, and the connection must have
    /// [control messages](ClientConnection::has_controls), which carry the request.
    ///
    /// Joining a group twice does nothing. A group is left when the connection ends. A client that
    /// [reconnects](ClientParams::reconnect) joins it again by itself; others have to after the next
    /// [`connect`](Self::connect).
    ///
    /// Answers overtake queued messages, so that a message to a group can still arrive after the client has left it.
    /// Several requests may be pending at once. They are answered in order, each within the connect timeout.
    ///
    /// May be called from a handler and from the loop over an event stream: while it waits, more messages are read than
    /// the [read-ahead](ClientParams::read_ahead), as many as the [outbox](ClientParams::outbox) holds. If the server sends
    /// more than that before it answers, this fails with [`GroupError::Stalled`] there.
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

    /// What the client has done since it was made, over all of its connections.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::{ClientParams, WebsocketClient};
    ///
    /// # fn main() -> Result<(), websockets_simple_client::ParamsError> {
    /// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
    /// let figures = client.figures();
    /// assert_eq!((figures.attempts, figures.connections, figures.lost), (0, 0, 0));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn figures(&self) -> ClientFigures {
        self.shared.figures()
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

mod sending;
mod states;
mod streams;
mod weak;

pub use streams::{Contents, Messages};
pub use weak::WeakClient;

#[cfg(test)]
mod tests;
