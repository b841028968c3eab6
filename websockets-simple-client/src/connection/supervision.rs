//! What a client and the task that keeps it connected ask and tell each other.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use websockets_simple_core::{CloseCode, Compatibility, EndCause};

use crate::{
    config::{Loss, Offline, Reconnect},
    connection::{ClientConnection, ClientState, Shared, States, supervisor::Supervisor},
    error::ConnectError,
};

/// How long a server has for the sign of life that it is asked for.
const PROBE: Duration = Duration::from_secs(5);

/// How much longer the loss of a connection still counts as what that has shown.
const AFTER_PROBE: Duration = Duration::from_secs(1);

/// What a client and the task that keeps it connected know of each other.
pub(crate) struct Supervision {
    states: watch::Sender<ClientState>,
    run: Mutex<Run>,
    /// Wakes the supervisor for what is asked of it.
    asked: Notify,
}

/// One run of a supervisor: from the first connect until nothing is wanted any more.
#[derive(Default)]
struct Run {
    number: u64,
    is_on: bool,
    disconnect: Option<EndCause>,
    now: bool,
    /// Until when a loss is what a probe has shown.
    probing: Option<Instant>,
}

/// What the application asks of a supervisor.
pub(super) enum Asked {
    Disconnect(EndCause),
    /// An attempt without a pause.
    Now,
}

impl Supervision {
    pub(crate) fn new() -> Self {
        Self { states: watch::Sender::default(), run: Mutex::default(), asked: Notify::new() }
    }

    /// Tells the state of a client that does not reconnect.
    pub(crate) fn tell(&self, state: ClientState) {
        self.states.send_replace(state);
    }

    pub(crate) fn state(&self) -> ClientState {
        self.states.borrow().clone()
    }

    pub(crate) fn states(&self) -> States {
        States::new(self.states.subscribe())
    }

    /// Waits for a connection: for ever while nobody connects.
    pub(crate) async fn connected(&self) -> Result<ClientConnection, Arc<Loss>> {
        let mut states = self.states.subscribe();
        loop {
            match &*states.borrow_and_update() {
                ClientState::Open(connection) => return Ok(connection.clone()),
                ClientState::GivenUp(loss) => return Err(Arc::clone(loss)),
                _ => {}
            }
            if states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A connection, if there is one within that time, and the client is to have one at all.
    pub(crate) async fn connected_within(&self, time: Duration) -> Option<ClientConnection> {
        let comes = |state: &ClientState| {
            !matches!(state, ClientState::Connecting { .. } | ClientState::Waiting { .. })
        };
        let mut states = self.states.subscribe();
        let state = tokio::time::timeout(time, states.wait_for(comes)).await.ok()?.ok()?;
        state.connection().cloned()
    }

    /// Begins to connect. False if that has begun before.
    pub(crate) fn start(&self, shared: &Arc<Shared>, reconnect: &Reconnect) -> bool {
        let runtime = tokio::runtime::Handle::current();
        let number = {
            let mut run = self.run();
            if run.is_on {
                return false;
            }
            *run = Run { number: run.number + 1, is_on: true, ..Run::default() };
            run.number
        };
        let supervisor = Supervisor::new(shared, reconnect, number);
        if matches!(shared.params.offline(), Offline::Keep { .. }) {
            shared.kept.open();
        }
        self.tell_of_run(number, ClientState::Connecting { attempt: 0 });
        runtime.spawn(supervisor.run());
        true
    }

    /// Connects, and waits until that has succeeded or was given up.
    pub(crate) async fn connect(
        &self,
        shared: &Arc<Shared>,
        reconnect: &Reconnect,
    ) -> Result<ClientConnection, ConnectError> {
        let mut states = self.states.subscribe();
        if !self.start(shared, reconnect) {
            return Err(ConnectError::AlreadyConnected);
        }
        let mut given_up = GiveUp(Some(self));
        let end = loop {
            match &*states.borrow_and_update() {
                ClientState::Open(connection) => break Ok(connection.clone()),
                ClientState::GivenUp(loss) => break Err(loss.error(&shared.params)),
                ClientState::Idle => break Err(ConnectError::Cancelled),
                ClientState::Connecting { .. } | ClientState::Waiting { .. } => {}
            }
            if states.changed().await.is_err() {
                break Err(ConnectError::Cancelled);
            }
        };
        given_up.0 = None;
        end
    }

    /// Ends a pause, or asks an open connection for a sign of life.
    pub(crate) fn now(&self, shared: &Arc<Shared>, reconnect: &Reconnect) -> bool {
        match self.state() {
            ClientState::Waiting { .. } => {
                self.run().now = true;
                self.asked.notify_one();
                true
            }
            ClientState::GivenUp(_) => self.start(shared, reconnect),
            ClientState::Open(_) if shared.params.compatibility() == Compatibility::DotNetV6 => false,
            ClientState::Open(connection) => {
                self.run().probing = Some(Instant::now() + PROBE + AFTER_PROBE);
                connection.0.core.probe(PROBE)
            }
            ClientState::Idle | ClientState::Connecting { .. } => false,
        }
    }

    /// Makes no further attempt, abandons the current one, and closes the connection.
    pub(crate) fn disconnect(&self, cause: EndCause) {
        let is_on = {
            let mut run = self.run();
            run.disconnect = Some(cause);
            run.is_on
        };
        self.asked.notify_one();
        if !is_on {
            self.states.send_if_modified(|state| {
                let had_given_up = matches!(state, ClientState::GivenUp(_));
                if had_given_up {
                    *state = ClientState::Idle;
                }
                had_given_up
            });
        }
    }

    /// Waits until no attempt is made any more; for that time at the most, as the runtime of the attempts may not run.
    pub(crate) async fn at_rest(&self, most: Duration) {
        let mut states = self.states.subscribe();
        let is_at_rest = |state: &ClientState| matches!(state, ClientState::Idle | ClientState::GivenUp(_));
        let _ = tokio::time::timeout(most, states.wait_for(is_at_rest)).await;
    }

    /// What the application asks of the supervisor, as soon as it does.
    pub(super) async fn asked(&self) -> Asked {
        loop {
            {
                let mut run = self.run();
                if let Some(cause) = run.disconnect.take() {
                    return Asked::Disconnect(cause);
                }
                if std::mem::take(&mut run.now) {
                    return Asked::Now;
                }
            }
            self.asked.notified().await;
        }
    }

    /// Whether the application has just asked whether the connection is alive, which was lost.
    pub(super) fn was_probing(&self) -> bool {
        self.run().probing.take().is_some_and(|until| Instant::now() <= until)
    }

    /// Tells the state of a run, unless another one has begun.
    pub(super) fn tell_of_run(&self, number: u64, state: ClientState) {
        self.states.send_if_modified(|current| {
            let is_current = self.run().number == number;
            if is_current {
                *current = state;
            }
            is_current
        });
    }

    /// The run is over: another one may begin.
    pub(super) fn end_run(&self) {
        self.run().is_on = false;
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped while it has one, as by a caller that gives `connect` up, it ends all attempts.
struct GiveUp<'a>(Option<&'a Supervision>);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if let Some(supervision) = self.0 {
            supervision.disconnect(EndCause::closed(CloseCode::GOING_AWAY, ""));
        }
    }
}
