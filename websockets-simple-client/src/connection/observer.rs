//! Raises the events of a connection and handles the control messages of the server.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use tokio::sync::watch;
use websockets_simple_core::{
    CloseCode, ConnectionObserver, Control, ControlOutcome, Disconnect, Dispatcher, EndedBy, ErrorStage,
    EventError, HandlerFuture, HeldHandler, Message, MessagePart, Moment, catch_panic,
};

use crate::{
    config::{TokenProvider, TokenReason},
    connection::{
        ClientConnection, ConnectionState,
        ending::EndProgress,
        session::{Shared, ask},
    },
    event::ClientEvent,
};

/// Raises the events of a connection.
pub(crate) struct SubscribedObserver {
    pub(crate) dispatcher: Dispatcher<ClientEvent>,
    pub(crate) shared: Arc<Shared>,
    /// Set to true at the first message; dropped when the connection has ended.
    pub(crate) ready: Option<watch::Sender<bool>>,
    /// Whether Connected was told.
    pub(crate) connected: bool,
    pub(crate) audience: Audience,
}

/// Who gets the messages of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audience {
    /// Nobody has ever subscribed to messages: they wait for the first who does.
    Awaited,
    /// More has come than is kept for that. These messages were dropped.
    Missed(u64),
    Present,
}

impl ConnectionObserver for SubscribedObserver {
    type Connection = ConnectionState;
    type Held = HeldHandler<ClientEvent>;

    fn owner(&self) -> u64 {
        self.shared.owner
    }

    fn connected(&mut self, at: Moment) -> Option<HandlerFuture> {
        self.connected = true;
        self.dispatcher.connected(at)
    }

    fn parks(&mut self, waiting: usize, cx: &mut Context<'_>) -> bool {
        if self.audience != Audience::Awaited {
            return false;
        }
        self.is_ready();
        if self.shared.subscriptions.is_heard_or_waits(cx) {
            self.audience = Audience::Present;
        } else if waiting > self.shared.params.read_ahead() {
            tracing::debug!(bytes = waiting, "messages are dropped: there was no subscription to them");
            self.audience = Audience::Missed(0);
        }
        self.audience == Audience::Awaited
    }

    fn received(&mut self, message: Message, at: Moment, held: &mut Self::Held) -> Option<HandlerFuture> {
        self.is_ready();
        match self.audience {
            Audience::Present => self.dispatcher.received(message, at, held),
            Audience::Missed(missed) if self.shared.subscriptions.is_heard() => {
                self.audience = Audience::Present;
                self.dispatcher.received_after(missed, message, at, held)
            }
            Audience::Missed(missed) => {
                self.audience = Audience::Missed(missed + 1);
                None
            }
            Audience::Awaited => None,
        }
    }

    fn received_part(&mut self, part: MessagePart, at: Moment) -> Option<HandlerFuture> {
        self.is_ready();
        if let Audience::Missed(missed) = &mut self.audience
            && !self.shared.subscriptions.is_heard()
        {
            *missed += u64::from(part.last);
            return None;
        }
        self.dispatcher.received_part(part, at)
    }

    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.sent(message, missed, at)
    }

    fn control(&mut self, control: Control, at: Moment) -> ControlOutcome {
        let ConnectionState { core, group_requests, .. } = &*self.dispatcher.connection().0;
        let work = match control {
            Control::Expiring { .. } => self.shared.params.token_provider().map(|provider| {
                let connection = self.dispatcher.connection().clone();
                HandlerFuture::new(renew(Arc::clone(&self.shared), connection, provider))
            }),
            Control::Refused(reason) => {
                let error = EventError::new(format!("the server refused the new token: {reason}"));
                self.failed(ErrorStage::TokenProvider, error, at)
            }
            Control::Hello => {
                group_requests.hello(core);
                None
            }
            Control::Joined(_) | Control::Left(_) | Control::GroupRefused { .. } => {
                group_requests.answered(&control);
                None
            }
            // The others are sent only by clients, or need no action.
            _ => None,
        };
        work.map_or(ControlOutcome::Done, ControlOutcome::Beside)
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.failed(stage, error, at)
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        self.dispatcher.replay()
    }

    fn released(&mut self) {
        self.ready = None;
        if self.audience == Audience::Awaited {
            self.audience = Audience::Missed(0);
        }
        let connection = self.dispatcher.connection();
        // From here on the client may connect again, even in the handler of the Disconnected event.
        self.shared.set_idle(connection);
        connection.0.group_requests.end();
        connection.0.ending.release();
    }

    fn disconnected(&mut self, end: Disconnect, at: Moment) -> Option<HandlerFuture> {
        let state = Arc::clone(&self.dispatcher.connection().0);
        if !state.ending.tell() {
            return None;
        }
        match self.dispatcher.disconnected(end, at) {
            None => {
                state.ending.reach(EndProgress::Over);
                None
            }
            Some(telling) => Some(HandlerFuture::new(async move {
                telling.await;
                state.ending.reach(EndProgress::Over);
            })),
        }
    }
}

impl SubscribedObserver {
    /// The server has sent something.
    fn is_ready(&self) {
        if let Some(ready) = &self.ready {
            ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }
}

impl Drop for SubscribedObserver {
    /// Tells the end if the driver has not, because it panicked: each handler is polled once.
    fn drop(&mut self) {
        self.released();
        let state = Arc::clone(&self.dispatcher.connection().0);
        if !self.connected || state.ending.is_told() {
            return;
        }
        let end = state.core.end().cloned().unwrap_or_else(|| {
            Disconnect::new(EndedBy::Local, Some(CloseCode::INTERNAL.get()), "internal error", false)
        });
        let telling = catch_panic(|| self.disconnected(end, Moment::now()));
        if let Ok(Some(mut telling)) = telling {
            let _ = catch_panic(|| Pin::new(&mut telling).poll(&mut Context::from_waker(Waker::noop())));
            let _ = catch_panic(|| drop(telling));
        }
    }
}

/// Sends the server a new token, or raises an error event if the provider fails.
async fn renew(shared: Arc<Shared>, connection: ClientConnection, provider: Arc<dyn TokenProvider>) {
    match ask(provider, TokenReason::Expiring).await {
        Ok(token) => {
            connection.0.core.send_control(&Control::Token(token));
        }
        Err(error) => {
            let (stage, error) = (ErrorStage::TokenProvider, EventError::new(error));
            let raised = shared.subscriptions.dispatch_error_of(&connection, stage, error, Moment::now());
            if let Some(raised) = raised {
                raised.await;
            }
        }
    }
}
