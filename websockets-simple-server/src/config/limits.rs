//! How much of what a peer may take, and who takes it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Refusals beyond the limit that are answered at the same time; more are hung up on.
const REFUSERS: usize = 32;

/// Limits of a server, all checked before the cost is paid. Every default survives an attacker.
///
/// | limit | default | beyond it |
/// |---|---|---|
/// | handshake | 10 s | cut |
/// | authentication | 5 s | 503 |
/// | request head | 16 KiB | 431 |
/// | headers | 100 | 431 |
/// | message | 1 MiB | close 1009 |
/// | connections in total | file descriptors less a reserve | 503 |
/// | connections per IP address | 1,024 | 429 |
/// | connections per user | 64 | 429 |
/// | groups that a client may join | 64 per connection | it is told so |
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
    connections: Option<usize>,
    connections_per_ip: usize,
    pub(crate) connections_per_user: usize,
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
            connections: None,
            connections_per_ip: 1024,
            connections_per_user: 64,
            groups_per_connection: 64,
            messages_per_second: Some(1000),
            bytes_per_second: Some(8 * 1024 * 1024),
            idle: None,
        }
    }
}

impl Limits {
    /// Time for TLS and the opening handshake together.
    #[must_use]
    pub fn handshake(mut self, timeout: Duration) -> Self {
        self.handshake = timeout;
        self
    }

    /// Time for the user service to answer.
    #[must_use]
    pub fn authentication(mut self, timeout: Duration) -> Self {
        self.authentication = timeout;
        self
    }

    /// Bytes of the request head; less than 8 KiB counts as 8 KiB.
    #[must_use]
    pub fn head_size(mut self, bytes: usize) -> Self {
        self.head_size = bytes.max(8 * 1024);
        self
    }

    /// Headers of the request.
    #[must_use]
    pub fn headers(mut self, count: usize) -> Self {
        self.headers = count;
        self
    }

    /// Payload bytes of a received message.
    #[must_use]
    pub fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = bytes;
        self
    }

    /// Connections in total, handshakes included. Default: the soft limit of open files less a sixteenth, at
    /// least 64.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = Some(count);
        self
    }

    /// Connections of one IP address, handshakes included. Those of a
    /// [trusted proxy](crate::ServerParams::trusted_proxies) are counted for the client that it names, once it has;
    /// those over a Unix domain socket are not counted, unless one names their client.
    #[must_use]
    pub fn connections_per_ip(mut self, count: usize) -> Self {
        self.connections_per_ip = count;
        self
    }

    /// Connections of one user.
    #[must_use]
    pub fn connections_per_user(mut self, count: usize) -> Self {
        self.connections_per_user = count;
        self
    }

    /// Groups in which a connection may be for its client to [join](crate::Server::with_group_rule) another. The
    /// application itself may put it into any number.
    #[must_use]
    pub fn groups_per_connection(mut self, count: usize) -> Self {
        self.groups_per_connection = count;
        self
    }

    /// Messages a connection may send per second, pings included; `None` for any number. As many at once.
    #[must_use]
    pub fn messages_per_second(mut self, count: impl Into<Option<u32>>) -> Self {
        self.messages_per_second = count.into();
        self
    }

    /// Bytes a connection may send per second; `None` for any number. As many at once.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.bytes_per_second = bytes.into();
        self
    }

    /// Time without a data message; `None` for ever. Heartbeat answers do not count as data.
    #[must_use]
    pub fn idle(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle = timeout.into();
        self
    }

    fn connections_in_total(&self) -> usize {
        self.connections.unwrap_or_else(|| {
            let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(1 << 20);
            files.saturating_sub((files / 16).max(64)).max(1)
        })
    }
}

/// Places for connections, counted in total and per address.
#[derive(Debug)]
pub(crate) struct Slots {
    total: usize,
    per_ip: usize,
    taken: Mutex<Taken>,
    refusers: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
}

/// Which places are all taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    Address,
    Total,
}

/// A connection for which there is no place, but somebody to tell it so.
#[derive(Debug)]
pub(crate) struct Overflow {
    pub(crate) full: Full,
    _refuser: OwnedSemaphorePermit,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    slots: Arc<Slots>,
    /// Whom it is counted for, once that is known.
    ip: Option<IpAddr>,
}

