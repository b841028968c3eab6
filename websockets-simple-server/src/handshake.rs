//! The opening handshake on the server's own endpoints: hyper reads the request and writes the response, this module
//! decides in between.
//!
//! The decision is asynchronous and precedes the 101, so that a refused client gets a proper HTTP response.

use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};
use websockets_simple_core::{ErrorStage, EventError};

use crate::users::Identity;

use decision::asks_for_websocket;
use reclaim_io::ReclaimableIo;
use timeout::TimeoutPhase as Phase;

pub(crate) use context::HandshakeContext;
pub(crate) use decision::{Admitted, HUNG_UP, Opened, UpgradeOverrides, Upgrading, decide};
#[cfg(feature = "rustls")]
pub(crate) use reclaim_io::linger;
pub(crate) use refusal::Refusal;
pub(crate) use timeout::TimeoutPhase;

mod context;
mod decision;
mod fallback;
mod reclaim_io;
mod refusal;
mod timeout;
mod tokens;

/// A handshake that did not open a connection.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// No complete request was received.
    NoRequest,
    /// The request was refused, for this reason.
    Refused(String),
}

/// What hyper is given for a request.
enum Reply {
    Decided(Response<Full<Bytes>>),
    Fallback(fallback::Answer),
}

/// Does the handshake over `stream`, which `keep` converts for the connection. The caller sets the deadline.
pub(crate) async fn handshake<S, T, I>(
    stream: S,
    context: &mut HandshakeContext<I>,
    keep: impl FnOnce(S) -> T,
) -> Result<Opened<T, I>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    I: Identity,
{
    let (shared, stop) = (context.shared.clone(), context.stop.clone());
    let (fallback, limits) = (shared.params.fallback.as_ref(), &shared.params.limits);
    let (io, reclaim) = reclaim_io::reclaimable(stream);
    // hyper sends one request at a time and waits for its response. Boxed, as a channel allocates room for several
    // items.
    let (requests, mut received) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let requests = requests.clone();
        async move {
            let (reply, response) = oneshot::channel();
            let _ = requests.send(Box::new((request, reply))).await;
            Ok::<_, oneshot::error::RecvError>(match response.await? {
                Reply::Decided(response) => response.map(Either::Left),
                // Polled by hyper, which keeps the connection alive if the body is left unread only after the answer.
                Reply::Fallback(answer) => answer.await.map(Either::Right),
            })
        }
    });
    let connection = http1::Builder::new()
        // The caller has the only deadline: with two, the same failure would be reported twice.
        .header_read_timeout(None)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_size)
        .auto_date_header(fallback.is_some())
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let deciding = async {
        loop {
            let Some(exchange) = received.recv().await else { return std::future::pending().await };
            let (request, reply) = *exchange;
            if let Some(fallback) = fallback {
                if !asks_for_websocket(request.headers()) {
                    let _ = reply.send(Reply::Fallback(fallback::answer(fallback, request, context)));
                    continue;
                }
                // A handshake after other requests has its own time.
                context.timeout.handshaking();
            }
            // The body, though empty, is kept until the response: hyper checks whether it is still read.
            let (parts, _body) = request.into_parts();
            let (response, decided) = match decide(context, parts, UpgradeOverrides::default()).await {
                Ok(decision) => {
                    let (response, upgrading) = decision.split();
                    (response, Ok(upgrading))
                }
                Err(refusal) => {
                    let why = refusal.why();
                    (refusal.into_response(), Err(why))
                }
            };
            let _ = reply.send(Reply::Decided(response));
            return decided;
        }
    };
    // In a block: the stream is reclaimed when hyper's connection is dropped.
    let (served, decided) = {
        let (mut connection, mut deciding) = (pin!(connection), pin!(deciding));
        let mut decided = None;
        // Without a fallback there is only one request, which is refused when the server stops.
        let mut may_shut_down = fallback.is_some();
        let served = loop {
            tokio::select! {
                biased;
                served = connection.as_mut() => break served,
                decision = deciding.as_mut(), if decided.is_none() => decided = Some(decision),
                // Ends at once between two requests, otherwise after the response.
                () = stop.cancelled(), if may_shut_down => {
                    may_shut_down = false;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        (served, decided)
    };
    let upgrading = match decided {
        Some(Ok(upgrading)) => upgrading,
        decided => {
            let why = decided.and_then(Result::err);
            if why.is_none()
                && !context.is_connecting()
                && context.timeout.phase() != Phase::Request
                && let Err(error) = served
            {
                context.failed(ErrorStage::Handshake, EventError::new(error)).await;
            }
            Box::pin(reclaim.linger()).await;
            return Err(match why {
                Some(why) => HandshakeError::Refused(why),
                None if context.is_connecting() => HandshakeError::Refused(HUNG_UP.to_owned()),
                None => HandshakeError::NoRequest,
            });
        }
    };
    let take = |upgraded: Upgraded| {
        let parts = upgraded.downcast::<TokioIo<ReclaimableIo<S>>>().ok()?;
        Some((keep(parts.io.into_inner().keep()?), parts.read_buf))
    };
    upgrading.open(take).await.map_err(|why| HandshakeError::Refused(why.to_owned()))
}

#[cfg(test)]
mod tests;
