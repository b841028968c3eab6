//! One connection of a client, from the right to connect to the last event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use websockets_simple_core::{
    CloseCode, Compatibility, ConnectionConfig, ConnectionDriver, ConnectionEvent, ConnectionEventKind,
    ConnectionObserver, ConnectionShared, Control, Direction, Disconnect, Dispatcher, ErrorEvent, ErrorStage,
    EventError, HandlerFuture, Message, MessageEvent, Moment, OutboxConfig, SUBPROTOCOL, Side, Subscriptions,
    new_owner,
};

use crate::{
    config::CheckedParams,
    connection::{ClientConnection, ConnectionState, group_requests::GroupRequests},
    dial::{Dialed, Dialer},
    error::{ConnectError, ParamsError},
    event::ClientEvent,
};

pub(crate) struct Shared {
    pub(crate) params: Arc<CheckedParams>,
    pub(crate) dialer: Dialer,
    pub(crate) subscriptions: Arc<Subscriptions<ClientEvent>>,
    pub(crate) owner: u64,
    link: Arc<ConnectionConfig>,
    life: Mutex<ClientState>,
}

pub(crate) enum ClientState {
    Idle,
    Connecting,
    Connected(Session),
}

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: ClientConnection,
    /// True once the data may flow: at once, or after the success text of a .NET v6 server.
    pub(crate) ready: watch::Receiver<bool>,
    /// True once the end was told.
    pub(crate) over: watch::Receiver<bool>,
}

/// The right to connect; given back when it is dropped unused.
pub(crate) struct Connecting {
    shared: Arc<Shared>,
    used: bool,
}

impl Connecting {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Result<Self, ConnectError> {
        let mut life = shared.life();
        if !matches!(*life, ClientState::Idle) {
            return Err(ConnectError::AlreadyConnected);
        }
        *life = ClientState::Connecting;
        shared.subscriptions.lift_bounds(false);
        Ok(Self { shared: Arc::clone(shared), used: false })
    }

    /// Starts the connection's task.
    pub(crate) fn open(mut self, dialed: Dialed) -> Session {
        self.used = true;
        let shared = &self.shared;
        let params = &shared.params;
        let compatibility = params.compatibility();
        let Dialed { stream, leftover, info } = dialed;
        let config = OutboxConfig {
            capacity: params.outbox_bytes(),
            policy: params.overflow(),
            frame_pause: compatibility.frame_pause(),
            first_frame_pause: compatibility.first_frame_pause(),
        };
        let core = ConnectionShared::new(Side::Client, config);
        let connection = ClientConnection(Arc::new(ConnectionState {
            core,
            info,
            group_requests: GroupRequests::new(params.connect_timeout()),
            subscriptions: Arc::clone(&shared.subscriptions),
            since: chrono::Utc::now(),
        }));
        let waits = compatibility == Compatibility::DotNetV6;
        let (ready_sender, ready) = watch::channel(!waits);
        let (over_sender, over) = watch::channel(false);
        let session = Session { connection: connection.clone(), ready, over };
        *shared.life() = ClientState::Connected(session.clone());
        let told = SubscribedObserver {
            dispatcher: Dispatcher::new(Arc::clone(&shared.subscriptions)),
            connection: connection.clone(),
            shared: Arc::clone(shared),
            ready: Some(ready_sender),
        };
        let heartbeat = params.heartbeat();
        let transport = stream.into_transport();
        let link = Arc::clone(&shared.link);
        let core = Arc::clone(&connection.0);
        // Boxed, as a task would hold it twice.
        let link = ConnectionDriver::new(transport, &leftover, core, link, heartbeat, told);
        let agreed = connection.0.info.subprotocol.as_deref() == Some(SUBPROTOCOL);
        let link = Box::new(if agreed { link.with_hello() } else { link });
        // The task ends by itself within the close timeout of a close, which the last handle asks for.
        tokio::spawn(async move {
            link.await;
            let _ = over_sender.send(true);
        });
        session
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.used {
            *self.shared.life() = ClientState::Idle;
        }
    }
}

/// Closes a connection that nobody was given.
pub(crate) struct AbandonGuard(pub(crate) Option<ClientConnection>);

impl AbandonGuard {
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonGuard {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.close(CloseCode::GOING_AWAY, "");
        }
    }
}

/// Tells the events of a connection.
struct SubscribedObserver {
    dispatcher: Dispatcher<ClientEvent>,
    connection: ClientConnection,
    shared: Arc<Shared>,
    ready: Option<watch::Sender<bool>>,
}

impl ConnectionObserver for SubscribedObserver {
    type Connection = ConnectionState;

    fn owner(&self) -> u64 {
        self.shared.owner
    }

    fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.connected(happened(ConnectionEventKind::Connected(self.connection.clone()), at))
    }

    fn received(&mut self, message: Message, at: Moment) -> Option<HandlerFuture> {
        if let Some(ready) = &self.ready {
            ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
        let event = self.message(Direction::Received, message, 0, at);
        self.dispatcher.tell(event)
    }

    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture> {
        let event = self.message(Direction::Sent, message, missed, at);
        self.dispatcher.tell(event)
    }

    fn control(&mut self, control: Control, at: Moment) -> Option<HandlerFuture> {
        match control {
            Control::Expiring { .. } => {
                let provider = self.shared.params.token_provider()?;
                let (shared, connection) = (Arc::clone(&self.shared), self.connection.clone());
                Some(HandlerFuture::new(async move {
                    match provider.token().await {
                        Ok(token) => {
                            connection.0.core.send_control(&Control::Token(token));
                        }
                        Err(error) => shared.tell_no_renewal(&connection, EventError::new(error)).await,
                    }
                }))
            }
            Control::Refused(reason) => {
                let error = EventError::new(format!("the server refused the new token: {reason}"));
                self.failed(ErrorStage::TokenProvider, error, at)
            }
            Control::Hello => {
                self.connection.0.group_requests.hello(&self.connection.0.core);
                None
            }
            Control::Joined(_) | Control::Left(_) | Control::GroupRefused { .. } => {
                self.connection.0.group_requests.answered(&control);
                None
            }
            // What only a client says, and what needs nothing more.
            _ => None,
        }
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture> {
        let (peer, connection) = (Some(self.connection.peer_addr()), Some(self.connection.clone()));
        self.dispatcher.tell(ClientEvent::Error(ErrorEvent::new(stage, error, peer, connection, at.utc)))
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        let connection = &self.connection;
        self.dispatcher.replay(|| happened(ConnectionEventKind::Connected(connection.clone()), Moment::now()))
    }

    fn released(&mut self) {
        self.ready = None;
        // From here on the client may connect again, also from the handler that is told of this end.
        *self.shared.life() = ClientState::Idle;
        self.connection.0.group_requests.end();
    }

    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher
            .disconnected(happened(ConnectionEventKind::Disconnected(self.connection.clone(), end), at))
    }
}

impl SubscribedObserver {
    fn message(&self, direction: Direction, message: Message, missed: u64, at: Moment) -> ClientEvent {
        ClientEvent::Message(MessageEvent::new(direction, message, missed, self.connection.clone(), at.utc))
    }
}

fn happened(kind: ConnectionEventKind<ClientConnection>, at: Moment) -> ClientEvent {
    ClientEvent::Connection(ConnectionEvent::new(kind, at.utc))
}

impl Shared {
    /// A client that is not connected.
    pub(crate) fn new(params: CheckedParams) -> Result<Self, ParamsError> {
        let compatibility = params.compatibility();
        let mut link = ConnectionConfig::new(Side::Client);
        link.message_size = params.message_size();
        link.close_timeout = params.close_timeout();
        link.repairs_text = compatibility.repairs_text();
        link.closes_twice = compatibility.closes_twice();
        link.answers_text_ping = compatibility.answers_text_ping();
        let dialer = Dialer::new(&params)?;
        Ok(Self {
            params: Arc::new(params),
            dialer,
            subscriptions: Arc::new(Subscriptions::new()),
            owner: new_owner(),
            link: Arc::new(link),
            life: Mutex::new(ClientState::Idle),
        })
    }

    fn life(&self) -> MutexGuard<'_, ClientState> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a WebSocket, with a token of the provider where there is one; with the params that this went by.
    pub(crate) async fn dial(&self) -> Result<(Arc<CheckedParams>, Dialed), ConnectError> {
        let patience = self.params.connect_timeout();
        let fresh = tokio::time::timeout(patience, self.params.with_fresh_token()).await;
        let params = fresh.unwrap_or(Err(ConnectError::Timeout))?;
        let dialed = self.dialer.dial(&params).await?;
        Ok((params, dialed))
    }

    pub(crate) fn session(&self) -> Option<Session> {
        match &*self.life() {
            ClientState::Connected(session) => Some(session.clone()),
            ClientState::Idle | ClientState::Connecting => None,
        }
    }

    pub(crate) async fn tell(&self, kind: ConnectionEventKind<ClientConnection>) {
        if let Some(telling) = self.subscriptions.tell(happened(kind, Moment::now())) {
            telling.await;
        }
    }

    /// Tells that there is no token to renew the credentials with.
    async fn tell_no_renewal(&self, connection: &ClientConnection, error: EventError) {
        let (peer, known) = (Some(connection.peer_addr()), Some(connection.clone()));
        let event = ErrorEvent::new(ErrorStage::TokenProvider, error, peer, known, Moment::now().utc);
        if let Some(telling) = self.subscriptions.tell(ClientEvent::Error(event)) {
            telling.await;
        }
    }

    pub(crate) async fn tell_failure(&self, error: &ConnectError) {
        let Some(stage) = error.stage() else { return };
        let error = EventError::new(error.to_string());
        let event = ClientEvent::Error(ErrorEvent::new(stage, error, None, None, Moment::now().utc));
        if let Some(telling) = self.subscriptions.tell(event) {
            telling.await;
        }
    }
}
