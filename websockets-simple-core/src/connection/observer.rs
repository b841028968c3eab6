//! What the end that owns a connection is told of it.

use std::task::Context;

use crate::{
    connection::shared::ConnectionShared,
    events::{Disconnect, ErrorStage, EventError, GroupChange, HandlerFuture, Moment},
    protocol::{Control, Message, MessagePart},
};

/// What is left to do for a control message.
#[derive(Debug)]
pub enum ControlOutcome {
    /// Nothing.
    Done,
    /// This, which does not wait for the handlers.
    Beside(HandlerFuture),
    /// To tell of this, behind the messages that have come.
    InTurn(GroupChange),
}

/// Receives what happens on a connection. Each call may return a future that is polled inside the connection's own
/// task; the next call comes when that future is done. A panic in a call or in its future ends the connection.
pub trait ConnectionObserver: Send + Unpin + 'static {
    /// What the connection's handles share.
    type Connection: AsRef<ConnectionShared> + Send + Sync + 'static;

    /// What it keeps between the messages that one poll of the connection handles. Dropped at the end of the poll, which
    /// may run code of the application.
    type Held: Default;

    /// Which end this connection belongs to, for [`current_owner`](crate::current_owner).
    fn owner(&self) -> u64;

    /// The connection is open. The first call.
    fn connected(&mut self, at: Moment) -> Option<HandlerFuture>;
    /// A message or part has come, and `waiting` bytes of them wait. True if they are to wait on, while errors and the end
    /// do not: the observer wakes this task when that has changed, and answers false once the connection was released.
    fn parks(&mut self, _waiting: usize, _cx: &mut Context<'_>) -> bool {
        false
    }
    /// A message was received.
    fn received(&mut self, message: Message, at: Moment, held: &mut Self::Held) -> Option<HandlerFuture>;
    /// A part of a message was received.
    fn received_part(&mut self, part: MessagePart, at: Moment) -> Option<HandlerFuture>;
    /// A message was accepted for sending; `missed` Sent events were dropped before it.
    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture>;
    /// A control message was received. It is no event.
    fn control(&mut self, control: Control, at: Moment) -> ControlOutcome;
    /// The peer has joined or left a group: what [`control`](Self::control) wanted to be told in turn.
    fn group_changed(&mut self, _change: GroupChange, _at: Moment) -> Option<HandlerFuture> {
        None
    }
    /// Something failed.
    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture>;
    /// Called before each event but Connected: handles an event that has to be raised first.
    fn overdue(&mut self) -> Option<HandlerFuture>;
    /// The transport is gone: the connection must not be found any more.
    fn released(&mut self);
    /// The connection has ended. The last call.
    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture>;
}
