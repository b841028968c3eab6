//! Who is told what happens on a connection: for an admitted one everybody who subscribed, for another nearly nobody.

use std::sync::Arc;

use websockets_simple_core::{
    Attempt, ConnectionEvent, ConnectionEventKind, ConnectionObserver, Control, Direction, Disconnect,
    Dispatcher, ErrorEvent, ErrorStage, EventError, HandlerFuture, Message, MessageEvent, Moment,
};

use crate::{
    addressing::{Registered, group_rule},
    connection::{Connection, ConnectionState, expiry},
    run::Shared,
    server::{Event, Inbound},
    signals::ChannelEventKind,
    users::Identity,
};

/// Tells the events of an admitted connection.
pub(crate) struct SubscribedObserver<I: Identity> {
    pub(crate) connection: Connection<I>,
    pub(crate) dispatcher: Dispatcher<Event<I>>,
    pub(crate) registered: Option<Registered<I>>,
}

impl<I: Identity> ConnectionObserver for SubscribedObserver<I> {
    type Connection = ConnectionState<I>;

    fn owner(&self) -> u64 {
        self.connection.0.shared.owner
    }

    fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        let told =
            self.dispatcher.connected(happened(ConnectionEventKind::Connected(self.connection.clone()), at));
        let events = &self.connection.0.shared.channel_events;
        in_turn(told, events.tell(ChannelEventKind::Connect, &self.connection, at))
    }

    fn received(&mut self, message: Message, at: Moment) -> Option<HandlerFuture> {
        let message = match self.connection.0.shared.inbound.get() {
            None => message,
            Some(hook) => match hook(&self.connection, message) {
                Inbound::Deliver(message) => message,
                Inbound::Drop => return None,
                Inbound::Refuse(code, reason) => {
                    self.connection.close(code, &reason);
                    return None;
                }
            },
        };
        let routes = &self.connection.0.shared.routes;
        if !routes.are_in_use() {
            return self.dispatcher.tell(self.message(Direction::Received, message, 0, at));
        }
        let told = self.dispatcher.tell(self.message(Direction::Received, message.clone(), 0, at));
        in_turn(told, Some(HandlerFuture::new(routed(self.connection.clone(), message, at))))
    }

    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture> {
        let event = self.message(Direction::Sent, message, missed, at);
        self.dispatcher.tell(event)
    }

    fn control(&mut self, control: Control, _at: Moment) -> Option<HandlerFuture> {
        match control {
            Control::Join(group) => group_rule::join(&self.connection, group),
            Control::Leave(group) => group_rule::leave(&self.connection, group),
            Control::Token(token) => {
                return Some(HandlerFuture::new(expiry::renew(self.connection.clone(), token)));
            }
            // What only a server says.
            _ => {}
        }
        None
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture> {
        let (peer, connection) = (self.connection.peer_addr(), Some(self.connection.clone()));
        self.dispatcher.tell(Event::Error(ErrorEvent::new(stage, error, peer, connection, at.utc)))
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        let connection = &self.connection;
        self.dispatcher.replay(|| happened(ConnectionEventKind::Connected(connection.clone()), Moment::now()))
    }

    fn released(&mut self) {
        self.registered = None;
    }

    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture> {
        let event = happened(ConnectionEventKind::Disconnected(self.connection.clone(), end), at);
        let told = self.dispatcher.disconnected(event);
        let events = &self.connection.0.shared.channel_events;
        in_turn(told, events.tell(ChannelEventKind::Disconnect, &self.connection, at))
    }
}

impl<I: Identity> SubscribedObserver<I> {
    fn message(&self, direction: Direction, message: Message, missed: u64, at: Moment) -> Event<I> {
        Event::Message(MessageEvent::new(direction, message, missed, self.connection.clone(), at.utc))
    }
}

/// Looks for the route only when it is its turn: whatever it does comes after the event.
async fn routed<I: Identity>(connection: Connection<I>, message: Message, at: Moment) {
    if let Some(future) = connection.0.shared.routes.take(&connection, &message, at) {
        future.await;
    }
}

/// One after the other.
fn in_turn(first: Option<HandlerFuture>, second: Option<HandlerFuture>) -> Option<HandlerFuture> {
    match (first, second) {
        (Some(first), Some(second)) => Some(HandlerFuture::new(async {
            first.await;
            second.await;
        })),
        (first, second) => first.or(second),
    }
}

fn happened<I: Identity>(kind: ConnectionEventKind<Connection<I>>, at: Moment) -> Event<I> {
    Event::Connection(ConnectionEvent::new(kind, at.utc))
}

/// A peer that was upgraded only to be told that it is not authorized: one Refused, nothing else.
pub(crate) struct RefusedObserver<I: Identity> {
    pub(crate) shared: Arc<Shared<I>>,
    pub(crate) refused: Option<(Attempt, String)>,
}

impl<I: Identity> ConnectionObserver for RefusedObserver<I> {
    type Connection = ConnectionState<I>;

    fn owner(&self) -> u64 {
        self.shared.owner
    }

    fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        let (attempt, why) = self.refused.take()?;
        self.shared.subscriptions.tell(happened(ConnectionEventKind::Refused(attempt, why), at))
    }

    fn received(&mut self, _message: Message, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn sent(&mut self, _message: Message, _missed: u64, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn control(&mut self, _control: Control, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn failed(&mut self, _stage: ErrorStage, _error: EventError, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        None
    }

    fn released(&mut self) {}

    fn disconnected(&mut self, _end: Disconnect, _at: Moment) -> Option<HandlerFuture> {
        None
    }
}
