//! A long message that is sent in parts, with back-pressure.

use std::{
    fmt,
    marker::PhantomData,
    task::{Poll, Waker},
};

use crate::{
    dotnet::V6Loss,
    events::EndCause,
    outbox::{
        FlushWhen, Outbox, after_lock,
        queue::{OutboxState, QueuedFrame, Stage, most_frames},
        send::SendError,
        waiters::Place,
    },
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
    #[doc(hidden)]
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
            self.outbox.give_up_parts();
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

impl Outbox {
    /// Begins a message in parts. False while another one is in progress.
    pub(crate) fn begin_parts(&self) -> Result<bool, SendError> {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Err(SendError::Closed);
        }
        if self.v6_server.is_some() {
            return Err(SendError::Unreadable(V6Loss::Parts));
        }
        let parts = &mut state.cold().parts;
        if parts.is_some() {
            return Ok(false);
        }
        *parts = Some(Box::default());
        Ok(true)
    }

    /// Sends one part, waiting for room as long as the connection lasts. With the last one the message is complete,
    /// whatever happens next.
    pub(crate) fn poll_part(&self, frame: &mut Option<Frame>, waker: &Waker) -> Poll<Result<(), SendError>> {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Poll::Ready(Err(SendError::Closed));
        }
        let Some(len) = frame.as_ref().map(Frame::len) else { return Poll::Ready(Ok(())) };
        // What waits behind this message cannot leave before it, so only what is ahead counts.
        let fits = |state: &OutboxState| {
            let is_few = state.queue.len() < most_frames(self.capacity());
            state.bytes == 0 || (is_few && state.bytes.saturating_add(len) <= self.capacity())
        };
        if !fits(&state) {
            state.flush(false, None);
        }
        if fits(&state)
            && let Some(frame) = frame.take()
        {
            state.bytes += frame.len();
            let cold = state.cold();
            cold.part_bytes += frame.len();
            cold.part_frames += 1;
            let is_last = frame.is_last();
            state.queue.push_back(QueuedFrame { frame, internal: None, part: true });
            if is_last {
                state.end_parts();
            } else {
                state.write_when(FlushWhen::Now);
            }
            if state.stage != Stage::Open {
                return Poll::Ready(Err(SendError::Closed));
            }
            state.messages += u64::from(is_last);
            return Poll::Ready(Ok(()));
        }
        if let Some(parts) = state.parts()
            && let Some(old) = parts.writer.replace(waker.clone())
        {
            after_lock::discard(old);
        }
        Poll::Pending
    }

    /// Whether a message in parts is in progress.
    pub(crate) fn is_sending_parts(&self) -> bool {
        self.lock().parts().is_some()
    }

    /// Resolves when no message in parts is in progress.
    pub(crate) async fn parts_ended(&self) {
        let mut place = Place::new(self, |cold| &mut cold.before_parts);
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.parts().is_none() {
                return Poll::Ready(());
            }
            place.wait(&mut state, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Ends a message in parts of which no part was sent.
    pub(crate) fn give_up_parts(&self) {
        self.lock().end_parts();
    }
}

impl OutboxState {
    /// Ends the message in parts; the messages that waited behind it follow.
    fn end_parts(&mut self) {
        let Some(parts) = self.cold.as_mut().and_then(|cold| cold.parts.take()) else { return };
        self.bytes += parts.bytes;
        self.queue.extend(parts.behind);
        parts.writer.into_iter().for_each(after_lock::discard);
        self.cold().before_parts.wake_all();
        self.write_when(FlushWhen::Now);
        self.wake_waiting();
    }
}
