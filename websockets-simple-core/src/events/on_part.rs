//! Closures for one kind of events: received messages and parts of them, connections that begin or end, errors.

use std::sync::Arc;

use crate::{
    events::{
        ConnectionEventKind, Direction, Disconnect, ErrorEvent, EventPart, EventType, HandlerFuture,
        Subscription, Subscriptions,
    },
    protocol::{Message, MessagePart},
};

impl<E: EventType> Subscriptions<E> {
    /// Adds a closure for received messages.
    pub fn on_message<F, Fut>(self: &Arc<Self>, handler: F) -> Subscription<E>
    where
        F: Fn(E::Connection, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let subscription = self.on_some(move |event| match event.into_part() {
            EventPart::Message(event) if event.direction == Direction::Received => {
                Some(HandlerFuture::new(handler(event.connection, event.message)))
            }
            _ => None,
        });
        self.hear();
        subscription
    }

    /// Adds a closure for the parts of received messages.
    pub fn on_message_part<F, Fut>(self: &Arc<Self>, handler: F) -> Subscription<E>
    where
        F: Fn(E::Connection, MessagePart) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let subscription = self.on_some(move |event| match event.into_part() {
            EventPart::MessagePart(event) => Some(HandlerFuture::new(handler(event.connection, event.part))),
            _ => None,
        });
        self.hear();
        subscription
    }

    /// Adds a closure for connections that open.
    pub fn on_connect<F, Fut>(self: &Arc<Self>, handler: F) -> Subscription<E>
    where
        F: Fn(E::Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_some(move |event| match event.into_part() {
            EventPart::Connection(event) => match event.kind {
                ConnectionEventKind::Connected(connection) => Some(HandlerFuture::new(handler(connection))),
                _ => None,
            },
            _ => None,
        })
    }

    /// Adds a closure for connections that end.
    pub fn on_disconnect<F, Fut>(self: &Arc<Self>, handler: F) -> Subscription<E>
    where
        F: Fn(E::Connection, Disconnect) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_some(move |event| match event.into_part() {
            EventPart::Connection(event) => match event.kind {
                ConnectionEventKind::Disconnected(connection, end) => {
                    Some(HandlerFuture::new(handler(connection, end)))
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// Adds a closure for errors.
    pub fn on_error<F, Fut>(self: &Arc<Self>, handler: F) -> Subscription<E>
    where
        F: Fn(ErrorEvent<E::Connection>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_some(move |event| match event.into_part() {
            EventPart::Error(event) => Some(HandlerFuture::new(handler(event))),
            _ => None,
        })
    }
}
