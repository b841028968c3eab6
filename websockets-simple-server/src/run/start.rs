//! The start of a run, and the task that owns all its other tasks.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use websockets_simple_core::catch_panic;
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::TlsError;

#[cfg(feature = "rustls")]
use crate::net::ServerTls;
#[cfg(feature = "cluster")]
use crate::run::cluster;
use crate::{
    config::Endpoint,
    connection::{Event, ServerEventKind, StopReport},
    net::{BoundListener, Listener},
    run::{
        accept::{OpenListener, accept},
        error::StartError,
        shared::{Run, Shared},
        shutdown::{FINAL_TIMEOUT, shutdown},
        snapshot,
        stop::Stop,
        supervisor::{Supervisor, TaskKind},
        watchers,
    },
    users::Identity,
};

/// Checks the parameters, binds all endpoints, and spawns the task that owns the run until the server has stopped.
/// Answers the addresses.
pub(crate) async fn start<I: Identity>(shared: &Arc<Shared<I>>) -> Result<Vec<SocketAddr>, StartError> {
    let starting = shared.begin_start().ok_or(StartError::AlreadyRunning)?;
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    shared.params.check()?;
    #[cfg(feature = "cluster")]
    if let Some(cluster) = shared.cluster.get() {
        cluster.state.params.check()?;
    }
    // tokio says so by a panic only.
    catch_panic(|| drop(tokio::time::sleep(Duration::ZERO))).map_err(|_| StartError::NoDriver("timers"))?;
    // Before any endpoint is bound, so that no port opens without a certificate.
    #[cfg(feature = "rustls")]
    for endpoint in &shared.params.endpoints {
        if let Some(tls) = endpoint.server_tls() {
            load(tls.clone())
                .await
                .map_err(|source| StartError::Tls { endpoint: endpoint.clone(), source })?;
        }
    }
    let listeners = catch_panic(|| bind(shared)).map_err(|_| StartError::NoDriver("sockets"))??;
    let addrs: Vec<_> = shared.bound().iter().flatten().copied().collect();
    shared.subscriptions.lift_bounds(false);
    let sessions = TaskTracker::new();
    let handle = starting.handle.clone();
    let stop = handle.stop.clone();
    // Before its task, which may end at once if it is stopped already.
    let reporter = starting.succeed(Run {
        handle,
        addrs: addrs.clone(),
        sessions: sessions.clone(),
        runtime: runtime.clone(),
    });
    runtime.spawn(run(Arc::clone(shared), listeners, sessions, stop, reporter));
    Ok(addrs)
}

/// Reads certificates. From a slow disk, that must not block the runtime.
#[cfg(feature = "rustls")]
async fn load(tls: ServerTls) -> Result<(), TlsError> {
    match tokio::task::spawn_blocking(move || tls.reload()).await {
        Ok(loaded) => loaded,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(error) => Err(TlsError::unusable(error)),
    }
}

fn bind<I: Identity>(shared: &Shared<I>) -> Result<Vec<(BoundListener, Endpoint)>, StartError> {
    let before = shared.bound().clone();
    let mut listeners = Vec::new();
    let mut addrs = Vec::new();
    for (n, endpoint) in shared.params.endpoints.iter().enumerate() {
        let listener = endpoint.bind(before.get(n).copied().flatten());
        let listener = listener.and_then(|listener| Ok((listener.tcp_addr()?, listener)));
        let failed =
            |source: io::Error| StartError::Bind { endpoint: endpoint.clone(), source: source.into() };
        let (addr, listener) = listener.map_err(failed)?;
        addrs.push(addr);
        listeners.push((listener, endpoint.clone()));
    }
    *shared.bound() = addrs;
    Ok(listeners)
}

/// The task that owns all other tasks of a server.
async fn run<I: Identity>(
    shared: Arc<Shared<I>>,
    listeners: Vec<(BoundListener, Endpoint)>,
    sessions: TaskTracker,
    stop: Stop,
    reporter: watch::Sender<Option<StopReport>>,
) {
    let accepting = TaskTracker::new();
    let mut tasks = Supervisor::new(Arc::clone(&shared), sessions.clone(), stop.clone());
    for number in 0..shared.flushers.len() {
        let shared = Arc::clone(&shared);
        tasks.supervise(TaskKind::Flusher(number), move || {
            let shared = Arc::clone(&shared);
            async move { shared.flushers[number].run().await }
        });
    }
    {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.supervise(TaskKind::Revocations, move || {
            // Asked for at once, before any connection is accepted whose credentials may be revoked.
            let revocations = shared.admission.revocations();
            watchers::watch_revocations(Arc::clone(&shared), revocations, stop.clone())
        });
    }
    if shared.recent.is_some() {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.supervise(TaskKind::Samples, move || snapshot::sample(Arc::clone(&shared), stop.clone()));
    }
    #[cfg(feature = "cluster")]
    cluster::supervise(&mut tasks, &shared, &sessions, &stop);
    for (listener, endpoint) in listeners {
        #[cfg(feature = "rustls")]
        if let Some(tls) = endpoint.server_tls()
            && let Some(every) = tls.watch_interval()
        {
            let (shared, tls, sessions, stop) =
                (Arc::clone(&shared), tls.clone(), sessions.clone(), stop.clone());
            tasks.supervise(TaskKind::Certificates(endpoint.clone()), move || {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                watchers::watch_certificates(shared, tls, every, sessions.clone(), stop.clone())
            });
        }
        match listener {
            BoundListener::Tcp(listener) => {
                let listener = OpenListener::new(listener, reporter.clone());
                accept_on(&mut tasks, &accepting, &shared, listener, endpoint, &sessions, &stop);
            }
            #[cfg(unix)]
            BoundListener::Unix(listener) => {
                let listener = OpenListener::new(listener, reporter.clone());
                accept_on(&mut tasks, &accepting, &shared, listener, endpoint, &sessions, &stop);
            }
        }
    }
    let report = tokio::select! {
        biased;
        never = tasks.watch() => match never {},
        report = shutdown(&shared, &stop, &accepting) => report,
    };
    #[cfg(feature = "cluster")]
    cluster::leave(&shared).await;
    // Ends the flushers, and the listeners with their ports.
    drop(tasks);
    shared.has_stopped();
    let stopped = Event::server(ServerEventKind::Stopped(report));
    let _ = tokio::time::timeout(FINAL_TIMEOUT, shared.subscriptions.raise(stopped)).await;
    tracing::info!(?report, "stopped");
    let _ = reporter.send(Some(report));
    // Handlers that waited for the stop continue from here.
    sessions.close();
    if tokio::time::timeout(shared.params.stop_timeout, sessions.wait()).await.is_err() {
        shared.abort_all_handlers(&stop);
        sessions.wait().await;
    }
}

fn accept_on<I: Identity>(
    tasks: &mut Supervisor<I>,
    accepting: &TaskTracker,
    shared: &Arc<Shared<I>>,
    listener: OpenListener<impl Listener>,
    endpoint: Endpoint,
    sessions: &TaskTracker,
    stop: &Stop,
) {
    let (accepting, shared, listener) = (accepting.clone(), Arc::clone(shared), Arc::new(listener));
    let (sessions, stop) = (sessions.clone(), stop.clone());
    tasks.supervise(TaskKind::Accept(endpoint.clone()), move || {
        let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
        let accept = accept(shared, listener, endpoint.clone(), sessions.clone(), stop.clone());
        accepting.track_future(accept)
    });
}
