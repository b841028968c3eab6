//! Upgrades of requests to the application's HTTP server.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::Full;
use tokio::sync::oneshot;

#[cfg(feature = "axum")]
use crate::http::axum::original_uri;
use crate::{
    addressing::Placement,
    config::Scope,
    connection::{LocalConnection, RequestedParts, ScopedWork, SessionParts, requested},
    handshake::{HandshakeContext, Refusal, UpgradeOverrides},
    net::{LocalEndpoint, Peer},
    run::Shared,
    server::peer_addr,
    users::{Authenticated, Identity, User, UserId},
};

/// The upgrade of an HTTP request to a connection, made by [`Server::upgrade`](crate::Server::upgrade).
///
/// Awaiting it gives the response, which the application's HTTP server must send unchanged: 101 if the connection is
/// admitted (200 over HTTP/2, with the feature `http2`), otherwise the refusal that the server's own endpoints would
/// send. The connection opens when the HTTP server has sent the answer and handed over its stream, which must happen within the handshake timeout. A server that is
/// not running answers 503.
///
/// Refuse a request before you await this: if a 101 is replaced by another response, the client was admitted, and only
/// the HTTP server keeps it from its connection.
///
/// The path that the client requested is its channel, unless a [`placement`](Self::placement) sets another: the whole
/// path, also inside routers that are nested in axum's `Router::nest`. It is never a token, as the application's router
/// uses it.
///
/// # Cancel safety
///
/// Dropping it before it is awaited has no effect. Dropping it while it is awaited cancels the request, as if the
/// client had disconnected.
#[must_use = "the request is not answered before this is awaited"]
pub struct Upgrade<I: Identity> {
    shared: Arc<Shared<I>>,
    parts: Parts,
    peer_addr: Option<SocketAddr>,
    endpoint: Option<SocketAddr>,
    overrides: UpgradeOverrides<I>,
    scope: Scope,
    local: Option<ScopedWork<I>>,
}

impl<I: Identity> Upgrade<I> {
    #[cfg_attr(not(feature = "axum"), expect(unused_mut, reason = "axum keeps the URI in the extensions"))]
    pub(crate) fn new(shared: Arc<Shared<I>>, mut parts: Parts) -> Self {
        #[cfg(feature = "axum")]
        if let Some(original) = original_uri(&parts.extensions) {
            parts.uri = original.clone();
        }
        let peer_addr = peer_addr(&parts.extensions);
        let overrides = UpgradeOverrides { routed: true, ..UpgradeOverrides::default() };
        let scope = shared.params.scope;
        Self { shared, parts, peer_addr, endpoint: None, overrides, scope, local: None }
    }

    /// Sets the [peer address](crate::Connection::peer_addr), by which connections per IP address are counted. Default:
    /// a [`SocketAddr`] among the extensions of the request, or with the feature `axum` a `ConnectInfo` of one. Without
    /// an address, only the limit of connections in total applies; the server logs one warning about that.
    pub fn peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// Sets the [local address](crate::Connection::endpoint) that the peer connected to.
    pub fn endpoint(mut self, addr: SocketAddr) -> Self {
        self.endpoint = Some(addr);
        self
    }

    /// Sets the channel, groups and id of the connection, instead of
    /// [`with_placement`](crate::Server::with_placement).
    pub fn placement(mut self, placement: Placement) -> Self {
        self.overrides.placement = Some(placement);
        self
    }

