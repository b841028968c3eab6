//! What a server says of itself.

use std::sync::atomic::Ordering;

use super::Server;
use crate::{
    figures::{Health, ServerFigures},
    snapshot::ServerSnapshot,
    users::Identity,
};

impl<I: Identity> Server<I> {
    /// What the server has done since it was made, and what it holds now. It is summed up when it is asked for: the
    /// connections that have ended are one number, the others are read one by one. Nothing is counted twice or left out meanwhile,
    /// so what counts never goes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.start().await?;
    /// let figures = server.figures();
    /// println!("{} open, {} refused", figures.connections.open, figures.handshakes.refused);
    /// println!("{}", serde_json::to_string_pretty(&figures)?);
    /// # server.stop().await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn figures(&self) -> ServerFigures {
        self.shared.figures()
    }

    /// Hands the figures to the recorder of the crate [`metrics`](https://docs.rs/metrics), under the names and labels of
    /// [`prometheus`](ServerFigures::prometheus). Nothing is handed to it by itself: call this as often as they are read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use websockets_simple_server::WebsocketServer;
    ///
    /// async fn record(server: WebsocketServer) {
    ///     let mut every = tokio::time::interval(Duration::from_secs(10));
    ///     loop {
    ///         every.tick().await;
    ///         server.record_figures();
    ///     }
    /// }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn record_figures(&self) {
        websockets_simple_core::figures::record(&self.figures().list());
    }

    /// What the server holds now, in more detail than its [figures](Self::figures) have: the largest channels, the slowest
    /// readers, the last refusals and errors, the nodes of its cluster. Each of these lists has at most `limit` entries.
    /// It goes through all connections, so it is for somebody who looks, not for each message.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServer::new(ServerParams::local());
    /// let snapshot = server.snapshot(20);
    /// for reader in &snapshot.slow_readers {
    ///     println!("{} waits for {} bytes", reader.id, reader.queued_bytes);
    /// }
    /// println!("{}", serde_json::to_string_pretty(&snapshot)?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn snapshot(&self, limit: usize) -> ServerSnapshot {
        self.shared.snapshot(limit)
    }

    /// Whether the server lives, and whether it is to be given clients: not before it has started, while it stops, while it
    /// has as many connections as it may have, while the user service fails, and as a node of a cluster while it does not
    /// know the others. With [`ServerParams::operations`](crate::ServerParams::operations) it answers `/healthz` and
    /// `/readyz` with this.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{NotReady, ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// let health = server.health();
    /// assert!(health.live && !health.is_ready());
    /// assert_eq!(health.why, [NotReady::AtRest]);
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Says whether the application wants clients for this server, besides what the server finds itself. `false` makes it
    /// [not ready](Self::health) and changes nothing else, so that a load balancer sends no more clients before a stop
    /// refuses them. It lasts until `true`, over a stop and a start.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use websockets_simple_server::{Drain, WebsocketServer};
    ///
    /// /// Stops a server behind a load balancer that asks `/readyz` every two seconds.
    /// async fn stop(server: WebsocketServer) {
    ///     server.set_ready(false);
    ///     tokio::time::sleep(Duration::from_secs(5)).await;
    ///     server.stop_with(Drain::new().batch(500, Duration::from_millis(100))).await;
    /// }
    /// ```
    pub fn set_ready(&self, ready: bool) {
        self.shared.is_withdrawn.store(!ready, Ordering::Relaxed);
    }
}
