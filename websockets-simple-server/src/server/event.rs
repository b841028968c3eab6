//! What a server tells its users.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use websockets_simple_core::{
    ConnectionEvent, ConnectionEventKind, Direction, ErrorEvent, EventId, Flow, MessageEvent, Observable,
};

use crate::{
    connection::Connection,
    run::StopReport,
    users::{Identity, User, UserId},
};

/// An event of a server.
///
/// Events of one connection arrive in order; those of different connections side by side. Received messages,
/// connection events and errors are never lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<I: Identity> {
    /// A connection began or ended.
    Connection(ConnectionEvent<Connection<I>>),
    /// Something failed.
    Error(ErrorEvent<Connection<I>>),
    /// A message was received, or accepted for sending if that was asked for.
    Message(MessageEvent<Connection<I>>),
    /// The server started or stopped.
    Server(ServerEvent),
}

/// The server started or stopped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerEvent {
    /// Unique, ascending.
    pub id: EventId,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// What happened.
    pub kind: ServerEventKind,
}

/// What happened to the server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEventKind {
    /// It listens on these addresses, and on its Unix domain sockets.
    Started(Vec<SocketAddr>),
    /// It has stopped.
    Stopped(StopReport),
}

impl<I: Identity> Event<I> {
    /// Unique, ascending.
    #[must_use]
    pub fn id(&self) -> EventId {
        match self {
            Self::Connection(event) => event.id,
            Self::Error(event) => event.id,
            Self::Message(event) => event.id,
            Self::Server(event) => event.id,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        match self {
            Self::Connection(event) => event.timestamp,
            Self::Error(event) => event.timestamp,
            Self::Message(event) => event.timestamp,
            Self::Server(event) => event.timestamp,
        }
    }

    /// Whose event, once there is a connection.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection<I>> {
        match self {
            Self::Connection(event) => match &event.kind {
                ConnectionEventKind::Connected(connection)
                | ConnectionEventKind::Disconnected(connection, _) => Some(connection),
                _ => None,
            },
            Self::Error(event) => event.connection.as_ref(),
            Self::Message(event) => Some(&event.connection),
            Self::Server(_) => None,
        }
    }

    pub(crate) fn server(kind: ServerEventKind) -> Self {
        Self::Server(ServerEvent { id: EventId::new(), timestamp: Utc::now(), kind })
    }
}

impl<T: UserId> Event<User<T>> {
    /// The user, once known.
    #[must_use]
    pub fn user_id(&self) -> Option<&T> {
        self.connection().map(Connection::user_id)
    }
}

impl<I: Identity> Clone for Event<I> {
    fn clone(&self) -> Self {
        match self {
            Self::Connection(event) => Self::Connection(event.clone()),
            Self::Error(event) => Self::Error(event.clone()),
            Self::Message(event) => Self::Message(event.clone()),
            Self::Server(event) => Self::Server(event.clone()),
        }
    }
}

impl<I: Identity> Observable for Event<I> {
    fn flow(&self) -> Flow {
        // What an event costs beside its message.
        const OVERHEAD: usize = 256;
        match self {
            Self::Message(event) if event.direction == Direction::Sent => {
                Flow::Notice(event.message.len() + OVERHEAD)
            }
            Self::Message(event) => Flow::Bounded(event.message.len() + OVERHEAD),
            // Waited for inside the handshake and its deadline; what follows from it is then bounded too.
            Self::Connection(event) if matches!(event.kind, ConnectionEventKind::Connecting(_)) => {
                Flow::Bounded(OVERHEAD)
            }
            Self::Connection(_) | Self::Error(_) | Self::Server(_) => Flow::Free,
        }
    }

    fn add_missed(&mut self, missed: u64) {
        if let Self::Message(event) = self {
            event.missed += missed;
        }
    }
}
