//! What a server has done since it was made, and what it holds now.

use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};
use websockets_simple_core::{
    OverflowPolicy, Statistics,
    figures::{Figure, prometheus_text},
};

pub use closes::{CloseFigure, CloseKind};
#[cfg(feature = "cluster")]
pub use cluster::ClusterFigures;
pub use health::{Health, NotReady};
pub use outcomes::{AuthenticationResult, HeartbeatVerdict, RefusalReason, RenewalResult};
pub use tickets::TicketFigures;
pub(crate) use totals::{Handshaking, Totals};
pub use websockets_simple_core::figures::Timing;
#[cfg(feature = "deflate")]
pub use websockets_simple_core::{CompressedBytes, CompressionFigures};

mod closes;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "deflate")]
mod compression;
mod health;
mod labels;
mod outcomes;
mod tickets;
mod totals;

/// What a server has done since it was made, and what it holds now. Made by [`Server::figures`](crate::Server::figures).
///
/// Nothing in it is of the peers' writing, and what it is told apart by is an enumeration: a server with more users,
/// channels and groups has larger numbers, not more of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerFigures {
    /// Connections, by their state.
    pub connections: ConnectionFigures,
    /// Handshakes, by their result.
    pub handshakes: HandshakeFigures,
    /// Refused handshakes, by reason.
    pub refusals: BTreeMap<RefusalReason, u64>,
    /// Connections that have ended, by code and by who ended them.
    pub closes: Vec<CloseFigure>,
    /// Connections that ended as their peer gave no sign of life, by how that was noticed.
    pub heartbeats: BTreeMap<HeartbeatVerdict, u64>,
    /// What went through all connections, those that have ended included.
    pub traffic: TrafficFigures,
    /// Bytes that wait in outboxes now.
    pub queued_bytes: usize,
    /// Bytes that wait in the fullest outbox.
    pub largest_queue: usize,
    /// How long the answers to heartbeat pings take.
    pub round_trips: RoundTrips,
    /// How often the user service was asked, by its answer, and how long it took.
    pub authentications: BTreeMap<AuthenticationResult, Timing>,
    /// Tickets, if the user service issues such.
    pub tickets: Option<TicketFigures>,
    /// New tokens for open connections, by what came of them.
    pub renewals: BTreeMap<RenewalResult, u64>,
    /// Revocations that were heard of: of users, tokens or sessions.
    pub revocations: u64,
    /// Channels with a connection.
    pub channels: usize,
    /// Groups with a connection.
    pub groups: usize,
    /// Errors and Sent events that event streams did not get, as they are read too slowly.
    pub events_missed: u64,
    /// What compression has saved, of all servers and clients of this process.
    #[cfg(feature = "deflate")]
    pub compression: CompressionFigures,
    /// What this node has done for its cluster, if it has one.
    #[cfg(feature = "cluster")]
    pub cluster: Option<ClusterFigures>,
}

/// How many connections there are now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ConnectionFigures {
    /// Those that are not open yet, from the accept to the answer of the handshake.
    pub handshaking: usize,
    /// Those that are open and can be addressed.
    pub open: usize,
    /// [Local](crate::upgrade::Scope::Local) ones, which only their own future addresses.
    pub local: usize,
    /// Those that are closed, while their handlers finish.
    pub ending: usize,
}

/// How many handshakes there were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HandshakeFigures {
    /// Those that became a connection.
    pub opened: u64,
    /// Those that were refused, and those whose peer has gone before the answer.
    pub refused: u64,
    /// Those that failed before there was a request to refuse: TLS, the PROXY protocol, or no request in time.
    pub failed: u64,
    /// Peers that hung up without a handshake, as a health check does, or who wanted a page.
    pub idle: u64,
}

/// What went through connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrafficFigures {
    /// Messages received, as [`Statistics`] counts them.
    pub messages_received: u64,
    /// Payload bytes of them.
    pub bytes_received: u64,
    /// Messages accepted for sending. One for each receiver of a broadcast.
    pub messages_sent: u64,
    /// Bytes that transports took.
    pub bytes_sent: u64,
    /// Messages that the overflow policy dropped, or that were still queued when their connection ended.
    pub dropped: u64,
    /// The overflow policy of the server.
    #[serde(serialize_with = "as_label")]
    pub policy: OverflowPolicy,
}

/// The last round trips of the connections that are open: from a heartbeat ping to its answer. Serialized in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RoundTrips {
    /// Connections with an answered ping.
    pub connections: usize,
    /// Half of them have no longer one.
    #[serde(serialize_with = "as_seconds")]
    pub median: Duration,
    /// 99 of 100 have no longer one.
    #[serde(serialize_with = "as_seconds")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "as_seconds")]
    pub longest: Duration,
}

fn as_label<S: Serializer>(policy: &OverflowPolicy, serializer: S) -> Result<S::Ok, S::Error> {
    policy.label().serialize(serializer)
}

pub(crate) fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    time.as_secs_f64().serialize(serializer)
}

impl TrafficFigures {
    pub(crate) fn add(&mut self, statistics: &Statistics) {
        self.messages_received += statistics.messages_received;
        self.bytes_received += statistics.bytes_received;
        self.messages_sent += statistics.messages_sent;
        self.bytes_sent += statistics.bytes_sent;
        self.dropped += statistics.dropped;
    }
}

