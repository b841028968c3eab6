//! A user service that combines several services.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_core::Stream;

use crate::{
    figures::TicketFigures,
    net::HandshakeRequest,
    users::{
        revocation::{Revocation, Revocations},
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// Several user services with the same ids, asked one after the other: the first that knows the credentials answers.
///
/// When a service fails, the later ones are still asked. If no service knows the credentials and one has failed, the
/// chain fails too, as the failed service might have known them. All of them share the one authentication deadline, so
/// put the fast ones first.
///
/// The ids of credentials get a prefix: `0/` for those of the first service, `1/` for those of the second. Two stores
/// that both count their tokens from 1 may be chained, and a token that is revoked in one store does not close
/// connections of the other. User ids get no prefix: a user that one service revokes is revoked in all.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{Chain, MemoryUsers, ServerParams, WebsocketServerAuth};
///
/// let guests = MemoryUsers::<i64>::new();
/// let members = MemoryUsers::<i64>::new();
/// let users = Chain::new(members.clone()).or(guests.clone());
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::new(8080), users);
/// ```
pub struct Chain<T> {
    services: Vec<Box<dyn UserService<Id = T>>>,
}

impl<T: UserId> Chain<T> {
    /// Makes a chain of one service, which is asked first.
    #[must_use]
    pub fn new(first: impl UserService<Id = T>) -> Self {
        Self { services: vec![Box::new(first)] }
    }

    /// Adds a service, which is asked if no service before it knows the credentials.
    #[must_use]
    pub fn or(mut self, next: impl UserService<Id = T>) -> Self {
        self.services.push(Box::new(next));
        self
    }
}

#[async_trait]
impl<T: UserId> UserService for Chain<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        let mut failure = None;
        for (place, service) in self.services.iter().enumerate() {
            match service.authenticate(credentials, request).await {
                Ok(Some(user)) => {
                    let credential = user.credential_id().map(|id| placed(place, id));
                    return Ok(Some(match credential {
                        Some(credential) => user.credential(credential),
                        None => user,
                    }));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(place, "a user service of a chain failed");
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    fn revocations(&self) -> Option<Revocations<T>> {
        let parts = self.services.iter().enumerate();
        let parts = parts.filter_map(|(place, service)| Some((place, service.revocations()?)));
        let parts = parts.collect::<Vec<_>>();
        if parts.is_empty() { None } else { Some(Box::pin(Merged { parts, next: 0 })) }
    }

    fn tickets(&self) -> Option<TicketFigures> {
        TicketFigures::sum(self.services.iter().map(|service| service.tickets()))
    }
}

/// The id that a credential of one service has in the whole chain.
fn placed(place: usize, credential: &str) -> String {
    format!("{place}/{credential}")
}

impl<T> fmt::Debug for Chain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("services", &self.services.len()).finish_non_exhaustive()
    }
}

/// The revocations of all services; ends when the last of their streams ends.
struct Merged<T> {
    parts: Vec<(usize, Revocations<T>)>,
    /// The stream that is polled first, so that a busy one does not starve the others.
    next: usize,
}

impl<T> Stream for Merged<T> {
    type Item = Revocation<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Revocation<T>>> {
        let mut left = self.parts.len();
        while left > 0 {
            left -= 1;
            let at = self.next % self.parts.len();
            let (place, part) = &mut self.parts[at];
            match part.as_mut().poll_next(cx) {
                Poll::Ready(Some(revocation)) => {
                    let revocation = match revocation {
                        Revocation::Credential(id) => Revocation::Credential(placed(*place, &id)),
                        Revocation::User(id) => Revocation::User(id),
                    };
                    self.next = at + 1;
                    return Poll::Ready(Some(revocation));
                }
                // The next stream has moved to this index.
                Poll::Ready(None) => drop(self.parts.remove(at)),
                Poll::Pending => self.next = at + 1,
            }
        }
        if self.parts.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::SocketAddr};

    use http::HeaderMap;

    use super::*;
    use crate::{net::RequestHead, users::memory::MemoryUsers};

    /// A service that always fails.
    struct Down(&'static str);

    #[async_trait]
    impl UserService for Down {
        type Id = i64;

        async fn authenticate(
            &self,
            _credentials: &Credentials,
            _request: &HandshakeRequest<'_>,
        ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
            Err(UserServiceError::new(self.0))
        }
    }

    fn users(token: &str, id: i64) -> MemoryUsers<i64> {
        let users = MemoryUsers::new();
        users.add(token, id);
        users
    }

    async fn ask(chain: &Chain<i64>, token: &str) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        let head = RequestHead::new("/", "", &HeaderMap::new());
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        chain.authenticate(&Credentials::of_token(token), &HandshakeRequest::new(&head, addr, addr)).await
    }

    async fn whose(chain: &Chain<i64>, token: &str) -> Result<Option<i64>, String> {
        let answer = ask(chain, token).await;
        answer
            .map(|user| user.map(|user| *user.id()))
            .map_err(|error| std::error::Error::source(&error).unwrap().to_string())
    }

    async fn next(revocations: &mut Revocations<i64>) -> Option<Revocation<i64>> {
        poll_fn(|cx| revocations.as_mut().poll_next(cx)).await
    }

    #[tokio::test]
    async fn the_first_that_knows_the_token_answers() {
        let both = users("one", 1);
        both.add("both", 1);
        let other = users("two", 2);
        other.add("both", 2);
        let chain = Chain::new(both).or(other);
        assert_eq!(whose(&chain, "one").await, Ok(Some(1)));
        assert_eq!(whose(&chain, "two").await, Ok(Some(2)));
        assert_eq!(whose(&chain, "both").await, Ok(Some(1)));
        assert_eq!(whose(&chain, "none").await, Ok(None));
    }

    #[tokio::test]
    async fn an_error_does_not_hide_behind_a_later_nobody_nor_keep_a_later_service_from_answering() {
        let chain = Chain::new(Down("first")).or(users("two", 2)).or(Down("last"));
        assert_eq!(whose(&chain, "two").await, Ok(Some(2)));
        assert_eq!(whose(&chain, "none").await, Err("first".to_owned()), "the first error is the answer");
        let chain = Chain::new(users("one", 1)).or(Down("last"));
        assert_eq!(whose(&chain, "one").await, Ok(Some(1)));
        assert_eq!(whose(&chain, "none").await, Err("last".to_owned()));
    }

    #[tokio::test]
    async fn revocations_of_all_are_merged_and_credentials_of_two_stores_are_told_apart() {
        let (one, two) = (users("one", 1), users("two", 2));
        let chain = Chain::new(one.clone()).or(Down("in between")).or(two.clone());
        let of_one = ask(&chain, "one").await.unwrap().unwrap();
        let of_two = ask(&chain, "two").await.unwrap().unwrap();
        assert_ne!(of_one.credential_id(), of_two.credential_id(), "both are the first of their store");
        let mut revocations = chain.revocations().unwrap();
        assert!(two.revoke(&"two".into()));
        let revoked = next(&mut revocations).await.unwrap();
        assert!(revoked.concerns(&of_two) && !revoked.concerns(&of_one), "{revoked:?}");
        one.revoke_user(&1);
        assert_eq!(next(&mut revocations).await, Some(Revocation::User(1)));
    }

    #[tokio::test]
    async fn a_busy_service_does_not_starve_the_revocations_of_another_and_the_end_is_that_of_the_last() {
        let (one, two) = (users("one", 1), users("two", 2));
        let chain = Chain::new(one.clone()).or(two.clone());
        let mut revocations = chain.revocations().unwrap();
        for _ in 0..10 {
            one.revoke_user(&1);
        }
        two.revoke_user(&2);
        assert_eq!(next(&mut revocations).await, Some(Revocation::User(1)));
        assert_eq!(next(&mut revocations).await, Some(Revocation::User(2)));
        drop((chain, one));
        for _ in 0..9 {
            assert_eq!(next(&mut revocations).await, Some(Revocation::User(1)));
        }
        two.revoke_user(&3);
        assert_eq!(next(&mut revocations).await, Some(Revocation::User(3)), "one has ended, two has not");
        drop(two);
        assert_eq!(next(&mut revocations).await, None);
    }

    #[test]
    fn services_without_revocations_make_a_chain_without() {
        assert!(Chain::new(Down("one")).or(Down("two")).revocations().is_none());
    }
}
