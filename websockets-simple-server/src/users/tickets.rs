//! Tickets: short-lived tokens that are valid once.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use websockets_simple_core::Token;

use crate::{
    figures::TicketFigures,
    net::HandshakeRequest,
    users::{
        revocation::Revocation,
        token_hash::{TokenHash, hash, random_token},
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// Most unused tickets; issuing more drops the oldest.
const OUTSTANDING: usize = 100_000;

/// A user service that issues tickets to users who were authenticated in another way, and accepts each ticket once.
///
/// Browsers can put the token of a WebSocket only where logs may record it: into the URL, or into the subprotocol. A
/// ticket may be logged, as it is valid for one handshake within a few seconds, and for one user.
/// [`Ticketed`](crate::Ticketed) puts tickets in front of the service that authenticates these users. Tickets live in
/// the memory of one process. A clone is another handle of the same tickets.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_server::{Authenticated, Tickets};
///
/// let tickets = Tickets::new(Duration::from_secs(30));
/// // The answer to an HTTP request that was authenticated by a cookie:
/// let ticket = tickets.issue(Authenticated::new("ronald".to_owned()));
/// let url = format!("wss://chat.example/?token={}", ticket.expose());
/// ```
pub struct Tickets<T> {
    good_for: Duration,
    outstanding: Arc<Mutex<Outstanding<T>>>,
}

struct Outstanding<T> {
    issued: u64,
    redeemed: u64,
    tickets: HashMap<TokenHash, (Option<Instant>, Authenticated<T>)>,
    /// Expiry and hash in the order in which they were issued, used ones included.
    order: VecDeque<(Option<Instant>, TokenHash)>,
}

impl<T: UserId> Tickets<T> {
    /// Makes a service without tickets; those that it issues are valid for this long, or until 100,000 others were
    /// issued after them.
    #[must_use]
    pub fn new(good_for: Duration) -> Self {
        let outstanding =
            Outstanding { issued: 0, redeemed: 0, tickets: HashMap::new(), order: VecDeque::new() };
        Self { good_for, outstanding: Arc::new(Mutex::new(outstanding)) }
    }

    /// Issues a ticket of 256 random bits to a user. The connection that is opened with it expires when the user's own
    /// credentials do, and has their scopes.
    #[must_use]
    pub fn issue(&self, user: Authenticated<T>) -> Token {
        let ticket = random_token();
        let (now, hash) = (Instant::now(), hash(&ticket));
        // `None` for a time that no clock reaches.
        let until = now.checked_add(self.good_for);
        let forgotten = {
            let mut outstanding = self.lock();
            let forgotten = outstanding.forget(now, OUTSTANDING - 1);
            outstanding.issued += 1;
            outstanding.tickets.insert(hash, (until, user));
            outstanding.order.push_back((until, hash));
            forgotten
        };
        // Outside of the lock, as ids of users are values of the application.
        drop(forgotten);
        ticket
    }

    /// Returns the user of a ticket, and uses the ticket up. `None` if it is unknown, used or expired.
    #[must_use]
    pub fn redeem(&self, ticket: &Token) -> Option<Authenticated<T>> {
        // Found by a hash that a client cannot choose: the time of the lookup reveals nothing about the ticket.
        let hash = hash(ticket);
        let mut outstanding = self.lock();
        let (until, user) = outstanding.tickets.remove(&hash)?;
        let is_good = is_before(Instant::now(), until);
        outstanding.redeemed += u64::from(is_good);
        // Before the user, as ids are values of the application.
        drop(outstanding);
        is_good.then_some(user)
    }

    /// Drops the tickets that were issued for revoked credentials.
    pub(crate) fn revoke(&self, revocation: &Revocation<T>) {
        let revoked: Vec<_> = {
            let mut outstanding = self.lock();
            outstanding.tickets.extract_if(|_, (_, user)| revocation.concerns(user)).collect()
        };
        drop(revoked);
    }

    fn lock(&self) -> MutexGuard<'_, Outstanding<T>> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Outstanding<T> {
    /// Takes out expired tickets, and the oldest beyond `most`.
    fn forget(&mut self, now: Instant, most: usize) -> Vec<Authenticated<T>> {
        let mut forgotten = Vec::new();
        while let Some((until, hash)) = self.order.front()
            && (!is_before(now, *until) || self.order.len() > most)
        {
            forgotten.extend(self.tickets.remove(hash).map(|(_, user)| user));
            self.order.pop_front();
        }
        forgotten
    }
}

/// Whether a ticket is still good.
fn is_before(now: Instant, until: Option<Instant>) -> bool {
    until.is_none_or(|until| now < until)
}

#[async_trait]
impl<T: UserId> UserService for Tickets<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        Ok(credentials.token().and_then(|ticket| self.redeem(ticket)))
    }

    fn tickets(&self) -> Option<TicketFigures> {
        let mut outstanding = self.lock();
        let forgotten = outstanding.forget(Instant::now(), OUTSTANDING);
        let Outstanding { issued, redeemed, tickets, .. } = &*outstanding;
        let figures = TicketFigures { issued: *issued, redeemed: *redeemed, unused: tickets.len() };
        drop(outstanding);
        drop(forgotten);
        Some(figures)
    }
}

