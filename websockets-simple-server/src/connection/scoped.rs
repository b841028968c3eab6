//! Connections that live as long as a future of the application.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use websockets_simple_core::{CatchPanic, EndCause, ErrorEvent, ErrorStage, Moment, Panicked};

use crate::{
    addressing::UnlistedGuard,
    connection::{
        Connection, Event,
        session::{Boxed, Session},
    },
    users::Identity,
};

/// The application's closure that makes the future of a local connection.
pub(crate) struct ScopedWork<I: Identity>(Box<dyn FnOnce(Connection<I>) -> Boxed<()> + Send>);

impl<I: Identity> ScopedWork<I> {
    pub(crate) fn new<F, Fut>(work: F) -> Self
    where
        F: FnOnce(Connection<I>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        // Called inside the future, to catch a panic of the closure as well.
        Self(Box::new(move |connection| Box::pin(async move { work(connection).await })))
    }

    /// A future that runs the connection and the work; when one ends, so does the other.
    pub(crate) fn run(self, session: Session<I>, kept: UnlistedGuard<I>) -> ScopedSession<I> {
        let work = Some(CatchPanic::new((self.0)(session.connection.clone())));
        ScopedSession { session, work, raising: None, ended: false, _unlisted: kept }
    }
}

/// A local connection and its work.
pub(crate) struct ScopedSession<I: Identity> {
    session: Session<I>,
    /// `None` once it is done.
    work: Option<CatchPanic<Boxed<()>>>,
    raising: Option<Boxed<()>>,
    ended: bool,
    _unlisted: UnlistedGuard<I>,
}

/// Nothing in it is pinned in place, as in [`Session`].
impl<I: Identity> Unpin for ScopedSession<I> {}

impl<I: Identity> Future for ScopedSession<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, work, raising, ended, .. } = &mut *self;
        if !*ended && Pin::new(&mut *session).poll(cx).is_ready() {
            *ended = true;
            // The work cannot use the connection any more.
            *work = None;
        }
        if let Some(working) = work
            && let Poll::Ready(done) = Pin::new(working).poll(cx)
        {
            *work = None;
            let core = &session.connection.0.core;
            match done {
                Ok(()) => core.outbox.close(EndCause::ScopeEnded),
                Err(panicked) => {
                    *raising = Some(raise_panic(&session.connection, panicked));
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
        if *ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn raise_panic<I: Identity>(connection: &Connection<I>, panicked: Panicked) -> Boxed<()> {
    let connection = connection.clone();
    Box::pin(async move {
        let error = panicked.of_code("the future of a local connection");
        let (peer, shared) = (connection.peer_addr(), Arc::clone(&connection.0.shared));
        let stage = ErrorStage::HandlerPanic;
        let event = ErrorEvent::new(stage, error, peer, Some(connection), Moment::now().utc);
        // Not in the driver of the connection, so what its handlers do is caught here.
        shared.subscriptions.raise(Event::Error(event)).await;
    })
}
