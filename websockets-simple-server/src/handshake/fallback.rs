//! Ordinary HTTP requests, which the fallback service answers within the handshake timeout.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use websockets_simple_core::{CatchPanic, ErrorStage, catch_panic};

use crate::{
    config::{BodyError, FallbackBody},
    handshake::{
        context::HandshakeContext, operations, reclaim_io::AnswerGuard, refusal::Refusal,
        timeout::ResponseGuard,
    },
    users::Identity,
};

/// The answer to a request that asks for no WebSocket.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response<TimedBody>> + Send>>;

/// Answers one request. A panic is answered with 500, and the connection continues.
pub(super) fn answer<I: Identity>(
    mut request: Request<Incoming>,
    context: &mut HandshakeContext<I>,
    answered: AnswerGuard,
) -> Answer {
    let guard = context.timeout.answering();
    let is_connect = request.method() == Method::CONNECT;
    let timed = move |response: Response<FallbackBody>| {
        let mut answered = answered;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success()) {
            answered.is_last();
        }
        response.map(|body| TimedBody { body, guard, _answered: answered })
    };
    let version = request.version();
    let own = |body: Full<Bytes>| body.map_err(|never: Infallible| match never {}).boxed_unsync();
    let client = context.peer.client_of(&context.shared.params.trusted_proxies, request.headers());
    // First: a server that is full or stops is well, and says so.
    let is_last = context.stop.has_begun() && version != Version::HTTP_2;
    let of_itself = catch_panic(|| operations::answer(&context.shared, &request, client, is_last));
    let refusal = match of_itself {
        Ok(None) => context.overloaded().or_else(|| context.count(client).err()),
        _ => None,
    };
    if let Some(refusal) = refusal {
        tracing::debug!(peer = ?context.peer.addr, why = refusal.why().text, "refused");
        return Box::pin(std::future::ready(timed(refusal.into_own_response(version).map(own))));
    }
    if let Some(addr) = context.peer.addr {
        request.extensions_mut().insert(addr);
    }
    // Called inside the future, to catch a panic of the service before it returns a future.
    let (shared, peer) = (Arc::clone(&context.shared), context.peer.addr);
    let service = shared.params.fallback.clone();
    let answering = async move {
        match (of_itself, service) {
            (Ok(Some(response)), _) => Ok(response.map(own)),
            (Err(panicked), _) => Err(panicked),
            (Ok(None), Some(service)) => {
                CatchPanic::new(Box::pin(async move { (service.0)(request).await })).await
            }
            (Ok(None), None) => Ok(Refusal::no_upgrade().into_own_response(version).map(own)),
        }
    };
    Box::pin(async move {
        let panicked = match answering.await {
            Ok(response) => return timed(response),
            Err(panicked) => panicked,
        };
        // Without the text of the panic, which may quote the request.
        let error = panicked.of_code("the fallback service");
        shared.subscriptions.raise_error(ErrorStage::HandlerPanic, error, peer).await;
        let mut response = Response::new(own(Full::default()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        timed(response)
    })
}

/// Answers one request of an HTTP/2 connection, each of which has a context of its own.
#[cfg(feature = "http2")]
pub(crate) fn answer_alone<I: Identity>(
    request: Request<Incoming>,
    context: &mut HandshakeContext<I>,
) -> Answer {
    answer(request, context, AnswerGuard::alone())
}

/// The body of a response, which has a deadline until it is dropped.
pub(crate) struct TimedBody {
    body: FallbackBody,
    guard: ResponseGuard,
    _answered: AnswerGuard,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = catch_panic(|| Pin::new(&mut self.body).poll_frame(cx));
        let polled = polled
            .unwrap_or_else(|_| Poll::Ready(Some(Err("the body of the fallback service panicked".into()))));
        if let Poll::Ready(Some(Err(_))) = polled {
            self.guard.fail();
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
