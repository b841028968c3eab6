//! One connect, from its Connecting to its one end: Connected, or Refused.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, time::Instant};
use websockets_simple_core::{
    Attempt, CloseCode, ConnectionEvent, ConnectionEventKind, ErrorEvent, EventError, Moment, Subscriptions,
};

use crate::{
    config::{AttemptInfo, TokenReason},
    connection::{
        ClientConnection,
        session::{Connecting, Shared},
    },
    error::ConnectError,
    event::ClientEvent,
};

/// How long the handlers of the last events of an attempt may take once nothing waits for them any more.
pub(super) const LAST_WORD: Duration = Duration::from_secs(1);

/// Connects within the connect timeout, which includes the handlers of the attempt's events and begins when the previous
/// connection has ended.
pub(crate) async fn connect(
    shared: &Arc<Shared>,
    info: AttemptInfo,
    reason: TokenReason,
) -> Result<ClientConnection, ConnectError> {
    let place = Connecting::begin(shared).await?;
    let began = Instant::now();
    let timeout = shared.params.connect_timeout();
    let mut attempt = OpenAttempt {
        shared: Arc::clone(shared),
        told: Attempt::new(None, shared.params.path_without_token()),
        has_ended: false,
    };
    // Boxed, as its steps are large and not every caller's future has to be.
    let opening = Box::pin(attempt.open(place, info, reason));
    let error = match tokio::time::timeout(timeout, opening).await.unwrap_or(Err(ConnectError::Timeout)) {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if let Some(end) = attempt.refused(&error) {
        tracing::debug!(%error, "cannot connect");
        let left = timeout.saturating_sub(began.elapsed());
        // What is not done by then goes on in the background.
        let _ = tokio::time::timeout(left, end).await;
    }
    Err(error)
}

/// An attempt that has told Connecting and not its end. Dropped, as by a caller that gives up, it tells the end.
struct OpenAttempt {
    shared: Arc<Shared>,
    told: Attempt,
    /// Whether it has become a connection, or its end is being told.
    has_ended: bool,
}

impl OpenAttempt {
    /// `place` is the right to connect, which is given up when this fails or is dropped.
    async fn open(
        &mut self,
        place: Connecting,
        info: AttemptInfo,
        reason: TokenReason,
    ) -> Result<ClientConnection, ConnectError> {
        let connecting = event(ConnectionEventKind::Connecting(self.told.clone()));
        if !self.shared.subscriptions.raise(connecting).await {
            return Err(ConnectError::HandlerPanic);
        }
        let (params, dialed) = self.shared.dial(info, reason).await?;
        let (connection, mut ready) = place.open(&params, dialed);
        self.has_ended = true;
        tracing::debug!(peer = connection.peer_addr().map(tracing::field::display), "connected");
        let unused = AbandonGuard(Some(connection.clone()));
        // If the connection ends before the success text, the sender is dropped.
        if ready.wait_for(|ready| *ready).await.is_err() {
            return Err(ConnectError::from_end(connection.end(), &params));
        }
        unused.keep();
        Ok(connection)
    }

    /// The telling of the end, unless it is Connected. The client may connect again by now, even in a handler of Refused.
    fn refused(&mut self, error: &ConnectError) -> Option<Telling> {
        if std::mem::replace(&mut self.has_ended, true) {
            return None;
        }
        let error = Arc::new(error.clone());
        let failed = error.stage().map(|stage| {
            let error = EventError::shared(Arc::<ConnectError>::clone(&error));
            ClientEvent::Error(ErrorEvent::new(stage, error, None, None, Moment::now().utc))
        });
        let refused = event(ConnectionEventKind::Refused(self.told.clone(), error));
        let mut untold = Untold {
            events: failed.into_iter().chain([refused]).collect(),
            subscriptions: Arc::clone(&self.shared.subscriptions),
        };
        Some(Telling(Some(Box::pin(async move {
            while let Some(event) = untold.events.pop_front() {
                untold.subscriptions.raise(event).await;
            }
        }))))
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        drop(self.refused(&ConnectError::Cancelled));
    }
}

/// Tells the end of an attempt. What is left of it when this is dropped goes on in a task of its own for
/// [`LAST_WORD`], so that a caller that gives up keeps no event from a handler.
struct Telling(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Future for Telling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(telling) = &mut self.0 {
            std::task::ready!(telling.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let Some(mut telling) = self.0.take() else { return };
        // Event streams and quick handlers are told at once, even if the runtime goes.
        if telling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(LAST_WORD, telling));
        }
    }
}

/// Events of an attempt that were not told yet. Dropped, it tells them to each subscriber, and polls handlers once.
struct Untold {
    events: VecDeque<ClientEvent>,
    subscriptions: Arc<Subscriptions<ClientEvent>>,
}

impl Drop for Untold {
    fn drop(&mut self) {
        for event in self.events.drain(..) {
            let mut raising = std::pin::pin!(self.subscriptions.raise(event));
            let _ = raising.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Closes the connection if `connect` does not return it.
struct AbandonGuard(Option<ClientConnection>);

impl AbandonGuard {
    fn keep(mut self) {
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

fn event(kind: ConnectionEventKind<ClientConnection, Arc<ConnectError>>) -> ClientEvent {
    ClientEvent::Connection(ConnectionEvent::new(kind, Moment::now().utc))
}
