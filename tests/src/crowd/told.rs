//! What the server of a crowd tells the process that has started it: JSON, one object a line.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What the server of a crowd tells.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Where it listens.
    Listens(SocketAddr),
    /// A broadcast was sent.
    Broadcast(Broadcast),
    /// It was asked for its figures.
    Asked(Asked),
    /// All connections have ended, or have had the time to.
    Counted(Counted),
}

/// A broadcast, as the application sees it. Times are of [`now`](super::now).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Broadcast {
    /// Its number.
    pub number: u64,
    /// When it was sent.
    pub at: u64,
    /// When `send` returned.
    pub until: u64,
    /// Outboxes that took it.
    pub accepted: usize,
    /// Outboxes that did not.
    pub others: usize,
    /// CPU time of the server so far.
    pub cpu: u64,
}

/// The figures of the server, and what it costs to ask for them. Times are of [`now`](super::now).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Asked {
    /// Whether it was asked at the moment at which a broadcast began.
    pub beside_broadcast: bool,
    /// When it was asked.
    pub at: u64,
    /// When `figures` returned.
    pub figures: u64,
    /// CPU time that `figures` took.
    pub cpu: u64,
    /// When `prometheus` returned.
    pub text: u64,
    /// Bytes of that text.
    pub bytes: usize,
    /// When `health` returned.
    pub health: u64,
    /// Whether the server was well.
    pub is_ready: bool,
    /// Connections that were open.
    pub open: usize,
    /// Events that streams had missed so far.
    pub missed: u64,
    /// Bytes that waited in outboxes.
    pub queued: usize,
    /// Bytes of the heap that were in use.
    pub heap: usize,
    /// Connections whose peer had answered a ping.
    pub beating: usize,
}

/// What the application and the library have counted, each on its own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counted {
    /// Connected events of a stream.
    pub connected: u64,
    /// Disconnected events of it.
    pub disconnected: u64,
    /// Connected events of a connection that had one already.
    pub doubled: u64,
    /// Disconnected events of a connection without a Connected before, or the second one of a connection.
    pub unmatched: u64,
    /// Messages of clients.
    pub messages: u64,
    /// Error events.
    pub errors: u64,
    /// Calls of the handler of connections that open.
    pub greeted: u64,
    /// By the figures: handshakes that became a connection.
    pub opened: u64,
    /// By the figures: requests that did not, those of health checks among them.
    pub unopened: u64,
    /// By the figures: connections that have ended.
    pub closed: u64,
    /// By the figures: events that streams missed.
    pub missed: u64,
    /// By the figures: messages that were dropped, or not sent when their connection ended.
    pub dropped: u64,
    /// By the figures: connections whose peer gave no sign of life.
    pub unresponsive: u64,
    /// By the figures: connections of any kind that are left.
    pub left: usize,
    /// Bytes of the heap that are in use.
    pub heap: usize,
}
