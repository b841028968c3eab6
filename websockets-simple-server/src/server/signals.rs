//! Handlers per channel: for signals, and for connections that open or end.

use websockets_simple_core::HandlerFuture;

use super::Server;
use crate::{
    signals::{ChannelEvent, ChannelEventKind, DuplicateEvent, RouteError, Signal},
    users::Identity,
};

impl<I: Identity> Server<I> {
    /// Adds a handler for signals from channels that match a pattern: texts with the JSON of
    /// [`SignalData`](crate::SignalData). Any other message raises an error of the stage `Signal`. Message events are
    /// raised before the handler is called. The signals of one connection are handled one after the other.
    ///
    /// In a pattern, `{name}` matches a part between slashes and `{*name}` the whole rest.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if the pattern is malformed or conflicts with another route.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.route("/date", |signal| async move {
    ///     if signal.data.message == "[date]" {
    ///         let date = signal.timestamp.to_rfc3339();
    ///         let _ = signal.connection.to_channel().send_text(date);
    ///     }
    /// })?;
    /// # Ok::<(), websockets_simple_server::RouteError>(())
    /// ```
    pub fn route<F, Fut>(&self, pattern: &str, handler: F) -> Result<(), RouteError>
    where
        F: Fn(Signal<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.shared.routes.add(pattern, move |signal| HandlerFuture::new(handler(signal)))
    }

    /// Removes a route. False if there is no route with this pattern.
    pub fn unroute(&self, pattern: &str) -> bool {
        self.shared.routes.remove(pattern)
    }

    /// Registers a handler for connections of a channel that open or end, under a name by which it can be
    /// [unregistered](Self::unregister). Handlers of one event are called one after the other, after those of
    /// [`on`](Self::on), and see the metadata that earlier handlers added.
    ///
    /// # Errors
    ///
    /// [`DuplicateEvent`] if this kind of event of the channel already has a handler with this name.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ChannelEventKind, ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.register(ChannelEventKind::Connect, "/chat", "greet", |event| async move {
    ///     event.metadata.insert("greeted", true);
    ///     let _ = event.connection.send_text("welcome").await;
    /// })?;
    /// assert!(server.unregister(ChannelEventKind::Connect, "/chat", "greet"));
    /// # Ok::<(), websockets_simple_server::DuplicateEvent>(())
    /// ```
    pub fn register<F, Fut>(
        &self,
        kind: ChannelEventKind,
        channel: &str,
        event_name: &str,
        handler: F,
    ) -> Result<(), DuplicateEvent>
    where
        F: Fn(ChannelEvent<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handle = move |event| HandlerFuture::new(handler(event));
        self.shared.channel_events.register(kind, channel, event_name, handle)
    }

    /// Removes the handler that was [registered](Self::register) under this name, also from events that are being
    /// raised now. False if there is no such handler.
    pub fn unregister(&self, kind: ChannelEventKind, channel: &str, event_name: &str) -> bool {
        self.shared.channel_events.unregister(kind, channel, event_name)
    }
}
