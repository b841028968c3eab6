//! The source of a client's tokens.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use websockets_simple_core::{Token, wall_clock};

/// Provides a client with tokens: before each connect, and when the server reports that the current token is about to
/// expire.
///
/// An async closure is a provider. It returns a [`Token`], or an [`IssuedToken`] that says when it expires, which
/// [`Remembered`](crate::Remembered) heeds:
///
/// ```
/// use websockets_simple_client::{ClientParams, Token};
///
/// let params = ClientParams::new("localhost", 8080).token_provider(async |_reason| {
///     // Ask the issuer.
///     Ok(Token::new("a token that is valid for an hour"))
/// });
/// ```
#[async_trait]
pub trait TokenProvider: Send + Sync + 'static {
    /// Returns a token that is valid now. A provider that remembers tokens, as [`Remembered`](crate::Remembered) does, has
    /// to ask for another one where the reason is [`TokenReason::Refused`].
    ///
    /// # Errors
    ///
    /// When there is no token. The text of the error may end up in logs: keep secrets out of it. After
    /// [`NotAuthorized`] a client that [reconnects](crate::Reconnect) gives up; after any other error it asks again.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the connect timeout, or when the connection ends.
    async fn token(&self, reason: TokenReason) -> Result<IssuedToken, Box<dyn Error + Send + Sync>>;
}

/// A token as its issuer gives it.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub(crate) token: Token,
    pub(crate) expires: Option<DateTime<Utc>>,
}

impl IssuedToken {
    /// A token whose expiry is not known.
    #[must_use]
    pub fn new(token: impl Into<Token>) -> Self {
        Self { token: token.into(), expires: None }
    }

    /// When the token expires, from this call on: the `expires_in` of OAuth (RFC 6749 section 5.1).
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        let expires = TimeDelta::from_std(time).ok().and_then(|time| wall_clock().checked_add_signed(time));
        Self { expires, ..self }
    }

    /// When the token expires: the `exp` of a JWT (RFC 7519 section 4.1.4).
    #[must_use]
    pub fn expires_at(self, at: DateTime<Utc>) -> Self {
        Self { expires: Some(at), ..self }
    }
}

impl From<Token> for IssuedToken {
    fn from(token: Token) -> Self {
        Self::new(token)
    }
}

/// What a token is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenReason {
    /// The first connect since the application has asked for one.
    First,
    /// The client connects again after it was lost.
    Again,
    /// The server has refused the last token, or the credentials have expired: another one is needed.
    Refused,
    /// The token of an open connection is about to expire.
    Expiring,
}

/// The error of a [`TokenProvider`] that will not have a token later either: the user has signed out, for example.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, thiserror::Error)]
#[error("not authorized")]
pub struct NotAuthorized;

#[async_trait]
impl<F, Fut, T> TokenProvider for F
where
    F: Fn(TokenReason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send,
    T: Into<IssuedToken>,
{
    async fn token(&self, reason: TokenReason) -> Result<IssuedToken, Box<dyn Error + Send + Sync>> {
        self(reason).await.map(Into::into)
    }
}

/// A token provider with a `Debug` form, as the parameters have one.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Arc<dyn TokenProvider>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}
