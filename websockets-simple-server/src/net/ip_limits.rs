//! The limits of connections, in total and per IP address.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections beyond a limit that are answered concurrently; more are dropped without an answer.
const REFUSALS: usize = 32;

/// Whether a connection is within the limits.
#[derive(Debug)]
pub(crate) enum Admittance {
    Admitted(ConnectionPermit),
    Overflow(Overflow),
}

/// Counts connections, in total and per address.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    total: usize,
    per_ip: usize,
    /// How many leading bits of an IPv6 address are counted.
    ipv6_prefix: u8,
    taken: Mutex<Taken>,
    refusals: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    per_ip: HashMap<CountedIp, usize>,
}

/// What is counted as one address: an IPv4 address, or the network of an IPv6 address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct CountedIp(IpAddr);

impl CountedIp {
    fn new(ip: IpAddr, ipv6_prefix: u8) -> Self {
        // An IPv4 peer of a dual-stack listener is the same peer as on an IPv4 one.
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => match translated(ip) {
                Some(ip) => ip.into(),
                None => {
                    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(ipv6_prefix.into())).unwrap_or(0);
                    Ipv6Addr::from_bits(ip.to_bits() & mask).into()
                }
            },
        })
    }
}

/// The IPv4 address that a translator has put into this one (`64:ff9b::/96`, RFC 6052 section 2.1): such addresses
/// differ in their last 32 bits only.
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, _, _] = ip.segments() else { return None };
    let [.., a, b, c, d] = ip.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LimitReached {
    Address,
    Total,
}

/// A connection beyond a limit, which is refused with an answer.
#[derive(Debug)]
pub(crate) struct Overflow {
    pub(crate) limit: LimitReached,
    _permit: OwnedSemaphorePermit,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    /// The address that it counts for, once that is known.
    ip: Option<CountedIp>,
}

