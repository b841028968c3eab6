//! The limits of a server.

use std::time::Duration;

use websockets_simple_core::ConnectionConfig;

/// The limits of a server. Each is checked before resources are used, but for those per second, which are known once the
/// bytes are read; every default is safe against hostile peers. Times are at least 1 ms and at most ten years; others
/// are an error of [`start`](crate::Server::start).
///
/// | limit | default | when exceeded |
/// |---|---|---|
/// | handshake | 10 s | connection dropped |
/// | authentication | 5 s | 503 |
/// | request head | 16 KiB | 431 |
/// | headers | 100 | 431 |
/// | message | 1 MiB; another one for messages [in parts](crate::ServerParams::message_parts) | close 1009 |
/// | messages read ahead of the handler | 256 KiB per connection | reading pauses |
/// | connections in total | file descriptors less a reserve | 503 |
/// | connections per IP address, or IPv6 network of 64 bits | 1,024 | 429 |
/// | connections per user | 64 | 429 |
/// | streams of an HTTP/2 connection (feature `http2`) | 100 | the client waits, or its stream is refused |
/// | groups that a client may join | 64 per connection | request refused |
/// | messages per second | 1,000 | close 1008 |
/// | bytes per second | 8 MiB | close 1008 |
/// | idle | none | close 4002 |
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{Limits, ServerParams};
///
/// let limits = Limits::default().message_size(64 * 1024).connections_per_user(3);
/// let params = ServerParams::new(8080).limits(limits);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    pub(crate) handshake: Duration,
    pub(crate) authentication: Duration,
    pub(crate) head_size: usize,
    pub(crate) headers: usize,
    pub(crate) message_size: usize,
    pub(crate) read_ahead: usize,
    pub(super) connections: Option<usize>,
    pub(crate) connections_per_ip: usize,
    pub(crate) ipv6_prefix: u8,
    pub(crate) connections_per_user: usize,
    pub(crate) http2_streams: u32,
    pub(crate) groups_per_connection: usize,
    pub(crate) messages_per_second: Option<u32>,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) idle: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            authentication: Duration::from_secs(5),
            head_size: 16 * 1024,
            headers: 100,
            message_size: 1024 * 1024,
            read_ahead: ConnectionConfig::READ_AHEAD,
            connections: None,
            connections_per_ip: 1024,
            ipv6_prefix: 64,
            connections_per_user: 64,
            http2_streams: 100,
            groups_per_connection: 64,
            messages_per_second: Some(1000),
            bytes_per_second: Some(8 * 1024 * 1024),
            idle: None,
        }
    }
}

impl Limits {
    /// Timeout for TLS and the opening handshake together.
    #[must_use]
    pub fn handshake(mut self, timeout: Duration) -> Self {
        self.handshake = timeout;
        self
    }

    /// Timeout of the user service.
    #[must_use]
    pub fn authentication(mut self, timeout: Duration) -> Self {
        self.authentication = timeout;
        self
    }

    /// Most bytes of a request head: from 8 KiB to 16 MiB.
    #[must_use]
    pub fn head_size(mut self, bytes: usize) -> Self {
        self.head_size = bytes;
        self
    }

    /// Most headers of a request.
    #[must_use]
    pub fn headers(mut self, count: usize) -> Self {
        self.headers = count;
        self
    }

    /// Most payload bytes of a received message. Messages that are received [in parts](crate::ServerParams::message_parts)
    /// have a limit of their own.
    #[must_use]
    pub fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes;
        self
    }

    /// Bytes of received messages that wait for the handler of a connection, each counted with about 200 bytes for its
    /// place in the queue. When more wait, nothing is read from the peer until the handler has caught up: neither its
    /// messages nor its pings, which wait behind them. That time does not count against the peer.
    #[must_use]
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.read_ahead = bytes;
        self
    }

    /// Most connections in total, handshakes included. Default: the soft limit of open files minus a reserve of a
    /// sixteenth, but at least 64 files.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = Some(count);
        self
    }

    /// Most connections of one IP address, handshakes included. IPv6 addresses count by their
    /// [network](Self::ipv6_prefix). A connection of a
    /// [trusted proxy](crate::ServerParams::trusted_proxies) counts for the client that the proxy names. A connection
    /// over a Unix domain socket does not count, unless a proxy names its client.
    #[must_use]
    pub fn connections_per_ip(mut self, count: usize) -> Self {
        self.connections_per_ip = count;
        self
    }

    /// How many leading bits make IPv6 addresses one for the limit of connections per IP address, from 1 to 128: a client
    /// usually has a whole network, and could connect from another address of it each time. IPv4 addresses count each,
    /// also in the forms `::ffff:a.b.c.d` and `64:ff9b::a.b.c.d`. Default: 64.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_prefix = bits;
        self
    }

    /// Most connections of one user. Beyond that the peers of the others are asked for a sign of life: the oldest of those
    /// that give none within two seconds is lost (4000), and makes room. If all are alive, the client is refused with 429.
    #[must_use]
    pub fn connections_per_user(mut self, count: usize) -> Self {
        self.connections_per_user = count;
        self
    }

    /// Most groups of a connection: beyond that its client cannot [join](crate::Server::with_group_rule) another one.
    /// The application can add the connection to any number of groups.
    #[must_use]
    pub fn groups_per_connection(mut self, count: usize) -> Self {
        self.groups_per_connection = count;
        self
    }

    /// Most received messages per second and connection; `None` for no limit. Pings, pongs and each fragment of a message
    /// count too. A burst of as many is allowed.
    #[must_use]
    pub fn messages_per_second(mut self, count: impl Into<Option<u32>>) -> Self {
        self.messages_per_second = count.into();
        self
    }

    /// Most received bytes per second and connection; `None` for no limit. A burst of as many is allowed.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.bytes_per_second = bytes.into();
        self
    }

    /// Longest time without a data message; `None` for no limit. Heartbeat answers do not count as data.
    #[must_use]
    pub fn idle(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle = timeout.into();
        self
    }

    /// Most streams that an HTTP/2 connection to an endpoint of the server has at the same time, from 1 to 16,384: the
    /// WebSockets and ordinary requests of one client, or of all clients of a proxy. RFC 9113 section 6.5.2 recommends
    /// no less than 100. Each counts as a connection, and takes 64 KiB of received data at most while its handler is
    /// busy. While that many bytes of 16 streams are unread, or of a sixth of this limit if that is more, no other stream
    /// is read. Default: 100.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_streams(mut self, count: u32) -> Self {
        self.http2_streams = count;
        self
    }

    pub(crate) fn connections_in_total(&self) -> usize {
        self.connections.unwrap_or_else(|| {
            let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(1 << 20);
            files.saturating_sub((files / 16).max(64)).max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_total_leaves_a_reserve_of_open_files() {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
        let total = Limits::default().connections_in_total();
        assert!(total >= 1 && total + 64 <= usize::try_from(files).unwrap().max(65));
    }
}
