//! A request to the application's own HTTP server that is to become a connection.

use std::{fmt, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::Full;
use tokio::sync::oneshot;

use crate::{
    addressing::Placement,
    config::Scope,
    connection::{Connection, ScopedWork},
    handshake::{HandshakeContext, Refusal, UpgradeOverrides},
    http::mounted::{MountedRequest, mounted},
    net::{LocalEndpoint, Peer},
    run::Shared,
    server::peer_addr,
    users::{Authenticated, Identity, User, UserId},
};

/// A request that is to become a connection; made by [`Server::upgrade`](crate::Server::upgrade).
///
/// Awaited, it gives the response that the application's HTTP server has to send as it is: 101 where the connection is
/// admitted, otherwise what the server's own endpoints would answer. The connection begins when the HTTP server has sent the
/// 101 and handed over its stream, for which it has as long as the handshake may take. A server that does not run
/// answers 503.
///
/// Whatever may refuse the request has to do so before this is awaited: a 101 that is replaced by another response has
/// admitted the client all the same, and only the HTTP server keeps it from its connection.
///
/// The path of the request is its channel, unless its [`placement`](Self::placement) says otherwise, and never a token: it was
/// for the application's router.
///
/// # Cancel safety
///
/// Dropped before it is awaited, nothing has happened. Dropped while it is awaited, the request is given up, as when
/// the client hangs up.
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
    pub(crate) fn new(shared: Arc<Shared<I>>, parts: Parts) -> Self {
        let peer_addr = peer_addr(&parts.extensions);
        let overrides = UpgradeOverrides { routed: true, ..UpgradeOverrides::default() };
        let scope = shared.params.scope;
        Self { shared, parts, peer_addr, endpoint: None, overrides, scope, local: None }
    }

    /// Says where the request comes from: [`Connection::peer_addr`](crate::Connection::peer_addr), and what connections
    /// per IP address are counted by. Default: a [`SocketAddr`] among the extensions of the request, or axum's
    /// `ConnectInfo` of one if the feature `axum` is on; without one
    /// the connection counts in total only.
    pub fn peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// Says which address of the HTTP server it came to: [`Connection::endpoint`](crate::Connection::endpoint).
    pub fn endpoint(mut self, addr: SocketAddr) -> Self {
        self.endpoint = Some(addr);
        self
    }

    /// Says where the connection belongs, and what it is called;
    /// [`with_placement`](crate::Server::with_placement) is not asked then.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.overrides.placement = Some(placement);
        self
    }

    /// Makes the connection a local one: it lasts as long as the future that `work` makes of it, and is closed with 1000
    /// when that is done. If the connection ends first, the future is dropped. A panic closes with 1011.
    ///
    /// A local connection is reached by its own handle alone: by no broadcast, channel, group, id or user. Its events
    /// are told as those of all others, and limits, heartbeat, expiry, revocations and the stop of the server hold for
    /// it too. The future runs in the connection's task and must not block.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use hyper::body::{Bytes, Incoming};
    /// use websockets_simple_server::{Message, WebsocketServer};
    ///
    /// async fn response_times(server: &WebsocketServer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    ///     let upgrade = server.upgrade(request).local(|connection| async move {
    ///         let _ = connection.send(Message::text("[123, 101, 104]")).await;
    ///         tokio::time::sleep(Duration::from_secs(10)).await;
    ///         let _ = connection.send(Message::text("[234, 202, 205]")).await;
    ///     });
    ///     upgrade.await
    /// }
    /// ```
    pub fn local<F, Fut>(mut self, work: F) -> Self
    where
        F: FnOnce(Connection<I>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        (self.scope, self.local) = (Scope::Local, Some(ScopedWork::new(work)));
        self
    }

    /// Makes the connection one that stays until one end closes it, and that can be reached, whatever
    /// [`ServerParams::default_scope`](crate::ServerParams::default_scope) says.
    pub fn global(mut self) -> Self {
        (self.scope, self.local) = (Scope::Global, None);
        self
    }

    async fn answer(self) -> Response<Full<Bytes>> {
        let Self { shared, parts, peer_addr, endpoint, overrides, scope, local } = self;
        let local = match scope {
            Scope::Global => None,
            Scope::Local => Some(local.unwrap_or_else(|| ScopedWork::new(|_| async {}))),
        };
        let (run, guard) = match shared.enter() {
            Ok(entered) => entered,
            Err(refusal) => return refusal.into_guest_response(),
        };
        let peer = Peer::new(peer_addr, endpoint.map_or(LocalEndpoint::Unknown, LocalEndpoint::Tcp));
        let admittance = match shared.limiter.admit(peer.counted_ip(&shared.params.trusted_proxies)) {
            Ok(admittance) => admittance,
            Err(limit) => return Refusal::full(limit, &shared.params).into_guest_response(),
        };
        let context = HandshakeContext::new(Arc::clone(&shared), peer, admittance, run.stop);
        let request = MountedRequest { parts, overrides, local };
        let (reply, answered) = oneshot::channel();
        run.sessions.spawn_on(mounted(context, guard, request, reply), &run.runtime);
        match answered.await {
            Ok(response) => response,
            // The runtime is shutting down, and the server with it.
            Err(_) => Refusal::at_rest(&shared.params).into_guest_response(),
        }
    }
}

impl<T: UserId> Upgrade<User<T>> {
    /// Says whose connection it is: the application knows, and the user service is not asked.
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
