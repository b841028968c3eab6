//! Sending through the handle of a client, connected or not.

use websockets_simple_core::{
    IntoMessage, Message, MessageWriter, OwnedSending, PartKind, SendError, SendHandle, SendSink, SendStatus,
    Text,
};

use crate::{client::WebsocketClient, config::Offline, connection::ClientConnection};

impl WebsocketClient {
    /// Sends a message. **A string is sent as a packet**, `{"Data":"hi","Timestamp":".."}`;
    /// [`send_text`](Self::send_text) sends the text as it is, and [`Json`](crate::Json)`(&value)` is any serializable
    /// value. [`IntoMessage`] lists the rest. Messages are sent in the order of the calls. Inside handlers use the
    /// connection of the event instead, or a [weak handle](Self::downgrade): a client that is owned by its own handler is
    /// never dropped.
    ///
    /// While a client that reconnects is not connected, [`ClientParams::offline`](crate::ClientParams::offline) says what
    /// becomes of the message.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room in the outbox, nothing was sent.
    pub async fn send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        match self.shared.params.offline() {
            Offline::Refuse => self.connection().ok_or(SendError::Closed)?.send(message).await,
            Offline::Wait(time) => {
                let message = message.into_message()?;
                let connection = match self.open_connection() {
                    Some(connection) => connection,
                    None => self.shared.supervision.connected_within(time).await.ok_or(SendError::Closed)?,
                };
                connection.send(message).await
            }
            Offline::Keep { bytes, .. } => {
                let message = message.into_message()?;
                let sent = match self.connection_past_kept() {
                    Some(connection) => connection.send(&message).await,
                    None => Err(SendError::Closed),
                };
                self.or_keep(sent, message, bytes)
            }
        }
    }

    /// Sends a text as it is: [`send`](Self::send) would make a packet of it.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room in the outbox, nothing was sent.
    pub async fn send_text(&self, text: impl Into<Text>) -> Result<SendStatus, SendError> {
        self.send(Message::text(text)).await
    }

    /// Sends a message without ever waiting. **A string is sent as a packet**, as with [`send`](Self::send);
    /// `Message::text(..)` is sent as it is.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing was sent. [`SendError::Full`] where [`send`](Self::send) would wait.
    pub fn try_send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        let Offline::Keep { bytes, .. } = self.shared.params.offline() else {
            return self.connection().ok_or(SendError::Closed)?.try_send(message);
        };
        let message = message.into_message()?;
        let connection = self.connection_past_kept().ok_or(SendError::Closed);
        self.or_keep(connection.and_then(|connection| connection.try_send(&message)), message, bytes)
    }

    /// Sends a long message in parts, which `produce` writes: `str` for a text message, `[u8]` for a binary one. Each
    /// part waits for room in the outbox.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], and the errors of `produce`.
    ///
    /// # Cancel safety
    ///
    /// Dropped after the first part was sent, the message stays incomplete and the connection is closed.
    pub async fn send_parts<K, F>(&self, produce: F) -> Result<(), SendError>
    where
        K: PartKind + ?Sized,
        F: AsyncFnOnce(&mut MessageWriter<'_, K>) -> Result<(), SendError>,
    {
        let connection = self.connection().ok_or(SendError::Closed)?;
        let mut parts = connection.send_parts().await?;
        produce(&mut parts).await?;
        parts.finish().await
    }

    /// The client as a `Sink` of messages, which sends as [`send`](Self::send) does, on whatever connection there is then. It
    /// is a handle of the client.
    ///
    /// # Examples
    ///
    /// An echo, with the crate `futures-util`:
    ///
    /// ```no_run
    /// use futures_util::{SinkExt, StreamExt};
    /// use websockets_simple_client::{ClientParams, Message, WebsocketClient};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
    /// let messages = client.messages();
    /// client.connect().await?;
    /// let mut sink = client.sink();
    /// sink.send(Message::text("hello")).await?;
    /// messages.map(Ok).forward(sink).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn sink(&self) -> SendSink<Self> {
        SendSink::new(self.clone())
    }

    fn open_connection(&self) -> Option<ClientConnection> {
        self.connection().filter(ClientConnection::is_open)
    }

    /// The connection, if no kept message has to go first.
    fn connection_past_kept(&self) -> Option<ClientConnection> {
        self.open_connection().filter(|_| self.shared.kept.is_empty())
    }

    /// What became of a message, which is kept if there was no connection.
    fn or_keep(
        &self,
        sent: Result<SendStatus, SendError>,
        message: Message,
        most: usize,
    ) -> Result<SendStatus, SendError> {
        match sent {
            Err(SendError::Closed) => {
                let kept = self.shared.kept.push(message, most)?;
                self.shared.figures.count(|figures| figures.kept += 1);
                Ok(kept)
            }
            sent => sent,
        }
    }
}

impl SendHandle for WebsocketClient {
    fn send_owned(self, message: Message) -> OwnedSending {
        Box::pin(async move { self.send(message).await })
    }
}
