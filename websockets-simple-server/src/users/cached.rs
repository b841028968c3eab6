//! A cache for the answers of a user service.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::Stream;
use moka::{Expiry, future::Cache};
use tokio::time::Instant;
use websockets_simple_core::wall_clock;

use crate::{
    figures::TicketFigures,
    net::HandshakeRequest,
    users::{
        revocation::{LONGEST_QUESTION, RecentRevocations, Revocation, Revocations},
        token_hash::{TokenHash, hash},
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// A cache in front of a user service that is remote or slow.
///
/// Any number of clients that send the same token at the same time cause one request to the service. Errors are not
/// cached. A user is cached for at most [`known_for`](Self::known_for), and never past the expiry that the service
/// gave; an unknown token is cached for [`unknown_for`](Self::unknown_for). After a revocation that the service
/// reports, the service is asked again.
///
/// Answers are cached only for clients that send a token and no certificate, by the SHA-256 of the token. The service
/// must decide by the token alone: its answer to one client is given to all others with that token, whatever their
/// address and request.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use websockets_simple_server::{Cached, MemoryUsers};
///
/// let users = Cached::new(MemoryUsers::<i64>::new()).known_for(Duration::from_secs(30)).entries(100_000);
/// ```
pub struct Cached<S: UserService> {
    service: S,
    known_for: Duration,
    unknown_for: Duration,
    answers: Cache<TokenHash, Answer<S::Id>>,
    revoked: Arc<RecentRevocations<S::Id>>,
}

impl<S: UserService> Cached<S> {
    /// Caches users for 60 seconds, unknown tokens for 5 seconds, and 10,000 answers in all.
    #[must_use]
    pub fn new(service: S) -> Self {
        let (known_for, unknown_for) = (Duration::from_secs(60), Duration::from_secs(5));
        Self {
            service,
            known_for,
            unknown_for,
            answers: cache(10_000),
            revoked: Arc::new(RecentRevocations::new(known_for + LONGEST_QUESTION)),
        }
    }

    /// How long a user is cached at most. Credentials that the service revokes without reporting it work for so long.
    #[must_use]
    pub fn known_for(mut self, at_most: Duration) -> Self {
        self.known_for = at_most;
        self.revoked = Arc::new(RecentRevocations::new(at_most.saturating_add(LONGEST_QUESTION)));
        self
    }

    /// How long an unknown token is cached. A token that a client sends before it is issued is refused for so long.
    #[must_use]
    pub fn unknown_for(mut self, at_most: Duration) -> Self {
        self.unknown_for = at_most;
        self
    }

    /// How many answers are cached at most; a user takes a few hundred bytes.
    #[must_use]
    pub fn entries(mut self, at_most: u64) -> Self {
        self.answers = cache(at_most);
        self
    }

    /// Changes the service before it is used.
    #[cfg(feature = "introspection")]
    pub(crate) fn with_service(mut self, change: impl FnOnce(&mut S)) -> Self {
        change(&mut self.service);
        self
    }

    async fn ask(&self, credentials: &Credentials, request: &HandshakeRequest<'_>) -> Answer<S::Id> {
        let asked_at = Instant::now();
        let answer = self.service.authenticate(credentials, request).await;
        let now = Instant::now();
        let kept = match &answer {
            Ok(Some(user)) => {
                let left = user.expiry().map(|at| (at - wall_clock()).to_std().unwrap_or_default());
                left.map_or(self.known_for, |left| left.min(self.known_for))
            }
            Ok(None) => self.unknown_for,
            Err(_) => Duration::ZERO,
        };
        // Such an answer is used, but not cached.
        let kept = if now - asked_at > LONGEST_QUESTION { Duration::ZERO } else { kept };
        Answer { answer, asked_at, answered_at: now, kept }
    }

    /// Whether a cached answer may no longer be used.
    fn is_stale(&self, answer: &Answer<S::Id>) -> bool {
        // Three clocks: the cache has its own, `answered_at` uses tokio's, and users expire by the wall clock.
        answer.answered_at.elapsed() >= answer.kept
            || answer.answer.as_ref().is_ok_and(|user| {
                user.as_ref().is_some_and(|user| {
                    user.expiry().is_some_and(|at| at <= wall_clock())
                        || self.revoked.concern(user, answer.asked_at)
                })
            })
    }
}

fn cache<T: Clone + Send + Sync + 'static>(entries: u64) -> Cache<TokenHash, Answer<T>> {
    Cache::builder().max_capacity(entries).expire_after(Kept).build()
}

#[async_trait]
impl<S: UserService> UserService for Cached<S> {
    type Id = S::Id;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<S::Id>>, UserServiceError> {
        let Some(token) = credentials.only_token() else {
            return self.service.authenticate(credentials, request).await;
        };
        let key = hash(token);
        // Boxed, as the cache moves the future from one function to the next by value.
        let ask = Box::pin(self.ask(credentials, request));
        let answer = self.answers.entry(key).or_insert_with_if(ask, |answer| self.is_stale(answer)).await;
        answer.into_value().answer
    }

    fn revocations(&self) -> Option<Revocations<S::Id>> {
        let inner = self.service.revocations()?;
        Some(Box::pin(Watched { inner, revoked: Arc::clone(&self.revoked) }))
    }

    fn tickets(&self) -> Option<TicketFigures> {
        self.service.tickets()
    }
}

impl<S: UserService + fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("service", &self.service)
            .field("known_for", &self.known_for)
            .field("unknown_for", &self.unknown_for)
            .finish_non_exhaustive()
    }
}

/// A cached answer of the service.
#[derive(Clone)]
struct Answer<T> {
    answer: Result<Option<Authenticated<T>>, UserServiceError>,
    asked_at: Instant,
    answered_at: Instant,
    /// How long it may be used again, after all clients that waited for it have got it.
    kept: Duration,
}

/// Makes the cache drop answers after their own lifetime.
struct Kept;

impl<T> Expiry<TokenHash, Answer<T>> for Kept {
    fn expire_after_create(
        &self,
        _key: &TokenHash,
        answer: &Answer<T>,
        _created_at: std::time::Instant,
    ) -> Option<Duration> {
        Some(answer.kept)
    }

    fn expire_after_update(
        &self,
        _key: &TokenHash,
        answer: &Answer<T>,
        _updated_at: std::time::Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(answer.kept)
    }
}

/// Records each revocation before it passes it on.
struct Watched<T> {
    inner: Revocations<T>,
    revoked: Arc<RecentRevocations<T>>,
}

impl<T: UserId> Stream for Watched<T> {
    type Item = Revocation<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Revocation<T>>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let Poll::Ready(Some(revocation)) = &polled {
            self.revoked.add(revocation);
        }
        polled
    }
}

#[cfg(test)]
mod tests;
