//! The connection that a future of the application has to itself.

use std::{
    fmt,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use websockets_simple_core::{Message, MessagePart, Messages};

use crate::{connection::Connection, users::Identity};

/// The connection of a future that was given to [`Upgrade::local`](crate::Upgrade::local): it receives, and dereferences
/// to the [`Connection`], which sends and can be cloned.
///
/// 64 KiB of messages wait to be received; beyond that nothing more is read from the peer. A future that receives
/// messages while it does something else needs both halves: [`split`](Self::split).
pub struct LocalConnection<I: Identity> {
    connection: Connection<I>,
    messages: Messages,
}

impl<I: Identity> LocalConnection<I> {
    pub(crate) fn new(connection: Connection<I>, messages: Messages) -> Self {
        Self { connection, messages }
    }

    /// The next message; `None` when the connection has ended and all that came before was received, or dropped as after
    /// a revocation. [`end`](Connection::end) then says why it did.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it resolves, no message is lost.
    pub async fn recv(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// The next message if there is one already.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.messages.try_recv()
    }

    /// The next message as its only part, or the next part of a message, where large messages are received in
    /// [parts](websockets_simple_core::MessageParts): [`Messages::recv_part`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it resolves, no part is lost.
    pub async fn recv_part(&mut self) -> Option<MessagePart> {
        self.messages.recv_part().await
    }

    /// The next message or part if there is one already.
    pub fn try_recv_part(&mut self) -> Option<MessagePart> {
        self.messages.try_recv_part()
    }

    /// The handle and the messages apart. Dropping the messages says that none will be received.
    #[must_use = "a future that only sends drops the messages"]
    pub fn split(self) -> (Connection<I>, Messages) {
        (self.connection, self.messages)
    }
}

impl<I: Identity> Deref for LocalConnection<I> {
    type Target = Connection<I>;

    fn deref(&self) -> &Connection<I> {
        &self.connection
    }
}

impl<I: Identity> Stream for LocalConnection<I> {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.get_mut().messages).poll_next(cx)
    }
}

impl<I: Identity> fmt::Debug for LocalConnection<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalConnection").field(&self.connection).finish()
    }
}
