//! Raises the events of one connection to its subscribers.

use std::{fmt, sync::Arc};

use crate::{
    events::{
        ConnectionEvent, ConnectionEventKind, Direction, Disconnect, ErrorEvent, ErrorStage, EventError,
        EventType, HandlerFuture, MessageEvent, MessagePartEvent, Moment, Subscriptions,
        subscriber::{HeldHandler, Subscriber},
        subscriptions::{Subscribers, deliver},
    },
    protocol::{Message, MessagePart},
};

/// Raises the events of one connection: every subscriber that gets its Connected gets its Disconnected.
pub struct Dispatcher<E: EventType> {
    connection: E::Connection,
    subscriptions: Arc<Subscriptions<E>>,
    /// The subscribers that got Connected; `None` if they are those of `current`.
    saw_connected: Option<Box<SawConnected<E>>>,
    /// The subscribers: looked up once per change and not once per event.
    current: Arc<Subscribers<E>>,
}

/// The subscribers that got Connected, where others have come or gone since then.
struct SawConnected<E: EventType> {
    list: Arc<Subscribers<E>>,
    /// Whether those that came may have asked for it, too.
    is_behind: bool,
}

impl<E: EventType> Dispatcher<E> {
    /// For a connection that has raised no event yet.
    #[must_use]
    pub fn new(connection: E::Connection, subscriptions: Arc<Subscriptions<E>>) -> Self {
        let current = subscriptions.snapshot();
        Self { connection, subscriptions, saw_connected: None, current }
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &E::Connection {
        &self.connection
    }

    /// Raises Connected.
    pub fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        self.catch_up();
        self.saw_connected = None;
        self.dispatch(self.event(ConnectionEventKind::Connected(self.connection.clone()), at))
    }

    /// Raises Connected for later subscriptions that asked for it.
    pub fn replay(&mut self) -> Option<HandlerFuture> {
        self.catch_up();
        let saw = self.saw_connected.as_mut().filter(|saw| saw.is_behind)?;
        saw.is_behind = false;
        // Without this, a connection would keep every subscription that it has ever told of itself.
        if saw.list.iter().any(|saw| !saw.is_active()) {
            saw.list = Arc::new(saw.list.iter().filter(|saw| saw.is_active()).cloned().collect());
        }
        let known = |subscriber: &Arc<Subscriber<E>>| saw.list.iter().any(|saw| Arc::ptr_eq(saw, subscriber));
        let is_late = |subscriber: &&Arc<Subscriber<E>>| subscriber.options.replay && !known(subscriber);
        let late: Subscribers<E> = self.current.iter().filter(is_late).cloned().collect();
        if late.is_empty() {
            return None;
        }
        saw.list = Arc::new(saw.list.iter().chain(&*late).cloned().collect());
        let event = self.event(ConnectionEventKind::Connected(self.connection.clone()), Moment::now());
        deliver(&Arc::new(late), event, &mut HeldHandler::default())
    }

    /// Raises Disconnected for the subscribers that got Connected.
    pub fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture> {
        let kind = ConnectionEventKind::Disconnected(self.connection.clone(), end);
        let event = ConnectionEvent::new(kind, at.utc).keeping(E::kept(&self.connection));
        let event = E::of_connection(event);
        let saw = self.saw_connected.take().map_or_else(|| Arc::clone(&self.current), |saw| saw.list);
        // Nobody is told of it twice.
        self.saw_connected = Some(Box::new(SawConnected { list: Arc::default(), is_behind: false }));
        deliver(&saw, event, &mut HeldHandler::default())
    }

    /// Raises a received message. `held` is the same for all messages of one poll of the connection.
    pub fn received(
        &mut self,
        message: Message,
        at: Moment,
        held: &mut HeldHandler<E>,
    ) -> Option<HandlerFuture> {
        self.received_after(0, message, at, held)
    }

    /// As [`received`](Self::received); `missed` messages before it were dropped.
    pub fn received_after(
        &mut self,
        missed: u64,
        message: Message,
        at: Moment,
        held: &mut HeldHandler<E>,
    ) -> Option<HandlerFuture> {
        self.catch_up();
        let event = self.message(Direction::Received, message, missed, at);
        deliver(&self.current, event, held.for_version(self.current.version))
    }

    /// Raises a part of a received message.
    pub fn received_part(&mut self, part: MessagePart, at: Moment) -> Option<HandlerFuture> {
        let event = MessagePartEvent::new(part, self.connection.clone(), at.utc);
        self.dispatch(E::of_message_part(event))
    }

    /// Raises a message that was accepted for sending; `missed` were not raised before it.
    pub fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture> {
        let event = self.message(Direction::Sent, message, missed, at);
        self.dispatch(event)
    }

    /// Raises an error event.
    pub fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture> {
        let (peer, connection) = (E::peer_addr(&self.connection), Some(self.connection.clone()));
        self.dispatch(self.subscriptions.failure(ErrorEvent::new(stage, error, peer, connection, at.utc)))
    }

    /// Raises an event that only this end has.
    pub fn raise(&mut self, event: E) -> Option<HandlerFuture> {
        self.dispatch(event)
    }

    fn message(&self, direction: Direction, message: Message, missed: u64, at: Moment) -> E {
        E::of_message(MessageEvent::new(direction, message, missed, self.connection.clone(), at.utc))
    }

    fn dispatch(&mut self, event: E) -> Option<HandlerFuture> {
        self.catch_up();
        deliver(&self.current, event, &mut HeldHandler::default())
    }

    fn catch_up(&mut self) {
        if !self.subscriptions.are(&self.current) {
            let before = std::mem::replace(&mut self.current, self.subscriptions.snapshot());
            let saw = SawConnected { list: before, is_behind: true };
            self.saw_connected.get_or_insert_with(|| Box::new(saw)).is_behind = true;
        }
    }

    fn event(&self, kind: ConnectionEventKind<E::Connection, E::Refusal>, at: Moment) -> E {
        E::of_connection(ConnectionEvent::new(kind, at.utc))
    }
}

impl<E: EventType> fmt::Debug for Dispatcher<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saw = self.saw_connected.as_ref().map_or(&self.current, |saw| &saw.list);
        f.debug_struct("Dispatcher").field("saw_connected", &saw.len()).finish_non_exhaustive()
    }
}
