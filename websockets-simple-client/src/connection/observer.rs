//! Raises the events of a connection and handles the control messages of the server.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use tokio::sync::watch;
use websockets_simple_core::{
    CloseCode, ConnectionObserver, Control, Disconnect, Dispatcher, EndedBy, ErrorStage, EventError,
    HandlerFuture, HeldHandler, Message, MessagePart, Moment, catch_panic,
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

    fn received(&mut self, message: Message, at: Moment, held: &mut Self::Held) -> Option<HandlerFuture> {
        self.is_ready();
        self.dispatcher.received(message, at, held)
    }

    fn received_part(&mut self, part: MessagePart, at: Moment) -> Option<HandlerFuture> {
        self.is_ready();
        self.dispatcher.received_part(part, at)
    }

    fn sent(&mut self, message: Message, missed: u64, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.sent(message, missed, at)
    }

    fn control(&mut self, control: Control, at: Moment) -> Option<HandlerFuture> {
        let ConnectionState { core, group_requests, .. } = &*self.dispatcher.connection().0;
        match control {
            Control::Expiring { .. } => {
                let provider = self.shared.params.token_provider()?;
                let connection = self.dispatcher.connection().clone();
                Some(HandlerFuture::new(renew(Arc::clone(&self.shared), connection, provider)))
            }
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
        }
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, at: Moment) -> Option<HandlerFuture> {
        self.dispatcher.failed(stage, error, at)
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        self.dispatcher.replay()
    }

    fn released(&mut self) {
        self.ready = None;
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
