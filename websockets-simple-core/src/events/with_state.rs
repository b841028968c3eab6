//! Handlers that share a value of the application.

use std::{fmt, sync::Arc};

use crate::{
    events::{Disconnect, ErrorEvent, EventType, Subscription, Subscriptions},
    protocol::{Message, MessagePart},
};

/// Adds handlers that get a clone of a value of the application as their first argument, made by `with_state` of the
/// server or the client.
///
/// The value is cloned for each call, so it is usually an [`Arc`]. Each method adds a handler as the method of that name
/// of the server or the client does. Dropping this keeps the handlers.
pub struct WithState<E, S> {
    subscriptions: Arc<Subscriptions<E>>,
    state: S,
}

impl<E: EventType, S: Clone + Send + Sync + 'static> WithState<E, S> {
    /// For these subscriptions.
    #[doc(hidden)]
    #[must_use]
    pub fn new(subscriptions: Arc<Subscriptions<E>>, state: S) -> Self {
        Self { subscriptions, state }
    }

    /// Calls a closure for every received message.
    pub fn on_message<F, Fut>(&self, handler: F) -> Subscription<E>
    where
        F: Fn(S, E::Connection, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = self.state.clone();
        self.subscriptions.on_message(move |connection, message| handler(state.clone(), connection, message))
    }

    /// Calls a closure for every part of a message that is received in parts.
    pub fn on_message_part<F, Fut>(&self, handler: F) -> Subscription<E>
    where
        F: Fn(S, E::Connection, MessagePart) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = self.state.clone();
        self.subscriptions.on_message_part(move |connection, part| handler(state.clone(), connection, part))
    }

    /// Calls a closure for every connection that opens.
    pub fn on_connect<F, Fut>(&self, handler: F) -> Subscription<E>
    where
        F: Fn(S, E::Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = self.state.clone();
        self.subscriptions.on_connect(move |connection| handler(state.clone(), connection))
    }

    /// Calls a closure for every connection that ends, once.
    pub fn on_disconnect<F, Fut>(&self, handler: F) -> Subscription<E>
    where
        F: Fn(S, E::Connection, Disconnect) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = self.state.clone();
        self.subscriptions.on_disconnect(move |connection, end| handler(state.clone(), connection, end))
    }

    /// Calls a closure for every error.
    pub fn on_error<F, Fut>(&self, handler: F) -> Subscription<E>
    where
        F: Fn(S, ErrorEvent<E::Connection>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = self.state.clone();
        self.subscriptions.on_error(move |error| handler(state.clone(), error))
    }

    /// Calls a closure for every event.
    pub fn on<F, Fut>(&self, handler: F) -> Subscription<E>
    where
        F: Fn(S, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let state = self.state.clone();
        self.subscriptions.on(Default::default(), move |event| handler(state.clone(), event))
    }
}

impl<E, S: fmt::Debug> fmt::Debug for WithState<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithState").field("state", &self.state).finish_non_exhaustive()
    }
}
