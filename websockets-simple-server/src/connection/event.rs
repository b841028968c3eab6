//! The events of a server.

use std::{any::Any, fmt, net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;
use websockets_simple_core::{
    ConnectionEvent, ConnectionEventKind, Direction, Disconnect, ErrorEvent, EventId, EventPart, EventType,
    Flow, GroupChange, Message, MessageEvent, MessagePartEvent,
};

#[cfg(feature = "cluster")]
use crate::cluster::{ClusterEvent, PresenceEvent};
use crate::{
    connection::{Connection, log},
    users::{Identity, User, UserId},
};

/// An event of a server.
///
/// Events of one connection are raised in order, those of different connections concurrently. Handlers get all of them;
/// an [event stream](websockets_simple_core::Events) whose consumer falls behind counts errors instead of keeping them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<I: Identity> {
    /// A connection was requested, opened, refused or ended.
    Connection(ConnectionEvent<Connection<I>>),
    /// An error occurred.
    Error(ErrorEvent<Connection<I>>),
    /// A message was received, or queued for sending if such events were subscribed to.
    Message(MessageEvent<Connection<I>>),
    /// A part of a message was received, where large messages are received in
    /// [parts](websockets_simple_core::MessageParts).
    MessagePart(MessagePartEvent<Connection<I>>),
    /// A client has joined or left a group by itself.
    Group(GroupEvent<I>),
    /// Something happened to the cluster, as this node sees it.
    #[cfg(feature = "cluster")]
    Cluster(ClusterEvent),
    /// A user has joined or left, counted over all nodes of the cluster.
    #[cfg(feature = "cluster")]
    Presence(PresenceEvent<I>),
    /// The server started or stopped.
    Server(ServerEvent),
}

/// The event that a client has joined or left a group by a request of its own, which the
/// [rule](crate::Server::with_group_rule) allows. It comes after the messages that the client had sent before it asked, and
/// before those that it sends once it has the answer. There is none for what [`Connection::join`] and [`Connection::leave`] do, nor for groups that end with
/// their connection: `Disconnected` tells of that.
#[derive(Debug)]
#[non_exhaustive]
pub struct GroupEvent<I: Identity> {
    /// Unique, ascending.
    pub id: EventId,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// The connection of the client. It may have left the group again, or joined it, since then.
    pub connection: Connection<I>,
    /// The group, in the channel of the connection.
    pub group: Arc<str>,
    /// What happened.
    pub kind: GroupEventKind,
}

/// What a client has done with a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GroupEventKind {
    /// It is in the group, and was not before.
    Joined,
    /// It is no longer in the group.
    Left,
}

/// The event that the server started or stopped.
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
    /// The server listens on these addresses, and on its Unix domain sockets.
    Started(Vec<SocketAddr>),
    /// The server has stopped.
    Stopped(StopReport),
}

/// The result of a server stop: how many connections ended in which way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StopReport {
    /// Connections that ended cleanly: both sides sent Close.
    pub clean: usize,
    /// Connections that ended without the peer's Close.
    pub unclean: usize,
    /// Connections with a handler that had not finished at the stop timeout, and was dropped.
    pub dropped: usize,
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clean, unclean, dropped } = self;
        write!(f, "{clean} ended cleanly, {unclean} without a Close, {dropped} at the stop timeout")
    }
}

impl<I: Identity> Event<I> {
    /// Unique, ascending.
    #[must_use]
    pub fn id(&self) -> EventId {
        match self {
            Self::Connection(event) => event.id,
            Self::Error(event) => event.id,
            Self::Message(event) => event.id,
            Self::MessagePart(event) => event.id,
            Self::Group(event) => event.id,
            #[cfg(feature = "cluster")]
            Self::Cluster(event) => event.id,
            #[cfg(feature = "cluster")]
            Self::Presence(event) => event.id,
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
            Self::MessagePart(event) => event.timestamp,
            Self::Group(event) => event.timestamp,
            #[cfg(feature = "cluster")]
            Self::Cluster(event) => event.timestamp,
            #[cfg(feature = "cluster")]
            Self::Presence(event) => event.timestamp,
            Self::Server(event) => event.timestamp,
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
    pub fn connected(&self) -> Option<&Connection<I>> {
        match self {
            Self::Connection(ConnectionEvent {
                kind: ConnectionEventKind::Connected(connection), ..
            }) => Some(connection),
            _ => None,
        }
    }

    /// The connection and how it ended, if one has.
    #[must_use]
    pub fn disconnected(&self) -> Option<(&Connection<I>, &Disconnect)> {
        match self {
            Self::Connection(ConnectionEvent {
                kind: ConnectionEventKind::Disconnected(connection, end),
                ..
            }) => Some((connection, end)),
            _ => None,
        }
    }

    /// The connection of the event, if there is one.
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
            Self::MessagePart(event) => Some(&event.connection),
            Self::Group(event) => Some(&event.connection),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) | Self::Presence(_) => None,
            Self::Server(_) => None,
        }
    }

    /// What kind of event it is, for spans.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Connection(event) => match event.kind {
                ConnectionEventKind::Connecting(_) => "connecting",
                ConnectionEventKind::Connected(_) => "connected",
                ConnectionEventKind::Refused(..) => "refused",
                ConnectionEventKind::Disconnected(..) => "disconnected",
                _ => "connection",
            },
            Self::Error(_) => "error",
            Self::Message(event) if event.direction == Direction::Sent => "sent",
            Self::Message(_) => "message",
            Self::MessagePart(_) => "message_part",
            Self::Group(_) => "group",
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => "cluster",
            #[cfg(feature = "cluster")]
            Self::Presence(_) => "presence",
            Self::Server(_) => "server",
        }
    }

    pub(crate) fn server(kind: ServerEventKind) -> Self {
        Self::Server(ServerEvent { id: EventId::new(), timestamp: Utc::now(), kind })
    }
}

