//! Events as a bounded stream.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::{sync::mpsc, time::Instant};

use crate::events::{EventType, Subscription, byte_semaphore::ByteSemaphore};

/// How long a stream that holds events may be left unread before that is told.
const UNREAD: Duration = Duration::from_secs(30);

/// Events as a bounded stream, to be received in a loop. Dropping it ends the subscription.
///
/// It holds events up to its capacity, 1 MiB by default: each counts its message, path or reason, and 256 bytes. That is
/// room for 4,096 small messages. Beyond it
///
/// * the connections of received messages wait, with no further reading, and their peers in turn. **One stream that is
///   not read stops the reading of all connections**: spawn a task that reads it, and move slow work out of that task.
/// * new connections of a server wait with their Connecting, up to the handshake timeout. Those of a client do not: its
///   Connecting and Refused are dropped and counted.
/// * Sent events and error events are dropped and counted: the next one says how many were
///   [missed](crate::ErrorEvent::missed). So are Refused events without a Connecting.
///
/// Connected and Disconnected are added even then; there is one of each for every Connecting. If a stream that holds
/// events is not read for 30 s, that is logged as a warning and raised as an error event of the stage
/// [`EventStream`](crate::ErrorStage::EventStream), once until it is read again.
pub struct Events<E: EventType> {
    receiver: mpsc::UnboundedReceiver<(E, usize)>,
    state: Arc<StreamState>,
    subscription: Subscription<E>,
}

/// A stream that holds events is not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an event stream with {bytes} bytes of events has not been read for {} s", unread.as_secs())]
pub(crate) struct StreamUnread {
    pub(crate) bytes: usize,
    pub(crate) unread: Duration,
}

/// What an event stream and its subscription share.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) room: ByteSemaphore,
    holding: Mutex<Holding>,
}

/// Since when a stream holds events that are not read.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    /// Also those that are being added.
    events: usize,
    /// `None` if it holds none.
    since: Option<Instant>,
    told: bool,
}

impl<E: EventType> Events<E> {
    pub(super) fn new(
        receiver: mpsc::UnboundedReceiver<(E, usize)>,
        state: Arc<StreamState>,
        subscription: Subscription<E>,
    ) -> Self {
        Self { receiver, state, subscription }
    }

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
        let received = self.receiver.try_recv().ok();
        self.given(received)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<E>> {
        let polled = self.receiver.poll_recv(cx);
        match polled {
            Poll::Ready(received) => Poll::Ready(self.given(received)),
            Poll::Pending => {
                self.state.read(false);
                Poll::Pending
            }
        }
    }

    /// Frees the room of an event that is handed out.
    fn given(&self, received: Option<(E, usize)>) -> Option<E> {
        self.state.read(received.is_some());
        let (event, bytes) = received?;
        self.state.room.give(bytes);
        Some(event)
    }
}

impl StreamState {
    pub(super) fn new(capacity: usize) -> Self {
        Self { room: ByteSemaphore::new(capacity), holding: Mutex::default() }
    }

    /// An event is about to be added. Answers what [`found_unread`](Self::found_unread) does.
    pub(super) fn add(&self) -> Option<StreamUnread> {
        let since = self.change(|holding| {
            holding.events += 1;
            holding.since.replace(holding.since.unwrap_or_else(Instant::now))
        });
        since.and_then(|_| self.found_unread())
    }

    /// The consumer has looked for an event, and perhaps received one.
    fn read(&self, received: bool) {
        self.change(|holding| {
            let events = holding.events - usize::from(received);
            *holding = Holding { events, since: (events > 0).then(Instant::now), told: false };
        });
    }

    /// When to look next whether the stream is read.
    pub(super) fn next_look(&self) -> Instant {
        let since = self.change(|holding| holding.since.filter(|_| !holding.told));
        since.unwrap_or_else(Instant::now) + UNREAD
    }

    /// Whether the stream has not been read for too long. Says so once until it is read again.
    pub(super) fn found_unread(&self) -> Option<StreamUnread> {
        let unread = self.change(|holding| {
            let unread = holding.since.filter(|_| !holding.told)?.elapsed();
            holding.told = unread >= UNREAD;
            holding.told.then_some(unread)
        })?;
        Some(StreamUnread { bytes: self.room.taken(), unread })
    }

    fn change<T>(&self, f: impl FnOnce(&mut Holding) -> T) -> T {
        f(&mut self.holding.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.state.room.lift(true);
    }
}

impl<E: EventType> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_added_while_another_one_is_taken_is_held() {
        let state = StreamState::new(1 << 20);
        assert!(state.add().is_none() && state.add().is_none());
        // The second one is in the channel only after the consumer has looked twice.
        state.read(true);
        state.read(false);
        tokio::time::advance(UNREAD).await;
        assert!(state.found_unread().is_some() && state.found_unread().is_none(), "it is told once");
        state.read(true);
        tokio::time::advance(UNREAD).await;
        assert!(state.found_unread().is_none(), "it holds nothing");
    }
}
