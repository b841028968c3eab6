//! A user service of JSON Web Tokens.

use std::{collections::HashSet, fmt, marker::PhantomData, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use websockets_simple_core::Token;

use crate::{Authenticated, Credentials, HandshakeRequest, UserId, UserService, UserServiceError};

#[cfg(feature = "jwks")]
pub use jwks::{Jwks, JwksError};
pub use key::{JwtAlgorithm, JwtKey, JwtKeyError};

#[cfg(feature = "jwks")]
mod jwks;
mod key;

/// Bytes of the longest token that is looked at: longer ones do not fit into the head of a request anyway, but may come
/// over an open connection.
const LONGEST: usize = 8 * 1024;

/// Admits who shows a JSON Web Token (RFC 7519) that is signed by one of these keys, for us, and good now.
///
/// A key is used with its own algorithm and no other: what the token says of itself decides nothing. `exp` has to be
/// there, `nbf` is heeded where it is. The user is the claim `sub`, or another; `scope` (words) or `scp` (a list) become
/// the scopes, `jti` names the credentials, and with `exp` they expire: the server asks for new ones in time, see
/// [`ServerParams::expiry`](crate::ServerParams::expiry).
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{JwtAlgorithm, JwtKey, JwtUsers, ServerParams, WebsocketServerAuth};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = JwtKey::from_secret(JwtAlgorithm::HS256, b"a secret of at least 32 random bytes")?;
/// let users = JwtUsers::<i64>::new([key]).issuer("https://login.example").audience("chat");
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
/// # Ok(()) }
/// ```
pub struct JwtUsers<T> {
    keys: Keys,
    issuers: HashSet<String>,
    audiences: HashSet<String>,
    leeway: Duration,
    user_claim: String,
    id: PhantomData<fn() -> T>,
}

enum Keys {
    Given(Vec<JwtKey>),
    #[cfg(feature = "jwks")]
    Fetched(Jwks),
}

type Claims = Map<String, Value>;

impl<T: UserId + DeserializeOwned> JwtUsers<T> {
    /// Tokens that are signed by one of these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = JwtKey>) -> Self {
        Self::with(Keys::Given(keys.into_iter().collect()))
    }

    /// Tokens that are signed by one of the keys that an issuer publishes.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn with_jwks(jwks: Jwks) -> Self {
        Self::with(Keys::Fetched(jwks))
    }

    fn with(keys: Keys) -> Self {
        Self {
            keys,
            issuers: HashSet::new(),
            audiences: HashSet::new(),
            leeway: Duration::from_secs(60),
            user_claim: "sub".to_owned(),
            id: PhantomData,
        }
    }

    /// Wants the claim `iss` to be this, or another that was given. Default: it is not looked at.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.insert(issuer.into());
        self
    }

    /// Wants the claim `aud` to name this, or another that was given. Default: a token that is meant for somebody is
    /// not meant for us.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.insert(audience.into());
        self
    }

    /// How much the clocks may differ. Default: 60 s.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The claim that is the id of the user. Default: `sub`. A number in a string is a number where `T` is one.
    #[must_use]
    pub fn user_claim(mut self, claim: impl Into<String>) -> Self {
        self.user_claim = claim.into();
        self
    }

    fn validation(&self, key: &JwtKey) -> Validation {
        let mut validation = Validation::new(key.algorithm.into());
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        if !self.issuers.is_empty() {
            validation.iss = Some(self.issuers.clone());
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if !self.audiences.is_empty() {
            validation.aud = Some(self.audiences.clone());
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }

    /// What a token says that one of the keys has signed.
    fn claims(&self, token: &Token, keys: &[JwtKey], kid: Option<&str>) -> Option<Claims> {
        let mut reason = "no key is known by that name and algorithm";
        for key in keys.iter().filter(|key| key.may_be(kid)) {
            match decode::<Claims>(token.expose(), &key.key, &self.validation(key)) {
                Ok(decoded) => return Some(decoded.claims),
                Err(error) => reason = in_words(error.kind()),
            }
        }
        tracing::debug!(reason, "a JSON Web Token is not accepted");
        None
    }

    /// The user of a token that was found good.
    fn user(&self, claims: &Claims) -> Option<Authenticated<T>> {
        let said = claims.get(&self.user_claim)?;
        let id = T::deserialize(said).ok().or_else(|| serde_json::from_str(said.as_str()?).ok());
        let Some(id) = id else {
            tracing::debug!(claim = self.user_claim, "a JSON Web Token names no user of the right kind");
            return None;
        };
        let mut user = Authenticated::new(id).scopes(scopes(claims));
        if let Some(expires) = claims.get("exp").and_then(Value::as_f64) {
            // Further away than a date can be is as good as never.
            user = user
                .expires_at(DateTime::from_timestamp(expires as i64, 0).unwrap_or(DateTime::<Utc>::MAX_UTC));
        }
        if let Some(id) = claims.get("jti").and_then(Value::as_str) {
            user = user.credential(id);
        }
        Some(user)
    }
}

/// `scope` of RFC 8693 section 4.2, or `scp` as some issuers have it.
fn scopes(claims: &Claims) -> Vec<String> {
    let words = |value: &Value| match value {
        Value::String(words) => words.split_ascii_whitespace().map(str::to_owned).collect(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    claims.get("scope").or_else(|| claims.get("scp")).map(words).unwrap_or_default()
}

/// Why a token is not accepted, without anything of the token.
fn in_words(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "it lacks a claim",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAlgorithm => "it is signed with another algorithm than that of the key",
        _ => "it is malformed",
    }
}

#[async_trait]
impl<T: UserId + DeserializeOwned> UserService for JwtUsers<T> {
    type Id = T;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<T>>, UserServiceError> {
        let Some(token) = credentials.token().filter(|token| token.expose().len() <= LONGEST) else {
            return Ok(None);
        };
        // Also where no key is needed to see that it is none: nobody is asked for keys because of it.
        let Ok(header) = decode_header(token.expose()) else {
            tracing::debug!("a token is no JSON Web Token");
            return Ok(None);
        };
        let kid = header.kid.as_deref();
        let claims = match &self.keys {
            Keys::Given(keys) => self.claims(token, keys, kid),
            #[cfg(feature = "jwks")]
            Keys::Fetched(jwks) => {
                let keys = jwks.keys(kid).await.map_err(UserServiceError::new)?;
                self.claims(token, &keys, kid)
            }
        };
        Ok(claims.and_then(|claims| self.user(&claims)))
    }
}

impl<T> fmt::Debug for JwtUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("JwtUsers");
        match &self.keys {
            Keys::Given(keys) => shown.field("keys", keys),
            #[cfg(feature = "jwks")]
            Keys::Fetched(jwks) => shown.field("keys", jwks),
        };
        shown.field("issuers", &self.issuers).field("audiences", &self.audiences).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
