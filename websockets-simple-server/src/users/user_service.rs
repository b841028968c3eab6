//! The user service trait: it authenticates a client before the server admits the connection.

use std::{fmt, hash::Hash, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;
use websockets_simple_core::{Heartbeat, Token};

use crate::{figures::TicketFigures, net::HandshakeRequest, users::revocation::Revocations};

/// The type of a user id: any ordinary value, such as `i64`, `String` or `Uuid`. No value is special: 0, the empty
/// string and the nil UUID are users like any other.
///
/// `Eq` and `Hash` are called under locks of the server, which they must not use. `Clone` and `Drop` are not.
pub trait UserId: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static> UserId for T {}

/// Authenticates clients: maps the credentials of a client to a user.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{
///     Authenticated, Credentials, HandshakeRequest, UserService, UserServiceError, async_trait,
/// };
///
/// struct OneUser;
///
/// #[async_trait]
/// impl UserService for OneUser {
///     type Id = i64;
///
///     async fn authenticate(
///         &self,
///         credentials: &Credentials,
///         _request: &HandshakeRequest<'_>,
///     ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
///         let known = credentials.token().is_some_and(|token| token.expose() == "open sesame");
///         Ok(known.then(|| Authenticated::new(7)))
///     }
/// }
/// ```
#[async_trait]
pub trait UserService: Send + Sync + 'static {
    /// The id of a user.
    type Id: UserId;

    /// Returns the user of these credentials. Called before the handshake is answered, under the authentication
    /// deadline.
    ///
    /// `None` means that the credentials are unknown or invalid: the client is refused as unauthorized.
    ///
    /// # Errors
    ///
    /// When the service itself fails: the client is refused with 503 and may try again. No client is admitted on an
    /// error.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the deadline, or when the client hangs up.
    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<Self::Id>>, UserServiceError>;

    /// Returns a stream of revocations, reported as they happen: the server closes the connections that were opened
    /// with revoked credentials. Called when the server starts, and again if the stream panics; after the stream has
    /// ended, not before the next start.
    ///
    /// A service without this (the default) is asked once per connection, and never again.
    fn revocations(&self) -> Option<Revocations<Self::Id>> {
        None
    }

    /// Returns how many tickets the service has issued, for the [figures](crate::ServerFigures::tickets) of the server. A
    /// service that asks others sums up what they say.
    ///
    /// A service without this (the default) has none.
    fn tickets(&self) -> Option<TicketFigures> {
        None
    }
}

#[async_trait]
impl<S: UserService + ?Sized> UserService for Arc<S> {
    type Id = S::Id;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<Self::Id>>, UserServiceError> {
        (**self).authenticate(credentials, request).await
    }

    fn revocations(&self) -> Option<Revocations<S::Id>> {
        (**self).revocations()
    }

    fn tickets(&self) -> Option<TicketFigures> {
        (**self).tickets()
    }
}

/// The credentials that a client sent: a token, a TLS certificate, or both.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Credentials {
    pub(crate) token: Option<Token>,
    #[cfg(feature = "rustls")]
    pub(crate) certificate: Option<PeerCertificate>,
}

impl Credentials {
    /// Credentials of a token, for tests of a user service and for services that wrap another.
    #[must_use]
    pub fn of_token(token: impl Into<Token>) -> Self {
        Self { token: Some(token.into()), ..Self::default() }
    }

    /// Adds a certificate, as if the client had sent it in the TLS handshake.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[must_use]
    pub fn with_certificate(mut self, certificate: PeerCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The certificate that the client sent in the TLS handshake, verified. It can identify the user alone, or
    /// together with the token.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[must_use]
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref()
    }

    /// Whether there are no credentials at all.
    pub(crate) fn is_empty(&self) -> bool {
        #[cfg(feature = "rustls")]
        if self.certificate.is_some() {
            return false;
        }
        self.token.is_none()
    }

    /// The token, if it is the only credential.
    #[cfg(feature = "cache")]
    pub(crate) fn only_token(&self) -> Option<&Token> {
        #[cfg(feature = "rustls")]
        if self.certificate.is_some() {
            return None;
        }
        self.token()
    }

    /// The token, wherever the client put it.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }
}

/// An authenticated user: the id, and what the credentials allow and until when.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authenticated<T> {
    id: T,
    credential: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    scopes: Vec<String>,
    heartbeat: Option<Heartbeat>,
}

impl<T> Authenticated<T> {
    /// A user without expiry and scopes.
    #[must_use]
    pub fn new(id: T) -> Self {
        Self { id, credential: None, expires_at: None, scopes: Vec::new(), heartbeat: None }
    }

    /// Sets the id of the credentials, by which they can be revoked alone: the number of a token in its store, the
    /// `jti` of a JWT, the serial number of a certificate. Not a secret, and never the token itself.
    #[must_use]
    pub fn credential(mut self, id: impl Into<String>) -> Self {
        self.credential = Some(id.into());
        self
    }

    /// Sets when the credentials expire.
    #[must_use]
    pub fn expires_at(mut self, at: DateTime<Utc>) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Sets the scopes: what the credentials allow.
    #[must_use]
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Gives this connection a heartbeat of its own, with an interval between 1 ms and ten years.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// The id of the user.
    #[must_use]
    pub fn id(&self) -> &T {
        &self.id
    }

    /// The id of the credentials.
    #[must_use]
    pub fn credential_id(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// When the credentials expire.
    #[must_use]
    pub fn expiry(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// Whether the credentials have this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    pub(crate) fn heartbeat_override(&self) -> Option<Heartbeat> {
        self.heartbeat
    }
}

/// A failure of a user service. Its source may end up in logs: keep tokens out of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the user service failed")]
pub struct UserServiceError(#[source] Arc<dyn std::error::Error + Send + Sync>);

impl UserServiceError {
    /// Wraps an error, or a text.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into().into())
    }
}
