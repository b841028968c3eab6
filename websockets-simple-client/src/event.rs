//! The events of a client.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use websockets_simple_core::{ConnectionEvent, ErrorEvent, EventId, EventPart, EventType, MessageEvent};

use crate::connection::ClientConnection;

/// An event of a client; events come in order. Received messages, connection events and errors are never lost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A connect began, succeeded or failed, or the connection ended.
    Connection(ConnectionEvent<ClientConnection>),
    /// An operation failed.
    Error(ErrorEvent<ClientConnection>),
    /// A message was received, or, if subscribed to, accepted for sending.
    Message(MessageEvent<ClientConnection>),
}

impl ClientEvent {
    /// The id: unique and ascending.
    #[must_use]
    pub fn id(&self) -> EventId {
        match self {
            Self::Connection(event) => event.id,
            Self::Error(event) => event.id,
            Self::Message(event) => event.id,
        }
    }

    /// The time of the event.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        match self {
            Self::Connection(event) => event.timestamp,
            Self::Error(event) => event.timestamp,
            Self::Message(event) => event.timestamp,
        }
    }
}

impl EventType for ClientEvent {
    type Connection = ClientConnection;

    fn of_connection(event: ConnectionEvent<ClientConnection>) -> Self {
        Self::Connection(event)
    }

    fn of_error(event: ErrorEvent<ClientConnection>) -> Self {
        Self::Error(event)
    }

    fn of_message(event: MessageEvent<ClientConnection>) -> Self {
        Self::Message(event)
    }

    fn as_message(&self) -> Option<&MessageEvent<ClientConnection>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn as_message_mut(&mut self) -> Option<&mut MessageEvent<ClientConnection>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn into_part(self) -> EventPart<ClientConnection> {
        match self {
            Self::Connection(event) => EventPart::Connection(event),
            Self::Error(event) => EventPart::Error(event),
            Self::Message(event) => EventPart::Message(event),
        }
    }

    fn peer_addr(connection: &ClientConnection) -> Option<SocketAddr> {
        Some(connection.peer_addr())
    }
}
