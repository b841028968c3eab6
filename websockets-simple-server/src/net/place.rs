//! The place of a connection in the limits, and that of a connection whose requests are counted each.

#[cfg(feature = "http2")]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::ip_limits::{Admittance, ConnectionPermit, LimitReached, Overflow};
#[cfg(feature = "http2")]
use crate::net::ip_limits::{ConnectionLimiter, CountedIp};

/// What a handshake holds in the limits.
#[derive(Debug)]
pub(crate) struct Place {
    /// `None` once another has it.
    admittance: Option<Admittance>,
    /// Where it goes when this is dropped.
    #[cfg(feature = "http2")]
    lender: Option<Arc<SharedPlace>>,
}

impl Place {
    pub(crate) fn new(admittance: Admittance) -> Self {
        Self {
            admittance: Some(admittance),
            #[cfg(feature = "http2")]
            lender: None,
        }
    }

    /// The limit that is reached.
    pub(crate) fn overflow(&self) -> Option<LimitReached> {
        match self.admittance.as_ref()? {
            Admittance::Overflow(overflow) => Some(overflow.limit),
            Admittance::Admitted(_) => None,
        }
    }

    /// The permit, if it is within the limits.
    pub(crate) fn permit(&mut self) -> Option<&mut ConnectionPermit> {
        match self.admittance.as_mut()? {
            Admittance::Admitted(permit) => Some(permit),
            Admittance::Overflow(_) => None,
        }
    }

    /// Gives its place for one of those that are refused.
    pub(crate) fn overflows(&mut self, overflow: Overflow) {
        self.admittance = Some(Admittance::Overflow(overflow));
    }

    /// What a connection keeps of it.
    pub(crate) fn into_permit(mut self) -> Option<ConnectionPermit> {
        match self.admittance.take()? {
            Admittance::Admitted(permit) => Some(permit),
            Admittance::Overflow(_) => None,
        }
    }
}

#[cfg(feature = "http2")]
impl Place {
    /// All of it, for another owner.
    pub(crate) fn take(&mut self) -> Self {
        Self { admittance: self.admittance.take(), lender: self.lender.take() }
    }
}

#[cfg(feature = "http2")]
impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(admittance), Some(lender)) = (self.admittance.take(), self.lender.take()) {
            lender.give_back(admittance);
        }
    }
}

/// The place of a connection that carries any number of requests, each with a place of its own. The first of those at the
/// same time has that of the connection, so a connection with one request counts once, and one with none as well.
#[cfg(feature = "http2")]
#[derive(Debug)]
pub(crate) struct SharedPlace {
    limiter: Arc<ConnectionLimiter>,
    /// The address that the connection itself counts for.
    counted: Option<CountedIp>,
    /// `None` while it is lent.
    own: Mutex<Option<Admittance>>,
}

#[cfg(feature = "http2")]
impl SharedPlace {
    pub(crate) fn new(mut place: Place, limiter: &Arc<ConnectionLimiter>) -> Arc<Self> {
        let own = place.admittance.take();
        let counted = match &own {
            Some(Admittance::Admitted(permit)) => permit.counted(),
            Some(Admittance::Overflow(_)) | None => None,
        };
        Arc::new(Self { limiter: Arc::clone(limiter), counted, own: Mutex::new(own) })
    }

    /// A place for one more request. An error if a limit is reached and too many others are being refused now.
    pub(crate) fn next(self: &Arc<Self>) -> Result<Place, LimitReached> {
        let own = self.own().take();
        let admittance = own.map_or_else(|| self.limiter.admit_counted(self.counted), Ok)?;
        Ok(Place { admittance: Some(admittance), lender: Some(Arc::clone(self)) })
    }

    /// Those of requests that are refused are not kept: they are few, and for answers only.
    fn give_back(&self, admittance: Admittance) {
        let Admittance::Admitted(mut permit) = admittance else { return };
        permit.recount(self.counted);
        let mut own = self.own();
        let surplus = match &*own {
            Some(_) => Some(permit),
            None => {
                *own = Some(Admittance::Admitted(permit));
                None
            }
        };
        drop(own);
        drop(surplus);
    }

    fn own(&self) -> MutexGuard<'_, Option<Admittance>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "http2")]
#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The place of a connection, and how many are left for its address.
    fn shared(most: usize) -> (Arc<SharedPlace>, impl Fn(&str) -> usize) {
        let limiter = ConnectionLimiter::new(100, most, 64);
        let shared = SharedPlace::new(Place::new(limiter.admit(Some(ip(PEER))).unwrap()), &limiter);
        let left = move |address: &str| {
            let mut held = Vec::new();
            while let Ok(Admittance::Admitted(permit)) = limiter.admit(Some(ip(address))) {
                held.push(permit);
            }
            held.len()
        };
        (shared, left)
    }

    #[test]
    fn a_connection_counts_as_often_as_it_has_requests_and_at_least_once() {
        let (shared, left) = shared(3);
        assert_eq!(left(PEER), 2);
        let one = shared.next().unwrap();
        assert_eq!(left(PEER), 2);
        let two = shared.next().unwrap();
        assert_eq!(left(PEER), 1);
        drop(one);
        assert_eq!(left(PEER), 1);
        drop(two);
        assert_eq!(left(PEER), 2);
        let again = shared.next().unwrap();
        assert_eq!(left(PEER), 2);
        drop((again, shared));
        assert_eq!(left(PEER), 3);
    }

    #[test]
    fn a_request_that_outlives_its_connection_keeps_its_place() {
        let (shared, left) = shared(3);
        let one = shared.next().unwrap();
        drop(shared);
        assert_eq!(left(PEER), 2);
        drop(one);
        assert_eq!(left(PEER), 3);
    }

    #[test]
    fn a_request_beyond_the_limit_is_refused() {
        let (shared, _) = shared(1);
        let one = shared.next().unwrap();
        assert_eq!(one.overflow(), None);
        assert_eq!(shared.next().unwrap().overflow(), Some(LimitReached::Address));
        drop(one);
        assert_eq!(shared.next().unwrap().overflow(), None);
    }

    #[test]
    fn a_place_that_a_proxy_has_counted_for_its_client_comes_back_as_that_of_the_proxy() {
        let (shared, left) = shared(2);
        let mut one = shared.next().unwrap();
        one.permit().unwrap().count_for(ip("192.0.2.1")).unwrap();
        assert_eq!((left(PEER), left("192.0.2.1")), (2, 1));
        drop(one);
        assert_eq!((left(PEER), left("192.0.2.1")), (1, 2));
    }
}
