//! A user service for JSON Web Tokens.

#[cfg(feature = "jwks")]
mod jwks;
mod key;

use std::{fmt, marker::PhantomData, time::Duration};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use websockets_simple_core::{Token, wall_clock};

#[cfg(feature = "jwks")]
pub use self::jwks::Jwks;
pub use self::key::{JwtAlgorithm, JwtKey, JwtKeyError};
use crate::{
    net::HandshakeRequest,
    users::{
        claims::{self, Claims, LONGEST_TOKEN},
        user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError},
    },
};

/// A user service for signed JSON Web Tokens (RFC 7519), with keys that are given, that the issuer publishes, or both.
///
/// A token is valid if one of the keys verifies its signature with an algorithm of that key, it is from this issuer
/// (`iss`) and for this audience (`aud`), it has an expiry (`exp`) that is not over, and no `nbf` in the future. The
/// user id is in the claim [`id_claim`](Self::id_claim), a number or a string; the scopes are in `scope` or `scp`; the
/// id of the token is in `jti`. Any other token is refused; `tracing` reports why at the level `debug`, without the
/// token. Tokens of more than 8 KiB are refused unread.
///
/// Tokens cannot be revoked at the issuer before they expire, so let them be short-lived. For several issuers, put one
/// service for each into a [`Chain`](crate::Chain).
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{JwtKey, JwtUsers, Jwks, ServerParams, WebsocketServerAuth};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // Users with numbers, of an issuer that publishes its keys.
/// let users = JwtUsers::new("https://issuer.example", "chat")
///     .jwks(Jwks::new("https://issuer.example/.well-known/jwks.json")?);
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::new(8080), users);
///
/// // Users with names, of an issuer that shares a secret.
/// let users = JwtUsers::new("https://issuer.example", "chat").key(JwtKey::hmac([7; 32])?).id_claim("name");
/// let server = WebsocketServerAuth::<String>::new(ServerParams::new(8080), users);
/// # Ok(()) }
/// # example().unwrap();
/// ```
pub struct JwtUsers<T> {
    issuer: String,
    audiences: Vec<String>,
    keys: Vec<JwtKey>,
    #[cfg(feature = "jwks")]
    jwks: Option<Jwks>,
    id_claim: String,
    leeway: TimeDelta,
    id: PhantomData<fn() -> T>,
}

