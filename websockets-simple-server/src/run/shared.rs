//! The state that the handles, connections and tasks of a server share.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};
use tokio_util::task::TaskTracker;
use websockets_simple_core::{
    ConnectionConfig, ErrorEvent, ErrorStage, EventError, EventType, Flusher, Message, Moment, Panicked,
    Side, Subscriptions, new_owner,
};

#[cfg(feature = "cluster")]
use crate::run::ClusterNode;
use crate::{
    addressing::{GroupRule, Placement, Registry, RevocableConnections, UnlistedConnections},
    config::{ClientId, ServerParams},
    connection::{Connection, ConnectionState, CurrentUser, Event, Held, Inbound, StopReport},
    figures::Totals,
    handshake::Refusal,
    net::{ConnectionLimiter, HandshakeRequest},
    run::{
        shutdown::{SessionGuard, ShutdownTracker},
        stop::Stop,
    },
    signals::{ChannelEvents, Routes},
    snapshot::Recent,
    users::{Admission, Authenticated, Identity, RecentRevocations, Revocation},
};

/// Most errors without a connection that are raised at the same time: handlers may be slow.
const BACKGROUND_ERRORS: usize = 64;

type Hook<I> = dyn Fn(&Connection<I>, Message) -> Inbound + Send + Sync;

type Place<I> =
    dyn Fn(&HandshakeRequest<'_>, Option<&Authenticated<<I as Identity>::Id>>) -> Placement + Send + Sync;

type MakeSpan = dyn Fn(&HandshakeRequest<'_>) -> tracing::Span + Send + Sync;

/// The state that all handles, connections and tasks of a server share.
pub(crate) struct Shared<I: Identity> {
    pub(crate) params: ServerParams,
    pub(crate) admission: Box<dyn Admission<I>>,
    pub(crate) registry: Arc<Registry<I>>,
    pub(crate) unlisted: Arc<UnlistedConnections<I>>,
    pub(crate) subscriptions: Arc<Subscriptions<Event<I>>>,
    pub(crate) flushers: Box<[Flusher<ConnectionState<I>>]>,
    pub(crate) connection_config: Arc<ConnectionConfig>,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) totals: Arc<Totals>,
    /// What has happened lately, for the live page. `None` without one.
    pub(crate) recent: Option<Arc<Recent>>,
    pub(crate) revoked: RecentRevocations<I::Id>,
    pub(crate) revocable: RevocableConnections<I>,
    pub(crate) inbound: OnceLock<Box<Hook<I>>>,
    pub(crate) placement: OnceLock<Box<Place<I>>>,
    pub(crate) handshake_span: OnceLock<Box<MakeSpan>>,
    pub(crate) routes: Routes<I>,
    pub(crate) channel_events: ChannelEvents<I>,
    pub(crate) group_rule: OnceLock<Box<GroupRule<I>>>,
    #[cfg(feature = "cluster")]
    pub(crate) cluster: OnceLock<ClusterNode<I>>,
    pub(crate) owner: u64,
    /// Whether it was logged that peers of an HTTP server of the application have no address.
    pub(crate) warned_of_unknown_address: AtomicBool,
    /// Whether the application wants no clients for it.
    pub(crate) is_withdrawn: AtomicBool,
    pub(crate) shutdown: ShutdownTracker,
    pub(crate) next_serial: AtomicU64,
    pub(crate) handles: AtomicUsize,
    pub(crate) state: Mutex<RunState>,
    background: Background,
    /// Shared by the connections that have ended and had nothing of it.
    pub(crate) no_extras: Arc<Held<I>>,
    /// The bound addresses of the endpoints, with the ports that the system chose for port 0.
    bound: Mutex<Vec<Option<SocketAddr>>>,
}

/// The errors without a connection that are being raised.
struct Background {
    permits: Arc<Semaphore>,
    /// How many were not raised since the last one.
    missed: AtomicU64,
}

pub(crate) enum RunState {
    Stopped,
    Starting(StopHandle),
    Running(Run),
}

/// By which a run is stopped, from the begin of its start.
#[derive(Clone, Debug)]
pub(crate) struct StopHandle {
    pub(crate) stop: Stop,
    pub(crate) report: watch::Receiver<Option<StopReport>>,
}

/// The right to start a run. Dropped without one, also if the start is cancelled or panics, the server is stopped.
pub(crate) struct Starting<'a, I: Identity> {
    shared: &'a Shared<I>,
    pub(crate) handle: StopHandle,
    /// `None` once the run has it.
    reporter: Option<watch::Sender<Option<StopReport>>>,
}

impl<I: Identity> Starting<'_, I> {
    /// Makes `run` the current one. Answers what its task sends its report to, and drops last.
    pub(crate) fn succeed(mut self, run: Run) -> watch::Sender<Option<StopReport>> {
        *self.shared.state() = RunState::Running(run);
        self.reporter.take().expect("a start succeeds once")
    }
}

impl<I: Identity> Drop for Starting<'_, I> {
    fn drop(&mut self) {
        if self.reporter.is_some() {
            *self.shared.state() = RunState::Stopped;
        }
    }
}

