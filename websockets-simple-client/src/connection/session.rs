//! The state of a client, and its current connection from `connect` to the last event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use websockets_simple_core::{
    CloseCode, Compatibility, ConnectionConfig, ConnectionDriver, ConnectionEvent, ConnectionEventKind,
    ConnectionShared, Dispatcher, EventError, Moment, OutboxConfig, SUBPROTOCOL, Side, Subscriptions,
    new_owner,
};

use crate::{
    config::CheckedParams,
    connection::{
        ClientConnection, ConnectionState, group_requests::GroupRequests, observer::SubscribedObserver,
    },
    dial::{Dialed, Dialer},
    error::{ConnectError, ParamsError},
    event::ClientEvent,
};

pub(crate) struct Shared {
    pub(crate) params: Arc<CheckedParams>,
    pub(crate) dialer: Dialer,
    pub(crate) subscriptions: Arc<Subscriptions<ClientEvent>>,
    pub(crate) owner: u64,
    connection_config: Arc<ConnectionConfig>,
    state: Mutex<ClientState>,
}

pub(crate) enum ClientState {
    Idle,
    Connecting,
    Connected(Session),
}

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: ClientConnection,
    /// True once the connection can be used: at once, or after the success text of a .NET v6 server.
    pub(crate) ready: watch::Receiver<bool>,
    /// True once the Disconnected event was raised.
    pub(crate) over: watch::Receiver<bool>,
}

/// The right to connect, of which there is one per client. Dropped unused, it is given back.
pub(crate) struct Connecting {
    shared: Arc<Shared>,
    used: bool,
}

impl Connecting {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Result<Self, ConnectError> {
        let mut state = shared.state();
        if !matches!(*state, ClientState::Idle) {
            return Err(ConnectError::AlreadyConnected);
        }
        *state = ClientState::Connecting;
        shared.subscriptions.lift_bounds(false);
        Ok(Self { shared: Arc::clone(shared), used: false })
    }

    /// Spawns the task of the connection.
    pub(crate) fn open(mut self, dialed: Dialed) -> Session {
        self.used = true;
        let shared = &self.shared;
        let params = &shared.params;
        let compatibility = params.compatibility();
        let Dialed { stream, leftover, info } = dialed;
        let config = OutboxConfig {
            pacing: params.pacing(),
            v6_server: params.v6_server(),
            ..OutboxConfig::new(params.outbox_bytes(), params.overflow())
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
        *shared.state() = ClientState::Connected(session.clone());
        let observer = SubscribedObserver {
            dispatcher: Dispatcher::new(connection.clone(), Arc::clone(&shared.subscriptions)),
            shared: Arc::clone(shared),
            ready: Some(ready_sender),
        };
        let heartbeat = params.heartbeat();
        let transport = stream.into_transport();
        let config = Arc::clone(&shared.connection_config);
        let core = Arc::clone(&connection.0);
        let driver = ConnectionDriver::new(transport, &leftover, core, config, heartbeat, observer);
        let agreed = connection.0.info.subprotocol.as_deref() == Some(SUBPROTOCOL);
        // Boxed, as the task would otherwise hold it twice.
        let driver = Box::new(if agreed { driver.with_hello() } else { driver });
        // Not joined: the last handle closes the connection when it is dropped, and the task ends within the close
        // timeout of that.
        tokio::spawn(async move {
            driver.await;
            let _ = over_sender.send(true);
        });
        session
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.used {
            *self.shared.state() = ClientState::Idle;
        }
    }
}

/// Closes the connection if `connect` does not return it.
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

impl Shared {
    /// The state of a client that is not connected.
    pub(crate) fn new(params: CheckedParams) -> Result<Self, ParamsError> {
        let compatibility = params.compatibility();
        let mut config = ConnectionConfig::new(Side::Client);
        config.message_size = params.message_size();
        config.close_timeout = params.close_timeout();
        config.repairs_text = compatibility.repairs_text();
        config.closes_twice = compatibility.closes_twice();
        config.low_close_codes = compatibility.low_close_codes();
        config.nudges = params.pacing().nudges;
        config.answers_text_ping = compatibility.answers_text_ping();
        config.watches_text_pings = compatibility.watches_text_pings();
        let dialer = Dialer::new(&params)?;
        Ok(Self {
            params: Arc::new(params),
            dialer,
            subscriptions: Arc::new(Subscriptions::new()),
            owner: new_owner(),
            connection_config: Arc::new(config),
            state: Mutex::new(ClientState::Idle),
        })
    }

    /// Marks the connection as ended, so that another one may be opened.
    pub(crate) fn set_idle(&self) {
        *self.state() = ClientState::Idle;
    }

    fn state(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a WebSocket, with a new token if there is a provider. Also returns the parameters with that token.
    pub(crate) async fn dial(&self) -> Result<(Arc<CheckedParams>, Dialed), ConnectError> {
        let patience = self.params.connect_timeout();
        let fresh = tokio::time::timeout(patience, self.params.with_fresh_token()).await;
        let params = fresh.unwrap_or(Err(ConnectError::Timeout))?;
        let dialed = self.dialer.dial(&params).await?;
        Ok((params, dialed))
    }

    pub(crate) fn session(&self) -> Option<Session> {
        match &*self.state() {
            ClientState::Connected(session) => Some(session.clone()),
            ClientState::Idle | ClientState::Connecting => None,
        }
    }

    pub(crate) async fn raise(&self, kind: ConnectionEventKind<ClientConnection>) {
        let event = ConnectionEvent::new(kind, Moment::now().utc);
        self.subscriptions.raise(ClientEvent::Connection(event)).await;
    }

    pub(crate) async fn raise_failure(&self, error: &ConnectError) {
        let Some(stage) = error.stage() else { return };
        let error = EventError::new(error.to_string());
        if let Some(raised) = self.subscriptions.dispatch_error(stage, error, None) {
            raised.await;
        }
    }
}
