//! What a client is doing, and connecting without waiting for it.

use std::sync::Arc;

use crate::{
    client::WebsocketClient,
    config::Loss,
    connection::{ClientConnection, ClientState, States},
};

impl WebsocketClient {
    /// Begins to connect in the background, and goes on as [`Reconnect`](crate::Reconnect) says: without
    /// [`first`](crate::Reconnect::first) the first attempt is the only one. Does nothing while the client is connected,
    /// connects or waits for its next attempt, and for a client that does not
    /// [reconnect](crate::ClientParams::reconnect). [`states`](Self::states) tells what becomes of it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(&self) {
        if let Some(reconnect) = self.shared.params.reconnect() {
            self.shared.supervision.start(&self.shared, reconnect);
        }
    }

    /// What the client is doing.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.shared.supervision.state()
    }

    /// What the client is doing, as a stream: the current state, then the newest one whenever it has changed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use websockets_simple_client::{ClientParams, ClientState, Reconnect, WebsocketClient};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let params = ClientParams::new("localhost", 8080).reconnect(Reconnect::new().first(true));
    /// let client = WebsocketClient::new(params)?;
    /// client.start();
    /// let mut states = client.states();
    /// while let Some(state) = states.recv().await {
    ///     match state {
    ///         ClientState::Open(connection) => println!("connection {} is open", connection.id()),
    ///         ClientState::Waiting { pause, why, .. } => println!("{why}; again in {pause:?}"),
    ///         ClientState::GivenUp(why) => return Err(why.to_string().into()),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn states(&self) -> States {
        self.shared.supervision.states()
    }

    /// Waits until the client is connected; for ever if nobody connects it.
    ///
    /// # Errors
    ///
    /// The [`Loss`] after which a client that reconnects has given up.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn connected(&self) -> Result<ClientConnection, Arc<Loss>> {
        self.shared.supervision.connected().await
    }

    /// For a client that reconnects, when there is reason to believe that the network has changed: a laptop that wakes up, a
    /// phone that is in another network.
    ///
    /// * A pause ends, and the next attempt is made at once; the pauses after it are as long as they would have been.
    /// * A connection that is open is asked for a sign of life: by the control message `probe` where the server understands
    ///   it, else by a ping frame. If nothing at all comes from the server within 5 s, the connection ends as after a
    ///   heartbeat without an answer, with 4000, and the next attempt is made at once. A server that is still reading
    ///   megabytes may not see the question in time. Servers of .NET v6 answer nothing of the kind, and are not asked.
    /// * A client that has given up begins again.
    ///
    /// False if there was nothing to do: the client connects already, or nobody has asked it to.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if the client has given up.
    pub fn reconnect_now(&self) -> bool {
        let reconnect = self.shared.params.reconnect();
        reconnect.is_some_and(|reconnect| self.shared.supervision.now(&self.shared, reconnect))
    }

    /// The groups that a client that reconnects has joined and not left, sorted. They are joined again on its next
    /// connection; one that the server then refuses is an error event, and is given up. None are left once the client is
    /// disconnected or has given up.
    #[must_use]
    pub fn wanted_groups(&self) -> Vec<String> {
        self.shared.wanted_groups.all()
    }
}
