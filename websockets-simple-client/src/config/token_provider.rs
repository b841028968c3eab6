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
/// let params = ClientParams::new("localhost", 8080).token_provider(async || {
///     // Ask the issuer.
///     Ok(Token::new("a token that is valid for an hour"))
/// });
/// ```
#[async_trait]
pub trait TokenProvider: Send + Sync + 'static {
    /// Returns a token that is valid now.
    ///
    /// # Errors
    ///
    /// When there is no token. The text of the error may end up in logs: keep secrets out of it.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the connect timeout, or when the connection ends.
    async fn token(&self) -> Result<Token, Box<dyn Error + Send + Sync>>;
}

#[async_trait]
impl<F, Fut> TokenProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Token, Box<dyn Error + Send + Sync>>> + Send,
{
    async fn token(&self) -> Result<Token, Box<dyn Error + Send + Sync>> {
        self().await
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
