//! One run of a server: bind, accept, stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use websockets_simple_core::{ErrorStage, EventError};

#[cfg(feature = "rustls")]
use crate::net::ServerTls;
use crate::{
    config::Endpoint,
    connection::{Event, ServerEventKind, StopReport, session},
    handshake::HandshakeContext,
    net::{BoundListener, Listener, LocalEndpoint, Peer},
    run::{
        error::StartError,
        shared::{Run, Shared},
    },
    users::{Identity, Revocations},
};

/// Longest pause after an error of `accept`, such as too many open files.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Time for those who are told that the server has stopped.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Binds all endpoints and hands them to a task that lives until the server has stopped.
pub(crate) fn bind_and_run<I: Identity>(shared: &Arc<Shared<I>>) -> Result<Run, StartError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    let endpoints = &shared.params.endpoints;
    // Before anything is bound: whoever has no certificate opens no port.
    #[cfg(feature = "rustls")]
    for endpoint in endpoints {
        if let Some(tls) = endpoint.server_tls() {
            tls.reload().map_err(|source| StartError::Tls { endpoint: endpoint.clone(), source })?;
        }
    }
    let mut listeners = Vec::new();
    {
        let mut bound = shared.bound();
        for (n, endpoint) in endpoints.iter().enumerate() {
            let listener = endpoint
                .bind(bound.get(n).copied().flatten())
                .map_err(|source| StartError::Bind { endpoint: endpoint.clone(), source })?;
            listeners.push((listener, endpoint.clone()));
        }
        let addrs: io::Result<Vec<_>> = listeners.iter().map(|(listener, _)| listener.tcp_addr()).collect();
        *bound = addrs.map_err(|source| StartError::Bind { endpoint: endpoints[0].clone(), source })?;
    }
    let addrs = shared.bound().iter().flatten().copied().collect();
    let stop = CancellationToken::new();
    let (reporter, report) = watch::channel(None);
    shared.subscriptions.lift_bounds(false);
    let sessions = TaskTracker::new();
    runtime.spawn(run(Arc::clone(shared), listeners, sessions.clone(), stop.clone(), reporter));
    Ok(Run { stop, addrs, report, sessions, runtime })
}

/// The task that owns all others of a server.
async fn run<I: Identity>(
    shared: Arc<Shared<I>>,
    listeners: Vec<(BoundListener, Endpoint)>,
    sessions: TaskTracker,
    stop: CancellationToken,
    reporter: watch::Sender<Option<StopReport>>,
) {
    let mut flushers = JoinSet::new();
    for n in 0..shared.flushers.len() {
        let shared = Arc::clone(&shared);
        flushers.spawn(async move { shared.flushers[n].run().await });
    }
    let mut acceptors = JoinSet::new();
    if let Some(revocations) = shared.admission.revocations() {
        acceptors.spawn(revoke(Arc::clone(&shared), revocations, stop.clone()));
    }
    for (listener, endpoint) in listeners {
        #[cfg(feature = "rustls")]
        if let Some(tls) = endpoint.server_tls()
            && let Some(every) = tls.watch_interval()
        {
            acceptors.spawn(watch(Arc::clone(&shared), tls.clone(), every, stop.clone(), sessions.clone()));
        }
        let (shared, stop, sessions) = (Arc::clone(&shared), stop.clone(), sessions.clone());
        match listener {
            BoundListener::Tcp(listener) => {
                acceptors.spawn(accept(shared, listener, endpoint, stop, sessions))
            }
            #[cfg(unix)]
            BoundListener::Unix(listener) => {
                acceptors.spawn(accept(shared, listener, endpoint, stop, sessions))
            }
        };
    }

    stop.cancelled().await;

    // 1. Nobody new.
    while acceptors.join_next().await.is_some() {}
    shared.nobody_enters();
    // 2. Everybody is told, what is queued leaves, handlers finish.
    shared.subscriptions.lift_bounds(true);
    shared.close_all();
    let patience = shared.params.stop_timeout;
    let in_time = tokio::time::timeout(patience, shared.shutdown.at_rest()).await.is_ok();
    // 3. Who is not done by now loses their handler; the rest is quick.
    if !in_time {
        shared.abort_all_handlers();
        let _ = tokio::time::timeout(LAST_WORD * 2, shared.shutdown.at_rest()).await;
    }
    let report = shared.shutdown.take_report();
    flushers.shutdown().await;
    shared.has_stopped();
    let stopped = Event::server(ServerEventKind::Stopped(report));
    let _ = tokio::time::timeout(LAST_WORD, shared.subscriptions.raise(stopped)).await;
    tracing::info!(?report, "stopped");
    let _ = reporter.send(Some(report));
    // 4. Handlers that waited for the stop go on from here.
    sessions.close();
    if tokio::time::timeout(patience, sessions.wait()).await.is_err() {
        shared.abort_all_handlers();
        sessions.wait().await;
    }
}