impl ConnectionLimiter {
    /// A limiter for this many connections in total and per address, where IPv6 addresses with the same prefix of this
    /// length are one.
    pub(crate) fn new(total: usize, per_ip: usize, ipv6_prefix: u8) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_ip,
            ipv6_prefix,
            taken: Mutex::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        })
    }

    /// Whether no more connections are admitted, of whatever address.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().total >= self.total
    }

    /// Admits a connection, counted for its address if there is one, or lets it be refused with an answer. An error if
    /// too many others are being refused now.
    pub(crate) fn admit(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Admittance, LimitReached> {
        self.admit_counted(ip.map(|ip| CountedIp::new(ip, self.ipv6_prefix)))
    }

    /// The same for an address as it is counted.
    pub(super) fn admit_counted(self: &Arc<Self>, ip: Option<CountedIp>) -> Result<Admittance, LimitReached> {
        match self.take_counted(ip) {
            Ok(permit) => Ok(Admittance::Admitted(permit)),
            Err(limit) => self.overflow(limit).map(Admittance::Overflow).ok_or(limit),
        }
    }

    fn take_counted(self: &Arc<Self>, ip: Option<CountedIp>) -> Result<ConnectionPermit, LimitReached> {
        let mut taken = self.lock();
        if taken.total >= self.total {
            return Err(LimitReached::Total);
        }
        if let Some(ip) = ip {
            taken.count(ip, self.per_ip)?;
        }
        taken.total += 1;
        Ok(ConnectionPermit { limiter: Arc::clone(self), ip })
    }

    /// Lets a connection beyond a limit be refused with an answer, unless too many others are being refused now.
    pub(crate) fn overflow(&self, limit: LimitReached) -> Option<Overflow> {
        let permit = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
        Some(Overflow { limit, _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Counts one more connection of this address.
    fn count(&mut self, ip: CountedIp, most: usize) -> Result<(), LimitReached> {
        let of_ip = self.per_ip.entry(ip).or_insert(0);
        if *of_ip >= most {
            // An address without connections takes no memory.
            if *of_ip == 0 {
                self.per_ip.remove(&ip);
            }
            return Err(LimitReached::Address);
        }
        *of_ip += 1;
        Ok(())
    }

    fn uncount(&mut self, ip: CountedIp) {
        if let Entry::Occupied(mut of_ip) = self.per_ip.entry(ip) {
            *of_ip.get_mut() -= 1;
            if *of_ip.get() == 0 {
                of_ip.remove();
            }
        }
    }
}

impl ConnectionPermit {
    /// Counts the connection for this address, and no longer for another one.
    pub(crate) fn count_for(&mut self, ip: IpAddr) -> Result<(), LimitReached> {
        let ip = CountedIp::new(ip, self.limiter.ipv6_prefix);
        if self.ip == Some(ip) {
            return Ok(());
        }
        let mut taken = self.limiter.lock();
        taken.count(ip, self.limiter.per_ip)?;
        if let Some(before) = self.ip.replace(ip) {
            taken.uncount(before);
        }
        Ok(())
    }
}

#[cfg(feature = "http2")]
impl ConnectionPermit {
    /// The address that it counts for.
    pub(super) fn counted(&self) -> Option<CountedIp> {
        self.ip
    }

    /// Counts it for this address again, whatever else counts for that meanwhile.
    pub(super) fn recount(&mut self, ip: Option<CountedIp>) {
        if self.ip == ip {
            return;
        }
        let mut taken = self.limiter.lock();
        if let Some(ip) = ip {
            *taken.per_ip.entry(ip).or_insert(0) += 1;
        }
        if let Some(before) = std::mem::replace(&mut self.ip, ip) {
            taken.uncount(before);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.limiter.lock();
        taken.total -= 1;
        if let Some(ip) = self.ip {
            taken.uncount(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ConnectionLimiter {
        fn take(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<ConnectionPermit, LimitReached> {
            self.take_counted(ip.map(|ip| CountedIp::new(ip, self.ipv6_prefix)))
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn places_are_counted_per_address_and_in_total_and_given_back() {
        let limiter = ConnectionLimiter::new(3, 2, 64);
        let one = limiter.take(ip("10.0.0.1")).unwrap();
        let _two = limiter.take(ip("10.0.0.1")).unwrap();
        assert_eq!(limiter.take(ip("10.0.0.1")).unwrap_err(), LimitReached::Address);
        let _three = limiter.take(ip("10.0.0.2")).unwrap();
        assert_eq!(limiter.take(ip("10.0.0.3")).unwrap_err(), LimitReached::Total);
        drop(one);
        assert!(limiter.take(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn an_ipv4_peer_counts_the_same_on_a_dual_stack_listener() {
        let limiter = ConnectionLimiter::new(10, 1, 64);
        let _held = limiter.take(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(limiter.take(ip("10.0.0.1")).unwrap_err(), LimitReached::Address);
    }

    #[test]
    fn ipv6_addresses_of_one_network_are_one_client() {
        for (prefix, other_place, elsewhere) in [
            (64, "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
            (48, "2001:db8:1:ffff::1", "2001:db8:2::1"),
            (128, "2001:db8:1:2::1", "2001:db8:1:2::2"),
            (1, "7fff::", "8000::"),
        ] {
            let limiter = ConnectionLimiter::new(10, 1, prefix);
            let _held = limiter.take(ip("2001:db8:1:2::1")).unwrap();
            assert_eq!(limiter.take(ip(other_place)).unwrap_err(), LimitReached::Address, "/{prefix}");
            assert!(limiter.take(ip(elsewhere)).is_ok(), "/{prefix}");
        }
    }

    #[test]
    fn ipv4_addresses_are_counted_each_however_they_are_written() {
        let limiter = ConnectionLimiter::new(10, 1, 64);
        let _mapped = limiter.take(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(limiter.take(ip("10.0.0.1")).unwrap_err(), LimitReached::Address);
        assert_eq!(limiter.take(ip("64:ff9b::10.0.0.1")).unwrap_err(), LimitReached::Address);
        let _translated = limiter.take(ip("64:ff9b::10.0.0.2")).unwrap();
        assert_eq!(limiter.take(ip("::ffff:10.0.0.2")).unwrap_err(), LimitReached::Address);
        assert!(limiter.take(ip("64:ff9b:1::10.0.0.1")).is_ok(), "of another network");
    }

    #[test]
    fn a_client_that_moves_within_its_network_is_counted_once() {
        let limiter = ConnectionLimiter::new(10, 1, 64);
        let mut permit = limiter.take(ip("2001:db8::1")).unwrap();
        permit.count_for(ip("2001:db8::2").unwrap()).unwrap();
        assert_eq!(limiter.lock().per_ip.values().copied().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn addresses_without_connections_take_no_memory() {
        let limiter = ConnectionLimiter::new(10, 10, 64);
        drop(limiter.take(ip("10.0.0.1")).unwrap());
        assert!(limiter.lock().per_ip.is_empty());
        let closed = ConnectionLimiter::new(10, 0, 64);
        assert_eq!(closed.take(ip("10.0.0.1")).unwrap_err(), LimitReached::Address);
        assert!(closed.lock().per_ip.is_empty());
    }

    #[test]
    fn a_place_without_an_address_is_counted_once_the_address_is_known() {
        let limiter = ConnectionLimiter::new(3, 1, 64);
        let (mut one, mut two) = (limiter.take(None).unwrap(), limiter.take(None).unwrap());
        let client = ip("10.0.0.1").unwrap();
        one.count_for(client).unwrap();
        // It is counted once only.
        one.count_for(client).unwrap();
        assert_eq!(two.count_for(client).unwrap_err(), LimitReached::Address);
        one.count_for(ip("10.0.0.2").unwrap()).unwrap();
        two.count_for(client).unwrap();
        drop((one, two));
        let taken = limiter.lock();
        assert!(taken.per_ip.is_empty() && taken.total == 0);
    }
}
