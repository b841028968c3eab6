//! Handlers of channels: for what clients address, and for who comes and goes.

use websockets_simple_core::HandlerFuture;

use super::Server;
use crate::{
    signals::{ChannelEvent, ChannelEventKind, DuplicateEvent, RouteError, Signal},
    users::Identity,
};

impl<I: Identity> Server<I> {
    /// Handles the signals of channels that match a pattern: texts with the JSON of [`SignalData`](crate::SignalData).
    /// What is not such a text is an error event of the stage `Signal`. Messages are events as well, before the handler
    /// is called; signals of one connection are handled one after the other.
    ///
    /// In a pattern, `{name}` stands for a part between slashes and `{*name}` for the whole rest.
    ///
    /// # Errors
    ///
    /// [`RouteError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{Message, ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.route("/date", |signal| async move {
    ///     if signal.data.message == "[date]" {
    ///         let date = Message::text(signal.timestamp.to_rfc3339());
    ///         let _ = signal.connection.server().to_channel("/date").send(date);
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

    /// Removes a route. False if there is none with this pattern.
    pub fn unroute(&self, pattern: &str) -> bool {
        self.shared.routes.remove(pattern)
    }

    /// Calls a handler when a connection of a channel begins or ends, under a name by which it can be
    /// [unregistered](Self::unregister). Handlers of one event are called one after the other, after those of
    /// [`on`](Self::on), and see what those before them added to its metadata.
    ///
    /// # Errors
    ///
    /// [`DuplicateEvent`] when this kind of event of the channel has a handler of this name.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ChannelEventKind, ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.register(ChannelEventKind::Connect, "/chat", "greet", |event| async move {
    ///     event.metadata.insert("greeted", true);
    ///     let _ = event.connection.send("welcome").await;
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

    /// Removes what was [registered](Self::register) under this name; events that are being told pass it over, too.
    /// False if nothing was.
    pub fn unregister(&self, kind: ChannelEventKind, channel: &str, event_name: &str) -> bool {
        self.shared.channel_events.unregister(kind, channel, event_name)
    }
}
