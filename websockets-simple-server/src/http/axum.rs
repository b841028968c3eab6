//! Support for axum: routers on the server's own endpoints, and the extractor [`Caller`].

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Router,
    extract::{ConnectInfo, FromRef, FromRequestParts, OptionalFromRequestParts, OriginalUri},
};
use http::{Extensions, StatusCode, Uri, request::Parts};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;

use crate::{config::ServerParams, connection::Connection, server::Server, users::Identity};

impl ServerParams {
    /// Sets an axum router as the [`fallback`](Self::fallback). Its handlers can extract `ConnectInfo<SocketAddr>`.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use websockets_simple_server::ServerParams;
    ///
    /// let router = Router::new().route("/", get(|| async { "a page" }));
    /// let params = ServerParams::new(8080).fallback_router(router);
    /// ```
    #[must_use]
    pub fn fallback_router(self, router: Router) -> Self {
        let service = TowerToHyperService::new(router);
        self.fallback(move |mut request: http::Request<Incoming>| {
            if let Some(addr) = request.extensions().get::<SocketAddr>().copied() {
                request.extensions_mut().insert(ConnectInfo(addr));
            }
            let answer = service.call(request);
            async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        })
    }
}

/// An axum extractor for the open connection of the client that sends an ordinary request, see [`Server::caller`].
///
/// A request without such a connection is refused with 404, or gets `None` from an `Option` of the extractor. The state
/// of the application must be the [`Server`], or contain it ([`FromRef`]).
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::post};
/// use websockets_simple_server::{Anonymous, Caller, ServerParams, WebsocketServer};
///
/// async fn work(Caller(connection): Caller<Anonymous>) -> &'static str {
///     let _ = connection.send_text("the answer comes over the WebSocket").await;
///     "begun"
/// }
///
/// let server = WebsocketServer::new(ServerParams::mounted());
/// let app: Router = Router::new().route("/work", post(work)).with_state(server);
/// ```
#[derive(Debug)]
pub struct Caller<I: Identity>(pub Connection<I>);

impl<S, I> FromRequestParts<S> for Caller<I>
where
    S: Send + Sync,
    I: Identity,
    Server<I>: FromRef<S>,
{
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let connection = Server::from_ref(state).caller(parts).await;
        connection.map(Self).ok_or((StatusCode::NOT_FOUND, "there is no such connection"))
    }
}

impl<S, I> OptionalFromRequestParts<S> for Caller<I>
where
    S: Send + Sync,
    I: Identity,
    Server<I>: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Infallible> {
        Ok(Server::from_ref(state).caller(parts).await.map(Self))
    }
}

/// The URI that the client requested: routers that are nested see the rest of its path only.
pub(crate) fn original_uri(extensions: &Extensions) -> Option<&Uri> {
    extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri)
}

/// The peer's address that `into_make_service_with_connect_info` has set.
pub(crate) fn peer_addr(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(addr)| *addr)
}
