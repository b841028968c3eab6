//! What a client receives, as streams of messages and of their contents.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use serde::de::DeserializeOwned;
use tokio_stream::Stream;
use websockets_simple_core::{DecodeError, Events, Message, Packet};

use crate::{client::WebsocketClient, event::ClientEvent};

/// The messages that a client receives, over all of its connections, in order. Dropping it ends the subscription.
///
/// It is as bounded as a stream of [events](Events): **one that is not read stops the reading of the connection**. Messages
/// that come in [parts](crate::MessageParts) are passed over.
#[derive(Debug)]
#[must_use = "a stream that is not read stops the reading of the connection"]
pub struct Messages(Events<ClientEvent>);

/// What the messages of a client contain, or why one of them cannot be read. Bounded as [`Messages`].
#[must_use = "a stream that is not read stops the reading of the connection"]
pub struct Contents<T> {
    messages: Messages,
    read: fn(&Message) -> Result<T, DecodeError>,
}

impl WebsocketClient {
    /// The messages that the client receives, as a bounded stream. Subscribe before [`connect`](Self::connect), as with
    /// [`events`](Self::events).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use websockets_simple_client::{ClientParams, WebsocketClient};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
    /// let mut messages = client.messages();
    /// client.connect().await?;
    /// while let Some(message) = messages.recv().await {
    ///     println!("{message}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn messages(&self) -> Messages {
        Messages(self.events())
    }

    /// The packets that the client receives, read [as the .NET library reads them](Message::packet): the only error is a
    /// binary message.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use websockets_simple_client::{ClientParams, DefaultPacket, WebsocketClient};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
    /// let mut packets = client.packets::<DefaultPacket>();
    /// client.connect().await?;
    /// while let Some(packet) = packets.recv().await {
    ///     println!("{}", packet?.data);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn packets<P: Packet>(&self) -> Contents<P> {
        Contents { messages: self.messages(), read: Message::packet }
    }

    /// The values that the client receives, read [as JSON](Message::json).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use serde::Deserialize;
    /// use websockets_simple_client::{ClientParams, WebsocketClient};
    ///
    /// #[derive(Deserialize)]
    /// struct Quote { symbol: String, price: f64 }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
    /// let mut quotes = client.values::<Quote>();
    /// client.connect().await?;
    /// while let Some(quote) = quotes.recv().await {
    ///     match quote {
    ///         Ok(Quote { symbol, price }) => println!("{symbol} {price}"),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn values<T: DeserializeOwned>(&self) -> Contents<T> {
        Contents { messages: self.messages(), read: |message| message.json() }
    }
}

impl Messages {
    /// The next message; `None` when the client is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, no message is lost.
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message if there is one already.
    pub fn try_recv(&mut self) -> Option<Message> {
        std::iter::from_fn(|| self.0.try_recv()).find_map(ClientEvent::into_message)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            let Some(event) = ready!(Pin::new(&mut self.0).poll_next(cx)) else { return Poll::Ready(None) };
            if let Some(message) = event.into_message() {
                return Poll::Ready(Some(message));
            }
        }
    }
}

impl<T> Contents<T> {
    /// The next content; `None` when the client is gone.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the message has another content. The next one may be read.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, no message is lost.
    pub async fn recv(&mut self) -> Option<Result<T, DecodeError>> {
        self.messages.recv().await.map(|message| (self.read)(&message))
    }

    /// The next content if there is one already.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Option<Result<T, DecodeError>> {
        self.messages.try_recv().map(|message| (self.read)(&message))
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<T> Stream for Contents<T> {
    type Item = Result<T, DecodeError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let message = ready!(this.messages.poll_recv(cx));
        Poll::Ready(message.map(|message| (this.read)(&message)))
    }
}

impl<T> fmt::Debug for Contents<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("messages", &self.messages).finish_non_exhaustive()
    }
}
