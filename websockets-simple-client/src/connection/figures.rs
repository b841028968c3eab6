//! What a client has done since it was made.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use websockets_simple_core::{
    EndedBy, Statistics,
    figures::{Figure, prometheus_text},
};

use crate::connection::ClientConnection;

/// Counters of a client, over all of its connections, since [`new`](crate::WebsocketClient::new).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClientFigures {
    /// Attempts to connect that have begun.
    pub attempts: u64,
    /// Attempts that have become a connection.
    pub connections: u64,
    /// Connections that have ended for another reason than that the application closed them.
    pub lost: u64,
    /// How often a client that [reconnects](crate::ClientParams::reconnect) has given up.
    pub given_up: u64,
    /// Messages that were [kept](crate::params::Offline::Keep) while there was no connection.
    pub kept: u64,
    /// Messages that were not sent after they were taken: by an overflow policy, as their connection ended, or as they
    /// were kept for too long or in vain.
    pub dropped: u64,
    /// Messages received, as [`Statistics`] counts them.
    pub messages_received: u64,
    /// Payload bytes of them.
    pub bytes_received: u64,
    /// Messages accepted for sending by a connection.
    pub messages_sent: u64,
    /// Bytes that transports took.
    pub bytes_sent: u64,
}

/// The counters, without the current connection.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<ClientFigures>);

impl Figures {
    /// Changes the counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut ClientFigures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a connection that has ended.
    pub(super) fn ended(&self, connection: &ClientConnection) {
        let is_lost = connection.end().is_none_or(|end| end.by != EndedBy::Local);
        let statistics = connection.statistics();
        self.count(|figures| {
            figures.lost += u64::from(is_lost);
            figures.add(&statistics);
        });
    }

    /// The counters, with those of the current connection.
    pub(super) fn with(&self, current: Option<&ClientConnection>) -> ClientFigures {
        let mut figures = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = current {
            figures.add(&connection.statistics());
        }
        figures
    }
}

impl ClientFigures {
    /// The figures in the [text format] of Prometheus, version 0.0.4.
    ///
    /// [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_client::{ClientParams, WebsocketClient};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = WebsocketClient::new(ClientParams::url("ws://127.0.0.1:9")?)?;
    /// assert!(client.figures().prometheus().contains("ws_client_attempts_total 0\n"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn prometheus(&self) -> String {
        prometheus_text(&self.list())
    }

    /// Hands the figures to the recorder of the crate [`metrics`](https://docs.rs/metrics), under the same names. Nothing is
    /// handed to it by itself: call this as often as they are read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use websockets_simple_client::WebsocketClient;
    ///
    /// async fn record(client: WebsocketClient) {
    ///     let mut every = tokio::time::interval(Duration::from_secs(10));
    ///     loop {
    ///         every.tick().await;
    ///         client.figures().record();
    ///     }
    /// }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn record(&self) {
        websockets_simple_core::figures::record(&self.list());
    }

    fn list(&self) -> [Figure; 7] {
        [
            Figure::counter("ws_client_attempts_total", "Attempts to connect.").of(self.attempts as f64),
            Figure::counter("ws_client_connections_total", "Attempts that became a connection.")
                .of(self.connections as f64),
            Figure::counter(
                "ws_client_lost_total",
                "Connections that the application has not closed itself.",
            )
            .of(self.lost as f64),
            Figure::counter("ws_client_given_up_total", "How often connecting again was given up.")
                .of(self.given_up as f64),
            Figure::counter("ws_client_kept_messages_total", "Messages kept while there was no connection.")
                .of(self.kept as f64),
            Figure::counter("ws_client_messages_total", "Messages received, sent, and not sent after all.")
                .by(
                    "direction",
                    [
                        ("received", self.messages_received as f64),
                        ("sent", self.messages_sent as f64),
                        ("dropped", self.dropped as f64),
                    ],
                ),
            Figure::counter(
                "ws_client_bytes_total",
                "Payload bytes received and bytes that transports took.",
            )
            .by("direction", [("received", self.bytes_received as f64), ("sent", self.bytes_sent as f64)]),
        ]
    }

    fn add(&mut self, statistics: &Statistics) {
        self.messages_received += statistics.messages_received;
        self.bytes_received += statistics.bytes_received;
        self.messages_sent += statistics.messages_sent;
        self.bytes_sent += statistics.bytes_sent;
        self.dropped += statistics.dropped;
    }
}
