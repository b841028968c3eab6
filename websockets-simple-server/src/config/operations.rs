//! What the server answers of itself on its own endpoints: for load balancers, monitoring and operators.

use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
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
}

type Allows = dyn Fn(&HeaderMap, Option<IpAddr>) -> bool + Send + Sync;

/// Who may read what is not for everybody.
#[derive(Clone)]
pub struct Guard(Arc<Allows>);

impl Guard {
    /// Those for whom the function says so, by the headers of their request and the address of the client, which a
    /// [trusted proxy](ServerParams::trusted_proxies) may have named. It must not block. A panic is answered with 500.
    #[must_use]
    pub fn new(allows: impl Fn(&HeaderMap, Option<IpAddr>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    /// Those on the same machine, and not through a proxy that names its client in `Forwarded`, `X-Forwarded-For` or
    /// `X-Real-IP`. A proxy on the same machine that names nobody lets in whom it lets in: use a
    /// [token](Self::bearer) behind it.
    #[must_use]
    pub fn loopback() -> Self {
        Self::new(|headers, client| {
            let is_forwarded =
                ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
            !is_forwarded && client.is_some_and(|addr| addr.is_loopback())
        })
    }

    /// Those who send `Authorization: Bearer` with this token. It is compared in constant time. An empty one lets nobody
    /// in.
    #[must_use]
    pub fn bearer(token: impl Into<Token>) -> Self {
        let token = token.into();
        Self::new(move |headers, _| {
            let sent = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
            let sent = sent.strip_prefix(b"Bearer ").unwrap_or_default();
            !sent.is_empty() && sent.ct_eq(token.expose().as_bytes()).into()
        })
    }

    pub(crate) fn allows(&self, headers: &HeaderMap, client: Option<IpAddr>) -> bool {
        (self.0)(headers, client)
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
