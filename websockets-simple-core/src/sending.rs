//! What a send may answer, and what happens when the peer reads too slowly.

use std::time::Duration;

use crate::EncodeError;

/// What became of a message that was sent. Neither answer means that the peer has it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SendStatus {
    /// The outbox was full and its policy dropped this message.
    Dropped,
    /// It waits in the outbox; the normal answer inside a handler, whose answers leave together.
    Queued,
    /// The kernel took its last byte.
    Sent,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed or closing. Nothing can be sent on it any more.
    #[error("the connection is closed")]
    Closed,
    /// The message has no form on the wire; the value is at fault.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The outbox is full and its policy is to wait, which this call does not.
    #[error("the outbox is full")]
    Full,
    /// The outbox was full and its policy ended the connection.
    #[error("the peer reads too slowly and was disconnected")]
    Overflow,
    /// There was no room in the outbox for as long as its policy waits.
    #[error("the peer made no room within the time to wait")]
    Timeout,
}

/// What to do when more is to be sent to a peer than its outbox holds.
///
/// The outbox counts the bytes of encoded frames that the socket has not taken. Before a policy is applied the
/// outbox is flushed, so that it judges what the socket refused, never what nobody tried to write. A single
/// message larger than the outbox is accepted when the outbox is empty.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// End the connection with [`CloseCode::OVERFLOW`](crate::CloseCode::OVERFLOW).
    #[default]
    Disconnect,
    /// Drop the message that does not fit.
    DropNewest,
    /// Drop the oldest messages that have not begun to leave, until the new one fits.
    DropOldest,
    /// Wait for room, first come first served, for at most this long. A broadcast never waits: it drops.
    Wait(Duration),
}
