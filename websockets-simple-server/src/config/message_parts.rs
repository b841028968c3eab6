//! Whether a server's connections receive large messages in parts, and its choice per request.

use websockets_simple_core::MessageParts;

use crate::{
    config::{params::ServerParams, per_request::PerRequest},
    net::HandshakeRequest,
};

impl ServerParams {
    /// Lets all connections receive messages of more than a part in [parts](MessageParts), for
    /// [`on_message_part`](crate::Server::on_message_part). Default: a message comes whole, and one that is larger than
    /// [`Limits::message_size`](crate::Limits::message_size) closes its connection.
    ///
    /// Parts are no signals, and the hook of [`with_inbound`](crate::Server::with_inbound) is not asked about them. A
    /// client that sends faster than [`Limits::bytes_per_second`](crate::Limits::bytes_per_second), 8 MiB by default,
    /// is closed in the middle of its message.
    #[must_use]
    pub fn message_parts(mut self, parts: MessageParts) -> Self {
        self.message_parts = Some(parts);
        self
    }

    /// Sets a function that chooses per request whether the connection receives large messages in
    /// [parts](MessageParts); `None` keeps [`message_parts`](Self::message_parts). Sizes that are not valid are brought
    /// to the nearest that are. It is called before the handshake is answered, and must not block. If it panics, the
    /// client is refused with 500.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{MessageParts, ServerParams};
    ///
    /// let params = ServerParams::new(8080).message_parts_of(|request| {
    ///     (request.head().channel() == "/upload").then(|| MessageParts::new(256 * 1024, 10 << 30))
    /// });
    /// ```
    #[must_use]
    pub fn message_parts_of(
        mut self,
        choose: impl Fn(&HandshakeRequest<'_>) -> Option<MessageParts> + Send + Sync + 'static,
    ) -> Self {
        self.message_parts_of = Some(PerRequest::new(choose));
        self
    }

    pub(crate) fn message_parts_for(&self, request: &HandshakeRequest<'_>) -> Option<MessageParts> {
        let chosen = self.message_parts_of.as_ref().and_then(|choose| choose.ask(request));
        chosen.map(MessageParts::bounded).or(self.message_parts)
    }
}
