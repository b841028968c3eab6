//! What a client is doing, and those who watch it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::watch;
use tokio_stream::{Stream, wrappers::WatchStream};

use crate::{config::Loss, connection::ClientConnection};

/// What a client is doing ([`WebsocketClient::state`](crate::WebsocketClient::state)).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClientState {
    /// It is not connected, and does nothing about it.
    #[default]
    Idle,
    /// It connects.
    Connecting {
        /// How many attempts and short connections were lost in a row before this.
        attempt: u32,
    },
    /// It is connected.
    Open(ClientConnection),
    /// It will connect again after a pause.
    Waiting {
        /// The number of the attempt that comes.
        attempt: u32,
        /// How long the pause is, from the moment this state was entered.
        pause: Duration,
        /// Why there is a pause.
        why: Arc<Loss>,
    },
    /// It was to connect again, and has given that up: see [`Reconnect`](crate::Reconnect).
    GivenUp(Arc<Loss>),
}

impl ClientState {
    /// The connection, if there is one.
    #[must_use]
    pub fn connection(&self) -> Option<&ClientConnection> {
        if let Self::Open(connection) = self { Some(connection) } else { None }
    }
}

/// The states of a client as a stream: the current one first, then the newest whenever it has changed. Who is slow misses
/// those between, and is never behind. It ends with the client.
#[derive(Debug)]
pub struct States(WatchStream<ClientState>);

impl States {
    pub(crate) fn new(states: watch::Receiver<ClientState>) -> Self {
        Self(WatchStream::new(states))
    }

    /// The current state the first time, then the next one; `None` when the client is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, no state is lost.
    pub async fn recv(&mut self) -> Option<ClientState> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for States {
    type Item = ClientState;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientState>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}
