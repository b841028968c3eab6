//! Sending through the trait `Sink`.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_sink::Sink;

use crate::{
    outbox::send::{SendError, SendStatus},
    protocol::Message,
};

/// A send that owns its handle.
pub type OwnedSending = Pin<Box<dyn Future<Output = Result<SendStatus, SendError>> + Send>>;

/// A handle that a [`SendSink`] sends with.
pub trait SendHandle: Clone + Unpin {
    /// Sends a message.
    fn send_owned(self, message: Message) -> OwnedSending;
}

/// Messages into a connection or a client, for code that is written for the trait [`Sink`], such as `forward`.
///
/// It is ready when the last message has found room in the outbox, so a producer is held back by a peer that reads slowly;
/// the overflow policy applies as to any other send. A flushed message is in the outbox, as one whose `send` has resolved.
/// Closing the sink flushes it, and closes no connection: there may be other handles of it.
///
/// A failed send is the error of that call or of the next one. The sink may be used further.
///
/// Dropped while a message waits for room, that message is not sent.
pub struct SendSink<H> {
    handle: H,
    /// A message that waits for room.
    pending: Option<OwnedSending>,
}

impl<H> SendSink<H> {
    /// Sends with this handle.
    #[doc(hidden)]
    #[must_use]
    pub fn new(handle: H) -> Self {
        Self { handle, pending: None }
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(Ok(())) };
        let sent = ready!(pending.as_mut().poll(cx));
        self.pending = None;
        Poll::Ready(sent.map(drop))
    }
}

impl<H: SendHandle> Sink<Message> for SendSink<H> {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }

    /// [`SendError::Full`] without a call of `poll_ready` before.
    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
        let this = self.get_mut();
        if this.pending.is_some() {
            return Err(SendError::Full);
        }
        let mut sending = this.handle.clone().send_owned(message);
        // At once if there is room. If not, the caller polls it with a waker, to be ready or to flush.
        match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent.map(drop),
            Poll::Pending => {
                this.pending = Some(sending);
                Ok(())
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }
}

impl<H: fmt::Debug> fmt::Debug for SendSink<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSink")
            .field("handle", &self.handle)
            .field("waits", &self.pending.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Has room for so many messages, and fails at those that are empty.
    #[derive(Clone)]
    struct Narrow(Arc<Mutex<(usize, VecDeque<Message>)>>);

    impl SendHandle for Narrow {
        fn send_owned(self, message: Message) -> OwnedSending {
            Box::pin(std::future::poll_fn(move |_| {
                let mut state = self.0.lock().unwrap();
                if message.is_empty() {
                    return Poll::Ready(Err(SendError::Closed));
                }
                if state.1.len() == state.0 {
                    return Poll::Pending;
                }
                state.1.push_back(message.clone());
                Poll::Ready(Ok(SendStatus::Queued))
            }))
        }
    }

    #[test]
    fn it_is_ready_when_the_last_message_has_found_room_and_loses_none() {
        let handle = Narrow(Arc::new(Mutex::new((1, VecDeque::new()))));
        let mut sink = SendSink::new(handle.clone());
        let mut sink = Pin::new(&mut sink);
        let mut cx = Context::from_waker(Waker::noop());
        for text in ["one", "two"] {
            assert!(matches!(sink.as_mut().poll_ready(&mut cx), Poll::Ready(Ok(()))));
            sink.as_mut().start_send(Message::text(text)).unwrap();
        }
        assert!(sink.as_mut().poll_ready(&mut cx).is_pending());
        assert!(
            sink.as_mut().poll_flush(&mut cx).is_pending() && sink.as_mut().poll_close(&mut cx).is_pending()
        );
        let early = sink.as_mut().start_send(Message::text("three"));
        assert!(matches!(early, Err(SendError::Full)));
        assert_eq!(handle.0.lock().unwrap().1.pop_front(), Some(Message::text("one")));
        assert!(matches!(sink.as_mut().poll_flush(&mut cx), Poll::Ready(Ok(()))));
        assert_eq!(handle.0.lock().unwrap().1.pop_front(), Some(Message::text("two")));
        assert!(matches!(sink.as_mut().start_send(Message::text("")), Err(SendError::Closed)));
        sink.as_mut().start_send(Message::text("four")).unwrap();
        assert_eq!(handle.0.lock().unwrap().1.len(), 1, "it goes on");
    }
}
