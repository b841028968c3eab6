//! Parameters of a client from a URL.

use std::{borrow::Cow, str::FromStr};

use url::Url;

use crate::{
    config::{ClientParams, host},
    error::ParamsError,
};

impl ClientParams {
    /// Parameters from a URL: host, port, path, query, and TLS for `wss` and `https`, none for `ws` and `http`. The zone of
    /// an IPv6 address begins with `%25` (RFC 6874): `ws://[fe80::1%25eth0]:8080/`.
    ///
    /// The parameters are also what a `&str`, a [`Url`] and [`str::parse`] are turned into.
    ///
    /// # Errors
    ///
    /// [`ParamsError::Url`] when the URL is malformed or has another scheme, or contains a user name, a password or a
    /// fragment, which a handshake cannot send. [`ParamsError::BlankHost`] when it has no host.
    pub fn url(url: &str) -> Result<Self, ParamsError> {
        let (url, zone) = match host::without_zone(url) {
            Some((url, zone)) => (Cow::Owned(url), Some(zone)),
            None => (Cow::Borrowed(url), None),
        };
        Self::of(&Url::parse(&url).map_err(|_| ParamsError::Url("it is malformed"))?, zone)
    }

    fn of(url: &Url, zone: Option<String>) -> Result<Self, ParamsError> {
        let secured = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(ParamsError::Url("its scheme is not ws, wss, http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ParamsError::Url("it contains a user name or password; use a token or a header"));
        }
        if url.fragment().is_some() {
            return Err(ParamsError::Url("it contains a fragment (`#`)"));
        }
        let host = url.host_str().ok_or(ParamsError::BlankHost)?;
        let port = url.port().unwrap_or(if secured { 443 } else { 80 });
        let host = match zone {
            Some(zone) => format!("{}%{zone}", host.trim_matches(['[', ']'])),
            None => host.to_owned(),
        };
        let mut params = Self::new(host, port).secured(secured).path(url.path());
        params.query = url.query().unwrap_or_default().to_owned();
        Ok(params)
    }
}

/// As [`ClientParams::url`].
impl TryFrom<&str> for ClientParams {
    type Error = ParamsError;

    fn try_from(url: &str) -> Result<Self, ParamsError> {
        Self::url(url)
    }
}

/// As [`ClientParams::url`].
impl TryFrom<String> for ClientParams {
    type Error = ParamsError;

    fn try_from(url: String) -> Result<Self, ParamsError> {
        Self::url(&url)
    }
}

/// As [`ClientParams::url`].
impl TryFrom<&String> for ClientParams {
    type Error = ParamsError;

    fn try_from(url: &String) -> Result<Self, ParamsError> {
        Self::url(url)
    }
}

/// As [`ClientParams::url`].
impl FromStr for ClientParams {
    type Err = ParamsError;

    fn from_str(url: &str) -> Result<Self, ParamsError> {
        Self::url(url)
    }
}

/// As [`ClientParams::url`].
impl TryFrom<Url> for ClientParams {
    type Error = ParamsError;

    fn try_from(url: Url) -> Result<Self, ParamsError> {
        Self::of(&url, None)
    }
}

/// As [`ClientParams::url`].
impl TryFrom<&Url> for ClientParams {
    type Error = ParamsError;

    fn try_from(url: &Url) -> Result<Self, ParamsError> {
        Self::of(url, None)
    }
}
