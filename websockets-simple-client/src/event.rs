//! What a client tells its users.

use chrono::{DateTime, Utc};
use websockets_simple_core::{
    ConnectionEvent, Direction, ErrorEvent, EventId, Flow, MessageEvent, Observable,
};

use crate::connection::ClientConnection;

/// An event of a client, in order. Received messages, connection events and errors are never lost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The connection began or ended.
    Connection(ConnectionEvent<ClientConnection>),
    /// Something failed.
    Error(ErrorEvent<ClientConnection>),
    /// A message was received, or accepted for sending if that was asked for.
    Message(MessageEvent<ClientConnection>),
}

impl ClientEvent {
    /// Unique, ascending.
    #[must_use]
    pub fn id(&self) -> EventId {
        match self {
            Self::Connection(event) => event.id,
            Self::Error(event) => event.id,
            Self::Message(event) => event.id,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        match self {
            Self::Connection(event) => event.timestamp,
            Self::Error(event) => event.timestamp,
            Self::Message(event) => event.timestamp,
        }
    }
}

impl Observable for ClientEvent {
    fn flow(&self) -> Flow {
        // What an event costs beside its message.
        const OVERHEAD: usize = 256;
        match self {
            Self::Message(event) if event.direction == Direction::Sent => {
                Flow::Notice(event.message.len() + OVERHEAD)
            }
            Self::Message(event) => Flow::Bounded(event.message.len() + OVERHEAD),
            Self::Connection(_) | Self::Error(_) => Flow::Free,
        }
    }

    fn add_missed(&mut self, missed: u64) {
        if let Self::Message(event) = self {
            event.missed += missed;
        }
    }
}
