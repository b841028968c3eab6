//! The service behind the listener for requests that ask for no WebSocket.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use websockets_simple_core::{ErrorStage, EventError};

use crate::{
    config::ServerParams,
    handshake::{Front, HandshakeTimeout, ResponseGuard},
    net::Peer,
    users::Identity,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Plain = UnsyncBoxBody<Bytes, Failure>;
type Answer = Pin<Box<dyn Future<Output = Response<Plain>> + Send>>;

/// Answers requests that ask for no WebSocket.
#[derive(Clone)]
pub(crate) struct Fallback(Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>);

impl Fallback {
    pub(crate) fn new<F, Fut, B>(service: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        let boxed = |body: B| body.map_err(Into::into).boxed_unsync();
        Self(Arc::new(move |request| {
            let answer = service(request);
            Box::pin(async move { answer.await.map(boxed) })
        }))
    }

    /// Answers one request. A panic is answered with 500, and ends nothing.
    pub(crate) async fn answer<I: Identity, F: Front<I>>(
        &self,
        mut request: Request<Incoming>,
        front: &F,
        peer: &Peer,
        deadline: &Arc<HandshakeTimeout>,
    ) -> Response<TimedBody> {
        let answering = deadline.answering();
        let timed = |response: Response<Plain>| response.map(|body| TimedBody { body, answering });
        let own = |body: Full<Bytes>| body.map_err(|never: Infallible| match never {}).boxed_unsync();
        let client = peer.client_of(&front.params().trusted_proxies, request.headers());
        let refusal = front.overloaded().or_else(|| front.count(client).err());
        if let Some(refusal) = refusal {
            tracing::debug!(peer = ?peer.addr, why = refusal.why(), "refused");
            return timed(refusal.into_response().map(own));
        }
        if let Some(addr) = peer.addr {
            request.extensions_mut().insert(addr);
        }
        // Called within, as a service may panic before it has a future.
        let mut request = Some(request);
        let mut working: Option<Answer> = None;
        let answered = std::future::poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                if let Some(request) = request.take() {
                    working = Some((self.0)(request));
                }
                working.as_mut().map_or(Poll::Pending, |working| working.as_mut().poll(cx))
            }));
            polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
        });
        match answered.await {
            Some(response) => timed(response),
            None => {
                // The text of a panic may quote what the service choked on.
                front
                    .failed(ErrorStage::HandlerPanic, EventError::new("the fallback service panicked"))
                    .await;
                let mut response = Response::new(own(Full::default()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                timed(response)
            }
        }
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fallback")
    }
}

/// The body of an answer, which is under a deadline until it is dropped.
pub(crate) struct TimedBody {
    body: Plain,
    answering: ResponseGuard,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        let polled = polled
            .unwrap_or_else(|_| Poll::Ready(Some(Err("the body of the fallback service panicked".into()))));
        if let Poll::Ready(Some(Err(_))) = polled {
            self.answering.fail();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ServerParams {
    /// Answers requests on the server's own endpoints that ask for no WebSocket, so that pages and sockets share a
    /// port. Default: such requests are told that this is a WebSocket endpoint (426).
    ///
    /// A connection may carry any number of such requests, and a handshake after them. It is under the limits
    /// of all connections: each head has as long to come as a handshake may take ([`Limits::handshake`](crate::Limits::handshake)), and each answer
    /// as long to leave, its body included. A stop gives answers one second. The address of the peer is a
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
        B::Error: Into<Failure>,
    {
        self.fallback = Some(Fallback::new(service));
        self
    }
}
