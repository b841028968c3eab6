//! A user service that keeps its users in memory.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use websockets_simple_core::Token;

use crate::{Authenticated, Credentials, HandshakeRequest, UserId, UserService, UserServiceError};

type Hash = [u8; 32];

/// Users and their tokens, in memory. Only SHA-256 hashes of tokens are kept, so tokens must be random and long:
/// [`issue`](Self::issue) makes them. Cloning gives another handle of the same users.
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
    tokens: Arc<RwLock<HashMap<Hash, Known<T>>>>,
}

struct Known<T> {
    id: T,
    expires_at: Option<DateTime<Utc>>,
}

impl<T: UserId> MemoryUsers<T> {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self { tokens: Arc::default() }
    }

    /// Adds a token of a user. A user may have several, a token belongs to the user it was added for last.
    pub fn add(&self, token: impl Into<Token>, id: T) {
        self.insert(&token.into(), id, None);
    }

    /// Adds a token that is good until `expires_at`.
    pub fn add_until(&self, token: impl Into<Token>, id: T, expires_at: DateTime<Utc>) {
        self.insert(&token.into(), id, Some(expires_at));
    }

    /// Makes a new token of 256 random bits for a user.
    #[must_use]
    pub fn issue(&self, id: T) -> Token {
        let token = Token::new(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        self.insert(&token, id, None);
        token
    }

    /// Forgets a token. False if it was not known.
    pub fn revoke(&self, token: &Token) -> bool {
        self.write(|tokens| tokens.remove(&hash(token)).is_some())
    }

    /// Forgets all tokens of a user; answers how many.
    pub fn revoke_user(&self, id: &T) -> usize {
        self.write(|tokens| {
            let before = tokens.len();
            tokens.retain(|_, known| known.id != *id);
            before - tokens.len()
        })
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert(&self, token: &Token, id: T, expires_at: Option<DateTime<Utc>>) {
        self.write(|tokens| tokens.insert(hash(token), Known { id, expires_at }));
    }

    fn write<R>(&self, f: impl FnOnce(&mut HashMap<Hash, Known<T>>) -> R) -> R {
        f(&mut self.tokens.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn hash(token: &Token) -> Hash {
    Sha256::digest(token.expose()).into()
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
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        // The map finds by a hash that nobody can steer towards another; the comparison that decides takes the
        // same time wherever the two differ.
        let Some((stored, known)) = tokens.get_key_value(&shown) else { return Ok(None) };
        if !bool::from(stored.ct_eq(&shown)) || known.expires_at.is_some_and(|at| at <= Utc::now()) {
            return Ok(None);
        }
        let authenticated = Authenticated::new(known.id.clone());
        Ok(Some(match known.expires_at {
            Some(at) => authenticated.expires_at(at),
            None => authenticated,
        }))
    }
}

impl<T> Clone for MemoryUsers<T> {
    fn clone(&self) -> Self {
        Self { tokens: Arc::clone(&self.tokens) }
    }
}

impl<T: UserId> Default for MemoryUsers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for MemoryUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("MemoryUsers").field("tokens", &tokens.len()).finish_non_exhaustive()
    }
}