/// One run of the server, from start to stop.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) handle: StopHandle,
    pub(crate) addrs: Vec<SocketAddr>,
    /// The tasks of connections.
    pub(crate) sessions: TaskTracker,
    /// The runtime of the tasks.
    pub(crate) runtime: Handle,
}

impl Run {
    /// Whether the task that owns the run is alive, or a listener of it open: false once its runtime was shut down.
    pub(super) fn is_alive(&self) -> bool {
        // The senders are dropped with that task and those listeners.
        self.handle.report.has_changed().is_ok()
    }
}

impl<I: Identity> Shared<I> {
    /// A stopped server with one handle.
    pub(crate) fn new(params: ServerParams, admission: Box<dyn Admission<I>>) -> Self {
        let limits = &params.limits;
        let mut config = ConnectionConfig::new(Side::Server);
        config.message_size = limits.message_size;
        config.read_ahead = limits.read_ahead;
        config.ping_text = params.compatibility.ping_text();
        config.answers_pings = params.compatibility.answers_pings();
        config.messages_per_second = limits.messages_per_second;
        config.bytes_per_second = limits.bytes_per_second;
        config.idle = limits.idle;
        config.close_timeout = params.close_timeout;
        config.nudges = params.pacing().nudges;
        let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        let has_page = params.operations.as_ref().is_some_and(|operations| operations.live_page.is_some());
        let recent = has_page.then(|| Arc::new(Recent::default()));
        let subscriptions = Subscriptions::new();
        if let Some(recent) = recent.clone() {
            subscriptions.witness_failures(move |event| {
                if let Event::Error(event) = event {
                    recent.failed(event);
                }
            });
        }
        Self {
            // By then, an answer of the user service has become a connection, or the handshake has failed.
            revoked: RecentRevocations::new(limits.handshake.saturating_add(limits.authentication)),
            revocable: RevocableConnections::new(),
            limiter: ConnectionLimiter::new(
                limits.connections_in_total(),
                limits.connections_per_ip,
                limits.ipv6_prefix,
            ),
            totals: Totals::new(params.overflow),
            recent,
            routes: Routes::new(params.signals.are_any()),
            channel_events: ChannelEvents::new(),
            params,
            admission,
            registry: Arc::new(Registry::new()),
            no_extras: Arc::default(),
            unlisted: UnlistedConnections::new(),
            subscriptions: Arc::new(subscriptions),
            flushers: (0..workers.max(1)).map(|_| Flusher::new()).collect(),
            connection_config: Arc::new(config),
            inbound: OnceLock::new(),
            placement: OnceLock::new(),
            handshake_span: OnceLock::new(),
            group_rule: OnceLock::new(),
            #[cfg(feature = "cluster")]
            cluster: OnceLock::new(),
            owner: new_owner(),
            warned_of_unknown_address: AtomicBool::new(false),
            is_withdrawn: AtomicBool::new(false),
            shutdown: ShutdownTracker::default(),
            next_serial: AtomicU64::new(1),
            handles: AtomicUsize::new(1),
            state: Mutex::new(RunState::Stopped),
            background: Background {
                permits: Arc::new(Semaphore::new(BACKGROUND_ERRORS)),
                missed: AtomicU64::new(0),
            },
            bound: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current run, if there is one.
    pub(crate) fn run(&self) -> Option<Run> {
        match &*self.state() {
            RunState::Running(run) if run.is_alive() => Some(run.clone()),
            RunState::Running(_) | RunState::Stopped | RunState::Starting(_) => None,
        }
    }

    /// By which the current run is stopped, also one that is starting.
    pub(crate) fn stop_handle(&self) -> Option<StopHandle> {
        match &*self.state() {
            RunState::Running(run) if run.is_alive() => Some(run.handle.clone()),
            RunState::Starting(handle) => Some(handle.clone()),
            RunState::Running(_) | RunState::Stopped => None,
        }
    }

    /// Claims the right to start a run. `None` if there is a run, or if another caller is starting one.
    pub(crate) fn begin_start(&self) -> Option<Starting<'_, I>> {
        // Dropped after the lock.
        let mut abandoned = None;
        let mut state = self.state();
        match &*state {
            RunState::Stopped => {}
            RunState::Starting(_) => return None,
            RunState::Running(run) if run.is_alive() => return None,
            RunState::Running(_) => {
                // Its runtime was shut down, and all its tasks with it.
                self.shutdown.take_report();
                abandoned = Some(self.registry.abandon_draining());
            }
        }
        let (reporter, report) = watch::channel(None);
        let handle = StopHandle { stop: Stop::default(), report };
        *state = RunState::Starting(handle.clone());
        drop(state);
        drop(abandoned);
        Some(Starting { shared: self, handle, reporter: Some(reporter) })
    }

    /// Enters the current run, unless it is stopping. The stop waits until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<(Run, SessionGuard<I>), Refusal> {
        match &*self.state() {
            RunState::Running(run) if run.is_alive() => match run.handle.stop.has_begun() {
                true => Err(Refusal::stopping(&self.params)),
                false => Ok((run.clone(), SessionGuard::new(self))),
            },
            RunState::Running(_) | RunState::Stopped | RunState::Starting(_) => {
                Err(Refusal::at_rest(&self.params))
            }
        }
    }

