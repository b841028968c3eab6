//! What the server answers of itself on its own endpoints: for load balancers, monitoring and operators.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, HOST},
    uri::Authority,
};
use subtle::ConstantTimeEq;
use websockets_simple_core::Token;

use crate::config::ServerParams;

/// What the server answers of itself on its own endpoints, before its [fallback](ServerParams::fallback) is asked.
///
/// | path | who may ask | answer |
/// |---|---|---|
/// | `/healthz` | everybody | 200 while the server lives, otherwise 503 |
/// | `/readyz` | everybody | 200 while it is to be given clients, otherwise 503; both with the reasons as JSON |
/// | `/metrics` | whom a [guard](Self::metrics) lets | the [figures](crate::Server::figures) for Prometheus |
/// | `/admin` | whom a [guard](Self::live_page) lets | a page that shows the server at work, and changes nothing |
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{Guard, Operations, ServerParams, WebsocketServer};
///
/// let operations = Operations::new().metrics(Guard::loopback());
/// let server = WebsocketServer::new(ServerParams::new(8080).operations(operations));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Operations {
    pub(crate) metrics: Option<Guard>,
    pub(crate) live_page: Option<Guard>,
}

impl Operations {
    /// `/healthz` and `/readyz`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `/metrics` as well, for whom `guard` lets.
    #[must_use]
    pub fn metrics(mut self, guard: Guard) -> Self {
        self.metrics = Some(guard);
        self
    }

    /// `/admin` as well, for whom `guard` lets: a page for browsers that shows the [snapshot](crate::Server::snapshot) of
    /// the server every two seconds. Nothing can be changed by it. Everything that it needs is below this path, the
    /// snapshot is `/admin/snapshot.json`. From now on the server keeps its last refusals and errors, and a sample
    /// every ten seconds.
    ///
    /// It names channels and the addresses of clients. Browsers ask their user for the name and the password of
    /// [`Guard::basic`].
    #[must_use]
    pub fn live_page(mut self, guard: Guard) -> Self {
        self.live_page = Some(guard);
        self
    }
}

type Allows = dyn Fn(&HeaderMap, Option<IpAddr>) -> bool + Send + Sync;

/// Who may read what is not for everybody.
#[derive(Clone)]
pub struct Guard {
    allows: Arc<Allows>,
    /// How others are asked who they are (RFC 9110 section 11.6.1).
    challenge: &'static str,
}

impl Guard {
    /// Those for whom the function says so, by the headers of their request and the address of the client, which a
    /// [trusted proxy](ServerParams::trusted_proxies) may have named. It must not block. A panic is answered with 500.
    #[must_use]
    pub fn new(allows: impl Fn(&HeaderMap, Option<IpAddr>) -> bool + Send + Sync + 'static) -> Self {
        Self { allows: Arc::new(allows), challenge: "Bearer" }
    }

    /// Those on the same machine, and not through a proxy that names its client in `Forwarded`, `X-Forwarded-For` or
    /// `X-Real-IP`. A proxy on the same machine that names nobody lets in whom it lets in: use a
    /// [token](Self::bearer) behind it.
    ///
    /// The `Host` has to be an address or a name without a dot, such as `localhost`: otherwise a page from elsewhere, whose
    /// name leads to this machine (DNS rebinding), could read with the browser of somebody here.
    #[must_use]
    pub fn loopback() -> Self {
        Self::new(|headers, client| {
            let is_forwarded =
                ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
            !is_forwarded && is_local_host(headers) && client.is_some_and(|addr| addr.is_loopback())
        })
    }

    /// Those who send `Authorization: Bearer` with this token. It is compared in constant time. An empty one lets nobody
    /// in.
    #[must_use]
    pub fn bearer(token: impl Into<Token>) -> Self {
        let token = token.into();
        Self::new(move |headers, _| {
            let sent = credentials(headers, "Bearer");
            !sent.is_empty() && sent.ct_eq(token.expose().as_bytes()).into()
        })
    }

    /// Those who send this name and password, as browsers do that have asked their user for them (RFC 7617). They are
    /// compared in constant time. An empty password lets nobody in. Use it over TLS alone: it is sent with each request.
    ///
    /// # Panics
    ///
    /// If the name contains a colon, behind which a password begins.
    #[must_use]
    pub fn basic(name: &str, password: impl Into<Token>) -> Self {
        assert!(!name.contains(':'), "the name of a guard contains a colon");
        let password = password.into();
        let is_empty = password.expose().is_empty();
        let expected = Token::new(BASE64_STANDARD.encode(format!("{name}:{}", password.expose())));
        let allows = move |headers: &HeaderMap, _| {
            let sent = credentials(headers, "Basic");
            !is_empty && sent.ct_eq(expected.expose().as_bytes()).into()
        };
        Self { allows: Arc::new(allows), challenge: r#"Basic realm="operators", charset="UTF-8""# }
    }

    pub(crate) fn allows(&self, headers: &HeaderMap, client: Option<IpAddr>) -> bool {
        (self.allows)(headers, client)
    }

    pub(crate) fn challenge(&self) -> &'static str {
        self.challenge
    }
}

/// Whether the request is for an address, or for a name that no name server of somebody else can answer. HTTP/2 has no
/// `Host`, and its browsers have checked a certificate for the name.
fn is_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let host = authority.host();
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    is_address || !host.contains('.')
}

/// What `Authorization` has behind this scheme, whose case does not matter (RFC 9110 section 11.1).
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> &'a [u8] {
    let sent = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
    match sent.split_at_checked(scheme.len()) {
        Some((said, [b' ', credentials @ ..])) if said.eq_ignore_ascii_case(scheme.as_bytes()) => credentials,
        _ => &[],
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl ServerParams {
    /// Has the server answer `/healthz` and `/readyz`, and what else [`Operations`] says. Default: it answers nothing but
    /// handshakes and what the [fallback](Self::fallback) answers.
    #[must_use]
    pub fn operations(mut self, operations: Operations) -> Self {
        self.operations = Some(operations);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_whose_name_leads_to_this_machine_reads_nothing() {
        let guard = Guard::loopback();
        for (host, is_let) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("server", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example.", false),
            ("", false),
            ("a b", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            assert_eq!(guard.allows(&headers, Some(Ipv4Addr::LOCALHOST.into())), is_let, "{host}");
            assert!(!guard.allows(&headers, Some(Ipv4Addr::new(192, 0, 2, 1).into())), "{host}");
            assert!(!guard.allows(&headers, None), "{host}");
        }
        assert!(guard.allows(&HeaderMap::new(), Some(Ipv4Addr::LOCALHOST.into())));
    }
}