    /// Makes the connection local: it lives as long as the future that `work` returns, and is closed with 1000 when
    /// that has finished. A panic closes it with 1011. The future has the connection to itself and can receive its
    /// messages in a loop ([`LocalConnection::recv`]).
    ///
    /// If the connection ends first, a future that receives gets the rest of the messages, then `None`, and goes on
    /// after its loop; a stop of the server drops it at the stop timeout. A future that never receives is dropped when
    /// the connection has ended. It should drop the messages at once (`let (connection, _) = connection.split()`), as a
    /// client that sends more than 64 KiB is otherwise not read any further, and its end is noticed late.
    ///
    /// A local connection can only be addressed by its handle, not by a broadcast, channel, group, id or user. Its
    /// events are raised like those of other connections, and limits, heartbeat, expiry, revocations and the stop of
    /// the server apply to it too. The future runs in the connection's task and must not block; each of its sends is a
    /// write of its own, while those of a handler leave together.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use hyper::body::{Bytes, Incoming};
    /// use websockets_simple_server::WebsocketServer;
    ///
    /// // In axum: `State(server): State<WebsocketServer>, request: Request`, and `.into_response()`.
    /// async fn shout(server: &WebsocketServer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    ///     let upgrade = server.upgrade(request).local(|mut connection| async move {
    ///         while let Some(message) = connection.recv().await {
    ///             if connection.send_text(message.to_string().to_uppercase()).await.is_err() {
    ///                 break;
    ///             }
    ///         }
    ///         println!("{:?}", connection.end());
    ///     });
    ///     upgrade.await
    /// }
    ///
    /// async fn response_times(server: &WebsocketServer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    ///     let upgrade = server.upgrade(request).local(|connection| async move {
    ///         let (connection, _) = connection.split(); // it receives nothing
    ///         let _ = connection.send_text("[123, 101, 104]").await;
    ///         tokio::time::sleep(Duration::from_secs(10)).await;
    ///         let _ = connection.send_text("[234, 202, 205]").await;
    ///     });
    ///     upgrade.await
    /// }
    /// ```
    pub fn local<F, Fut>(mut self, work: F) -> Self
    where
        F: FnOnce(LocalConnection<I>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        (self.scope, self.local) = (Scope::Local, Some(ScopedWork::new(work)));
        self
    }

    /// Makes the connection global: it lives until one side closes it, and can be addressed. Overrides
    /// [`ServerParams::default_scope`](crate::ServerParams::default_scope).
    pub fn global(mut self) -> Self {
        (self.scope, self.local) = (Scope::Global, None);
        self
    }

    async fn answer(self) -> Response<Full<Bytes>> {
        let Self { shared, parts, peer_addr, endpoint, overrides, scope, local } = self;
        let version = parts.version;
        let local = match scope {
            Scope::Global => None,
            Scope::Local => Some(local.unwrap_or_else(|| ScopedWork::new(|_| async {}))),
        };
        let (run, guard) = match shared.enter() {
            Ok(entered) => entered,
            Err(refusal) => {
                shared.refused(refusal.reason(), peer_addr.map(|peer| peer.ip().to_canonical()));
                return refusal.into_guest_response(version);
            }
        };
        let peer = Peer::new(peer_addr, endpoint.map_or(LocalEndpoint::Unknown, LocalEndpoint::Tcp));
        if peer.addr.is_none() && shared.params.limits.connections_per_ip != usize::MAX {
            warn_of_unknown_address(&shared.warned_of_unknown_address);
        }
        let admittance = match shared.limiter.admit(peer.counted_ip(&shared.params.trusted_proxies)) {
            Ok(admittance) => admittance,
            Err(limit) => {
                shared.refused(Refusal::reason_of(limit), peer.client);
                return Refusal::full(limit, &shared.params).into_guest_response(version);
            }
        };
        let context = HandshakeContext::new(Arc::clone(&shared), peer, admittance, run.handle.stop)
            .with_overrides(overrides);
        let heartbeat = shared.params.heartbeat_over_http();
        let request = RequestedParts {
            parts,
            session: SessionParts { local, ..SessionParts::new(heartbeat) },
            #[cfg(feature = "http2")]
            stream: None,
        };
        let (reply, answered) = oneshot::channel();
        run.sessions.spawn_on(requested(context, guard, request, reply), &run.runtime);
        match answered.await {
            Ok(response) => response,
            // The runtime is shutting down, and the server with it.
            Err(_) => Refusal::at_rest(&shared.params).into_guest_response(version),
        }
    }
}

/// Warns once that the limit of connections per address does not apply.
fn warn_of_unknown_address(warned: &AtomicBool) {
    if !warned.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "connections per IP address are not limited, as the HTTP server does not tell the address of the peer: \
             serve an axum router with `into_make_service_with_connect_info::<SocketAddr>()`, call \
             `Upgrade::peer_addr`, or turn the limit off"
        );
    }
}

impl<T: UserId> Upgrade<User<T>> {
    /// Sets the user of the connection, which the application has authenticated. The user service is not asked.
    pub fn identified(mut self, user: Authenticated<T>) -> Self {
        self.overrides.user = Some(user);
        self
    }
}

impl<I: Identity> IntoFuture for Upgrade<I> {
    type Output = Response<Full<Bytes>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer())
    }
}

impl<I: Identity> fmt::Debug for Upgrade<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request may hold a token.
        f.debug_struct("Upgrade").field("peer_addr", &self.peer_addr).finish_non_exhaustive()
    }
}
