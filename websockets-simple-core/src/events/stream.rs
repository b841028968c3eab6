//! Events as a bounded stream.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::events::{EventType, Subscription, byte_semaphore::ByteSemaphore};

/// Events as a bounded stream, to be received in a loop.
///
/// Holds messages up to its capacity; beyond it their connections wait, and their peers in turn. Dropping it
/// ends the subscription.
pub struct Events<E: EventType> {
    pub(super) receiver: mpsc::UnboundedReceiver<(E, usize)>,
    pub(super) semaphore: Arc<ByteSemaphore>,
    pub(super) subscription: Subscription<E>,
}

impl<E: EventType> Events<E> {
    /// The next event; `None` when the server or client that raises them is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it resolves, no event is lost.
    pub async fn recv(&mut self) -> Option<E> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<E> {
        let (event, bytes) = self.receiver.try_recv().ok()?;
        self.semaphore.give(bytes);
        Some(event)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.receiver.poll_recv(cx).map(|next| {
            let (event, bytes) = next?;
            self.semaphore.give(bytes);
            Some(event)
        })
    }
}

impl<E: EventType> Stream for Events<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<E: EventType> Drop for Events<E> {
    fn drop(&mut self) {
        self.subscription.unsubscribe();
        // No connection needs to wait for room any more.
        self.semaphore.lift(true);
    }
}

impl<E: EventType> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("semaphore", &self.semaphore).finish_non_exhaustive()
    }
}
