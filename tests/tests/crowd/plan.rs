//! How many connections, for how long.

use std::{net::Ipv4Addr, time::Duration};

/// Connections of a source address. Each takes one of its 28,232 ports (`net.ipv4.ip_local_port_range`), and a minute
/// longer than it lasts.
const PER_ADDRESS: usize = 8000;

/// Every so many-th client is one of this library, the others are cheaper ones.
const EACH_SDK: usize = 100;

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// From the moment at which all are connected.
    pub(crate) seconds: f64,
    /// Connections that leave each second, and as many come.
    pub(crate) churn: usize,
    /// Time between two broadcasts.
    pub(crate) pace: Duration,
    /// Time between two heartbeats of a connection.
    pub(crate) heartbeat: Duration,
    /// Handshakes at the same time.
    pub(crate) at_once: usize,
}

impl Plan {
    /// One that takes a few seconds.
    pub(crate) fn small() -> Self {
        Self {
            connections: 300,
            seconds: 3.0,
            churn: 50,
            pace: Duration::from_millis(200),
            heartbeat: Duration::from_millis(500),
            at_once: 32,
        }
    }

    pub(crate) fn from_environment() -> Self {
        Self {
            connections: number("CROWD_CONNECTIONS", 50_000),
            seconds: number("CROWD_SECONDS", 600) as f64,
            churn: 500,
            pace: Duration::from_secs(1),
            heartbeat: Duration::from_secs(30),
            at_once: 256,
        }
    }

    /// Open files of either process: the connections, those that come while others have not gone yet, and what is open
    /// anyway.
    pub(crate) fn files(&self) -> u64 {
        (self.connections + self.connections / 32 + 500) as u64
    }

    pub(crate) fn is_shorter_than_a_heartbeat(&self) -> bool {
        self.seconds < 2.0 * self.heartbeat.as_secs_f64()
    }

    /// Whether the client with this number stays for the whole time. The others take turns.
    pub(crate) fn stays(&self, number: usize) -> bool {
        number < self.connections / 2
    }

    /// The address from which a client connects.
    pub(crate) fn source(&self, number: usize) -> Ipv4Addr {
        let addresses = self.connections.div_ceil(PER_ADDRESS) + 1;
        Ipv4Addr::new(127, 0, 0, u8::try_from(1 + number % addresses).expect("fewer than 2,000,000"))
    }

    pub(crate) fn is_sdk(number: usize) -> bool {
        number.is_multiple_of(EACH_SDK)
    }

    /// Whether the client leaves with a close handshake; the others hang up without a word.
    pub(crate) fn is_polite(number: usize) -> bool {
        (number / EACH_SDK + number).is_multiple_of(2)
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
