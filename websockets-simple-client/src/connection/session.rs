//! What there is of a client, and its current connection from `connect` to the last event.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use websockets_simple_core::{
    CatchPanic, Compatibility, ConnectionConfig, ConnectionDriver, ConnectionShared, Dispatcher,
    OutboxConfig, Side, Subscriptions, Token, new_owner,
};

use crate::{
    config::{AttemptInfo, CheckedParams, TokenProvider, TokenReason},
    connection::{
        ClientConnection, ClientState, ConnectionState,
        ending::{EndProgress, Ending},
        figures::{ClientFigures, Figures},
        group_requests::GroupRequests,
        kept::Kept,
        observer::{Audience, SubscribedObserver},
        supervision::Supervision,
        task::ConnectionTask,
        wanted_groups::WantedGroups,
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
    /// Whether the last handle of the user was dropped.
    pub(crate) abandoned: watch::Sender<bool>,
    pub(crate) supervision: Supervision,
    pub(crate) wanted_groups: Arc<WantedGroups>,
    pub(crate) kept: Kept,
    pub(crate) figures: Figures,
    connection_config: Arc<ConnectionConfig>,
    current: Mutex<Current>,
}

/// What there is of a client.
pub(crate) enum Current {
    Nothing,
    Attempt,
    Connection(ClientConnection),
}

/// The right to connect, of which there is one per client. Dropped unused, it is given back.
pub(crate) struct Connecting {
    shared: Arc<Shared>,
    used: bool,
}

/// Whether the right to connect could be taken.
enum Taken {
    Yes(Connecting),
    /// The client is connected or connecting.
    No,
    /// Not before this connection has ended.
    Closing(ClientConnection),
}

impl Connecting {
    /// Takes the right to connect. Waits for a connection that is closing.
    pub(crate) async fn begin(shared: &Arc<Shared>) -> Result<Self, ConnectError> {
        match Self::take(shared) {
            Taken::Yes(connecting) => Ok(connecting),
            Taken::No => Err(ConnectError::AlreadyConnected),
            Taken::Closing(old) => {
                old.0.ending.reached(EndProgress::Released, shared.params.close_timeout()).await;
                match Self::take(shared) {
                    Taken::Yes(connecting) => Ok(connecting),
                    Taken::No | Taken::Closing(_) => Err(ConnectError::AlreadyConnected),
                }
            }
        }
    }

    fn take(shared: &Arc<Shared>) -> Taken {
        let mut current = shared.current();
        match &*current {
            Current::Attempt => return Taken::No,
            Current::Connection(connection) if connection.is_open() => return Taken::No,
            Current::Connection(connection) => return Taken::Closing(connection.clone()),
            Current::Nothing => {}
        }
        *current = Current::Attempt;
        drop(current);
        shared.tell(ClientState::Connecting { attempt: 0 });
        shared.subscriptions.lift_bounds(false);
        shared.figures.count(|figures| figures.attempts += 1);
        Taken::Yes(Self { shared: Arc::clone(shared), used: false })
    }

    /// Spawns the task of the connection. The flag becomes true once the connection can be used: at once, or after the
    /// success text of a .NET v6 server.
    pub(crate) fn open(
        mut self,
        params: &CheckedParams,
        dialed: Dialed,
    ) -> (ClientConnection, watch::Receiver<bool>) {
        self.used = true;
        let shared = &self.shared;
        let compatibility = params.compatibility();
        let Dialed { stream, leftover, compression, info } = dialed;
        let config = OutboxConfig {
            pacing: params.pacing(),
            v6_server: params.v6_server(),
            compression,
            ..OutboxConfig::new(params.outbox_bytes(), params.overflow())
        };
        let core = ConnectionShared::new(Side::Client, config);
        let connection = ClientConnection(Arc::new(ConnectionState {
            id: ConnectionState::next_id(),
            core,
            info,
            group_requests: GroupRequests::new(params.connect_timeout()),
            subscriptions: Arc::clone(&shared.subscriptions),
            wanted_groups: params.reconnect().map(|_| Arc::clone(&shared.wanted_groups)),
            since: chrono::Utc::now(),
            ending: Ending::new(),
        }));
        let waits = compatibility == Compatibility::DotNetV6;
        let (ready_sender, ready) = watch::channel(!waits);
        *shared.current() = Current::Connection(connection.clone());
        shared.figures.count(|figures| figures.connections += 1);
        shared.tell(ClientState::Open(connection.clone()));
        let observer = SubscribedObserver {
            dispatcher: Dispatcher::new(connection.clone(), Arc::clone(&shared.subscriptions)),
            shared: Arc::clone(shared),
            ready: Some(ready_sender),
            connected: false,
            audience: Audience::Awaited,
        };
        let heartbeat = params.heartbeat();
        let transport = stream.into_transport();
        let config = Arc::clone(&shared.connection_config);
        let core = Arc::clone(&connection.0);
        let driver = ConnectionDriver::new(transport, &leftover, core, config, heartbeat, observer);
        let driver = if connection.0.info.controls { driver.with_hello() } else { driver };
        let driver = driver.with_message_parts(params.message_parts());
        // Not joined: the last handle closes the connection when it is dropped, and the task ends within the close
        // timeout of that.
        let abandoned = shared.abandoned.subscribe();
        tokio::spawn(ConnectionTask::new(driver, connection.clone(), params.close_timeout(), abandoned));
        (connection, ready)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.used {
            *self.shared.current() = Current::Nothing;
            self.shared.tell(ClientState::Idle);
        }
    }
}

impl Shared {
    /// The state of a client that is not connected.
    pub(crate) fn new(params: CheckedParams) -> Result<Self, ParamsError> {
        let compatibility = params.compatibility();
        let mut config = ConnectionConfig::new(Side::Client);
        config.message_size = params.message_size();
        config.read_ahead = params.read_ahead();
        config.waiting_ahead = params.outbox_bytes();
        config.close_timeout = params.close_timeout();
        if compatibility.repairs_text() {
            config.text = websockets_simple_core::TextPolicy::Lossy;
        }
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
            abandoned: watch::Sender::new(false),
            connection_config: Arc::new(config),
            supervision: Supervision::new(),
            wanted_groups: Arc::default(),
            kept: Kept::default(),
            figures: Figures::default(),
            current: Mutex::new(Current::Nothing),
        })
    }

    /// Marks the connection as ended, so that another one may be opened.
    pub(crate) fn set_idle(&self, ended: &ClientConnection) {
        let mut current = self.current();
        if matches!(&*current, Current::Connection(current) if Arc::ptr_eq(&current.0, &ended.0)) {
            // Within the lock, so that it always counts once.
            self.figures.ended(ended);
            *current = Current::Nothing;
            drop(current);
            self.tell(ClientState::Idle);
        }
    }

    /// Tells the state, which the supervisor does where there is one.
    fn tell(&self, state: ClientState) {
        if self.params.reconnect().is_none() {
            self.supervision.tell(state);
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a WebSocket, with what the hook changes, and a new token if there is a provider. Also returns the parameters
    /// with both.
    pub(crate) async fn dial(
        &self,
        info: AttemptInfo,
        reason: TokenReason,
    ) -> Result<(Arc<CheckedParams>, Dialed), ConnectError> {
        let mut params = self.params.for_attempt(info).await?;
        if let Some(provider) = params.token_provider() {
            let token = ask(provider, reason).await;
            params = params.with_token(token.map_err(|error| ConnectError::TokenProvider(error.into()))?)?;
        }
        let dialed = if params.secured() == self.params.secured() {
            self.dialer.dial(&params).await?
        } else {
            Dialer::new(&params).map_err(ConnectError::Params)?.dial(&params).await?
        };
        Ok((params, dialed))
    }

    /// What the client has done so far.
    pub(crate) fn figures(&self) -> ClientFigures {
        let current = self.current();
        self.figures.with(if let Current::Connection(connection) = &*current {
            Some(connection)
        } else {
            None
        })
    }

    /// The current connection, until its transport is gone.
    pub(crate) fn connection(&self) -> Option<ClientConnection> {
        match &*self.current() {
            Current::Connection(connection) => Some(connection.clone()),
            Current::Nothing | Current::Attempt => None,
        }
    }
}

/// Asks a provider for a token. One that panics is one that fails.
pub(super) async fn ask(
    provider: Arc<dyn TokenProvider>,
    reason: TokenReason,
) -> Result<Token, Box<dyn Error + Send + Sync>> {
    let asked = CatchPanic::new(Box::pin(async move { provider.token(reason).await })).await;
    let asked = asked.unwrap_or_else(|panicked| Err(panicked.of_code("the token provider").into()));
    asked.map(|issued| issued.token)
}