impl RoundTrips {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share).div_ceil(100).saturating_sub(1)).copied();
        Self {
            connections: times.len(),
            median: at(50).unwrap_or_default(),
            p99: at(99).unwrap_or_default(),
            longest: times.last().copied().unwrap_or_default(),
        }
    }
}

impl ServerFigures {
    /// The figures in the [text format] of Prometheus, version 0.0.4: the body of `/metrics`, whose `Content-Type` is
    /// `text/plain; version=0.0.4`. What each of them says, and which alert to set, is in `docs/operations.md`.
    ///
    /// [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// let text = server.figures().prometheus();
    /// assert!(text.contains("ws_connections{state=\"open\"} 0\n"));
    /// ```
    #[must_use]
    pub fn prometheus(&self) -> String {
        prometheus_text(&self.list())
    }

    /// All figures, by their names.
    pub(crate) fn list(&self) -> Vec<Figure> {
        let Self { connections, handshakes, traffic, round_trips, .. } = self;
        let authentications =
            Figure::histogram("ws_auth_seconds", "Time in which the user service has answered.");
        let mut figures = vec![
            Figure::gauge("ws_connections", "Connections, by their state.").by(
                "state",
                [
                    ("handshaking", connections.handshaking as f64),
                    ("open", connections.open as f64),
                    ("local", connections.local as f64),
                    ("ending", connections.ending as f64),
                ],
            ),
            Figure::counter("ws_handshakes_total", "Handshakes, by their result.").by(
                "result",
                [
                    ("opened", handshakes.opened as f64),
                    ("refused", handshakes.refused as f64),
                    ("failed", handshakes.failed as f64),
                    ("idle", handshakes.idle as f64),
                ],
            ),
            Figure::counter("ws_refusals_total", "Refused handshakes, by reason.")
                .by("reason", self.refusals.iter().map(|(reason, count)| (reason.label(), *count as f64))),
            self.closes.iter().fold(
                Figure::counter("ws_closes_total", "Ended connections, by close code and by who ended them."),
                |figure, close| figure.labelled(close.labels(), close.count as f64),
            ),
            Figure::counter("ws_heartbeat_losses_total", "Connections whose peer gave no sign of life.").by(
                "verdict",
                self.heartbeats.iter().map(|(verdict, count)| (verdict.label(), *count as f64)),
            ),
            Figure::counter("ws_messages_total", "Messages received and accepted for sending.").by(
                "direction",
                [("received", traffic.messages_received as f64), ("sent", traffic.messages_sent as f64)],
            ),
            Figure::counter("ws_bytes_total", "Payload bytes received and bytes that transports took.").by(
                "direction",
                [("received", traffic.bytes_received as f64), ("sent", traffic.bytes_sent as f64)],
            ),
            Figure::counter(
                "ws_dropped_messages_total",
                "Messages that were accepted or offered, and not sent.",
            )
            .by("policy", [(traffic.policy.label(), traffic.dropped as f64)]),
            Figure::gauge("ws_outbox_bytes", "Bytes that wait for their peers.").of(self.queued_bytes as f64),
            Figure::gauge("ws_outbox_largest_bytes", "Bytes that wait for the peer that is furthest behind.")
                .of(self.largest_queue as f64),
            Figure::gauge("ws_round_trip_seconds", "Last round trips of heartbeat pings.").by(
                "quantile",
                [
                    ("0.5", round_trips.median.as_secs_f64()),
                    ("0.99", round_trips.p99.as_secs_f64()),
                    ("1", round_trips.longest.as_secs_f64()),
                ],
            ),
            self.authentications.iter().fold(authentications, |figure, (result, timing)| {
                figure.timed(("result", result.label().into()), timing)
            }),
            Figure::counter("ws_renewals_total", "New tokens for open connections, by their result.")
                .by("result", self.renewals.iter().map(|(result, count)| (result.label(), *count as f64))),
            Figure::counter("ws_revocations_total", "Revocations that were heard of.")
                .of(self.revocations as f64),
            Figure::gauge("ws_channels", "Channels with a connection.").of(self.channels as f64),
            Figure::gauge("ws_groups", "Groups with a connection.").of(self.groups as f64),
            Figure::counter(
                "ws_events_missed_total",
                "Events that streams did not get, as they are read too slowly.",
            )
            .of(self.events_missed as f64),
        ];
        figures.extend(self.tickets.iter().flat_map(TicketFigures::list));
        #[cfg(feature = "deflate")]
        figures.push(compression::list(&self.compression));
        #[cfg(feature = "cluster")]
        figures.extend(self.cluster.iter().flat_map(ClusterFigures::list));
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_round_trips_the_middle_one_and_the_longest_are_told() {
        let millis = |millis: u64| Duration::from_millis(millis);
        let of = |times: &[u64]| RoundTrips::of(times.iter().copied().map(millis).collect());
        assert_eq!(of(&[]), RoundTrips::default());
        let one = of(&[7]);
        assert_eq!((one.connections, one.median, one.p99, one.longest), (1, millis(7), millis(7), millis(7)));
        let many: Vec<_> = (1..=200).rev().collect();
        let many = of(&many);
        assert_eq!((many.median, many.p99, many.longest), (millis(100), millis(198), millis(200)));
    }
}
