//! A long message that is sent in parts, with back-pressure.

use std::{fmt, marker::PhantomData};

use crate::{
    events::EndCause,
    outbox::{Outbox, send::SendError},
    protocol::Frame,
};

/// The kind of a message in parts: `str` for text, `[u8]` for binary.
pub trait PartKind: sealed::Sealed {
    #[doc(hidden)]
    const TEXT: bool;
    #[doc(hidden)]
    fn bytes(&self) -> &[u8];
}

impl PartKind for str {
    const TEXT: bool = true;
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartKind for [u8] {
    const TEXT: bool = false;
    fn bytes(&self) -> &[u8] {
        self
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed: a message is text or binary")]
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for [u8] {}
}

/// A message that is being sent in parts (RFC 6455 section 5.4).
///
/// Each [`write`](Self::write) leaves as one frame and waits for room in the outbox, whatever its overflow
/// policy. Other messages of the connection wait behind this one; pings and pongs pass between its parts. The
/// peer sees one message when [`finish`](Self::finish) is called. Dropped unfinished, the message cannot be
/// taken back, so the connection is closed with [`CloseCode::INTERNAL`](crate::CloseCode::INTERNAL).
#[must_use = "a message in parts that is not finished closes its connection"]
pub struct MessageWriter<'a, K: PartKind + ?Sized> {
    outbox: &'a Outbox,
    first: bool,
    done: bool,
    kind: PhantomData<fn(&K)>,
}

impl<'a, K: PartKind + ?Sized> MessageWriter<'a, K> {
    /// Begins a message in parts, once no other one is in progress.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], or [`SendError::Unreadable`] if the peer cannot put a message together.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, nothing has begun.
    pub async fn begin(outbox: &'a Outbox) -> Result<Self, SendError> {
        while !outbox.begin_parts()? {
            outbox.parts_ended().await;
        }
        Ok(Self { outbox, first: true, done: false, kind: PhantomData })
    }

    /// Sends the next part.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, this part was not sent and may be written again.
    pub async fn write(&mut self, part: &K) -> Result<(), SendError> {
        if part.bytes().is_empty() {
            return Ok(());
        }
        self.send(part.bytes(), false).await
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the message is unfinished and its connection is closed.
    pub async fn finish(mut self) -> Result<(), SendError> {
        self.send(&[], true).await?;
        self.done = true;
        self.outbox.end_parts(true);
        Ok(())
    }

    async fn send(&mut self, payload: &[u8], last: bool) -> Result<(), SendError> {
        let mut frame = Some(Frame::part(payload, K::TEXT, self.first, last, self.outbox.side()));
        std::future::poll_fn(|cx| self.outbox.poll_part(&mut frame, cx.waker())).await?;
        self.first = false;
        Ok(())
    }
}

impl<K: PartKind + ?Sized> Drop for MessageWriter<'_, K> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if self.first {
            // No part was sent, so the peer has no incomplete message.
            self.outbox.end_parts(false);
            return;
        }
        self.outbox.close(EndCause::MessageAbandoned);
    }
}

impl<K: PartKind + ?Sized> fmt::Debug for MessageWriter<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("text", &K::TEXT)
            .field("begun", &!self.first)
            .finish_non_exhaustive()
    }
}