impl<T> Clone for Tickets<T> {
    fn clone(&self) -> Self {
        Self { good_for: self.good_for, outstanding: Arc::clone(&self.outstanding) }
    }
}

impl<T> fmt::Debug for Tickets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("good_for", &self.good_for).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets() -> Tickets<i64> {
        Tickets::new(Duration::from_secs(30))
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_for_its_user() {
        let tickets = tickets();
        let (seven, eight) =
            (tickets.issue(Authenticated::new(7).scopes(["say"])), tickets.issue(Authenticated::new(8)));
        let user = tickets.redeem(&seven).unwrap();
        assert!(*user.id() == 7 && user.has_scope("say"));
        assert!(tickets.redeem(&seven).is_none(), "used");
        assert_eq!(*tickets.redeem(&eight).unwrap().id(), 8);
        assert!(tickets.redeem(&Token::new("no ticket")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_comes_too_late_is_nobodys_and_is_forgotten() {
        let tickets = tickets();
        let late = tickets.issue(Authenticated::new(7));
        tokio::time::advance(Duration::from_secs(30)).await;
        let fresh = tickets.issue(Authenticated::new(8));
        let kept = |of: &Outstanding<i64>| (of.tickets.len(), of.order.len());
        assert_eq!(kept(&tickets.lock()), (1, 1));
        assert!(tickets.redeem(&late).is_none());
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert!(tickets.redeem(&fresh).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_for_ever_is_good_and_is_forgotten_only_by_the_bound() {
        for endless in [Duration::MAX, Duration::from_secs(u64::MAX)] {
            let tickets = Tickets::new(endless);
            let (first, second) =
                (tickets.issue(Authenticated::new(7)), tickets.issue(Authenticated::new(8)));
            tokio::time::advance(Duration::from_secs(1_000_000_000)).await;
            assert_eq!(*tickets.redeem(&second).unwrap().id(), 8);
            assert_eq!(*tickets.redeem(&first).unwrap().id(), 7);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_the_oldest_ticket_is_forgotten() {
        let tickets = tickets();
        let first = tickets.issue(Authenticated::new(0));
        let second = tickets.issue(Authenticated::new(1));
        for user in 2..=OUTSTANDING as i64 {
            let _ = tickets.issue(Authenticated::new(user));
        }
        assert_eq!(tickets.lock().order.len(), OUTSTANDING);
        assert!(tickets.redeem(&first).is_none() && tickets.redeem(&second).is_some());
    }

    #[tokio::test]
    async fn a_server_admits_with_a_ticket_and_debug_shows_none() {
        let tickets = tickets();
        let ticket = tickets.issue(Authenticated::new(7));
        let head = crate::net::RequestHead::new("/", "", &http::HeaderMap::new());
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let request = HandshakeRequest::new(&head, addr, addr);
        let credentials = Credentials::of_token(ticket.clone());
        let user = tickets.authenticate(&credentials, &request).await.unwrap().unwrap();
        assert_eq!(*user.id(), 7);
        assert!(tickets.authenticate(&credentials, &request).await.unwrap().is_none());
        assert!(!format!("{tickets:?}").contains(ticket.expose()));
    }
}
