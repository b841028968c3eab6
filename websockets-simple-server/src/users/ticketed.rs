//! A user service that also accepts tickets.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::Stream;
use tokio::time::Instant;
use websockets_simple_core::Token;

use crate::{
    figures::TicketFigures,
    net::HandshakeRequest,
    users::{
        revocation::{LONGEST_QUESTION, RecentRevocations, Revocation, Revocations},
        tickets::Tickets,
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// A user service that also accepts [tickets](Tickets), which its users get for their credentials.
///
/// A [revocation](UserService::revocations) of the service also revokes the tickets that were issued for these
/// credentials: unused ones become invalid, and connections that were opened with one are closed, as they have the id
/// of these credentials. A [`Chain`](crate::Chain) of tickets and another service does neither, as it gives their ids
/// different prefixes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use websockets_simple_server::{MemoryUsers, ServerParams, Ticketed, WebsocketServerAuth};
///
/// let users = Ticketed::new(MemoryUsers::<i64>::new(), Duration::from_secs(10));
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::new(8080), users.clone());
/// // A route of the application calls `users.issue(..)`.
/// ```
#[derive(Clone)]
pub struct Ticketed<S: UserService> {
    users: S,
    tickets: Tickets<S::Id>,
    revoked: Arc<RecentRevocations<S::Id>>,
}

impl<S: UserService> Ticketed<S> {
    /// Wraps a user service, with tickets that are valid for this long.
    #[must_use]
    pub fn new(users: S, good_for: Duration) -> Self {
        Self {
            users,
            tickets: Tickets::new(good_for),
            revoked: Arc::new(RecentRevocations::new(LONGEST_QUESTION)),
        }
    }

    /// Issues a ticket to the user of these credentials; `None` if the service does not know them, or revokes them
    /// meanwhile. A ticket cannot be used to get another one.
    ///
    /// # Errors
    ///
    /// When the service fails, or takes longer than a minute.
    ///
    /// # Cancel safety
    ///
    /// If dropped, a ticket that was returned to no caller may have been issued; it is dropped when it expires.
    // `Send` is declared here, as the compiler fails to infer it in callers that are generic over lifetimes.
    #[expect(clippy::manual_async_fn, reason = "see above")]
    pub fn issue(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> impl Future<Output = Result<Option<Token>, UserServiceError>> + Send {
        async move {
            let asked = Instant::now();
            let Some(user) = self.users.authenticate(credentials, request).await? else { return Ok(None) };
            let ticket = self.tickets.issue(user.clone());
            // Asked when the ticket can be found, as a revocation first adds itself, then revokes the tickets.
            let revoked = self.revoked.concern(&user, asked);
            let late = asked.elapsed() > LONGEST_QUESTION;
            if revoked || late {
                drop(self.tickets.redeem(&ticket));
            }
            match late {
                true => Err(UserServiceError::new("the answer came too late for a ticket")),
                false => Ok((!revoked).then_some(ticket)),
            }
        }
    }
}

#[async_trait]
impl<S: UserService> UserService for Ticketed<S> {
    type Id = S::Id;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<S::Id>>, UserServiceError> {
        match credentials.token().and_then(|ticket| self.tickets.redeem(ticket)) {
            Some(user) => Ok(Some(user)),
            None => self.users.authenticate(credentials, request).await,
        }
    }

    fn revocations(&self) -> Option<Revocations<S::Id>> {
        let (revocations, tickets) = (self.users.revocations()?, self.tickets.clone());
        Some(Box::pin(Heeded { revocations, tickets, revoked: Arc::clone(&self.revoked) }))
    }

    fn tickets(&self) -> Option<TicketFigures> {
        TicketFigures::sum([self.tickets.tickets(), self.users.tickets()])
    }
}

impl<S: UserService> fmt::Debug for Ticketed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketed").field("tickets", &self.tickets).finish_non_exhaustive()
    }
}

/// Revocations; each one revokes its tickets before it is passed on.
struct Heeded<T> {
    revocations: Revocations<T>,
    tickets: Tickets<T>,
    revoked: Arc<RecentRevocations<T>>,
}

