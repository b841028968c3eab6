//! `WebsocketClient`.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;
use websockets_simple_core::{
    Attempt, CloseCode, Compatibility, ConnectionEvent, ConnectionEventKind, Direction, Disconnect, EndedBy,
    ErrorEvent, ErrorStage, EventError, Events, Handler, Handling, IntoMessage, Line, Link, LinkConfig,
    Message, MessageEvent, Moment, Narrator, OutboxConfig, PartKind, Parts, Recipient, SendError, SendStatus,
    Side, Statistics, SubscribeOptions, Subscription, Subscriptions, current_owner, new_owner,
};

use crate::{
    ClientConnection, ClientEvent, ClientParams, ConnectError, ParamsError,
    connection::Inner,
    dial::{Dialed, Dialer},
    params::Plan,
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

struct Shared {
    plan: Plan,
    dialer: Dialer,
    subscriptions: Arc<Subscriptions<ClientEvent>>,
    owner: u64,
    link: Arc<LinkConfig>,
    life: Mutex<Life>,
}

/// Closes the connection when the last handle of the user's goes; those of the connection's task do not count.
struct Handles(Arc<Shared>);

enum Life {
    Idle,
    Connecting,
    Connected(Session),
}

#[derive(Clone)]
struct Session {
    connection: ClientConnection,
    /// True once the data may flow: at once, or after the success text of a .NET v6 server.
    ready: watch::Receiver<bool>,
    /// True once the end was told.
    over: watch::Receiver<bool>,
}

impl WebsocketClient {
    /// A client for these parameters. Opens no socket yet.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] says which parameter is wrong.
    pub fn new(params: ClientParams) -> Result<Self, ParamsError> {
        let plan = params.check()?;
        let compatibility = plan.compatibility();
        let mut link = LinkConfig::new(Side::Client);
        link.message_size = plan.message_size();
        link.heartbeat = plan.heartbeat();
        link.close_timeout = plan.close_timeout();
        link.repairs_text = compatibility.repairs_text();
        link.closes_twice = compatibility.closes_twice();
        let dialer = Dialer::new(&plan)?;
        let shared = Arc::new(Shared {
            plan,
            dialer,
            subscriptions: Arc::new(Subscriptions::new()),
            owner: new_owner(),
            link: Arc::new(link),
            life: Mutex::new(Life::Idle),
        });
        Ok(Self { handles: Arc::new(Handles(Arc::clone(&shared))), shared })
    }

    /// Calls a closure for every event. The subscription lasts until it is unsubscribed.
    pub fn on<F, Fut>(&self, handler: F) -> Subscription<ClientEvent>
    where
        F: Fn(ClientEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_with(SubscribeOptions::default(), handler)
    }

    /// As [`on`](Self::on), with options.
    pub fn on_with<F, Fut>(&self, options: SubscribeOptions, handler: F) -> Subscription<ClientEvent>
    where
        F: Fn(ClientEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let subscription = self.shared.subscriptions.on(options, handler);
        self.wake_for_replay(options);
        subscription
    }

    /// Calls a handler with state of its own for every event. The subscription lasts until it is unsubscribed.
    pub fn subscribe(&self, handler: impl Handler<ClientEvent>) -> Subscription<ClientEvent> {
        self.subscribe_with(SubscribeOptions::default(), handler)
    }

    /// As [`subscribe`](Self::subscribe), with options.
    pub fn subscribe_with(
        &self,
        options: SubscribeOptions,
        handler: impl Handler<ClientEvent>,
    ) -> Subscription<ClientEvent> {
        let subscription = self.shared.subscriptions.subscribe(options, handler);
        self.wake_for_replay(options);
        subscription
    }

    /// Events as a bounded stream.
    #[must_use]
    pub fn events(&self) -> Events<ClientEvent> {
        self.events_with(SubscribeOptions::default())
    }

    /// As [`events`](Self::events), with options.
    #[must_use]
    pub fn events_with(&self, options: SubscribeOptions) -> Events<ClientEvent> {
        let events = self.shared.subscriptions.stream(options);
        self.wake_for_replay(options);
        events
    }

    fn wake_for_replay(&self, options: SubscribeOptions) {
        if options.replay
            && let Some(session) = self.shared.session()
        {
            session.connection.0.line.wake();
        }
    }

    /// Connects: resolves the name, dials, secures, shakes hands. With
    /// [`Compatibility::DotNetV6`] it also waits for the server's success text, which such a server must have
    /// sent before it can read anything.
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
        let path = Attempt::new(None, self.shared.plan.path_without_token());
        self.shared.tell(ConnectionEventKind::Connecting(path.clone())).await;
        let dialed = match self.shared.dialer.dial(&self.shared.plan).await {
            Ok(dialed) => dialed,
            Err(error) => {
                drop(attempt);
                tracing::debug!(%error, "cannot connect");
                self.shared.tell_failure(&error).await;
                self.shared.tell(ConnectionEventKind::Refused(path, error.to_string())).await;
                return Err(error);
            }
        };
        let mut session = attempt.open(dialed);
        tracing::debug!(peer = %session.connection.peer_addr(), "connected");
        let unused = Unused(Some(session.connection.clone()));
        let patience = self.shared.plan.connect_timeout();
        let ready = async {
            // An end before the success text drops the sender.
            session.ready.wait_for(|ready| *ready).await.is_ok()
        };
        match tokio::time::timeout(patience, ready).await {
            Ok(true) => {
                unused.keep();
                Ok(session.connection)
            }
            Ok(false) => Err(ConnectError::from_end(session.connection.end(), &self.shared.plan)),
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
        let line = &session.connection.0.line;
        line.close(EndedBy::Local, code, reason);
        // Whoever calls this from the loop that takes the events does not take any meanwhile.
        self.shared.subscriptions.lift_bounds(true);
        line.ended().await;
        if current_owner() != Some(self.shared.owner) {
            // So that `connect` can follow at once. A handler of this client would wait for itself here.
            let _ = session.over.wait_for(|over| *over).await;
        }
        session.connection.end().cloned()
    }

    /// Sends a message: a reference to a packet as its JSON, a string wrapped into the default packet, a
    /// [`Message`] raw. Messages leave in the order of the calls. Inside handlers use the connection of the event
    /// instead: a handler that owns its client keeps it from ever being dropped.
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
        F: AsyncFnOnce(&mut Parts<'_, K>) -> Result<(), SendError>,
    {
        let connection = self.connection().ok_or(SendError::Closed)?;
        let mut parts = connection.send_parts().await?;
        produce(&mut parts).await?;
        parts.finish().await
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

/// The right to connect; given back when it is dropped unused.
struct Connecting {
    shared: Arc<Shared>,
    used: bool,
}

impl Connecting {
    fn begin(shared: &Arc<Shared>) -> Result<Self, ConnectError> {
        let mut life = shared.life();
        if !matches!(*life, Life::Idle) {
            return Err(ConnectError::AlreadyConnected);
        }
        *life = Life::Connecting;
        shared.subscriptions.lift_bounds(false);
        Ok(Self { shared: Arc::clone(shared), used: false })
    }

    /// Starts the connection's task.
    fn open(mut self, dialed: Dialed) -> Session {
        self.used = true;
        let shared = &self.shared;
        let plan = &shared.plan;
        let compatibility = plan.compatibility();
        let Dialed { stream, leftover, facts } = dialed;
        let config = OutboxConfig {
            capacity: plan.outbox_bytes(),
            policy: plan.overflow(),
            frame_pause: compatibility.frame_pause(),
            first_frame_pause: compatibility.first_frame_pause(),
        };
        let line = Line::new(Side::Client, config);
        let connection = ClientConnection(Arc::new(Inner {
            line,
            facts,
            subscriptions: Arc::clone(&shared.subscriptions),
            since: chrono::Utc::now(),
        }));
        let waits = compatibility == Compatibility::DotNetV6;
        let (ready_sender, ready) = watch::channel(!waits);
        let (over_sender, over) = watch::channel(false);
        let session = Session { connection: connection.clone(), ready, over };
        *shared.life() = Life::Connected(session.clone());
        let told = Told {
            narrator: Narrator::new(Arc::clone(&shared.subscriptions)),
            connection: connection.clone(),
            shared: Arc::clone(shared),
            ready: Some(ready_sender),
        };
        let heartbeat = plan.heartbeat();
        let transport = stream.into_transport();
        let link = Arc::clone(&shared.link);
        let link =
            Link::new(transport, Bytes::from(leftover), Arc::clone(&connection.0), link, heartbeat, told);
        // The task ends by itself within the close timeout of a close, which the last handle asks for.
        tokio::spawn(async move {
            link.run().await;
            let _ = over_sender.send(true);
        });
        session
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.used {
            *self.shared.life() = Life::Idle;
        }
    }
}

/// Closes a connection that nobody was given.
struct Unused(Option<ClientConnection>);

impl Unused {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.close(CloseCode::GOING_AWAY, "");
        }
    }
}

/// Tells the events of a connection.
struct Told {
    narrator: Narrator<ClientEvent>,
    connection: ClientConnection,
    shared: Arc<Shared>,
    ready: Option<watch::Sender<bool>>,
}

impl Recipient for Told {
    type Connection = Inner;

    fn owner(&self) -> u64 {
        self.shared.owner
    }

    fn connected(&mut self, at: Moment) -> Option<Handling> {
        self.narrator.connected(happened(ConnectionEventKind::Connected(self.connection.clone()), at))
    }

    fn received(&mut self, message: Message, at: Moment) -> Option<Handling> {
        if let Some(ready) = &self.ready {
            ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
        self.narrator.tell(self.message(Direction::Received, message, 0, at))
    }

    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<Handling> {
        self.narrator.tell(self.message(Direction::Sent, message, missed, at))
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<Handling> {
        let (peer, connection) = (Some(self.connection.peer_addr()), Some(self.connection.clone()));
        self.narrator.tell(ClientEvent::Error(ErrorEvent::new(stage, error, peer, connection, at.utc)))
    }

    fn overdue(&mut self) -> Option<Handling> {
        let connection = &self.connection;
        self.narrator.replay(|| happened(ConnectionEventKind::Connected(connection.clone()), Moment::now()))
    }

    fn released(&mut self) {
        self.ready = None;
        // From here on the client may connect again, also from the handler that is told of this end.
        *self.shared.life() = Life::Idle;
    }

    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<Handling> {
        self.narrator
            .disconnected(happened(ConnectionEventKind::Disconnected(self.connection.clone(), end), at))
    }
}

impl Told {
    fn message(&self, direction: Direction, message: Message, missed: u64, at: Moment) -> ClientEvent {
        ClientEvent::Message(MessageEvent::new(direction, message, missed, self.connection.clone(), at.utc))
    }
}

fn happened(kind: ConnectionEventKind<ClientConnection>, at: Moment) -> ClientEvent {
    ClientEvent::Connection(ConnectionEvent::new(kind, at.utc))
}

impl Shared {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<Session> {
        match &*self.life() {
            Life::Connected(session) => Some(session.clone()),
            Life::Idle | Life::Connecting => None,
        }
    }

    async fn tell(&self, kind: ConnectionEventKind<ClientConnection>) {
        if let Some(telling) = self.subscriptions.tell(happened(kind, Moment::now())) {
            telling.await;
        }
    }

    async fn tell_failure(&self, error: &ConnectError) {
        let Some(stage) = error.stage() else { return };
        let error = EventError::new(error.to_string());
        let event = ClientEvent::Error(ErrorEvent::new(stage, error, None, None, Moment::now().utc));
        if let Some(telling) = self.subscriptions.tell(event) {
            telling.await;
        }
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
            session.connection.0.line.close(EndedBy::Local, CloseCode::GOING_AWAY, "");
        }
    }
}

impl fmt::Debug for WebsocketClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebsocketClient").field("connection", &self.connection()).finish_non_exhaustive()
    }
}
