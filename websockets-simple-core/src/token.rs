//! A secret that cannot be printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// The secret with which a client authenticates.
///
/// The text is wiped from memory when the token is dropped, and no `Debug` or `Display` shows it.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::Token;
///
/// let token = Token::new("correct horse");
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// assert_eq!(token.expose(), "correct horse");
/// ```
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(SecretString::from(secret.into()))
    }

    /// The secret itself. Keep it out of logs, errors and long-lived copies.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl From<&str> for Token {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}