    /// Waits for callers inside [`enter`](Self::enter). Called when the stop has begun, so that no later call
    /// enters it.
    pub(crate) fn close_entrance(&self) {
        drop(self.state());
    }

    pub(crate) fn has_stopped(&self) {
        *self.state() = RunState::Stopped;
    }

    pub(crate) fn bound(&self) -> MutexGuard<'_, Vec<Option<SocketAddr>>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the application wants a connection: as `given`, otherwise as the hook says.
    pub(crate) fn place(
        &self,
        request: &HandshakeRequest<'_>,
        user: Option<&Authenticated<I::Id>>,
        given: Option<Placement>,
    ) -> Placement {
        let asked = || self.placement.get().map(|place| place(request, user));
        given.or_else(asked).unwrap_or_default()
    }

    /// The connection that has this id, if one can be found by it or is local.
    pub(crate) fn holder(&self, id: &ClientId) -> Option<Connection<I>> {
        self.registry.client(id).or_else(|| self.unlisted.client(id))
    }

    /// Closes the connections whose credentials are revoked; answers how many.
    pub(crate) fn revoke(&self, revocation: &Revocation<I::Id>) -> usize {
        self.revoke_of(revocation, |_| true)
    }

    /// Closes those that were authenticated before then: the user service may have given the credentials back since.
    #[cfg(feature = "cluster")]
    pub(crate) fn revoke_before(&self, revocation: &Revocation<I::Id>, at: tokio::time::Instant) -> usize {
        self.revoke_of(revocation, |user| user.asked() <= at)
    }

    fn revoke_of(
        &self,
        revocation: &Revocation<I::Id>,
        is_meant: impl Fn(&CurrentUser<I::Id>) -> bool,
    ) -> usize {
        self.totals.revoked();
        // First, so that a connection which is registered after the lookup below finds the revocation.
        self.revoked.add(revocation);
        let mut candidates = self.revocable.of(revocation);
        if let Revocation::User(user) = revocation {
            candidates.extend(self.registry.user(user).iter().cloned());
        }
        let concerned = |connection: &&Connection<I>| {
            let user = connection.0.origin.user.as_ref();
            user.is_some_and(|user| revocation.concerns(&user.latest()) && is_meant(user))
        };
        candidates.iter().filter(concerned).filter(|connection| connection.0.close_as_revoked()).count()
    }

    /// Closes a connection whose credentials were revoked since the user service was asked about them.
    pub(crate) fn close_if_revoked(&self, connection: &Connection<I>) -> bool {
        let concern = |user: &CurrentUser<I::Id>| self.revoked.concern(&user.latest(), user.asked());
        connection.0.origin.user.as_deref().is_some_and(concern) && connection.0.close_as_revoked()
    }

    /// Raises an error without a connection in a new task, so that the caller does not wait for handlers.
    pub(crate) fn raise_in_background(
        &self,
        sessions: &TaskTracker,
        stop: &Stop,
        stage: ErrorStage,
        error: EventError,
    ) {
        if let Some(raising) = self.background_error(stop, stage, error) {
            sessions.spawn(raising);
        }
    }

    /// Logs and raises a panic of user code outside of handlers, wherever it was dropped.
    pub(crate) fn report_panic(&self, panicked: Panicked, what: &str) {
        tracing::error!("{what} panicked");
        let stage = ErrorStage::HandlerPanic;
        if let Some(run) = self.run()
            && let Some(raising) = self.background_error(&run.handle.stop, stage, panicked.of_code(what))
        {
            run.sessions.spawn_on(raising, &run.runtime);
        }
    }

    /// The task that raises an error without a connection. If too many are running, the error is counted, and the next
    /// one says how many were missed.
    fn background_error(
        &self,
        stop: &Stop,
        stage: ErrorStage,
        error: EventError,
    ) -> Option<impl Future<Output = ()> + use<I>> {
        let event = ErrorEvent::new(stage, error, None, None, Moment::now().utc);
        let mut event = self.subscriptions.failure(event);
        if self.subscriptions.is_empty() {
            return None;
        }
        let Ok(permit) = Arc::clone(&self.background.permits).try_acquire_owned() else {
            self.background.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if let Some(error) = event.as_error_mut() {
            error.missed = self.background.missed.swap(0, Ordering::Relaxed);
        }
        let (subscriptions, stop) = (Arc::clone(&self.subscriptions), stop.clone());
        Some(async move {
            stop.run_until_aborted(pin!(subscriptions.raise(event))).await;
            drop(permit);
        })
    }

    /// Drops the handlers that still run.
    pub(crate) fn abort_all_handlers(&self, stop: &Stop) {
        stop.abort_handlers();
        let (open, draining, local) = (self.registry.all(), self.registry.draining(), self.unlisted.all());
        for connection in open.iter().chain(draining.iter()).chain(&local) {
            connection.0.core.outbox.abort_handlers();
        }
    }
}
