//! Keeps a client connected: it owns the one dial, connection or timer that the state machine asks for.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use websockets_simple_core::{
    CloseCode, EndCause, EndedBy, ErrorEvent, ErrorStage, EventError, Happened, Moment, Next, ReconnectState,
    Reconnector, catch_panic,
};

use crate::{
    config::{AttemptInfo, Circumstances, Loss, LossCause, Offline, Reconnect, TokenReason, Verdict},
    connection::{
        ClientConnection, ClientState, EndProgress, Shared, attempt, kept::Unsent, supervision::Asked,
    },
    error::{ConnectError, GroupError},
    event::ClientEvent,
};

/// The task that keeps a client connected. Dropped, as by a runtime that shuts down, it leaves the client idle.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    machine: Reconnector,
    reconnect: Reconnect,
    began: Instant,
    /// Of its run.
    number: u64,
    connection: Option<ClientConnection>,
    /// The last one.
    loss: Option<Arc<Loss>>,
    /// Why the next token is asked for.
    reason: TokenReason,
    was_refused: bool,
}

impl Supervisor {
    /// For the run of this number, which begins with an attempt.
    pub(super) fn new(shared: &Arc<Shared>, reconnect: &Reconnect, number: u64) -> Self {
        let mut machine = Reconnector::new(reconnect.policy);
        machine.step(Happened::Connect, Duration::ZERO, rand::random());
        Self {
            shared: Arc::clone(shared),
            machine,
            reconnect: reconnect.clone(),
            began: Instant::now(),
            number,
            connection: None,
            loss: None,
            reason: TokenReason::First,
            was_refused: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut abandoned = self.shared.abandoned.subscribe();
        loop {
            let done = tokio::select! {
                biased;
                asked = self.shared.supervision.asked() => match asked {
                    Asked::Disconnect(cause) => Done::Unwanted(cause),
                    Asked::Now => Done::Happened(Happened::Now),
                },
                _ = abandoned.wait_for(|abandoned| *abandoned) => Done::Unwanted(EndCause::HandleDropped),
                done = self.next() => done,
            };
            let happened = match done {
                Done::Happened(happened) => happened,
                Done::Opened(connection) => {
                    self.connection = Some(connection);
                    self.was_refused = false;
                    Happened::Opened
                }
                Done::Lost(cause) => self.lost(cause),
                Done::Unwanted(cause) => {
                    self.close(cause);
                    Happened::Disconnect
                }
            };
            if self.machine.step(happened, self.began.elapsed(), rand::random()) {
                self.moved();
            }
            if matches!(self.machine.state(), ReconnectState::Idle | ReconnectState::GivenUp) {
                return;
            }
        }
    }

    /// What has to be done in the state, and its result.
    async fn next(&self) -> Done {
        match self.machine.state() {
            ReconnectState::Connecting => {
                let info = AttemptInfo { attempt: self.machine.attempt(), loss: self.loss.clone() };
                match attempt::connect(&self.shared, info, self.reason).await {
                    Ok(connection) => Done::Opened(connection),
                    Err(error) => Done::Lost(LossCause::Refused(Arc::new(error))),
                }
            }
            ReconnectState::Open { .. } => match &self.connection {
                Some(connection) => {
                    let closed = async {
                        let end = connection.closed().await;
                        // Streams have its Disconnected by then, before the state changes.
                        let timeout = self.shared.params.close_timeout();
                        connection.0.ending.reached(EndProgress::Released, timeout).await;
                        Done::Lost(LossCause::Ended(end))
                    };
                    let restored = async {
                        tokio::join!(self.join_again(connection), self.send_kept(connection));
                        std::future::pending().await
                    };
                    tokio::select! {
                        done = closed => done,
                        never = restored => never,
                    }
                }
                None => Done::Unwanted(EndCause::HandleDropped),
            },
            ReconnectState::Waiting { until } => {
                tokio::time::sleep_until(self.began + until).await;
                Done::Happened(Happened::PauseOver)
            }
            ReconnectState::Idle | ReconnectState::GivenUp => Done::Unwanted(EndCause::HandleDropped),
        }
    }

    /// Judges a loss.
    fn lost(&mut self, cause: LossCause) -> Happened {
        let loss = Loss { cause, attempt: self.machine.attempt() };
        let verdict = catch_panic(|| self.reconnect.verdict(&loss)).unwrap_or_else(|panicked| {
            self.tell_error(ErrorStage::HandlerPanic, panicked.of_code("the judge of losses"), None);
            Verdict::AsUsual
        });
        let lost = self.connection.take();
        let circumstances = Circumstances {
            may_differ: self.shared.params.token_provider().is_some() || self.shared.params.has_hook(),
            was_refused: self.was_refused,
            has_controls: lost.as_ref().is_some_and(|lost| lost.0.core.has_controls()),
            spread: lost.as_ref().and_then(ClientConnection::closing_spread),
        };
        let next = match (self.reconnect.next(&loss, verdict, circumstances), &loss.cause) {
            // Who asks whether it is alive wants another one at once if it is not.
            (Next::Again, LossCause::Ended(end))
                if self.shared.supervision.was_probing()
                    && matches!(end.by, EndedBy::Heartbeat | EndedBy::Transport) =>
            {
                Next::Exactly(Duration::ZERO)
            }
            (next, _) => next,
        };
        self.reason = match &loss.cause {
            LossCause::Refused(error) if matches!(**error, ConnectError::Unauthorized { .. }) => {
                self.was_refused = true;
                TokenReason::Refused
            }
            LossCause::Ended(end) if end.code == Some(CloseCode::EXPIRED.get()) => TokenReason::Refused,
            LossCause::Ended(_) | LossCause::Refused(_) => TokenReason::Again,
        };
        self.loss = Some(Arc::new(loss));
        Happened::Lost(next)
    }

    /// Tells the state, which has changed.
    fn moved(&self) {
        let attempt = self.machine.attempt();
        let state = match (self.machine.state(), &self.connection, &self.loss) {
            (ReconnectState::Connecting, ..) => ClientState::Connecting { attempt },
            (ReconnectState::Open { .. }, Some(connection), _) => ClientState::Open(connection.clone()),
            (ReconnectState::Waiting { until }, _, Some(why)) => {
                let pause = until.saturating_sub(self.began.elapsed());
                tracing::debug!(attempt, ?pause, why = %why.in_a_log(), "the client connects again after a pause");
                ClientState::Waiting { attempt, pause, why: Arc::clone(why) }
            }
            (ReconnectState::GivenUp, _, Some(why)) => {
                tracing::debug!(attempt, why = %why.in_a_log(), "the client does not connect again");
                ClientState::GivenUp(Arc::clone(why))
            }
            _ => ClientState::Idle,
        };
        match &state {
            ClientState::Idle | ClientState::GivenUp(_) => self.rest(state),
            _ => self.tell(state),
        }
    }

    /// Ends the run with this state.
    fn rest(&self, state: ClientState) {
        self.shared.wanted_groups.clear();
        let unsent = self.shared.kept.close();
        self.shared.figures.count(|figures| {
            figures.given_up += u64::from(matches!(state, ClientState::GivenUp(_)));
            figures.dropped += unsent as u64;
        });
        if unsent > 0 {
            let error = EventError::new(format!(
                "{unsent} kept messages were not sent: the client does not connect again"
            ));
            self.tell_error(ErrorStage::Send, error, None);
        }
        self.shared.supervision.end_run();
        self.tell(state);
    }

    /// Tells the state, unless another run has begun.
    fn tell(&self, state: ClientState) {
        self.shared.supervision.tell_of_run(self.number, state);
    }

    /// Closes the connection, if there is one.
    fn close(&mut self, cause: EndCause) {
        if let Some(connection) = self.connection.take() {
            connection.0.end_soon(cause);
        }
    }

    /// Sends the messages that were kept while there was no connection. Dropped, as when that connection is lost, it tells what
    /// was not sent until then.
    async fn send_kept(&self, connection: &ClientConnection) {
        let Offline::Keep { age, .. } = self.shared.params.offline() else { return };
        let mut told = UnsentTold { supervisor: self, connection, unsent: Unsent::default() };
        self.shared.kept.send(connection, age, &mut told.unsent).await;
    }

    /// Joins the groups of the last connection.
    async fn join_again(&self, connection: &ClientConnection) {
        for group in self.shared.wanted_groups.all() {
            let Err(error) = connection.join(&group).await else { continue };
            if matches!(error, GroupError::Refused { .. }) {
                self.shared.wanted_groups.left(&group);
            }
            let text = format!("cannot join the group `{group}` again: {error}");
            self.tell_error(ErrorStage::Group, EventError::new(text), Some(connection));
        }
    }

    /// Raises an error event beside the supervisor, which waits for no handler.
    fn tell_error(&self, stage: ErrorStage, error: EventError, connection: Option<&ClientConnection>) {
        let (peer, connection) = (connection.and_then(ClientConnection::peer_addr), connection.cloned());
        let event = ClientEvent::Error(ErrorEvent::new(stage, error, peer, connection, Moment::now().utc));
        let subscriptions = Arc::clone(&self.shared.subscriptions);
        let raising = async move { subscriptions.raise(event).await };
        // A runtime that shuts down runs no handlers either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(attempt::LAST_WORD, raising));
        }
    }
}

/// Kept messages that were not sent; dropped, it tells them.
struct UnsentTold<'a> {
    supervisor: &'a Supervisor,
    connection: &'a ClientConnection,
    unsent: Unsent,
}

impl Drop for UnsentTold<'_> {
    fn drop(&mut self) {
        let Unsent { old, failed, error } = &self.unsent;
        self.supervisor.shared.figures.count(|figures| figures.dropped += old + failed);
        let tell = |error: String| {
            self.supervisor.tell_error(ErrorStage::Send, EventError::new(error), Some(self.connection));
        };
        if *old > 0 {
            tell(format!("{old} kept messages were not sent: they are too old"));
        }
        if let Some(error) = error {
            tell(format!("{failed} kept messages were not sent: {error}"));
        }
    }
}

/// What the supervisor's work has come to.
enum Done {
    Happened(Happened),
    Opened(ClientConnection),
    Lost(LossCause),
    /// The application wants no connection any more.
    Unwanted(EndCause),
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !matches!(self.machine.state(), ReconnectState::Idle | ReconnectState::GivenUp) {
            self.close(EndCause::HandleDropped);
            self.rest(ClientState::Idle);
        }
    }
}
