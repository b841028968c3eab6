//! The service that answers ordinary HTTP requests on the server's own endpoints.

use std::{fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Body, Incoming};

use crate::config::params::ServerParams;

/// Why the body of a fallback's response failed.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a fallback's response.
pub(crate) type FallbackBody = UnsyncBoxBody<Bytes, BodyError>;

/// The future of a fallback's response.
pub(crate) type FallbackResponse = Pin<Box<dyn Future<Output = Response<FallbackBody>> + Send>>;

/// The application's service for ordinary HTTP requests.
#[derive(Clone)]
pub(crate) struct Fallback(pub(crate) Arc<dyn Fn(Request<Incoming>) -> FallbackResponse + Send + Sync>);

impl Fallback {
    pub(crate) fn new<F, Fut, B>(service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let boxed = |body: B| body.map_err(Into::into).boxed_unsync();
        Self(Arc::new(move |request| {
            let response = service(request);
            Box::pin(async move { response.await.map(boxed) })
        }))
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fallback")
    }
}

impl ServerParams {
    /// Sets a service for ordinary HTTP requests on the server's own endpoints, so that pages and sockets share a
    /// port. Default: such requests are refused with 426.
    ///
    /// A connection may carry any number of such requests, and a handshake after them. The limits of all connections
    /// apply: each request head must arrive within the handshake timeout
    /// ([`Limits::handshake`](crate::Limits::handshake)), and each response must be sent within the same time, its body
    /// included. When the server stops, responses have one more second. The address of the peer is a
    /// [`SocketAddr`](std::net::SocketAddr) among the extensions of the request. A panic is answered with 500.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use hyper::body::{Bytes, Incoming};
    /// use websockets_simple_server::ServerParams;
    ///
    /// let params = ServerParams::new(8080).fallback(|request: Request<Incoming>| async move {
    ///     Response::new(Full::new(Bytes::from(format!("this is {}", request.uri().path()))))
    /// });
    /// ```
    #[must_use]
    pub fn fallback<F, Fut, B>(mut self, service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        self.fallback = Some(Fallback::new(service));
        self
    }
}
