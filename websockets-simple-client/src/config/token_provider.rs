//! Where a client gets its tokens from.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use websockets_simple_core::Token;

/// Gives a client a token whenever it needs one: before each connect, and when the server says that the one it was
/// shown is about to expire.
///
/// An async closure is a provider:
///
/// ```
/// use websockets_simple_client::{ClientParams, Token};
///
/// let params = ClientParams::new("localhost", 8080).token_provider(async || {
///     // Ask whoever issues tokens.
///     Ok(Token::new("a token that is good for an hour"))
/// });
/// ```
#[async_trait]
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that is good now.
    ///
    /// # Errors
    ///
    /// When there is none. Its text may end up in logs: keep secrets out of it.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the connect timeout, or when the connection ends.
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

/// A provider among the parameters.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Arc<dyn TokenProvider>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}
