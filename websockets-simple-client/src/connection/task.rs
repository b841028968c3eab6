//! The task of a connection: its driver, and what happens if a handler does not end, or the runtime goes first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::watch, time::Sleep};
use websockets_simple_core::{CloseCode, ConnectionDriver, EndCause};

use crate::connection::{
    ClientConnection,
    ending::{EndProgress, Ending},
    observer::SubscribedObserver,
};

/// Most polls of a driver that ends at once: one for each event that its handlers do not handle at once.
const LAST_POLLS: usize = 64;

/// Runs a connection. Dropped before it is done, as a runtime does that shuts down, it cuts the connection and tells
/// Disconnected.
pub(crate) struct ConnectionTask {
    /// Until it is done.
    driver: Option<Box<ConnectionDriver<SubscribedObserver>>>,
    connection: ClientConnection,
    close_timeout: Duration,
    /// Whether the last handle of the client was dropped.
    abandoned: watch::Receiver<bool>,
    /// Resolves when it is, once the connection has ended.
    abandoning: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// When its handlers are dropped, once the user waits for its end.
    patience: Option<Pin<Box<Sleep>>>,
}

impl ConnectionTask {
    pub(crate) fn new(
        driver: ConnectionDriver<SubscribedObserver>,
        connection: ClientConnection,
        close_timeout: Duration,
        abandoned: watch::Receiver<bool>,
    ) -> Self {
        let driver = Some(Box::new(driver));
        Self { driver, connection, close_timeout, abandoned, abandoning: None, patience: None }
    }

    /// Drops the handlers if the user has waited for them for the close timeout.
    fn hurry(&mut self, cx: &mut Context<'_>) {
        let state = &*self.connection.0;
        // Until then the last handle finds the connection, and asks for its end itself.
        if state.ending.is_released() && !state.ending.is_hurried() {
            let mut abandoned = self.abandoned.clone();
            let begin = || -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(async move {
                    let _ = abandoned.wait_for(|abandoned| *abandoned).await;
                })
            };
            if self.abandoning.get_or_insert_with(begin).as_mut().poll(cx).is_ready() {
                state.ending.hurry();
            }
        }
        if !state.ending.is_hurried() || state.core.outbox.handlers_aborted() {
            return;
        }
        let begin = || Box::pin(tokio::time::sleep(self.close_timeout));
        if self.patience.get_or_insert_with(begin).as_mut().poll(cx).is_ready() {
            state.core.outbox.abort_handlers();
        }
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(driver) = &mut this.driver else { return Poll::Ready(()) };
        let is_pending = Pin::new(driver).poll(cx).is_pending();
        let ending = &this.connection.0.ending;
        if is_pending {
            if ending.is_released() {
                ending.reach(EndProgress::Released);
            }
            this.hurry(cx);
            return Poll::Pending;
        }
        this.driver = None;
        this.connection.0.ending.reach(EndProgress::Over);
        Poll::Ready(())
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let Some(driver) = self.driver.take() else { return };
        let state = &*self.connection.0;
        state.core.outbox.close(EndCause::closed(CloseCode::GOING_AWAY, "the runtime is gone"));
        state.core.outbox.abort_handlers();
        // What panics here is the driver itself, as it catches what handlers do.
        let _ = catch_unwind(AssertUnwindSafe(|| end_at_once(driver, &state.ending)));
        state.ending.reach(EndProgress::Over);
    }
}

/// Ends a connection without waiting for anything: each handler is polled once more.
fn end_at_once(mut driver: Box<ConnectionDriver<SubscribedObserver>>, ending: &Ending) {
    if std::thread::panicking() {
        // It is the driver that panicked. Its observer tells the end when it is dropped.
        return;
    }
    for _ in 0..LAST_POLLS {
        let polled = Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() || ending.is_told() {
            return;
        }
    }
}
