//! The events of a client.

use std::{net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use websockets_simple_core::{
    ConnectionEvent, ConnectionEventKind, Direction, Disconnect, ErrorEvent, EventId, EventPart, EventType,
    Flow, Message, MessageEvent, MessagePartEvent,
};

use crate::{connection::ClientConnection, error::ConnectError};

/// An event of a client; events come in order. Handlers get all of them. An [event stream](websockets_simple_core::Events)
/// whose consumer falls behind keeps Connected, Disconnected and received messages, and counts the others instead: the
/// next error event says how many were [missed](ErrorEvent::missed).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A connect began, succeeded or failed, or the connection ended. Refused has the error of the connect.
    Connection(ConnectionEvent<ClientConnection, Arc<ConnectError>>),
    /// An operation failed. The error of a failed connect is a [`ConnectError`]
    /// ([`downcast_ref`](websockets_simple_core::EventError::downcast_ref)), the same as that of its Refused.
    Error(ErrorEvent<ClientConnection>),
    /// A message was received, or, if subscribed to, accepted for sending.
    Message(MessageEvent<ClientConnection>),
    /// A part of a message was received, where large messages are received in
    /// [parts](websockets_simple_core::MessageParts).
    MessagePart(MessagePartEvent<ClientConnection>),
}

impl ClientEvent {
    /// The id: unique and ascending.
    #[must_use]
    pub fn id(&self) -> EventId {
        match self {
            Self::Connection(event) => event.id,
            Self::Error(event) => event.id,
            Self::Message(event) => event.id,
            Self::MessagePart(event) => event.id,
        }
    }

    /// The time of the event.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        match self {
            Self::Connection(event) => event.timestamp,
            Self::Error(event) => event.timestamp,
            Self::Message(event) => event.timestamp,
            Self::MessagePart(event) => event.timestamp,
        }
    }

    /// The message, if one was received.
    #[must_use]
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(event) if event.direction == Direction::Received => Some(&event.message),
            _ => None,
        }
    }

    /// As [`message`](Self::message), without a copy of its handle.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(event) if event.direction == Direction::Received => Some(event.message),
            _ => None,
        }
    }

    /// The connection, if one was opened.
    #[must_use]
    pub fn connected(&self) -> Option<&ClientConnection> {
        match self {
            Self::Connection(ConnectionEvent {
                kind: ConnectionEventKind::Connected(connection), ..
            }) => Some(connection),
            _ => None,
        }
    }

    /// The connection and how it ended, if one has.
    #[must_use]
    pub fn disconnected(&self) -> Option<(&ClientConnection, &Disconnect)> {
        match self {
            Self::Connection(ConnectionEvent {
                kind: ConnectionEventKind::Disconnected(connection, end),
                ..
            }) => Some((connection, end)),
            _ => None,
        }
    }
}

impl EventType for ClientEvent {
    type Connection = ClientConnection;
    type Refusal = Arc<ConnectError>;

    fn of_connection(event: ConnectionEvent<ClientConnection, Arc<ConnectError>>) -> Self {
        Self::Connection(event)
    }

    fn of_error(event: ErrorEvent<ClientConnection>) -> Self {
        Self::Error(event)
    }

    fn of_message(event: MessageEvent<ClientConnection>) -> Self {
        Self::Message(event)
    }

    fn of_message_part(event: MessagePartEvent<ClientConnection>) -> Self {
        Self::MessagePart(event)
    }

    fn as_message_part(&self) -> Option<&MessagePartEvent<ClientConnection>> {
        if let Self::MessagePart(event) = self { Some(event) } else { None }
    }

    fn as_message(&self) -> Option<&MessageEvent<ClientConnection>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn as_message_mut(&mut self) -> Option<&mut MessageEvent<ClientConnection>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn into_part(self) -> EventPart<ClientConnection, Arc<ConnectError>> {
        match self {
            Self::Connection(event) => EventPart::Connection(event),
            Self::Error(event) => EventPart::Error(event),
            Self::Message(event) => EventPart::Message(event),
            Self::MessagePart(event) => EventPart::MessagePart(event),
        }
    }

    fn peer_addr(connection: &ClientConnection) -> Option<SocketAddr> {
        connection.peer_addr()
    }

    fn as_error_mut(&mut self) -> Option<&mut ErrorEvent<ClientConnection>> {
        if let Self::Error(event) = self { Some(event) } else { None }
    }

    fn origin(&self) -> Option<SocketAddr> {
        match self {
            Self::Connection(event) => match &event.kind {
                ConnectionEventKind::Connected(connection)
                | ConnectionEventKind::Disconnected(connection, _) => connection.peer_addr(),
                _ => None,
            },
            Self::Error(event) => event.peer_addr,
            Self::Message(event) => event.connection.peer_addr(),
            Self::MessagePart(event) => event.connection.peer_addr(),
        }
    }

    /// Attempts do not wait for a stream that is not read, or the client could not connect because of it.
    fn flow_without_message(&self) -> Flow {
        match self {
            Self::Connection(event) => match &event.kind {
                ConnectionEventKind::Connecting(attempt) => Flow::Coalesced(attempt.path.len()),
                ConnectionEventKind::Refused(attempt, why) => {
                    Flow::Coalesced(attempt.path.len() + why.weight())
                }
                _ => Flow::Free,
            },
            Self::Error(event) => Flow::Coalesced(match event.error.downcast_ref::<ConnectError>() {
                Some(error) => error.weight(),
                None => event.error.to_string().len(),
            }),
            Self::Message(_) | Self::MessagePart(_) => Flow::Free,
        }
    }
}
