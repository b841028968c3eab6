//! A user service that keeps its users in memory.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_core::Stream;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use websockets_simple_core::{Token, wall_clock};

use crate::{
    net::HandshakeRequest,
    users::{
        revocation::{Revocation, Revocations},
        token_hash::{TokenHash, hash, random_token},
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// A user service that keeps users and their tokens in memory. Only SHA-256 hashes of tokens are kept, so tokens must
/// be random and long: [`issue`](Self::issue) makes such tokens. A clone is another handle of the same users.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::MemoryUsers;
///
/// let users = MemoryUsers::new();
/// let token = users.issue("ronald".to_owned());
/// assert_eq!(users.len(), 1);
/// assert!(users.revoke(&token));
/// assert!(users.is_empty());
/// ```
pub struct MemoryUsers<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    tokens: RwLock<HashMap<TokenHash, Arc<Known<T>>>>,
    /// The id of the next token.
    next: AtomicU64,
    /// The servers that revocations are sent to.
    told: Mutex<Vec<mpsc::UnboundedSender<Revocation<T>>>>,
}

struct Known<T> {
    id: T,
    credential: u64,
    expires_at: Option<DateTime<Utc>>,
}

impl<T: UserId> MemoryUsers<T> {
    /// Makes an empty user service.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { tokens: RwLock::default(), next: AtomicU64::new(1), told: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a token of a user. A user may have several; a token belongs to the user it was added for last.
    pub fn add(&self, token: impl Into<Token>, id: T) {
        self.insert(&token.into(), id, None);
    }

    /// Adds a token that is valid until `expires_at`.
    pub fn add_until(&self, token: impl Into<Token>, id: T, expires_at: DateTime<Utc>) {
        self.insert(&token.into(), id, Some(expires_at));
    }

    /// Makes a new token of 256 random bits for a user.
    #[must_use]
    pub fn issue(&self, id: T) -> Token {
        let token = random_token();
        self.insert(&token, id, None);
        token
    }

    /// Removes a token, and closes the connections that were opened with it. Returns false if it was unknown.
    pub fn revoke(&self, token: &Token) -> bool {
        let Some(known) = self.write(|tokens| tokens.remove(&hash(token))) else { return false };
        self.tell(&Revocation::Credential(known.credential.to_string()));
        true
    }

    /// Removes all tokens of a user, and closes the connections of the user; returns how many tokens there were.
    pub fn revoke_user(&self, id: &T) -> usize {
        let revoked: Vec<_> = self
            .write(|tokens| tokens.extract_if(|_, known| known.id == *id).map(|(_, known)| known).collect());
        self.tell(&Revocation::User(id.clone()));
        revoked.len()
    }

    fn tell(&self, revocation: &Revocation<T>) {
        let told = {
            let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|server| !server.is_closed());
            told.clone()
        };
        // Outside of the lock, as this wakes who waits for it.
        for server in told {
            let _ = server.send(revocation.clone());
        }
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.tokens.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert(&self, token: &Token, id: T, expires_at: Option<DateTime<Utc>>) {
        let credential = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let known = Arc::new(Known { id, credential, expires_at });
        // Bound, so that a replaced id is dropped after the lock.
        let _replaced = self.write(|tokens| tokens.insert(hash(token), known));
    }

    fn write<R>(&self, f: impl FnOnce(&mut HashMap<TokenHash, Arc<Known<T>>>) -> R) -> R {
        f(&mut self.shared.tokens.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl<T: UserId> UserService for MemoryUsers<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        let Some(token) = credentials.token() else { return Ok(None) };
        let shown = hash(token);
        // A client cannot choose a token whose hash is close to a stored one, so the timing of the map lookup reveals
        // nothing; the final comparison takes constant time.
        let found = {
            let tokens = self.shared.tokens.read().unwrap_or_else(PoisonError::into_inner);
            tokens.get_key_value(&shown).map(|(stored, known)| (*stored, Arc::clone(known)))
        };
        let Some((stored, known)) = found else { return Ok(None) };
        if !bool::from(stored.ct_eq(&shown)) || known.expires_at.is_some_and(|at| at <= wall_clock()) {
            return Ok(None);
        }
        let authenticated = Authenticated::new(known.id.clone()).credential(known.credential.to_string());
        Ok(Some(match known.expires_at {
            Some(at) => authenticated.expires_at(at),
            None => authenticated,
        }))
    }

    fn revocations(&self) -> Option<Revocations<T>> {
        let (server, told) = mpsc::unbounded_channel();
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        Some(Box::pin(Told(told)))
    }
}

/// Revocations for one server.
struct Told<T>(mpsc::UnboundedReceiver<Revocation<T>>);

impl<T: UserId> Stream for Told<T> {
    type Item = Revocation<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Revocation<T>>> {
        self.get_mut().0.poll_recv(cx)
    }
}

impl<T> Unpin for Told<T> {}

impl<T> Clone for MemoryUsers<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: UserId> Default for MemoryUsers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for MemoryUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.shared.tokens.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("MemoryUsers").field("tokens", &tokens.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use chrono::TimeDelta;
    use http::HeaderMap;
    use uuid::Uuid;

    use super::*;
    use crate::net::RequestHead;

    async fn ask<T: UserId>(users: &MemoryUsers<T>, credentials: &Credentials) -> Option<Authenticated<T>> {
        let head = RequestHead::new("/", "", &HeaderMap::new());
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        users.authenticate(credentials, &HandshakeRequest::new(&head, addr, addr)).await.unwrap()
    }

    async fn whose<T: UserId>(users: &MemoryUsers<T>, token: &str) -> Option<T> {
        ask(users, &Credentials::of_token(token)).await.map(|user| user.id().clone())
    }

    /// Checks that two users are distinguished, whatever their ids are.
    async fn are_told_apart<T: UserId>(one: T, other: T) {
        let users = MemoryUsers::new();
        users.add("token of one", one.clone());
        users.add("token of the other", other.clone());
        assert_eq!(whose(&users, "token of one").await, Some(one.clone()));
        assert_eq!(whose(&users, "token of the other").await, Some(other.clone()));
        assert_eq!(whose(&users, "token of nobody").await, None);
        assert_eq!(users.revoke_user(&one), 1);
        assert_eq!(whose(&users, "token of one").await, None);
        assert_eq!(whose(&users, "token of the other").await, Some(other));
    }

    #[tokio::test]
    async fn zero_the_empty_string_and_the_nil_uuid_are_users_like_any_other() {
        are_told_apart(0_i32, -1).await;
        are_told_apart(0_i64, i64::MIN).await;
        are_told_apart(String::new(), " ".to_owned()).await;
        are_told_apart(Uuid::nil(), Uuid::max()).await;
    }

    #[tokio::test]
    async fn without_a_token_nobody_is_known() {
        let users = MemoryUsers::new();
        users.add("", 7_i64);
        assert!(ask(&users, &Credentials::default()).await.is_none());
    }

    #[tokio::test]
    async fn tokens_differ_in_every_letter_and_blank() {
        let users = MemoryUsers::new();
        users.add("Token", 7_i64);
        for other in ["token", "Token ", " Token", "Toke", "Token\0", ""] {
            assert_eq!(whose(&users, other).await, None, "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_token_belongs_to_the_user_it_was_added_for_last() {
        let users = MemoryUsers::new();
        users.add_until("token", 7_i64, Utc::now() - TimeDelta::seconds(1));
        users.add("token", 8);
        assert_eq!((users.len(), whose(&users, "token").await), (1, Some(8)));
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_expires() {
        let users = MemoryUsers::new();
        let later = Utc::now() + TimeDelta::hours(1);
        users.add_until("good", 7_i64, later);
        users.add_until("expired", 7, Utc::now());
        users.add("for ever", 7);
        let expiry = async |token| ask(&users, &Credentials::of_token(token)).await.map(|user| user.expiry());
        assert_eq!(expiry("good").await, Some(Some(later)));
        assert_eq!(expiry("expired").await, None);
        assert_eq!(expiry("for ever").await, Some(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires_in_paused_time_too() {
        let users = MemoryUsers::new();
        users.add_until("token", 7_i64, Utc::now() + TimeDelta::hours(1));
        tokio::time::advance(std::time::Duration::from_secs(3590)).await;
        assert_eq!(whose(&users, "token").await, Some(7));
        tokio::time::advance(std::time::Duration::from_secs(11)).await;
        assert_eq!(whose(&users, "token").await, None);
    }

    #[tokio::test]
    async fn issued_tokens_are_long_differ_and_fit_every_placement() {
        let users = MemoryUsers::new();
        let (one, two) = (users.issue("ronald".to_owned()), users.issue("ronald".to_owned()));
        assert_ne!(one.expose(), two.expose());
        for token in [one, two] {
            assert_eq!(token.expose().len(), 43, "256 bits in base64");
            assert!(token.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(whose(&users, token.expose()).await.unwrap(), "ronald");
        }
    }

    #[tokio::test]
    async fn a_revoked_token_is_forgotten_by_every_handle() {
        let users = MemoryUsers::new();
        let handle = users.clone();
        let token = users.issue(7_i64);
        users.add("another", 7);
        assert!(handle.revoke(&token));
        assert!(!handle.revoke(&token), "it was known only once");
        assert_eq!(whose(&users, token.expose()).await, None);
        assert_eq!(whose(&users, "another").await, Some(7));
        assert_eq!(users.revoke_user(&8), 0);
        assert_eq!(users.revoke_user(&7), 1);
        assert!(handle.is_empty());
    }

    #[test]
    fn neither_tokens_nor_users_are_shown() {
        let users = MemoryUsers::new();
        users.add("secret-7", "ronald".to_owned());
        let shown = format!("{users:?}");
        assert_eq!(shown, "MemoryUsers { tokens: 1, .. }");
    }
}
