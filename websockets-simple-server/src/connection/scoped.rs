//! Connections that live as long as a future of the application.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use websockets_simple_core::{EndCause, ErrorStage, EventError, HandlerFuture, Moment};

use crate::{
    addressing::UnlistedGuard,
    connection::{
        Connection,
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
        let work = Some((self.0)(session.connection.clone()));
        ScopedSession { session, work, raising: None, ended: false, _unlisted: kept }
    }
}

/// A local connection and its work.
pub(crate) struct ScopedSession<I: Identity> {
    session: Session<I>,
    /// `None` once it is done.
    work: Option<Boxed<()>>,
    raising: Option<HandlerFuture>,
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
            let _ = catch_unwind(AssertUnwindSafe(|| work.take()));
        }
        if let Some(working) = work
            && let Some(end) = poll_work(working, cx)
        {
            let _ = catch_unwind(AssertUnwindSafe(|| work.take()));
            let core = &session.connection.0.core;
            match end {
                Ok(()) => core.outbox.close(EndCause::ScopeEnded),
                Err(Panicked) => {
                    *raising = raise_panic(&session.connection);
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

struct Panicked;

/// Polls the work; answers how it ended, if it has.
fn poll_work(work: &mut Boxed<()>, cx: &mut Context<'_>) -> Option<Result<(), Panicked>> {
    match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => None,
        Ok(Poll::Ready(())) => Some(Ok(())),
        Err(_) => Some(Err(Panicked)),
    }
}

fn raise_panic<I: Identity>(connection: &Connection<I>) -> Option<HandlerFuture> {
    let error = EventError::new("the future of a local connection panicked");
    let subscriptions = &connection.0.shared.subscriptions;
    subscriptions.dispatch_error_of(connection, ErrorStage::HandlerPanic, error, Moment::now())
}