/// Accepts on one listener. Awaits nothing but the listener, a pause after an error, and the stop.
async fn accept<I: Identity>(
    shared: Arc<Shared<I>>,
    listener: impl Listener,
    endpoint: Endpoint,
    stop: CancellationToken,
    sessions: TaskTracker,
) {
    // Where there is but one address, no connection needs to be asked which one it came to.
    let bound = listener.local();
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer_addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if is_of_one_connection(&error) {
                    continue;
                }
                pause = (pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE);
                tracing::warn!(%error, ?pause, "accept failed");
                raise(&shared, &sessions, ErrorStage::Accept, EventError::new(error), None);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => continue,
                }
            }
        };
        pause = Duration::ZERO;
        let peer = Peer::new(peer_addr, LocalEndpoint::Unknown);
        let ip = peer.counted_ip(&shared.params.trusted_proxies);
        let Ok(admittance) = shared.limiter.admit(ip) else { continue };
        let context = HandshakeContext::new(Arc::clone(&shared), peer, admittance, stop.clone());
        sessions.spawn(session(context, stream, endpoint.clone(), bound.clone()));
    }
}

/// Reloads certificates when their files were written.
#[cfg(feature = "rustls")]
async fn watch<I: Identity>(
    shared: Arc<Shared<I>>,
    tls: ServerTls,
    every: Duration,
    stop: CancellationToken,
    sessions: TaskTracker,
) {
    let mut known = tls.written_in_use();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let (tls, before) = (tls.clone(), known);
        // Files may be on a disk that takes its time.
        let looked = tokio::task::spawn_blocking(move || {
            let written = tls.written();
            let reloaded = (written != before).then(|| tls.reload());
            (written, reloaded)
        });
        let Ok((written, reloaded)) = looked.await else { return };
        known = written;
        match reloaded {
            None => {}
            Some(Ok(())) => tracing::info!("certificates reloaded"),
            Some(Err(error)) => {
                tracing::warn!(%error, "certificates not reloaded");
                raise(&shared, &sessions, ErrorStage::Tls, EventError::new(error), None);
            }
        }
    }
}

/// Closes what the user service says is revoked.
async fn revoke<I: Identity>(
    shared: Arc<Shared<I>>,
    mut revocations: Revocations<I::Id>,
    stop: CancellationToken,
) {
    loop {
        let next = std::future::poll_fn(|cx| revocations.as_mut().poll_next(cx));
        let revocation = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        let Some(revocation) = revocation else {
            tracing::debug!("the user service tells no more revocations");
            return;
        };
        let closed = shared.revoke(&revocation);
        tracing::debug!(closed, "credentials revoked");
    }
}

/// Tells an error that belongs to no connection, in a task of its own: accepting does not wait for it.
fn raise<I: Identity>(
    shared: &Arc<Shared<I>>,
    sessions: &TaskTracker,
    stage: ErrorStage,
    error: EventError,
    peer_addr: Option<SocketAddr>,
) {
    if let Some(raised) = shared.subscriptions.dispatch_error(stage, error, peer_addr) {
        sessions.spawn(raised);
    }
}

/// Errors that say something of the connection that was to be accepted, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
