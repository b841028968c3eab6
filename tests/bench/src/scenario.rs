//! What is measured.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One kind of work. Sizes are payload bytes of text messages.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Scenario {
    /// `connections` peers, each with `depth` messages on their way. An operation is an echoed message.
    Echo { connections: usize, depth: usize, size: usize },
    /// One publisher with `window` broadcasts on their way. An operation is one delivery.
    Fanout { receivers: usize, window: usize, size: usize },
    /// As `Fanout`, with one more receiver that stops reading: what that costs the others.
    SlowReader { receivers: usize, window: usize, size: usize },
    /// Many publishers, each with one broadcast on its way. An operation is one delivery.
    Chat { publishers: usize, receivers: usize, size: usize },
    /// `concurrent` peers that connect, shake hands and hang up, over and over. An operation is one handshake.
    Connect { concurrent: usize },
    /// Connections that do nothing, then one 1 KiB echo each. Only memory counts.
    Idle { connections: usize },
    /// As `Idle`, with TLS; `WebsocketClient`s are the peers. Only the server's memory counts.
    IdleTls { connections: usize },
    /// Clients in one process, each with `depth` messages on their way to an echo server. The client is measured.
    ClientEcho { connections: usize, depth: usize, size: usize },
    /// Clients in one process that do nothing, then one 1 KiB echo each. The client is measured.
    Clients { connections: usize },
}

impl Scenario {
    /// Whether it is the client that is measured.
    pub fn is_of_clients(self) -> bool {
        matches!(self, Self::ClientEcho { .. } | Self::Clients { .. })
    }

    /// What one operation is called.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Echo { .. } | Self::ClientEcho { .. } => "message",
            Self::Fanout { .. } | Self::SlowReader { .. } | Self::Chat { .. } => "delivery",
            Self::Connect { .. } => "handshake",
            Self::Idle { .. } | Self::IdleTls { .. } | Self::Clients { .. } => "connection",
        }
    }

    /// The rows of the table in docs/performance.md.
    pub fn all() -> Vec<Self> {
        vec![
            Self::Echo { connections: 1, depth: 1, size: 64 },
            Self::Echo { connections: 64, depth: 8, size: 64 },
            Self::Echo { connections: 64, depth: 4, size: 16 * 1024 },
            Self::Echo { connections: 8, depth: 2, size: 1024 * 1024 },
            Self::Fanout { receivers: 1000, window: 8, size: 128 },
            Self::Fanout { receivers: 5000, window: 8, size: 128 },
            Self::Fanout { receivers: 1000, window: 8, size: 4096 },
            Self::Fanout { receivers: 1000, window: 1, size: 128 },
            Self::Chat { publishers: 16, receivers: 1000, size: 128 },
            Self::SlowReader { receivers: 200, window: 4, size: 4096 },
            Self::Connect { concurrent: 64 },
            Self::Idle { connections: 10_000 },
            Self::IdleTls { connections: 2000 },
            Self::ClientEcho { connections: 64, depth: 8, size: 64 },
            Self::ClientEcho { connections: 64, depth: 4, size: 16 * 1024 },
            Self::Clients { connections: 2000 },
        ]
    }

    /// The same work, small enough to be over at once: shows that everything works, measures nothing.
    pub fn small() -> Vec<Self> {
        vec![
            Self::Echo { connections: 2, depth: 2, size: 64 },
            Self::Echo { connections: 2, depth: 2, size: 100_000 },
            Self::Fanout { receivers: 10, window: 2, size: 128 },
            Self::Chat { publishers: 2, receivers: 10, size: 128 },
            Self::SlowReader { receivers: 10, window: 2, size: 4096 },
            Self::Connect { concurrent: 4 },
            Self::Idle { connections: 20 },
            Self::IdleTls { connections: 20 },
            Self::ClientEcho { connections: 2, depth: 2, size: 64 },
            Self::Clients { connections: 20 },
        ]
    }

    /// One publisher and ever more receivers: the points of the plot.
    pub fn sweep() -> Vec<Self> {
        let receivers = [10, 30, 100, 300, 1000, 3000, 10_000];
        receivers.map(|receivers| Self::Fanout { receivers, window: 8, size: 128 }).to_vec()
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Echo { connections, depth, size } => {
                write!(f, "echo C{connections} D{depth} {}", Bytes(size))
            }
            Self::Fanout { receivers, window, size } => {
                write!(f, "fanout N{receivers} W{window} {}", Bytes(size))
            }
            Self::SlowReader { receivers, window, size } => {
                write!(f, "slow reader N{receivers} W{window} {}", Bytes(size))
            }
            Self::Chat { publishers, receivers, size } => {
                write!(f, "chat P{publishers} N{receivers} {}", Bytes(size))
            }
            Self::Connect { concurrent } => write!(f, "connect K{concurrent}"),
            Self::Idle { connections } => write!(f, "idle {connections}"),
            Self::IdleTls { connections } => write!(f, "idle TLS {connections}"),
            Self::ClientEcho { connections, depth, size } => {
                write!(f, "client echo C{connections} D{depth} {}", Bytes(size))
            }
            Self::Clients { connections } => write!(f, "idle clients {connections}"),
        }
    }
}

struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} B"),
        }
    }
}
