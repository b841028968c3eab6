//! The received messages of one connection as a bounded stream, for a future that receives them itself.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{
    events::{HandlerFuture, byte_semaphore::ByteSemaphore, subscriber::OVERHEAD},
    protocol::{Message, MessagePart},
};

/// The received messages of one connection, in order.
///
/// Holds 64 KiB of them, 256 bytes counted for each beside its payload. Behind these wait those that are read ahead (256
/// KiB by default), and beyond that nothing more is read from the peer.
/// Once this is dropped, further messages are not kept for it.
///
/// Of a connection that receives large messages in [parts](crate::MessageParts), the parts come with
/// [`recv_part`](Self::recv_part), in order with the messages that come whole. The other methods, and the stream, pass
/// over them.
pub struct Messages {
    receiver: mpsc::UnboundedReceiver<(MessagePart, usize)>,
    shared: Arc<Shared>,
    /// Whether what was not received yet is dropped, as after a revocation.
    are_dropped: Box<dyn Fn() -> bool + Send + Sync>,
}

struct Shared {
    semaphore: ByteSemaphore,
    /// Whether a message was asked for, at least once.
    asked: AtomicBool,
}

impl Messages {
    /// The next message; `None` when the connection has ended, and all that came before was received.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it resolves, no message is lost.
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message, if it came whole as its only part, or part of a message; `None` as from [`recv`](Self::recv).
    /// After the last part of a connection that ended inside of a message comes `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it resolves, no part is lost.
    pub async fn recv_part(&mut self) -> Option<MessagePart> {
        std::future::poll_fn(|cx| self.poll_recv_part(cx)).await
    }

    /// The next message if there is one already.
    pub fn try_recv(&mut self) -> Option<Message> {
        while let Some(part) = self.try_recv_part() {
            if part.first && part.last {
                return Some(part.payload);
            }
        }
        None
    }

    /// The next message or part if there is one already.
    pub fn try_recv_part(&mut self) -> Option<MessagePart> {
        self.shared.asked.store(true, Ordering::Relaxed);
        while let Ok((part, bytes)) = self.receiver.try_recv() {
            self.shared.semaphore.give(bytes);
            if !(self.are_dropped)() {
                return Some(part);
            }
        }
        None
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        while let Some(part) = ready!(self.poll_recv_part(cx)) {
            if part.first && part.last {
                return Poll::Ready(Some(part.payload));
            }
        }
        Poll::Ready(None)
    }

    fn poll_recv_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<MessagePart>> {
        self.shared.asked.store(true, Ordering::Relaxed);
        while let Some((part, bytes)) = ready!(self.receiver.poll_recv(cx)) {
            self.shared.semaphore.give(bytes);
            if !(self.are_dropped)() {
                return Poll::Ready(Some(part));
            }
        }
        Poll::Ready(None)
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll_recv(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // The connection needs to wait for room no longer.
        self.shared.semaphore.lift(true);
    }
}

/// Hands the messages of one connection over. When it is dropped, [`Messages`] end.
pub struct MessageSink {
    sender: mpsc::UnboundedSender<(MessagePart, usize)>,
    shared: Arc<Shared>,
}

impl MessageSink {
    /// A sink and its stream, which holds `capacity` bytes. The stream drops what it holds once `are_dropped`.
    #[must_use]
    pub fn new(capacity: usize, are_dropped: impl Fn() -> bool + Send + Sync + 'static) -> (Self, Messages) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared =
            Arc::new(Shared { semaphore: ByteSemaphore::new(capacity), asked: AtomicBool::new(false) });
        let sink = Self { sender, shared: Arc::clone(&shared) };
        (sink, Messages { receiver, shared, are_dropped: Box::new(are_dropped) })
    }

    /// Hands a message over; what is left to do waits for room.
    pub fn deliver(&self, message: Message) -> Option<HandlerFuture> {
        self.deliver_part(MessagePart::whole(message))
    }

    /// Hands a part of a message over; what is left to do waits for room.
    pub fn deliver_part(&self, part: MessagePart) -> Option<HandlerFuture> {
        if self.sender.is_closed() {
            return None;
        }
        let bytes = part.len() + OVERHEAD;
        if self.shared.semaphore.try_take(bytes) {
            // The receiver may have gone in between; then the message is dropped.
            let _ = self.sender.send((part, bytes));
            return None;
        }
        let (sender, shared) = (self.sender.clone(), Arc::clone(&self.shared));
        Some(HandlerFuture::new(async move {
            shared.semaphore.take(bytes).await;
            let _ = sender.send((part, bytes));
        }))
    }

    /// Whether a message was ever asked for.
    #[must_use]
    pub fn demand(&self) -> Demand {
        Demand(Arc::clone(&self.shared))
    }

    /// Lifts the bound: the connection has ended, so what still comes is bounded by what was read.
    pub fn lift_bound(&self) {
        self.shared.semaphore.lift(true);
    }
}

/// Tells whether the messages of a connection are received.
#[derive(Clone)]
pub struct Demand(Arc<Shared>);

impl Demand {
    /// Whether a message was ever asked for.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("semaphore", &self.shared.semaphore).finish_non_exhaustive()
    }
}

