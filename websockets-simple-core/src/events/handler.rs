//! Handlers of events, and closures that are used as such.

use std::sync::Arc;

use crate::events::handler_future::HandlerFuture;

/// Handles events: those of one connection one after the other, those of different connections concurrently.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use websockets_simple_server::Handler;
///
/// struct Count(AtomicUsize);
///
/// impl<E: Send + 'static> Handler<E> for Count {
///     async fn handle(&self, _event: E) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait Handler<E>: Send + Sync + 'static {
    /// Called for every event. The next event of the same connection waits until the future is done.
    fn handle(&self, event: E) -> impl Future<Output = ()> + Send;
}

/// A handler whose type is erased.
pub(crate) trait DynHandler<E>: Send + Sync {
    /// What is left to do; `None` if the handler is not for this event.
    fn handle(&self, event: E) -> Option<HandlerFuture>;
}

/// Calls a closure that takes some of the events only.
pub(crate) struct Selective<F>(pub(crate) F);

impl<E, F> DynHandler<E> for Selective<F>
where
    F: Fn(E) -> Option<HandlerFuture> + Send + Sync,
{
    fn handle(&self, event: E) -> Option<HandlerFuture> {
        (self.0)(event)
    }
}

/// Calls a closure.
pub(crate) struct Closure<F>(pub(crate) F);

impl<E, F, Fut> DynHandler<E> for Closure<F>
where
    E: Send + 'static,
    F: Fn(E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn handle(&self, event: E) -> Option<HandlerFuture> {
        Some(HandlerFuture::made_by(|| (self.0)(event)))
    }
}

/// Calls a handler with state of its own.
pub(crate) struct Stateful<H>(pub(crate) Arc<H>);

impl<E: Send + 'static, H: Handler<E>> DynHandler<E> for Stateful<H> {
    fn handle(&self, event: E) -> Option<HandlerFuture> {
        let handler = Arc::clone(&self.0);
        Some(HandlerFuture::new(async move { handler.handle(event).await }))
    }
}
