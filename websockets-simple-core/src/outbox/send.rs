//! A send, its results, and what happens when the peer reads too slowly.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use serde::Serialize;
use tokio::time::{Timeout, timeout};

use crate::{
    dotnet::V6Loss,
    message::EncodeError,
    outbox::{Offer, Outbox, waiters::BlockedSend},
    protocol::Message,
};

/// What happened to a message that was sent. None of them means that the peer has it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum SendStatus {
    /// The outbox was full and its policy dropped this message.
    Dropped,
    /// The client is not connected, and keeps it until it is.
    Kept,
    /// It waits in the outbox; the usual result inside a handler, whose messages leave together.
    Queued,
    /// The kernel took its last byte.
    Sent,
}

/// Why a message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed or closing. Nothing can be sent on it any more.
    #[error("the connection is closed")]
    Closed,
    /// The value cannot be encoded.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The outbox is full and its policy is to wait, but this call never waits.
    #[error("the outbox is full")]
    Full,
    /// The outbox was full and its policy ended the connection.
    #[error("the peer reads too slowly and was disconnected")]
    Overflow,
    /// The outbox had no room within the time that its policy waits.
    #[error("timed out waiting for room in the outbox")]
    Timeout,
    /// The .NET v6 server would lose the message; only of a client with
    /// [`Compatibility::DotNetV6`](crate::Compatibility::DotNetV6).
    #[error("the .NET v6 server would lose the message")]
    Unreadable(#[source] V6Loss),
}

impl Offer {
    pub(crate) fn into_result(self) -> Result<SendStatus, SendError> {
        match self {
            Self::Sent => Ok(SendStatus::Sent),
            Self::Queued | Self::List => Ok(SendStatus::Queued),
            Self::Dropped => Ok(SendStatus::Dropped),
            Self::Closed => Err(SendError::Closed),
            Self::Full(_) => Err(SendError::Full),
            Self::Overflow => Err(SendError::Overflow),
        }
    }
}

/// What to do when more is to be sent to a peer than its outbox holds.
///
/// The outbox counts the bytes of encoded frames that the socket has not taken. Before a policy is applied the
/// outbox is flushed, so that only bytes which the socket refused count. A single
/// message larger than the outbox is accepted when the outbox is empty.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// End the connection with [`CloseCode::OVERFLOW`](crate::CloseCode::OVERFLOW).
    #[default]
    Disconnect,
    /// Drop the message that does not fit.
    DropNewest,
    /// Drop the oldest messages that are not partly written, until the new one fits.
    DropOldest,
    /// Wait for room, first come first served, for at most this long: whole milliseconds, at most 49 days. A broadcast
    /// never waits: it drops.
    Wait(Duration),
}

impl OverflowPolicy {
    /// Its name, for figures: `drop_oldest`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
            Self::Wait(_) => "wait",
        }
    }
}

/// An [`OverflowPolicy`] in 4 bytes, as every connection has one: the milliseconds to wait, in which timers count anyway,
/// or one of the other three, which are longer than any wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptPolicy(u32);

impl KeptPolicy {
    const DISCONNECT: u32 = u32::MAX;
    const DROP_NEWEST: u32 = u32::MAX - 1;
    const DROP_OLDEST: u32 = u32::MAX - 2;
    /// 49 days.
    const LONGEST: u32 = u32::MAX - 3;

    pub(super) fn new(policy: OverflowPolicy) -> Self {
        Self(match policy {
            OverflowPolicy::Disconnect => Self::DISCONNECT,
            OverflowPolicy::DropNewest => Self::DROP_NEWEST,
            OverflowPolicy::DropOldest => Self::DROP_OLDEST,
            OverflowPolicy::Wait(time) => {
                let milliseconds = time.as_nanos().div_ceil(1_000_000);
                u32::try_from(milliseconds).unwrap_or(Self::LONGEST).min(Self::LONGEST)
            }
        })
    }

    pub(super) fn get(self) -> OverflowPolicy {
        match self.0 {
            Self::DISCONNECT => OverflowPolicy::Disconnect,
            Self::DROP_NEWEST => OverflowPolicy::DropNewest,
            Self::DROP_OLDEST => OverflowPolicy::DropOldest,
            milliseconds => OverflowPolicy::Wait(Duration::from_millis(milliseconds.into())),
        }
    }
}

impl Outbox {
    pub(super) fn policy(&self) -> OverflowPolicy {
        self.policy.get()
    }

    /// Most unsent bytes of encoded frames.
    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }
}

/// A message on its way into the outbox of a connection: resolves at once unless it has to wait for room there.
///
/// # Errors
///
/// [`SendError`]; nothing was sent then.
///
/// # Cancel safety
///
/// Dropped before it resolves, nothing was sent.
#[must_use = "nothing is sent before this is awaited"]
pub struct Sending<'a> {
    outbox: &'a Outbox,
    may_be_compressed: bool,
    notice: bool,
    state: SendState<'a>,
}

/// Small, because every handler that sends holds one.
enum SendState<'a> {
    Begin(Result<Message, EncodeError>),
    Waiting(Pin<Box<Timeout<BlockedSend<'a>>>>),
    Done,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(
        outbox: &'a Outbox,
        message: Result<Message, EncodeError>,
        may_be_compressed: bool,
        notice: bool,
    ) -> Self {
        Self { outbox, may_be_compressed, notice, state: SendState::Begin(message) }
    }
}

impl Future for Sending<'_> {
    type Output = Result<SendStatus, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { outbox, may_be_compressed, notice, state } = self.get_mut();
        if let SendState::Begin(_) = state
            && let SendState::Begin(message) = mem::replace(state, SendState::Done)
        {
            let message = message?;
            let notice = notice.then(|| message.clone());
            match outbox.offer_message(message, *may_be_compressed, notice.as_ref())? {
                Offer::Full(frame) => {
                    let OverflowPolicy::Wait(patience) = outbox.policy() else {
                        return Poll::Ready(Err(SendError::Full));
                    };
                    *state = SendState::Waiting(Box::pin(timeout(
                        patience,
                        BlockedSend::new(outbox, frame, notice),
                    )));
                }
                done => return Poll::Ready(done.into_result()),
            }
        }
        let SendState::Waiting(waiting) = state else { return Poll::Pending };
        let waited = ready!(waiting.as_mut().poll(cx));
        *state = SendState::Done;
        Poll::Ready(waited.unwrap_or(Err(SendError::Timeout)))
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_kept_in_4_bytes_and_comes_out_as_it_went_in() {
        let waits = [0, 1, 1_000_000_000, KeptPolicy::LONGEST].map(|time| Duration::from_millis(time.into()));
        let waits = waits.map(OverflowPolicy::Wait);
        let others = [OverflowPolicy::Disconnect, OverflowPolicy::DropNewest, OverflowPolicy::DropOldest];
        for policy in waits.into_iter().chain(others) {
            assert_eq!(KeptPolicy::new(policy).get(), policy);
        }
        let longest = Duration::from_millis(KeptPolicy::LONGEST.into());
        let kept = |time| KeptPolicy::new(OverflowPolicy::Wait(time)).get();
        for endless in [longest + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(kept(endless), OverflowPolicy::Wait(longest));
        }
        for (time, milliseconds) in [(1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            let kept = kept(Duration::from_nanos(time));
            assert_eq!(kept, OverflowPolicy::Wait(Duration::from_millis(milliseconds)));
        }
        assert_eq!(size_of::<KeptPolicy>(), 4);
    }
}