impl fmt::Debug for MessageSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink").field("semaphore", &self.shared.semaphore).finish_non_exhaustive()
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Demand").field(&self.is_there()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::*;

    fn is_done(future: &mut HandlerFuture) -> bool {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn text(n: usize) -> Message {
        Message::from(n.to_string())
    }

    #[tokio::test]
    async fn beyond_its_capacity_a_message_waits_for_room_and_keeps_its_place() {
        let (sink, mut messages) = MessageSink::new(2 * OVERHEAD + 2, || false);
        assert!(sink.deliver(text(0)).is_none() && sink.deliver(text(1)).is_none());
        let mut waiting = sink.deliver(text(2)).expect("there is no room");
        assert!(!is_done(&mut waiting));
        assert_eq!(messages.recv().await, Some(text(0)));
        assert!(is_done(&mut waiting));
        drop(sink);
        assert_eq!((messages.recv().await, messages.recv().await), (Some(text(1)), Some(text(2))));
        assert_eq!(messages.recv().await, None);
    }

    #[tokio::test]
    async fn empty_messages_take_room_and_a_huge_one_takes_all_of_it() {
        let (sink, mut messages) = MessageSink::new(10 * OVERHEAD, || false);
        let without_room = (0..11).filter(|_| sink.deliver(Message::from("")).is_some()).count();
        assert_eq!(without_room, 1);
        while messages.try_recv().is_some() {}
        assert!(sink.deliver(Message::from(vec![0; 100 * OVERHEAD])).is_none());
        assert!(sink.deliver(Message::from("")).is_some());
        assert_eq!(messages.recv().await.unwrap().len(), 100 * OVERHEAD);
    }

    #[tokio::test]
    async fn a_receive_that_is_dropped_takes_no_message() {
        let (sink, mut messages) = MessageSink::new(1000, || false);
        {
            let mut receiving = pin!(messages.recv());
            assert!(receiving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(sink.deliver(text(1)).is_none());
        }
        assert_eq!(messages.recv().await, Some(text(1)));
    }

    #[tokio::test]
    async fn parts_come_in_order_with_messages_and_are_passed_over_by_who_asks_for_messages_only() {
        let fill = |sink: &MessageSink| {
            for part in [
                MessagePart::whole(text(0)),
                MessagePart::new(text(1), true, false),
                MessagePart::new(text(2), false, true),
                MessagePart::whole(text(3)),
            ] {
                assert!(sink.deliver_part(part).is_none());
            }
        };
        let (sink, mut messages) = MessageSink::new(5 * OVERHEAD, || false);
        fill(&sink);
        for n in 0..4 {
            let part = messages.recv_part().await.unwrap();
            assert_eq!((part.payload, part.first, part.last), (text(n), n != 2, n != 1));
        }
        fill(&sink);
        assert_eq!((messages.recv().await, messages.try_recv()), (Some(text(0)), Some(text(3))));
        assert_eq!(messages.try_recv_part(), None);
    }

    #[test]
    fn without_a_receiver_nothing_is_kept_and_nothing_waits() {
        let (sink, messages) = MessageSink::new(OVERHEAD, || false);
        assert!(!sink.demand().is_there());
        assert!(sink.deliver(text(10)).is_none());
        let mut waiting = sink.deliver(text(11)).expect("there is no room");
        assert!(!is_done(&mut waiting));
        drop(messages);
        assert!(is_done(&mut waiting) && sink.deliver(text(12)).is_none());
        assert!(!sink.demand().is_there());
    }

    #[test]
    fn a_lifted_bound_lets_the_rest_through_for_a_receiver_that_comes_late() {
        let (sink, mut messages) = MessageSink::new(OVERHEAD, || false);
        assert!(sink.deliver(text(1)).is_none());
        let mut waiting = sink.deliver(text(2)).expect("there is no room");
        assert!(!is_done(&mut waiting));
        sink.lift_bound();
        assert!(is_done(&mut waiting));
        assert_eq!((messages.try_recv(), messages.try_recv()), (Some(text(1)), Some(text(2))));
        assert!(sink.demand().is_there());
    }

    #[tokio::test]
    async fn what_is_dropped_is_received_in_no_way_and_the_end_is_told() {
        let dropped = Arc::new(AtomicBool::new(false));
        let are_dropped = Arc::clone(&dropped);
        let (sink, mut messages) =
            MessageSink::new(3 * OVERHEAD, move || are_dropped.load(Ordering::Relaxed));
        for n in 0..2 {
            assert!(sink.deliver(text(n)).is_none());
        }
        assert_eq!(messages.recv().await, Some(text(0)));
        dropped.store(true, Ordering::Relaxed);
        assert_eq!(messages.try_recv(), None);
        assert!(sink.deliver(text(2)).is_none());
        drop(sink);
        assert_eq!(messages.recv().await, None);
    }
}
