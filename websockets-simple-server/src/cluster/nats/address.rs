//! What URLs say: where the servers are, and who we are.

use std::fmt;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::cluster::nats::credentials::Credentials;

/// Why URLs are not those of a [`NatsBus`](crate::NatsBus). They may hold a password, so nothing of them is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NatsUrlError {
    /// One of them begins with another scheme.
    #[error("the URL does not begin with nats:// or tls://")]
    Scheme,
    /// One of them has no host, no valid port, a path, or another fault.
    #[error("the URL is malformed")]
    Malformed,
    /// They name different users. All servers are told the same.
    #[error("the URLs name different users")]
    Users,
}

/// A server, without any user.
#[derive(Clone)]
pub(super) struct Server(pub(super) ServerAddr);

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) servers: Vec<Server>,
    pub(super) credentials: Credentials,
    pub(super) tls: bool,
}

pub(super) fn parse(urls: &str) -> Result<Parsed, NatsUrlError> {
    let mut parsed = Parsed { servers: Vec::new(), credentials: Credentials::None, tls: false };
    for url in urls.split(',') {
        let (server, credentials) = parse_one(url.trim())?;
        parsed.tls |= server.0.tls_required();
        parsed.servers.push(server);
        match (&parsed.credentials, &credentials) {
            (_, Credentials::None) => {}
            (Credentials::None, _) => parsed.credentials = credentials,
            (known, new) if known.is_same(new) => {}
            _ => return Err(NatsUrlError::Users),
        }
    }
    Ok(parsed)
}

fn parse_one(url: &str) -> Result<(Server, Credentials), NatsUrlError> {
    let scheme = url.split_once("://").map_or("nats", |(scheme, _)| scheme);
    if !["nats", "tls"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(NatsUrlError::Scheme);
    }
    let malformed = |_| NatsUrlError::Malformed;
    let mut url = url.parse::<ServerAddr>().map_err(|_| NatsUrlError::Malformed)?.into_inner();
    let is_plain = ["", "/"].contains(&url.path()) && url.query().is_none() && url.fragment().is_none();
    if !is_plain || url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        return Err(NatsUrlError::Malformed);
    }
    let plain = |text: &str| {
        percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| NatsUrlError::Malformed)
    };
    let credentials = match (url.username(), url.password()) {
        ("", None) => Credentials::None,
        (token, None) => Credentials::Token(plain(token)?.into()),
        (user, Some(password)) => Credentials::User { user: plain(user)?, password: plain(password)?.into() },
    };
    // The crate below shows addresses in its log.
    url.set_password(None).map_err(malformed)?;
    url.set_username("").map_err(malformed)?;
    let server = ServerAddr::from_url(url).map_err(|_| NatsUrlError::Malformed)?;
    Ok((Server(server), credentials))
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.0.scheme(), self.0.host(), self.0.port());
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(urls: &str) -> (String, bool, String) {
        let Parsed { servers, credentials, tls } = parse(urls).unwrap();
        (format!("{servers:?}"), tls, credentials.told())
    }

    #[test]
    fn urls_say_where_the_servers_are_and_who_we_are() {
        let none = || String::from("nobody");
        assert_eq!(read("nats://localhost"), ("[nats://localhost:4222]".into(), false, none()));
        assert_eq!(read("localhost:99"), ("[nats://localhost:99]".into(), false, none()));
        let two = "[tls://[::1]:1, nats://b.example:4222]".to_owned();
        assert_eq!(read("TLS://[::1]:1, b.example/"), (two, true, none()));
        let user = ("[nats://a.example:1]".into(), false, "user u ser, p:@ss".into());
        assert_eq!(read("nats://u%20ser:p%3A%40ss@a.example:1"), user);
        let token = "[nats://a:4222, nats://b:4222]".to_owned();
        assert_eq!(read("nats://word@a,nats://b"), (token.clone(), false, "token word".into()));
        assert_eq!(read("nats://a,nats://word@b"), (token.clone(), false, "token word".into()));
        assert_eq!(read("nats://word@a,nats://word@b"), (token, false, "token word".into()));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_the_url() {
        let fault = |urls: &str| parse(urls).unwrap_err();
        for url in ["ws://hidden", "http://hidden", "://hidden", "nats://a,redis://hidden"] {
            assert_eq!(fault(url), NatsUrlError::Scheme, "{url}");
        }
        for url in [
            "",
            "nats://",
            "nats://a,",
            "nats://:hidden@",
            "nats://u:hidden@host:99999",
            "nats://u:hidden@host:0",
            "nats://host/hidden",
            "nats://host?hidden",
            "nats://u:%ff@host",
        ] {
            assert_eq!(fault(url), NatsUrlError::Malformed, "{url}");
            assert!(!format!("{} {:?}", fault(url), fault(url)).contains("hidden"));
        }
        for urls in ["nats://a:b@h,nats://a:c@h", "nats://a:b@h,nats://a@h", "nats://a@h,nats://b@h"] {
            assert_eq!(fault(urls), NatsUrlError::Users, "{urls}");
        }
    }
}
