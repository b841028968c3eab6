//! The tasks that watch certificate files and revocations.

#[cfg(feature = "rustls")]
use std::time::Duration;
use std::{pin::pin, sync::Arc, task::Poll};

#[cfg(feature = "rustls")]
use tokio_util::task::TaskTracker;
#[cfg(feature = "rustls")]
use websockets_simple_core::{ErrorStage, EventError};

#[cfg(feature = "rustls")]
use crate::net::ServerTls;
use crate::{
    run::{shared::Shared, stop::Stop},
    users::{Identity, Revocations},
};

/// Reloads certificates when their files have changed.
#[cfg(feature = "rustls")]
pub(super) async fn watch_certificates<I: Identity>(
    shared: Arc<Shared<I>>,
    tls: ServerTls,
    every: Duration,
    sessions: TaskTracker,
    stop: Stop,
) {
    let mut known = tls.written_in_use();
    loop {
        tokio::select! {
            () = stop.begun() => return,
            () = tokio::time::sleep(every) => {}
        }
        let (reloading, before) = (tls.clone(), known);
        // Reading from a slow disk must not block the runtime.
        let checked = tokio::task::spawn_blocking(move || {
            let written = reloading.written();
            let reloaded = (written != before).then(|| reloading.reload());
            (written, reloaded)
        });
        let (written, reloaded) = match checked.await {
            Ok(checked) => checked,
            // The supervisor restarts the watcher.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        known = written;
        match reloaded {
            None => {}
            Some(Ok(())) => tracing::info!("certificates reloaded"),
            Some(Err(error)) => {
                tracing::warn!(%error, "certificates not reloaded");
                shared.raise_in_background(&sessions, &stop, ErrorStage::Tls, EventError::new(error));
            }
        }
    }
}

/// Closes the connections whose credentials the user service revokes, and forgets revocations in time.
pub(super) async fn watch_revocations<I: Identity>(
    shared: Arc<Shared<I>>,
    mut revocations: Option<Revocations<I::Id>>,
    stop: Stop,
) {
    let mut forgetting = pin!(shared.revoked.forget_in_time());
    loop {
        let next = std::future::poll_fn(|cx| match &mut revocations {
            Some(revocations) => revocations.as_mut().poll_next(cx),
            None => Poll::Pending,
        });
        let revocation = tokio::select! {
            biased;
            () = stop.begun() => return,
            never = &mut forgetting => match never {},
            next = next => next,
        };
        match revocation {
            Some(revocation) => {
                let closed = shared.revoke(&revocation);
                tracing::debug!(closed, "credentials revoked");
                // A stream that is always ready must not keep the thread.
                tokio::task::consume_budget().await;
            }
            None => {
                tracing::debug!("the stream of revocations ended");
                revocations = None;
            }
        }
    }
}
