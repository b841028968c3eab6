//! What is measured.

use std::fmt;

use clap::Args;
use serde::{Deserialize, Serialize};

/// One kind of work. Sizes are payload bytes of text messages.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Scenario {
    /// `connections` peers, each with `depth` messages on their way. An operation is an echoed message.
    Echo { connections: usize, depth: usize, size: usize },
    /// As `Echo`; each message is sent as `fragments` frames, and comes back as one.
    FragmentedEcho { connections: usize, depth: usize, size: usize, fragments: usize },
    /// As `Echo`, with TLS.
    TlsEcho { connections: usize, depth: usize, size: usize },
    /// One publisher with `window` broadcasts on their way. An operation is one delivery.
    Fanout { receivers: usize, window: usize, size: usize },
    /// As `Fanout`, with TLS.
    TlsFanout { receivers: usize, window: usize, size: usize },
    /// As `Fanout`, with JSON, of which all but `plain` of the receivers get a compressed form.
    DeflateFanout { receivers: usize, plain: usize, window: usize, size: usize },
    /// As `Fanout`, to a group of `receivers` that is part of a channel with `channel` members.
    GroupFanout { receivers: usize, channel: usize, window: usize, size: usize },
    /// As `Fanout`, first without and then with `rate` further receivers per second that connect and hang up.
    Churn { receivers: usize, window: usize, size: usize, rate: usize },
    /// As `Fanout`, with one more receiver that stops reading: what that costs the others.
    SlowReader { receivers: usize, window: usize, size: usize },
    /// Many publishers, each with one broadcast on its way. An operation is one delivery.
    Chat { publishers: usize, receivers: usize, size: usize },
    /// `concurrent` peers that connect, shake hands and hang up, over and over. An operation is one handshake.
    Connect { concurrent: usize },
    /// Connections that do nothing, then one 1 KiB echo each. Only memory counts.
    Idle { connections: usize },
    /// As `Idle`, with TLS.
    IdleTls { connections: usize },
    /// Clients in one process, each with `depth` messages on their way to an echo server. The client is measured.
    ClientEcho { connections: usize, depth: usize, size: usize },
    /// Clients in one process that do nothing, then one 1 KiB echo each. The client is measured.
    Clients { connections: usize },
}

/// What a server has to be set up for.
#[derive(Args, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Serves with TLS and a certificate of its own.
    #[arg(long)]
    pub tls: bool,
    /// Agrees on permessage-deflate with those that offer it.
    #[arg(long)]
    pub deflate: bool,
    /// A path names a group.
    #[arg(long)]
    pub groups: bool,
}

impl Scenario {
    /// Whether it is the client that is measured.
    pub fn is_of_clients(self) -> bool {
        matches!(self, Self::ClientEcho { .. } | Self::Clients { .. })
    }

    /// Whether it is measured with a server that is a node of a cluster, too: each broadcast of it goes to the bus.
    pub fn is_of_nodes(self) -> bool {
        matches!(self, Self::Fanout { .. } | Self::Chat { .. })
    }

    /// What the server has to be able to do.
    pub fn needs(self) -> Needs {
        Needs {
            tls: matches!(self, Self::TlsEcho { .. } | Self::TlsFanout { .. } | Self::IdleTls { .. }),
            deflate: matches!(self, Self::DeflateFanout { .. }),
            groups: matches!(self, Self::GroupFanout { .. }),
        }
    }

