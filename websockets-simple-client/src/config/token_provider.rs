//! The source of a client's tokens.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use websockets_simple_core::Token;

/// Provides a client with tokens: before each connect, and when the server reports that the current token is about to
/// expire.
///
/// An async closure is a provider:
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
    /// Returns a token that is valid now. A provider that remembers tokens has to ask for another one where the reason is
    /// [`TokenReason::Refused`].
    ///
    /// # Errors
    ///
    /// When there is no token. The text of the error may end up in logs: keep secrets out of it. After
    /// [`NotAuthorized`] a client that [reconnects](crate::Reconnect) gives up; after any other error it asks again.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the connect timeout, or when the connection ends.
    async fn token(&self, reason: TokenReason) -> Result<Token, Box<dyn Error + Send + Sync>>;
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
impl<F, Fut> TokenProvider for F
where
    F: Fn(TokenReason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Token, Box<dyn Error + Send + Sync>>> + Send,
{
    async fn token(&self, reason: TokenReason) -> Result<Token, Box<dyn Error + Send + Sync>> {
        self(reason).await
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
