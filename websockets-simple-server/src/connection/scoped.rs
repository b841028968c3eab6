//! Connections that live as long as a future of the application.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use websockets_simple_core::{
    CatchPanic, Demand, EndCause, ErrorEvent, ErrorStage, Messages, Moment, Panicked, inside,
};

use crate::{
    addressing::UnlistedGuard,
    connection::{
        ConnectionState, LocalConnection,
        session::{Boxed, Session},
    },
    users::Identity,
};

/// The application's closure that makes the future of a local connection.
pub(crate) struct ScopedWork<I: Identity>(Box<dyn FnOnce(LocalConnection<I>) -> Boxed<()> + Send>);

/// What a local connection has besides its session and its work.
pub(crate) struct SessionScope<I: Identity> {
    /// Whether the work receives messages.
    pub(crate) demand: Demand,
    pub(crate) _unlisted: UnlistedGuard<I>,
}

impl<I: Identity> ScopedWork<I> {
    pub(crate) fn new<F, Fut>(work: F) -> Self
    where
        F: FnOnce(LocalConnection<I>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        // Called inside the future, to catch a panic of the closure as well.
        Self(Box::new(move |connection| Box::pin(async move { work(connection).await })))
    }

    /// A future that runs the connection and the work. When the work ends, so does the connection. When the connection
    /// ends, work that receives messages is told so by the last of them, and other work is dropped.
    pub(crate) fn run(
        self,
        session: Session<I>,
        messages: Messages,
        scope: SessionScope<I>,
    ) -> ScopedSession<I> {
        let work = (self.0)(LocalConnection::new(session.connection().clone(), messages));
        ScopedSession { session, work: Some(CatchPanic::new(work)), raising: None, ended: None, scope }
    }
}

/// A local connection and its work.
pub(crate) struct ScopedSession<I: Identity> {
    session: Session<I>,
    /// `None` once it is done.
    work: Option<CatchPanic<Boxed<()>>>,
    raising: Option<Boxed<()>>,
    /// Whether the connection ended cleanly, once it has ended.
    ended: Option<bool>,
    scope: SessionScope<I>,
}

/// Nothing in it is pinned in place, as in [`Session`].
impl<I: Identity> Unpin for ScopedSession<I> {}

impl<I: Identity> Future for ScopedSession<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, work, raising, ended, scope } = &mut *self;
        if ended.is_none()
            && let Poll::Ready(clean) = session.poll_end(cx)
        {
            *ended = Some(clean);
        }
        let ConnectionState { core, shared, .. } = &*session.connection().0;
        if ended.is_some() && (!scope.demand.is_there() || core.outbox.handlers_aborted()) {
            // The work cannot use the connection any more, and learns of it in no other way or has no more time.
            *work = None;
        }
        if let Some(working) = work
            && let Poll::Ready(done) = inside(shared.owner, || Pin::new(working).poll(cx))
        {
            *work = None;
            match done {
                Ok(()) => core.outbox.close(EndCause::ScopeEnded),
                Err(panicked) => {
                    *raising = Some(raise_panic(session, panicked));
                    core.outbox.close(EndCause::HandlerPanicked)
                }
            };
        }
        if let Some(raised) = raising {
            if Pin::new(raised).poll(cx).is_pending() {
                return Poll::Pending;
            }
            *raising = None;
        }
        match *ended {
            Some(clean) if work.is_none() => {
                session.count(clean);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

fn raise_panic<I: Identity>(session: &Session<I>, panicked: Panicked) -> Boxed<()> {
    let (connection, stop) = (session.connection().clone(), session.stop().clone());
    Box::pin(async move {
        let error = panicked.of_code("the future of a local connection");
        let (peer, shared) = (connection.peer_addr(), Arc::clone(&connection.0.shared));
        let stage = ErrorStage::HandlerPanic;
        let event = ErrorEvent::new(stage, error, peer, Some(connection), Moment::now().utc);
        let event = shared.subscriptions.failure(event);
        // Not in the driver of the connection, so what its handlers do is caught here.
        stop.run_until_aborted(pin!(shared.subscriptions.raise(event))).await;
    })
}