impl Slots {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            total: limits.connections_in_total(),
            per_ip: limits.connections_per_ip,
            taken: Mutex::default(),
            refusers: Arc::new(Semaphore::new(REFUSERS)),
        })
    }

    /// Takes a place, for this address if there is one to count it for.
    pub(crate) fn take(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<ConnectionPermit, Full> {
        let mut taken = self.lock();
        if taken.total >= self.total {
            return Err(Full::Total);
        }
        let ip = ip.map(|ip| taken.count(ip, self.per_ip)).transpose()?;
        taken.total += 1;
        Ok(ConnectionPermit { slots: Arc::clone(self), ip })
    }

    /// Whoever has no place is told so, unless too many are just being told.
    pub(crate) fn overflow(&self, full: Full) -> Option<Overflow> {
        let refuser = Arc::clone(&self.refusers).try_acquire_owned().ok()?;
        Some(Overflow { full, _refuser: refuser })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Counts one more of this address, which it answers in the form that it is counted in.
    fn count(&mut self, ip: IpAddr, most: usize) -> Result<IpAddr, Full> {
        // An IPv4 peer of a dual-stack listener is the same peer as on an IPv4 one.
        let ip = ip.to_canonical();
        let of_ip = self.per_ip.entry(ip).or_insert(0);
        if *of_ip >= most {
            // Nothing is kept of an address that may have no connection at all.
            if *of_ip == 0 {
                self.per_ip.remove(&ip);
            }
            return Err(Full::Address);
        }
        *of_ip += 1;
        Ok(ip)
    }

    fn uncount(&mut self, ip: IpAddr) {
        if let Some(of_ip) = self.per_ip.get_mut(&ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                self.per_ip.remove(&ip);
            }
        }
    }
}

impl ConnectionPermit {
    /// Counts the place for this address, and no longer for another one.
    pub(crate) fn count_for(&mut self, ip: IpAddr) -> Result<(), Full> {
        if self.ip == Some(ip.to_canonical()) {
            return Ok(());
        }
        let mut taken = self.slots.lock();
        let counted = taken.count(ip, self.slots.per_ip)?;
        if let Some(before) = self.ip.replace(counted) {
            taken.uncount(before);
        }
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total -= 1;
        if let Some(ip) = self.ip {
            taken.uncount(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn places_are_counted_per_address_and_in_total_and_given_back() {
        let slots = Slots::new(&Limits::default().connections(3).connections_per_ip(2));
        let one = slots.take(ip("10.0.0.1")).unwrap();
        let _two = slots.take(ip("10.0.0.1")).unwrap();
        assert_eq!(slots.take(ip("10.0.0.1")).unwrap_err(), Full::Address);
        let _three = slots.take(ip("10.0.0.2")).unwrap();
        assert_eq!(slots.take(ip("10.0.0.3")).unwrap_err(), Full::Total);
        drop(one);
        assert!(slots.take(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn an_ipv4_peer_counts_the_same_on_a_dual_stack_listener() {
        let slots = Slots::new(&Limits::default().connections_per_ip(1));
        let _held = slots.take(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(slots.take(ip("10.0.0.1")).unwrap_err(), Full::Address);
    }

    #[test]
    fn addresses_without_connections_take_no_memory() {
        let slots = Slots::new(&Limits::default());
        drop(slots.take(ip("10.0.0.1")).unwrap());
        assert!(slots.lock().per_ip.is_empty());
        let nobody = Slots::new(&Limits::default().connections_per_ip(0));
        assert_eq!(nobody.take(ip("10.0.0.1")).unwrap_err(), Full::Address);
        assert!(nobody.lock().per_ip.is_empty());
    }

    #[test]
    fn a_place_that_was_taken_for_nobody_is_counted_once_it_is_known_for_whom() {
        let slots = Slots::new(&Limits::default().connections(3).connections_per_ip(1));
        let (mut one, mut two) = (slots.take(None).unwrap(), slots.take(None).unwrap());
        let client = ip("10.0.0.1").unwrap();
        one.count_for(client).unwrap();
        // Once is enough, however often it is said.
        one.count_for(client).unwrap();
        assert_eq!(two.count_for(client).unwrap_err(), Full::Address);
        one.count_for(ip("10.0.0.2").unwrap()).unwrap();
        two.count_for(client).unwrap();
        drop((one, two));
        let taken = slots.lock();
        assert!(taken.per_ip.is_empty() && taken.total == 0);
    }

    #[test]
    fn the_default_total_leaves_a_reserve_of_open_files() {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
        let total = Limits::default().connections_in_total();
        assert!(total >= 1 && total + 64 <= usize::try_from(files).unwrap().max(65));
    }
}
