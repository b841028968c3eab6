//! One event on its way to several subscribers, one after the other.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::events::{
    EventType, HandlerFuture,
    handler_panic::{CatchPanic, Panicked, catch_panic},
    subscriptions::Subscribers,
};

/// Hands an event to one subscriber after the other. One that panics keeps it from no other: the panic goes on when all
/// have it. Dropped before that, the others still get an event that is no message, as Connected without Disconnected
/// would be a connection that never ends.
pub(super) struct Delivery<E: EventType> {
    event: E,
    subscribers: Arc<Subscribers<E>>,
    next: usize,
    running: Option<CatchPanic<HandlerFuture>>,
    panicked: Option<Panicked>,
}

/// Nothing in it is pinned in place.
impl<E: EventType> Unpin for Delivery<E> {}

impl<E: EventType> Delivery<E> {
    pub(super) fn new(event: E, subscribers: Arc<Subscribers<E>>) -> Self {
        Self { event, subscribers, next: 0, running: None, panicked: None }
    }

    /// Hands the event to the next subscriber. False if there is none.
    fn hand_over(&mut self) -> bool {
        let Some(subscriber) = self.subscribers.get(self.next) else { return false };
        self.next += 1;
        match catch_panic(|| subscriber.take(self.event.clone())) {
            Ok(left) => self.running = left.map(CatchPanic::new),
            Err(panicked) => self.keep(panicked),
        }
        true
    }

    fn keep(&mut self, panicked: Panicked) {
        self.panicked.get_or_insert(panicked);
    }
}

impl<E: EventType> Future for Delivery<E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let delivery = self.get_mut();
        loop {
            if let Some(running) = &mut delivery.running {
                let handled = std::task::ready!(Pin::new(running).poll(cx));
                delivery.running = None;
                if let Err(panicked) = handled {
                    delivery.keep(panicked);
                }
            }
            if !delivery.hand_over() {
                return match delivery.panicked.take() {
                    None => Poll::Ready(()),
                    Some(panicked) => panicked.resume(),
                };
            }
        }
    }
}

impl<E: EventType> Drop for Delivery<E> {
    fn drop(&mut self) {
        if self.event.as_message().is_some() || self.event.as_message_part().is_some() {
            return;
        }
        self.running = None;
        while self.hand_over() {
            // Nothing waits for it: it gets as far as it does at once.
            if let Some(mut running) = self.running.take() {
                let _ = Pin::new(&mut running).poll(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
}