impl<T: UserId + DeserializeOwned> JwtUsers<T> {
    /// Accepts tokens of this issuer for this audience. Without keys, no token is valid.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            keys: Vec::new(),
            #[cfg(feature = "jwks")]
            jwks: None,
            id_claim: "sub".to_owned(),
            leeway: TimeDelta::seconds(60),
            id: PhantomData,
        }
    }

    /// Accepts tokens for this audience, too.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Adds a key. There may be several, so that the issuer can rotate its keys.
    #[must_use]
    pub fn key(mut self, key: JwtKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Uses the keys that the issuer publishes, after those that were added with [`key`](Self::key).
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn jwks(mut self, keys: Jwks) -> Self {
        self.jwks = Some(keys);
        self
    }

    /// Which claim is the id of the user, `sub` by default. It must be one that only the issuer can set and that no two
    /// users share: not an unverified e-mail address.
    #[must_use]
    pub fn id_claim(mut self, claim: impl Into<String>) -> Self {
        self.id_claim = claim.into();
        self
    }

    /// How far the clock of the issuer may be off, 60 seconds by default. A token is valid from so long before its
    /// `nbf` until so long after its `exp`, and a connection that was opened with it expires then.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = TimeDelta::from_std(leeway).unwrap_or(TimeDelta::MAX);
        self
    }

    /// Whether one of the published keys verifies the signature.
    #[cfg(feature = "jwks")]
    async fn is_by_a_published_key(&self, signed: &Signed<'_>) -> Result<bool, UserServiceError> {
        let Some(jwks) = &self.jwks else { return Ok(false) };
        let keys = jwks.keys(signed.key.as_deref()).await.map_err(UserServiceError::new)?;
        Ok(signed.is_by_one_of(&keys))
    }

    /// The user that the claims name, if they are valid at that time.
    fn judge(&self, claims: &Claims, now: DateTime<Utc>) -> Result<Authenticated<T>, Flaw> {
        if !claims.get("iss").is_some_and(|issuer| issuer == &self.issuer) {
            return Err(Flaw::Issuer);
        }
        if !claims.get("aud").is_some_and(|audience| claims::is_one_of(audience, &self.audiences)) {
            return Err(Flaw::Audience);
        }
        let later =
            |time: DateTime<Utc>| time.checked_add_signed(self.leeway).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let expiry = later(claims.get("exp").and_then(claims::time).ok_or(Flaw::NoExpiry)?);
        if expiry <= now {
            return Err(Flaw::Expired);
        }
        if let Some(claim) = claims.get("nbf")
            && claims::time(claim).is_none_or(|begin| begin > later(now))
        {
            return Err(Flaw::NotYet);
        }
        Ok(claims::user::<T>(claims, &self.id_claim).ok_or(Flaw::NoUser)?.expires_at(expiry))
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
        let Some(token) = credentials.token() else { return Ok(None) };
        let claims = match Signed::parse(token) {
            Ok(signed) if signed.is_by_one_of(&self.keys) => signed.claims(),
            #[cfg(feature = "jwks")]
            Ok(signed) if self.is_by_a_published_key(&signed).await? => signed.claims(),
            Ok(_) => Err(Flaw::Signature),
            Err(flaw) => Err(flaw),
        };
        let user = claims.and_then(|claims| self.judge(&claims, wall_clock()));
        Ok(user.inspect_err(|reason| tracing::debug!(%reason, "token refused")).ok())
    }
}

impl<T> fmt::Debug for JwtUsers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("JwtUsers");
        shown
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("keys", &self.keys)
            .field("id_claim", &self.id_claim)
            .field("leeway", &self.leeway);
        #[cfg(feature = "jwks")]
        shown.field("jwks", &self.jwks);
        shown.finish()
    }
}

/// Why a token is refused. It shows nothing of the content of the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Flaw {
    #[error("the token is for another audience")]
    Audience,
    #[error("unsupported critical header")]
    Critical,
    #[error("the token has expired")]
    Expired,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("not a JSON Web Token, or an unsupported algorithm")]
    Malformed,
    #[error("the expiry is missing or invalid")]
    NoExpiry,
    #[error("the user id claim is missing or has the wrong type")]
    NoUser,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("no key for this algorithm verifies the signature")]
    Signature,
    #[error("the token is too long")]
    TooLong,
}

/// A parsed token (RFC 7515 section 7.1), not verified.
struct Signed<'a> {
    algorithm: JwtAlgorithm,
    /// The id of the key that it claims to be signed with (`kid`).
    key: Option<String>,
    /// Header and payload, as they are signed.
    message: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Signed<'a> {
    fn parse(token: &'a Token) -> Result<Self, Flaw> {
        let token = token.expose();
        if token.len() > LONGEST_TOKEN {
            return Err(Flaw::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (_, payload) = message.split_once('.').ok_or(Flaw::Malformed)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Flaw::Malformed)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| Flaw::Malformed)?;
        if header.crit.is_some() {
            return Err(Flaw::Critical);
        }
        let algorithm = JwtAlgorithm::of(header.alg).ok_or(Flaw::Malformed)?;
        Ok(Self { algorithm, key: header.kid, message, payload, signature })
    }

    fn is_by_one_of(&self, keys: &[JwtKey]) -> bool {
        let mut called = keys.iter().filter(|key| key.is_called(self.key.as_deref()));
        called.any(|key| key.verifies(self.algorithm, self.message.as_bytes(), &self.signature))
    }

    fn claims(&self) -> Result<Claims, Flaw> {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| Flaw::Malformed)?;
        serde_json::from_slice(&payload).map_err(|_| Flaw::Malformed)
    }
}

#[cfg(test)]
mod tests;
