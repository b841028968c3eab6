//! What core needs to know of the event enum of an end.

use std::net::SocketAddr;

use crate::events::{ConnectionEvent, Direction, ErrorEvent, MessageEvent};

/// Whether an event waits for room in an event stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// Never waits.
    Free,
    /// Waits for this many bytes of room.
    Bounded(usize),
    /// Is counted instead of kept when there are not this many bytes of room, and goes only to subscriptions that
    /// asked for Sent events.
    Notice(usize),
}

/// Bytes that an event takes beside its message.
const OVERHEAD: usize = 256;

/// An event by what it is about.
#[derive(Debug)]
pub enum EventPart<C> {
    /// A connection began or ended.
    Connection(ConnectionEvent<C>),
    /// Something failed.
    Error(ErrorEvent<C>),
    /// A message was received or sent.
    Message(MessageEvent<C>),
    /// What only one of the ends has.
    Other,
}

/// The event enum of one end: how it is made, and whether it waits for room.
pub trait EventType: Clone + Send + 'static {
    /// The handle of a connection at this end.
    type Connection: Clone + Send + 'static;

    /// Something happened to a connection.
    fn of_connection(event: ConnectionEvent<Self::Connection>) -> Self;
    /// Something failed.
    fn of_error(event: ErrorEvent<Self::Connection>) -> Self;
    /// A message was received, or accepted for sending.
    fn of_message(event: MessageEvent<Self::Connection>) -> Self;

    /// The message event in it, if it is one.
    fn as_message(&self) -> Option<&MessageEvent<Self::Connection>>;
    /// The same, mutable.
    fn as_message_mut(&mut self) -> Option<&mut MessageEvent<Self::Connection>>;

    /// What the event is about.
    fn into_part(self) -> EventPart<Self::Connection>;

    /// The address of the peer of a connection, as far as it is known.
    fn peer_addr(connection: &Self::Connection) -> Option<SocketAddr>;

    /// Whether it waits for room although it carries no message.
    fn is_waited_for(&self) -> bool {
        false
    }

    /// Whether it waits for room in an event stream.
    fn flow(&self) -> Flow {
        match self.as_message() {
            Some(event) if event.direction == Direction::Sent => Flow::Notice(event.message.len() + OVERHEAD),
            Some(event) => Flow::Bounded(event.message.len() + OVERHEAD),
            None if self.is_waited_for() => Flow::Bounded(OVERHEAD),
            None => Flow::Free,
        }
    }

    /// Adds to the number of Sent events that were missed before this one.
    fn add_missed(&mut self, missed: u64) {
        if let Some(event) = self.as_message_mut() {
            event.missed += missed;
        }
    }
}