    /// What one operation is called.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Echo { .. }
            | Self::FragmentedEcho { .. }
            | Self::TlsEcho { .. }
            | Self::ClientEcho { .. } => "message",
            Self::Fanout { .. }
            | Self::TlsFanout { .. }
            | Self::DeflateFanout { .. }
            | Self::GroupFanout { .. }
            | Self::Churn { .. }
            | Self::SlowReader { .. }
            | Self::Chat { .. } => "delivery",
            Self::Connect { .. } => "handshake",
            Self::Idle { .. } | Self::IdleTls { .. } | Self::Clients { .. } => "connection",
        }
    }

    /// The rows of the table in docs/performance.md. `most` is how many connections a process may have here.
    pub fn all(most: usize) -> Vec<Self> {
        let many = most.min(50_000);
        vec![
            Self::Echo { connections: 1, depth: 1, size: 64 },
            Self::Echo { connections: 64, depth: 8, size: 64 },
            Self::Echo { connections: 64, depth: 4, size: 16 * 1024 },
            Self::Echo { connections: 8, depth: 2, size: 1024 * 1024 },
            Self::FragmentedEcho { connections: 64, depth: 8, size: 4096, fragments: 4 },
            Self::FragmentedEcho { connections: 64, depth: 4, size: 64 * 1024, fragments: 8 },
            Self::TlsEcho { connections: 64, depth: 8, size: 64 },
            Self::TlsEcho { connections: 64, depth: 4, size: 16 * 1024 },
            Self::Fanout { receivers: 1000, window: 8, size: 128 },
            Self::Fanout { receivers: 5000, window: 8, size: 128 },
            Self::Fanout { receivers: 1000, window: 8, size: 4096 },
            Self::Fanout { receivers: 1000, window: 1, size: 128 },
            Self::TlsFanout { receivers: 1000, window: 8, size: 128 },
            Self::DeflateFanout { receivers: 1000, plain: 0, window: 8, size: 4096 },
            Self::DeflateFanout { receivers: 1000, plain: 500, window: 8, size: 4096 },
            Self::GroupFanout { receivers: 1000, channel: many, window: 8, size: 128 },
            Self::GroupFanout { receivers: many, channel: many, window: 8, size: 128 },
            Self::Churn { receivers: 1000, window: 8, size: 128, rate: 500 },
            Self::Churn { receivers: many, window: 8, size: 128, rate: 500 },
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
            Self::FragmentedEcho { connections: 2, depth: 2, size: 4096, fragments: 4 },
            Self::FragmentedEcho { connections: 2, depth: 2, size: 64 * 1024, fragments: 8 },
            Self::TlsEcho { connections: 2, depth: 2, size: 64 },
            Self::TlsEcho { connections: 2, depth: 2, size: 100_000 },
            Self::Fanout { receivers: 10, window: 2, size: 128 },
            Self::TlsFanout { receivers: 10, window: 2, size: 128 },
            Self::DeflateFanout { receivers: 10, plain: 0, window: 2, size: 4096 },
            Self::DeflateFanout { receivers: 10, plain: 5, window: 2, size: 4096 },
            Self::GroupFanout { receivers: 10, channel: 20, window: 2, size: 128 },
            Self::Churn { receivers: 10, window: 2, size: 128, rate: 200 },
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
            Self::FragmentedEcho { connections, depth, size, fragments } => {
                write!(f, "fragmented echo C{connections} D{depth} {} in {fragments}", Bytes(size))
            }
            Self::TlsEcho { connections, depth, size } => {
                write!(f, "TLS echo C{connections} D{depth} {}", Bytes(size))
            }
            Self::Fanout { receivers, window, size } => {
                write!(f, "fanout N{receivers} W{window} {}", Bytes(size))
            }
            Self::TlsFanout { receivers, window, size } => {
                write!(f, "TLS fanout N{receivers} W{window} {}", Bytes(size))
            }
            Self::DeflateFanout { receivers, plain: 0, window, size } => {
                write!(f, "deflate fanout N{receivers} W{window} {}", Bytes(size))
            }
            Self::DeflateFanout { receivers, plain, window, size } => {
                write!(f, "deflate fanout N{receivers} ({plain} plain) W{window} {}", Bytes(size))
            }
            Self::GroupFanout { receivers, channel, window, size } => {
                write!(f, "group N{receivers} of {channel} W{window} {}", Bytes(size))
            }
            Self::Churn { receivers, window, size, rate } => {
                write!(f, "churn N{receivers} W{window} {} {rate}/s", Bytes(size))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_is_the_same_after_a_way_through_json() {
        for rows in [Scenario::all(60_000), Scenario::small(), Scenario::sweep()] {
            let names: std::collections::BTreeSet<_> = rows.iter().map(ToString::to_string).collect();
            assert_eq!(names.len(), rows.len());
            for row in rows {
                let json = serde_json::to_string(&row).unwrap();
                assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), row);
            }
        }
    }

    #[test]
    fn every_kind_of_row_is_also_run_small() {
        let kind = std::mem::discriminant::<Scenario>;
        let small: Vec<_> = Scenario::small().iter().map(kind).collect();
        for row in Scenario::all(60_000) {
            assert!(small.contains(&kind(&row)), "{row}");
        }
    }

    #[test]
    fn rows_of_many_connections_are_as_large_as_the_machine_lets_them() {
        let largest = |most| {
            let rows = Scenario::all(most).into_iter();
            rows.filter_map(|row| match row {
                Scenario::Churn { receivers, .. } => Some(receivers),
                _ => None,
            })
            .max()
        };
        assert_eq!((largest(17_000), largest(1_000_000)), (Some(17_000), Some(50_000)));
    }
}