impl<T: UserId> Stream for Heeded<T> {
    type Item = Revocation<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Revocation<T>>> {
        let next = std::task::ready!(self.revocations.as_mut().poll_next(cx));
        if let Some(revocation) = &next {
            self.revoked.add(revocation);
            self.tickets.revoke(revocation);
        }
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use http::HeaderMap;
    use tokio::sync::Notify;

    use super::*;
    use crate::{net::RequestHead, users::memory::MemoryUsers};

    async fn ask<T>(
        question: impl AsyncFnOnce(&HandshakeRequest<'_>) -> Result<Option<T>, UserServiceError>,
    ) -> Option<T> {
        let head = RequestHead::new("/", "", &HeaderMap::new());
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        question(&HandshakeRequest::new(&head, addr, addr)).await.unwrap()
    }

    async fn ticket(users: &Ticketed<MemoryUsers<i64>>, shown: &Token) -> Option<Token> {
        ask(async |request| users.issue(&Credentials::of_token(shown.clone()), request).await).await
    }

    async fn who(users: &Ticketed<MemoryUsers<i64>>, shown: &Token) -> Option<Authenticated<i64>> {
        ask(async |request| users.authenticate(&Credentials::of_token(shown.clone()), request).await).await
    }

    #[tokio::test]
    async fn a_ticket_is_for_whoever_is_known_and_good_once_under_the_name_of_the_credentials() {
        let known = MemoryUsers::new();
        let token = known.issue(7);
        let users = Ticketed::new(known, Duration::from_secs(10));
        assert!(ticket(&users, &Token::new("guessed")).await.is_none());
        let one = ticket(&users, &token).await.unwrap();
        assert!(ticket(&users, &one).await.is_none(), "a ticket gets no other");
        let user = who(&users, &one).await.unwrap();
        assert_eq!(*user.id(), 7);
        assert_eq!(user.credential_id(), who(&users, &token).await.unwrap().credential_id());
        assert!(who(&users, &one).await.is_none());
    }

    #[tokio::test]
    async fn what_is_revoked_takes_its_tickets_along_and_no_others() {
        let known = MemoryUsers::new();
        let (first, second) = (known.issue(7), known.issue(7));
        let users = Ticketed::new(known.clone(), Duration::from_secs(10));
        let mut revocations = users.revocations().unwrap();
        let (lost, kept) = (ticket(&users, &first).await.unwrap(), ticket(&users, &second).await.unwrap());
        assert!(known.revoke(&first));
        assert!(std::future::poll_fn(|cx| revocations.as_mut().poll_next(cx)).await.is_some());
        assert!(who(&users, &lost).await.is_none());
        assert!(who(&users, &kept).await.is_some());
    }

    /// Answers once it is let go on.
    #[derive(Clone)]
    struct Slow(MemoryUsers<i64>, Arc<Notify>, Duration);

    #[async_trait]
    impl UserService for Slow {
        type Id = i64;

        async fn authenticate(
            &self,
            credentials: &Credentials,
            request: &HandshakeRequest<'_>,
        ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
            let answer = self.0.authenticate(credentials, request).await;
            self.1.notified().await;
            tokio::time::sleep(self.2).await;
            answer
        }

        fn revocations(&self) -> Option<Revocations<i64>> {
            self.0.revocations()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_ticket_is_issued_for_what_was_revoked_while_the_service_was_asked() {
        for (revoked, slow) in [(false, 0), (true, 0), (false, 61), (true, 61)] {
            let known = MemoryUsers::new();
            let (token, other) = (known.issue(7), known.issue(7));
            let go_on = Arc::new(Notify::new());
            let slow = Slow(known.clone(), Arc::clone(&go_on), Duration::from_secs(slow));
            let too_slow = !slow.2.is_zero();
            let users = Ticketed::new(slow, Duration::from_secs(10));
            let mut revocations = users.revocations().unwrap();
            let head = RequestHead::new("/", "", &HeaderMap::new());
            let addr = SocketAddr::from(([127, 0, 0, 1], 1));
            let request = HandshakeRequest::new(&head, addr, addr);
            let credentials = Credentials::of_token(token.clone());
            let issuing = users.issue(&credentials, &request);
            let revoking = async {
                tokio::task::yield_now().await;
                assert!(known.revoke(if revoked { &token } else { &other }));
                std::future::poll_fn(|cx| revocations.as_mut().poll_next(cx)).await.unwrap();
                go_on.notify_one();
            };
            let (issued, ()) = tokio::join!(issuing, revoking);
            match issued {
                Ok(ticket) => assert!(!too_slow && ticket.is_some() != revoked),
                Err(_) => assert!(too_slow),
            }
        }
    }
}
