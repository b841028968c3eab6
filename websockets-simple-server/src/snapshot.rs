//! What a server holds now, in more detail than its figures have, for the eyes of an operator.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

#[cfg(feature = "cluster")]
use crate::cluster::NodePresence;
use crate::figures::{Health, ServerFigures, as_seconds};

pub(crate) use recent::Recent;
pub use recent::{RecentError, RecentRefusal, Sample};

mod recent;

/// What a server holds now, in more detail than its [figures](ServerFigures) have. Made by
/// [`Server::snapshot`](crate::Server::snapshot), and shown by the [live page](crate::Operations::live_page).
///
/// It names channels, clients and their addresses, which peers have chosen in part: it is for operators, not for a
/// monitoring system that keeps a series for each name.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServerSnapshot {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Whether the server lives, and is to be given clients.
    pub health: Health,
    /// Its figures.
    pub figures: ServerFigures,
    /// The channels with the most connections of this server, the largest first.
    pub channels: Vec<ChannelSnapshot>,
    /// The connections for which the most bytes wait, the slowest reader first. None for whom nothing waits.
    pub slow_readers: Vec<ConnectionSnapshot>,
    /// The nodes of the cluster, this one first. Empty without a cluster.
    #[cfg(feature = "cluster")]
    pub nodes: Vec<NodePresence>,
    /// The last refused handshakes, the latest first. Empty without a [live page](crate::Operations::live_page).
    pub refusals: Vec<RecentRefusal>,
    /// The last errors, the latest first. Empty without a [live page](crate::Operations::live_page).
    pub errors: Vec<RecentError>,
    /// The last hour in steps of ten seconds, the earliest first. Empty without a [live page](crate::Operations::live_page).
    pub history: Vec<Sample>,
}

/// A channel of a server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChannelSnapshot {
    /// The channel, cut after 200 bytes.
    pub channel: String,
    /// Its connections at this server.
    pub connections: usize,
}

/// A connection of a server. Durations are serialized in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ConnectionSnapshot {
    /// Its id.
    pub id: String,
    /// Its channel, cut after 200 bytes.
    pub channel: String,
    /// The address of its client, if known.
    pub client: Option<IpAddr>,
    /// The id of its user, as it is debugged. Only if [`log_users`](crate::ServerParams::log_users) is set.
    pub user: Option<String>,
    /// For how long it has been open.
    #[serde(serialize_with = "as_seconds")]
    pub age: Duration,
    /// Bytes that wait for it.
    pub queued_bytes: usize,
    /// Messages that it has sent.
    pub messages_received: u64,
    /// Messages that it was sent.
    pub messages_sent: u64,
}
