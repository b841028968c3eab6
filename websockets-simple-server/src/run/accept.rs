//! The accept loop of one listener.

use std::{io, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use websockets_simple_core::{ErrorStage, EventError};

use crate::{
    config::Endpoint,
    connection::{StopReport, session},
    handshake::{HandshakeContext, Refusal},
    net::{Listener, LocalEndpoint, Peer},
    run::{shared::Shared, stop::Stop},
    users::Identity,
};

/// Longest pause after an error of `accept`, such as too many open files.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A listener of a run. A run whose runtime was shut down is over only after its ports are free: the runtime drops the
/// tasks of the run in any order.
pub(super) struct OpenListener<L> {
    /// Dropped first.
    listener: L,
    _run: watch::Sender<Option<StopReport>>,
}

impl<L> OpenListener<L> {
    /// `run` is alive for as long as a sender of its report is.
    pub(super) fn new(listener: L, run: watch::Sender<Option<StopReport>>) -> Self {
        Self { listener, _run: run }
    }
}

/// Accepts connections on one listener. It awaits only the listener, the pause after an error, and the stop.
pub(super) async fn accept<I: Identity>(
    shared: Arc<Shared<I>>,
    listener: Arc<OpenListener<impl Listener>>,
    endpoint: Endpoint,
    sessions: TaskTracker,
    stop: Stop,
) {
    let listener = &listener.listener;
    // If the listener has only one address, it need not be read from each connection.
    let local = listener.local();
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.closes_all() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer_addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                pause = (pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE);
                tracing::warn!(%error, ?pause, "accept failed");
                shared.raise_in_background(&sessions, &stop, ErrorStage::Accept, EventError::new(error));
                tokio::select! {
                    () = stop.closes_all() => return,
                    () = tokio::time::sleep(pause) => continue,
                }
            }
        };
        pause = Duration::ZERO;
        let peer = Peer::new(peer_addr, LocalEndpoint::Unknown);
        let ip = peer.counted_ip(&shared.params.trusted_proxies);
        let admittance = match shared.limiter.admit(ip) {
            Ok(admittance) => admittance,
            Err(limit) => {
                shared.refused(Refusal::reason_of(limit), peer.client);
                continue;
            }
        };
        let context = HandshakeContext::new(Arc::clone(&shared), peer, admittance, stop.clone());
        sessions.spawn(session(context, stream, endpoint.clone(), local.clone()));
    }
}

/// Whether an error concerns the connection to be accepted, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
