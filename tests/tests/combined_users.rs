//! User services made of others, behind a whole server.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use websockets_simple_server::{
    Authenticated, Cached, Chain, Credentials, EndedBy, HandshakeRequest, MemoryUsers, Revocations,
    ServerParams, Tickets, UserService, UserServiceError, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{connected, ended, opened, params, raw::status, started};

/// Counts how often it is asked.
struct Counted<S> {
    service: S,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl<S: UserService> UserService for Counted<S> {
    type Id = S::Id;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<S::Id>>, UserServiceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.service.authenticate(credentials, request).await
    }

    fn revocations(&self) -> Option<Revocations<S::Id>> {
        self.service.revocations()
    }
}

#[tokio::test]
async fn a_chain_admits_whom_any_of_its_services_knows_and_revokes_in_one_of_them_alone() {
    let (members, guests, tickets) =
        (MemoryUsers::new(), MemoryUsers::new(), Tickets::new(Duration::from_secs(10)));
    // Both stores call their first token the same.
    let (member, guest) = (members.issue(1), guests.issue(2));
    let ticket = tickets.issue(Authenticated::new(3));
    let users = Chain::new(members.clone()).or(guests.clone()).or(tickets);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    let mut clients = Vec::new();
    for (token, user) in [(&member, 1), (&guest, 2), (&ticket, 3)] {
        clients.push(connected(params(addr).token(token.expose())).await);
        assert_eq!(*opened(&mut events).await.user_id(), user);
    }
    assert_eq!(status(addr, ticket.expose()).await, 401, "a ticket is good once");
    assert_eq!(status(addr, "nobody's").await, 401);
    assert!(guests.revoke(&guest));
    assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
    assert!(server.is_user_connected(&1) && server.is_user_connected(&3) && !server.is_user_connected(&2));
    assert_eq!(status(addr, guest.expose()).await, 401);
}

#[tokio::test]
async fn a_cached_service_is_asked_once_per_token_until_that_is_revoked() {
    let (users, asked) = (MemoryUsers::new(), Arc::new(AtomicUsize::new(0)));
    let (ronald, john) = (users.issue(7), users.issue(8));
    let cached = Cached::new(Counted { service: users.clone(), asked: Arc::clone(&asked) });
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), cached);
    let mut events = server.events();
    let addr = started(&server).await;
    let _client = connected(params(addr).token(ronald.expose())).await;
    assert_eq!(*opened(&mut events).await.user_id(), 7);
    for _ in 0..5 {
        assert_eq!(status(addr, ronald.expose()).await, 101);
        assert_eq!(status(addr, "nobody's").await, 401);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert!(users.revoke(&ronald));
    while ended(&mut events).await.by != EndedBy::Revoked {}
    assert_eq!(status(addr, ronald.expose()).await, 401);
    assert_eq!(status(addr, john.expose()).await, 101);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}