impl<T: UserId> Event<User<T>> {
    /// The user of the event, or of its connection, if there is one.
    #[must_use]
    pub fn user_id(&self) -> Option<&T> {
        #[cfg(feature = "cluster")]
        if let Self::Presence(event) = self {
            return Some(&event.user);
        }
        self.connection().map(Connection::user_id)
    }
}

impl<I: Identity> GroupEvent<I> {
    pub(crate) fn new(change: &GroupChange, connection: Connection<I>, timestamp: DateTime<Utc>) -> Self {
        let kind = if change.joined { GroupEventKind::Joined } else { GroupEventKind::Left };
        Self { id: EventId::new(), timestamp, connection, group: change.group.as_str().into(), kind }
    }
}

impl<I: Identity> Clone for GroupEvent<I> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), group: Arc::clone(&self.group), ..*self }
    }
}

impl<I: Identity> Clone for Event<I> {
    fn clone(&self) -> Self {
        match self {
            Self::Connection(event) => Self::Connection(event.clone()),
            Self::Error(event) => Self::Error(event.clone()),
            Self::Message(event) => Self::Message(event.clone()),
            Self::MessagePart(event) => Self::MessagePart(event.clone()),
            Self::Group(event) => Self::Group(event.clone()),
            #[cfg(feature = "cluster")]
            Self::Cluster(event) => Self::Cluster(event.clone()),
            #[cfg(feature = "cluster")]
            Self::Presence(event) => Self::Presence(event.clone()),
            Self::Server(event) => Self::Server(event.clone()),
        }
    }
}

impl<I: Identity> EventType for Event<I> {
    type Connection = Connection<I>;
    type Refusal = String;

    fn of_connection(event: ConnectionEvent<Connection<I>>) -> Self {
        Self::Connection(event)
    }

    fn of_error(event: ErrorEvent<Connection<I>>) -> Self {
        Self::Error(event)
    }

    fn of_message(event: MessageEvent<Connection<I>>) -> Self {
        Self::Message(event)
    }

    fn of_message_part(event: MessagePartEvent<Connection<I>>) -> Self {
        Self::MessagePart(event)
    }

    fn as_message_part(&self) -> Option<&MessagePartEvent<Connection<I>>> {
        if let Self::MessagePart(event) = self { Some(event) } else { None }
    }

    fn as_message(&self) -> Option<&MessageEvent<Connection<I>>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn as_message_mut(&mut self) -> Option<&mut MessageEvent<Connection<I>>> {
        if let Self::Message(event) = self { Some(event) } else { None }
    }

    fn into_part(self) -> EventPart<Connection<I>> {
        match self {
            Self::Connection(event) => EventPart::Connection(event),
            Self::Error(event) => EventPart::Error(event),
            Self::Message(event) => EventPart::Message(event),
            Self::MessagePart(event) => EventPart::MessagePart(event),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) | Self::Presence(_) => EventPart::Other,
            Self::Group(_) | Self::Server(_) => EventPart::Other,
        }
    }

    fn peer_addr(connection: &Connection<I>) -> Option<SocketAddr> {
        connection.peer_addr()
    }

    fn kept(connection: &Connection<I>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(connection.0.origin.extras.get()?.state.values()?)
    }

    fn span(&self) -> tracing::Span {
        log::handler_span(self)
    }

    fn as_error_mut(&mut self) -> Option<&mut ErrorEvent<Connection<I>>> {
        if let Self::Error(event) = self { Some(event) } else { None }
    }

    fn origin(&self) -> Option<SocketAddr> {
        match self {
            Self::Connection(event) => match &event.kind {
                ConnectionEventKind::Connecting(attempt) | ConnectionEventKind::Refused(attempt, _) => {
                    attempt.peer_addr
                }
                _ => self.connection().and_then(Connection::peer_addr),
            },
            Self::Error(event) => event.peer_addr,
            Self::Message(event) => event.connection.peer_addr(),
            Self::MessagePart(event) => event.connection.peer_addr(),
            Self::Group(event) => event.connection.peer_addr(),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) | Self::Presence(_) => None,
            Self::Server(_) => None,
        }
    }

    /// The handshake waits for Connecting within its timeout. This also bounds the number of the events that follow it.
    fn flow_without_message(&self) -> Flow {
        match self {
            Self::Connection(event) => match &event.kind {
                ConnectionEventKind::Connecting(attempt) => Flow::Bounded(attempt.path.len()),
                ConnectionEventKind::Refused(attempt, why) if !attempt.is_announced() => {
                    Flow::Coalesced(attempt.path.len() + why.len())
                }
                _ => Flow::Free,
            },
            Self::Error(_) => Flow::Coalesced(0),
            Self::Group(event) => Flow::Bounded(event.group.len()),
            // Coalesced before they are raised, one at a time.
            #[cfg(feature = "cluster")]
            Self::Cluster(_) | Self::Presence(_) => Flow::Free,
            Self::Message(_) | Self::MessagePart(_) | Self::Server(_) => Flow::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_stop_says_each_of_its_numbers_in_words() {
        let report = StopReport { clean: 1, unclean: 2, dropped: 3 };
        assert_eq!(report.to_string(), "1 ended cleanly, 2 without a Close, 3 at the stop timeout");
    }
}
