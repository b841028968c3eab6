//! An axum application around the server, or behind it.

use std::net::SocketAddr;

use axum::{Router, extract::ConnectInfo};
use http::Extensions;
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;

use crate::ServerParams;

impl ServerParams {
    /// As [`fallback`](Self::fallback), with a router of axum. Its handlers can extract `ConnectInfo<SocketAddr>`.
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

/// What `into_make_service_with_connect_info` has told of the peer.
pub(crate) fn peer_addr(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(addr)| *addr)
}
