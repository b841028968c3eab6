//! The observers that raise the events of a connection: all events if it is admitted, only Refused if it is not.

use std::{pin::pin, sync::Arc};

use websockets_simple_core::{
    Attempt, CloseCode, ConnectionEvent, ConnectionEventKind, ConnectionObserver, Control, ControlOutcome,
    Disconnect, Dispatcher, EndCause, ErrorStage, EventError, GroupChange, HandlerFuture, HeldHandler,
    Message, MessagePart, MessageSink, Moment,
};

use crate::{
    addressing::Registered,
    addressing::group_rule,
    connection::{Connection, ConnectionState, Event, GroupEvent, expiry, log},
    run::{Shared, Stop},
    signals::ChannelEventKind,
    users::Identity,
};

/// What happens to a received message, decided by the hook of [`Server::with_inbound`](crate::Server::with_inbound).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Inbound {
    /// This message, the received one or a replacement, is raised as an event.
    Deliver(Message),
    /// The message is dropped without an event.
    Drop,
    /// The connection is closed with this code and reason. Neither this message nor any other that was received
    /// before the close is raised.
    Refuse(CloseCode, String),
}

/// Raises the events of an admitted connection.
pub(crate) struct SubscribedObserver<I: Identity> {
    pub(crate) dispatcher: Dispatcher<Event<I>>,
    pub(crate) registered: Option<Registered<I>>,
    /// The future of a local connection receives its messages here.
    pub(crate) local: Option<Box<MessageSink>>,
}

impl<I: Identity> ConnectionObserver for SubscribedObserver<I> {
    type Connection = ConnectionState<I>;
    type Held = HeldHandler<Event<I>>;

    fn owner(&self) -> u64 {
        self.shared().owner
    }

    fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        log::opened(self.connection());
        let raised = self.dispatcher.connected(at);
        in_turn(raised, self.shared().channel_events.raise(ChannelEventKind::Connect, self.connection(), at))
    }

    fn received(&mut self, message: Message, at: Moment, held: &mut Self::Held) -> Option<HandlerFuture> {
        let message = match self.shared().inbound.get() {
            None => message,
            Some(hook) => match hook(self.connection(), message) {
                Inbound::Deliver(message) => message,
                Inbound::Drop => return None,
                Inbound::Refuse(code, reason) => {
                    self.connection().0.core.outbox.close(EndCause::refused(code, &reason));
                    return None;
                }
            },
        };
        let kept = self.local.is_some().then(|| message.clone());
        let raised = if self.shared().routes.are_in_use() {
            let raised = self.dispatcher.received(message.clone(), at, held);
            in_turn(raised, Some(HandlerFuture::new(routed(self.connection().clone(), message, at))))
        } else {
            self.dispatcher.received(message, at, held)
        };
        match (&self.local, kept) {
            (Some(local), Some(kept)) => in_turn(raised, local.deliver(kept)),
            _ => raised,
        }
    }

    fn received_part(&mut self, part: MessagePart, at: Moment) -> Option<HandlerFuture> {
        let kept = self.local.is_some().then(|| part.clone());
        let raised = self.dispatcher.received_part(part, at);
        match (&self.local, kept) {
            (Some(local), Some(kept)) => in_turn(raised, local.deliver_part(kept)),
            _ => raised,
        }
    }

    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.sent(message, missed, at)
    }

    fn control(&mut self, control: Control, _at: Moment) -> ControlOutcome {
        let changed = match control {
            Control::Join(group) => group_rule::join(self.connection(), group),
            Control::Leave(group) => group_rule::leave(self.connection(), group),
            Control::Token(token) => {
                let renewal = expiry::renew(self.connection().clone(), token);
                return ControlOutcome::Beside(HandlerFuture::new(renewal));
            }
            // The other control messages are sent only by servers.
            _ => None,
        };
        changed.map_or(ControlOutcome::Done, ControlOutcome::InTurn)
    }

    fn group_changed(&mut self, change: GroupChange, at: Moment) -> Option<HandlerFuture> {
        let event = GroupEvent::new(&change, self.connection().clone(), at.utc);
        self.dispatcher.raise(Event::Group(event))
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.failed(stage, error, at)
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        self.dispatcher.replay()
    }

    fn released(&mut self) {
        self.registered = None;
        if let Some(local) = &self.local
            && !local.demand().is_there()
        {
            // Its future may never receive, and the end must not wait for that.
            local.lift_bound();
        }
    }

    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture> {
        log::ended(self.connection(), &end);
        self.local = None;
        let raised = self.dispatcher.disconnected(end, at);
        in_turn(
            raised,
            self.shared().channel_events.raise(ChannelEventKind::Disconnect, self.connection(), at),
        )
    }
}

impl<I: Identity> SubscribedObserver<I> {
    fn connection(&self) -> &Connection<I> {
        self.dispatcher.connection()
    }

    fn shared(&self) -> &Shared<I> {
        &self.connection().0.shared
    }
}

/// Runs the route of a message. The route is looked up when this is polled, so that all its work follows the event.
async fn routed<I: Identity>(connection: Connection<I>, message: Message, at: Moment) {
    if let Some(future) = connection.0.shared.routes.take(&connection, &message, at) {
        future.await;
    }
}

/// Runs two futures one after the other.
fn in_turn(first: Option<HandlerFuture>, second: Option<HandlerFuture>) -> Option<HandlerFuture> {
    match (first, second) {
        (Some(first), Some(second)) => Some(HandlerFuture::new(async {
            first.await;
            second.await;
        })),
        (first, second) => first.or(second),
    }
}

/// The observer of an unauthorized peer that was upgraded to receive the reason: raises one Refused, nothing else.
pub(crate) struct RefusedObserver<I: Identity> {
    shared: Arc<Shared<I>>,
    stop: Stop,
    refused: Option<(Attempt, String)>,
}

impl<I: Identity> RefusedObserver<I> {
    pub(crate) fn new(connection: &Connection<I>, stop: Stop) -> Self {
        let attempt = Attempt::new(connection.peer_addr(), connection.channel());
        let attempt = attempt.of_client(connection.client_addr());
        let why = EndCause::Unauthorized.reason().to_owned();
        Self { shared: Arc::clone(&connection.0.shared), stop, refused: Some((attempt, why)) }
    }
}

impl<I: Identity> ConnectionObserver for RefusedObserver<I> {
    type Connection = ConnectionState<I>;
    type Held = ();

    fn owner(&self) -> u64 {
        self.shared.owner
    }

    fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        let (attempt, why) = self.refused.take()?;
        let event = ConnectionEvent::new(ConnectionEventKind::Refused(attempt, why), at.utc);
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        Some(HandlerFuture::new(async move {
            // Caught here, as this observer raises no other event. A stop does not find this connection.
            stop.run_until_aborted(pin!(shared.subscriptions.raise(Event::Connection(event)))).await;
        }))
    }

    fn received(&mut self, _message: Message, _at: Moment, _held: &mut ()) -> Option<HandlerFuture> {
        None
    }

    fn received_part(&mut self, _part: MessagePart, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn sent(&mut self, _message: Message, _missed: u64, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn control(&mut self, _control: Control, _at: Moment) -> ControlOutcome {
        ControlOutcome::Done
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
