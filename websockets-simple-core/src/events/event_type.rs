//! What core needs to know of the event enum of an end.

use std::{any::Any, net::SocketAddr, sync::Arc};

use tracing::Span;

use crate::events::{ConnectionEvent, Direction, ErrorEvent, MessageEvent, MessagePartEvent};

/// Whether an event waits for room in an event stream, and how many bytes it carries: its message, path or reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// Is kept in any case: something else bounds the number of these events.
    Free,
    /// Waits for room.
    Bounded(usize),
    /// Is counted instead of kept when there is no room.
    Coalesced(usize),
    /// Is counted instead of kept when there is no room, and goes only to subscriptions that asked for Sent events.
    Notice(usize),
}

/// An event by what it is about.
#[derive(Debug)]
pub enum EventPart<C, R = String> {
    /// A connection began or ended.
    Connection(ConnectionEvent<C, R>),
    /// Something failed.
    Error(ErrorEvent<C>),
    /// A message was received or sent.
    Message(MessageEvent<C>),
    /// A part of a message was received.
    MessagePart(MessagePartEvent<C>),
    /// What only one of the ends has.
    Other,
}

/// The event enum of one end: how it is made, and whether it waits for room.
pub trait EventType: Clone + Send + 'static {
    /// The handle of a connection at this end.
    type Connection: Clone + Send + 'static;
    /// Why an attempt to connect failed, as this end tells it.
    type Refusal: Clone + Send + 'static;

    /// Something happened to a connection.
    fn of_connection(event: ConnectionEvent<Self::Connection, Self::Refusal>) -> Self;
    /// Something failed.
    fn of_error(event: ErrorEvent<Self::Connection>) -> Self;
    /// A message was received, or accepted for sending.
    fn of_message(event: MessageEvent<Self::Connection>) -> Self;
    /// A part of a message was received.
    fn of_message_part(event: MessagePartEvent<Self::Connection>) -> Self;

    /// The message event in it, if it is one.
    fn as_message(&self) -> Option<&MessageEvent<Self::Connection>>;
    /// The same, mutable.
    fn as_message_mut(&mut self) -> Option<&mut MessageEvent<Self::Connection>>;

    /// The event of a part of a message in it, if it is one.
    fn as_message_part(&self) -> Option<&MessagePartEvent<Self::Connection>>;

    /// What the event is about.
    fn into_part(self) -> EventPart<Self::Connection, Self::Refusal>;

    /// The address of the peer of a connection, as far as it is known.
    fn peer_addr(connection: &Self::Connection) -> Option<SocketAddr>;

    /// What a Disconnected event keeps alive: what the application has stored on the connection.
    fn kept(_connection: &Self::Connection) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// The error event in it, if it is one.
    fn as_error_mut(&mut self) -> Option<&mut ErrorEvent<Self::Connection>> {
        None
    }

    /// The address of the peer that it is about, as far as it is known.
    fn origin(&self) -> Option<SocketAddr> {
        None
    }

    /// The span in which a handler is called with it, if such were asked for.
    fn span(&self) -> Span {
        Span::none()
    }

    /// Whether it waits for room in an event stream, if it carries no message.
    fn flow_without_message(&self) -> Flow {
        Flow::Free
    }

    /// Whether it waits for room in an event stream.
    fn flow(&self) -> Flow {
        match self.as_message() {
            Some(event) if event.direction == Direction::Sent => Flow::Notice(event.message.len()),
            Some(event) => Flow::Bounded(event.message.len()),
            None => match self.as_message_part() {
                Some(event) => Flow::Bounded(event.part.len()),
                None => self.flow_without_message(),
            },
        }
    }

    /// The number of events of its kind that were dropped before this one, if it can tell.
    fn missed_mut(&mut self) -> Option<&mut u64> {
        if self.as_message().is_some() {
            return self.as_message_mut().map(|event| &mut event.missed);
        }
        self.as_error_mut().map(|event| &mut event.missed)
    }
}
