//! What a URL says: where the server is, and who we are.

use std::{fmt, path::PathBuf};

use redis::{ConnectionAddr, IntoConnectionInfo};
use secrecy::SecretString;

/// Why a URL is not one of a [`RedisBus`](crate::RedisBus). The URL may hold a password, so nothing of it is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// It begins with none of the schemes.
    #[error("the URL does not begin with redis://, rediss:// or redis+unix://")]
    Scheme,
    /// It has no host, no valid port, a path that is not the number of a database, or another fault.
    #[error("the URL is malformed")]
    Malformed,
    /// It ends with `#insecure` or the like. Certificates are always checked.
    #[error("the URL has a fragment, and there is nothing that a fragment can ask for")]
    Fragment,
    /// It asks for TLS, and neither the feature `tls` nor `tls-ring` is on.
    #[error("the URL asks for TLS, which needs the feature `tls` or `tls-ring`")]
    NoTls,
}

/// Where the server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Address {
    Tcp {
        host: String,
        port: u16,
        #[cfg_attr(not(feature = "rustls"), allow(dead_code, reason = "it is never set then"))]
        tls: bool,
    },
    Unix(PathBuf),
}

pub(super) struct Parsed {
    pub(super) address: Address,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
}

pub(super) fn parse(url: &str) -> Result<Parsed, RedisUrlError> {
    let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError::Scheme)?;
    let (scheme, tls) = match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => ("redis", false),
        "rediss" | "valkeys" => ("redis", true),
        "redis+unix" | "valkey+unix" | "unix" => ("redis+unix", false),
        _ => return Err(RedisUrlError::Scheme),
    };
    if tls && cfg!(not(feature = "rustls")) {
        return Err(RedisUrlError::NoTls);
    }
    // The crate takes no URL for TLS unless its own TLS is built in, which would take the process-wide provider.
    let plain = SecretString::from(format!("{scheme}://{rest}"));
    let url = redis::parse_redis_url(secrecy::ExposeSecret::expose_secret(&plain))
        .ok_or(RedisUrlError::Malformed)?;
    if url.fragment().is_some() {
        return Err(RedisUrlError::Fragment);
    }
    let info = url.into_connection_info().map_err(|_| RedisUrlError::Malformed)?;
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port, tls },
        ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
        _ => return Err(RedisUrlError::Malformed),
    };
    let settings = info.redis_settings();
    Ok(Parsed {
        address,
        user: settings.username().map(str::to_owned),
        password: settings.password().map(SecretString::from),
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(url: &str) -> (String, bool, Option<String>, Option<String>) {
        let Parsed { address, user, password } = parse(url).unwrap();
        let tls = matches!(address, Address::Tcp { tls: true, .. });
        (address.to_string(), tls, user, password.map(|password| password.expose_secret().to_owned()))
    }

    fn fault(url: &str) -> RedisUrlError {
        parse(url).err().unwrap()
    }

    #[test]
    fn urls_say_where_the_server_is_and_who_we_are() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("redis://localhost"), ("localhost:6379".into(), false, None, None));
        assert_eq!(read("VALKEY://[::1]:7000/2"), ("[::1]:7000".into(), false, None, None));
        let user = ("a.example:1".into(), false, some("u ser"), some("p:@ss"));
        assert_eq!(read("redis://u%20ser:p%3A%40ss@a.example:1"), user);
        assert_eq!(read("redis://:word@a.example"), ("a.example:6379".into(), false, None, some("word")));
        let unix = ("/run/redis.sock".into(), false, some("u"), some("p"));
        assert_eq!(read("redis+unix:///run/redis.sock?user=u&pass=p"), unix);
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn two_schemes_ask_for_tls() {
        for url in ["rediss://a.example", "valkeys://a.example"] {
            assert_eq!(read(url), ("a.example:6379".into(), true, None, None));
        }
    }

    #[cfg(not(feature = "rustls"))]
    #[test]
    fn tls_needs_a_feature() {
        assert_eq!(fault("rediss://a.example"), RedisUrlError::NoTls);
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_the_url() {
        for url in ["hidden", "http://hidden", "redis:/hidden", ""] {
            assert_eq!(fault(url), RedisUrlError::Scheme, "{url}");
        }
        for url in [
            "redis://:hidden@",
            "redis://u:hidden@host:99999",
            "redis://host/hidden",
            "redis+unix://",
            "redis://0.0.0.0",
        ] {
            assert_eq!(fault(url), RedisUrlError::Malformed, "{url}");
            assert!(!format!("{} {:?}", fault(url), fault(url)).contains("hidden"));
        }
        assert_eq!(fault("redis://host/#insecure"), RedisUrlError::Fragment);
    }
}
