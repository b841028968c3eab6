//! The methods with which both ends let users subscribe: one text for the server and the client.

/// Writes `on`, `subscribe`, `events`, their variants with options, and the handlers for one kind of events, for a
/// handle whose private methods `subscriptions` and `wake_for_replay` give the subscriptions, and wake the connections
/// that replay Connected.
#[doc(hidden)]
#[macro_export]
macro_rules! subscribe_methods {
    ($event:ty, $connection:ty) => {
        /// Calls a closure for every received message, with its connection. Those of one connection are handled one
        /// after the other, those of different connections concurrently. The subscription lasts until it is
        /// unsubscribed, and so do those of the other methods that add handlers.
        ///
        /// A handler that shares a value with others, see [`with_state`](Self::with_state). With its time and id, a
        /// message comes in the events of [`on`](Self::on).
        pub fn on_message<F, Fut>(&self, handler: F) -> $crate::Subscription<$event>
        where
            F: Fn($connection, $crate::Message) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.subscriptions().on_message(handler)
        }

        /// Calls a closure for every part of a message that is too large to be received whole, on connections that
        /// receive such messages in [parts](crate::MessageParts): in order with the other messages of its connection,
        /// which go to [`on_message`](Self::on_message).
        pub fn on_message_part<F, Fut>(&self, handler: F) -> $crate::Subscription<$event>
        where
            F: Fn($connection, $crate::MessagePart) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.subscriptions().on_message_part(handler)
        }

        /// Calls a closure for every connection that opens. Its messages are handled after it, and it may send.
        pub fn on_connect<F, Fut>(&self, handler: F) -> $crate::Subscription<$event>
        where
            F: Fn($connection) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.subscriptions().on_connect(handler)
        }

        /// Calls a closure for every connection that ends, once, with what ended it. Connections that were open before
        /// this call are left out.
        pub fn on_disconnect<F, Fut>(&self, handler: F) -> $crate::Subscription<$event>
        where
            F: Fn($connection, $crate::Disconnect) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.subscriptions().on_disconnect(handler)
        }

        /// Calls a closure for every error.
        pub fn on_error<F, Fut>(&self, handler: F) -> $crate::Subscription<$event>
        where
            F: Fn($crate::ErrorEvent<$connection>) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.subscriptions().on_error(handler)
        }

        /// Calls a closure for every event. The subscription lasts until it is unsubscribed.
        pub fn on<F, Fut>(&self, handler: F) -> $crate::Subscription<$event>
        where
            F: Fn($event) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.on_with($crate::SubscribeOptions::default(), handler)
        }

        /// As [`on`](Self::on), with options.
        pub fn on_with<F, Fut>(
            &self,
            options: $crate::SubscribeOptions,
            handler: F,
        ) -> $crate::Subscription<$event>
        where
            F: Fn($event) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            let subscription = self.subscriptions().on(options, handler);
            if options.replay {
                self.wake_for_replay();
            }
            subscription
        }

        /// Calls a handler with state of its own for every event. The subscription lasts until it is unsubscribed.
        pub fn subscribe(&self, handler: impl $crate::Handler<$event>) -> $crate::Subscription<$event> {
            self.subscribe_with($crate::SubscribeOptions::default(), handler)
        }

        /// As [`subscribe`](Self::subscribe), with options.
        pub fn subscribe_with(
            &self,
            options: $crate::SubscribeOptions,
            handler: impl $crate::Handler<$event>,
        ) -> $crate::Subscription<$event> {
            let subscription = self.subscriptions().subscribe(options, handler);
            if options.replay {
                self.wake_for_replay();
            }
            subscription
        }

        /// Events as a bounded stream of 1 MiB, room for about 4,096 small messages. **One that is not read stops the
        /// reading of all connections**: the type says how.
        #[must_use]
        pub fn events(&self) -> $crate::Events<$event> {
            self.events_with($crate::SubscribeOptions::default())
        }

        /// As [`events`](Self::events), with options.
        #[must_use]
        pub fn events_with(&self, options: $crate::SubscribeOptions) -> $crate::Events<$event> {
            let events = self.subscriptions().stream(options);
            if options.replay {
                self.wake_for_replay();
            }
            events
        }
    };
}
