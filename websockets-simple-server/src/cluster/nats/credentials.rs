//! Who we are.

use std::{fmt, fs, path::PathBuf};

use async_nats::ConnectOptions;
use secrecy::{ExposeSecret, SecretString};

/// By what a server knows us.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    User { user: String, password: SecretString },
    Token(SecretString),
    Nkey(SecretString),
    File(PathBuf),
}

impl Credentials {
    /// Options that have them. A file is read now.
    pub(super) async fn add_to(&self, options: ConnectOptions) -> Result<ConnectOptions, String> {
        match self {
            Self::None => Ok(options),
            Self::User { user, password } => {
                Ok(options.user_and_password(user.clone(), password.expose_secret().to_owned()))
            }
            Self::Token(token) => Ok(options.token(token.expose_secret().to_owned())),
            Self::Nkey(seed) => Ok(options.nkey(seed.expose_secret().to_owned())),
            Self::File(path) => {
                let file = path.clone();
                let reading =
                    tokio::task::spawn_blocking(|| fs::read_to_string(file).map(SecretString::from));
                let contents = reading.await.map_err(|error| error.to_string())?;
                let contents =
                    contents.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                let unusable = |_| format!("{} is not a credentials file", path.display());
                options.credentials(contents.expose_secret()).map_err(unusable)
            }
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User { user, password }, Self::User { user: name, password: word }) => {
                user == name && password.expose_secret() == word.expose_secret()
            }
            (Self::Token(token), Self::Token(word)) => token.expose_secret() == word.expose_secret(),
            _ => false,
        }
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> String {
        match self {
            Self::None => "nobody".to_owned(),
            Self::User { user, password } => format!("user {user}, {}", password.expose_secret()),
            Self::Token(token) => format!("token {}", token.expose_secret()),
            Self::Nkey(seed) => format!("nkey {}", seed.expose_secret()),
            Self::File(path) => format!("file {}", path.display()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}
