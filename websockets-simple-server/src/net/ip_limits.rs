//! The limits of connections, in total and per IP address.

use std::{
    collections::HashMap,
    net::IpAddr,
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
    taken: Mutex<Taken>,
    refusals: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
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
    ip: Option<IpAddr>,
}

impl ConnectionLimiter {
    /// A limiter for this many connections in total and per address.
    pub(crate) fn new(total: usize, per_ip: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_ip,
            taken: Mutex::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        })
    }

    /// Admits a connection, counted for its address if there is one, or lets it be refused with an answer. An error if
    /// too many others are being refused now.
    pub(crate) fn admit(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Admittance, LimitReached> {
        match self.take(ip) {
            Ok(permit) => Ok(Admittance::Admitted(permit)),
            Err(limit) => self.overflow(limit).map(Admittance::Overflow).ok_or(limit),
        }
    }

    fn take(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<ConnectionPermit, LimitReached> {
        let mut taken = self.lock();
        if taken.total >= self.total {
            return Err(LimitReached::Total);
        }
        let ip = ip.map(|ip| taken.count(ip, self.per_ip)).transpose()?;
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
    /// Counts one more connection of this address; answers its canonical form.
    fn count(&mut self, ip: IpAddr, most: usize) -> Result<IpAddr, LimitReached> {
        // An IPv4 peer of a dual-stack listener is the same peer as on an IPv4 one.
        let ip = ip.to_canonical();
        let of_ip = self.per_ip.entry(ip).or_insert(0);
        if *of_ip >= most {
            // An address without connections takes no memory.
            if *of_ip == 0 {
                self.per_ip.remove(&ip);
            }
            return Err(LimitReached::Address);
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
    /// Counts the connection for this address, and no longer for another one.
    pub(crate) fn count_for(&mut self, ip: IpAddr) -> Result<(), LimitReached> {
        if self.ip == Some(ip.to_canonical()) {
            return Ok(());
        }
        let mut taken = self.limiter.lock();
        let counted = taken.count(ip, self.limiter.per_ip)?;
        if let Some(before) = self.ip.replace(counted) {
            taken.uncount(before);
        }
        Ok(())
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

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn places_are_counted_per_address_and_in_total_and_given_back() {
        let limiter = ConnectionLimiter::new(3, 2);
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
        let limiter = ConnectionLimiter::new(10, 1);
        let _held = limiter.take(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(limiter.take(ip("10.0.0.1")).unwrap_err(), LimitReached::Address);
    }

    #[test]
    fn addresses_without_connections_take_no_memory() {
        let limiter = ConnectionLimiter::new(10, 10);
        drop(limiter.take(ip("10.0.0.1")).unwrap());
        assert!(limiter.lock().per_ip.is_empty());
        let closed = ConnectionLimiter::new(10, 0);
        assert_eq!(closed.take(ip("10.0.0.1")).unwrap_err(), LimitReached::Address);
        assert!(closed.lock().per_ip.is_empty());
    }

    #[test]
    fn a_place_without_an_address_is_counted_once_the_address_is_known() {
        let limiter = ConnectionLimiter::new(3, 1);
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
