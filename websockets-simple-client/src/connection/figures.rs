//! What a client has done since it was made.

use std::sync::{Mutex, PoisonError};

use websockets_simple_core::{EndedBy, Statistics};

use crate::connection::ClientConnection;

/// Counters of a client, over all of its connections, since [`new`](crate::WebsocketClient::new).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
    fn add(&mut self, statistics: &Statistics) {
        self.messages_received += statistics.messages_received;
        self.bytes_received += statistics.bytes_received;
        self.messages_sent += statistics.messages_sent;
        self.bytes_sent += statistics.bytes_sent;
        self.dropped += statistics.dropped;
    }
}
