//! The opening handshake on the server's own endpoints. A plain request for a WebSocket is read and answered here
//! (`plain.rs`); hyper reads any other, and writes the response. What is decided in between is the same.
//!
//! The decision is asynchronous and precedes the 101, so that a refused client gets a proper HTTP response.

use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};
use websockets_simple_core::{ErrorStage, EventError};

use crate::{net::Rewound, users::Identity};

use plain::Beginning;
use reclaim_io::ReclaimableIo;
use request_rules::RequestFacts;
use timeout::TimeoutPhase as Phase;

pub(crate) use context::HandshakeContext;
pub(crate) use decision::{Admitted, Opened, StreamOwner, UpgradeOverrides, Upgrading, decide};
#[cfg(feature = "http2")]
pub(crate) use fallback::{TimedBody, answer_alone};
pub(crate) use reclaim_io::linger;
pub(crate) use refusal::{Refusal, Why};
pub(crate) use span::cut;
pub(crate) use timeout::{HandshakeTimeout, TimeoutPhase};

mod context;
mod decision;
mod extensions;
mod fallback;
mod operations;
mod plain;
mod reclaim_io;
mod refusal;
mod request_rules;
mod span;
mod timeout;
mod tokens;
mod vacancy;

/// A handshake that did not open a connection.
pub(crate) struct Unopened {
    pub(crate) why: NotOpened,
    /// Answers the peer and lets go of the stream, within a time of its own.
    pub(crate) letting_go: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Why a handshake did not open a connection, and what is to be raised of it.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The request failed before it was read.
    Failed(ErrorStage, EventError),
    /// Nothing to speak of: the peer has sent nothing, or no further request.
    NoRequest,
    /// The request was refused, for this reason and with this status, if there was an answer.
    Refused(Why, Option<StatusCode>),
    /// The request could not be read, and was refused for this reason and with this status.
    Unreadable(Why, StatusCode),
}

impl NotOpened {
    fn refused(refusal: &Refusal) -> Self {
        Self::Refused(refusal.why(), Some(refusal.status()))
    }

    fn hung_up() -> Self {
        Self::Refused(Why::hung_up(), None)
    }

    /// With nothing more to be done for the stream.
    pub(crate) fn at_once(self) -> Unopened {
        Unopened { why: self, letting_go: None }
    }

    /// With an answer to the peer, and time to read it.
    pub(crate) fn answered<S>(self, stream: S, answer: Vec<u8>) -> Unopened
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Unopened { why: self, letting_go: Some(Box::pin(linger(stream, answer))) }
    }
}

/// What hyper is given for a request.
enum Reply {
    Decided(Response<Full<Bytes>>),
    Fallback(fallback::Answer),
}

/// Does the handshake over `stream`, of which `read` was read already, and which `keep` converts for the connection. The
/// caller sets the deadline, and raises what has failed: without the stream, which handlers must not keep open.
pub(crate) async fn handshake<S, T, I>(
    mut stream: S,
    read: Bytes,
    context: &mut HandshakeContext<I>,
    keep: impl FnOnce(S) -> T,
) -> Result<Opened<T, I>, Unopened>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    I: Identity,
{
    let rewound = match context.shared.params.fallback {
        // Answers bear dates.
        Some(_) => Rewound::new(stream, read, None),
        None => match plain::begin(&mut stream, read, &context.shared.params.limits).await {
            Beginning::Plain(mut parts, behind) => {
                return plain::answer(stream, &mut parts, behind, context, keep).await;
            }
            Beginning::Other(read, ended) => Rewound::new(stream, read, ended),
        },
    };
    // Boxed, as most requests are plain.
    Box::pin(through_library(rewound, context, keep)).await
}

/// The handshake of a request that the HTTP library reads.
async fn through_library<S, T, I>(
    stream: Rewound<S>,
    context: &mut HandshakeContext<I>,
    keep: impl FnOnce(S) -> T,
) -> Result<Opened<T, I>, Unopened>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    I: Identity,
{
    let (shared, stop) = (context.shared.clone(), context.stop.clone());
    let (answers_requests, limits) = (shared.params.answers_requests(), &shared.params.limits);
    let (io, reclaim, exchange) = reclaim_io::reclaimable(stream);
    // hyper sends one request at a time and waits for its response. Boxed, as a channel allocates room for several
    // items.
    let (requests, mut received) = mpsc::channel(1);
    let begun = exchange.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        begun.begin();
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
        .auto_date_header(answers_requests)
        // Nearly as deployed .NET servers spell names (tests/traces); that their clients disregard case is not known.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let deciding = async {
        loop {
            let Some(received) = received.recv().await else { return std::future::pending().await };
            let (request, reply) = *received;
            if answers_requests {
                if !RequestFacts::of(request.headers()).ask_for_upgrade() {
                    let answer = fallback::answer(request, context, exchange.answer());
                    let _ = reply.send(Reply::Fallback(answer));
                    continue;
                }
                // A handshake after other requests has its own time.
                context.timeout.handshaking();
            }
            // The body, though empty, is kept until the response: hyper checks whether it is still read.
            let (mut parts, _body) = request.into_parts();
            let (response, decided) = match decide(context, &mut parts, StreamOwner::HttpLibrary).await {
                Ok(decision) => {
                    let (response, upgrading) = decision.split();
                    (response, Ok(upgrading))
                }
                Err(refusal) => {
                    let why = NotOpened::refused(&refusal);
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
        // Without a fallback there is only one request, which is refused when the server stops. So is the first one of a
        // connection that comes while it does.
        let mut may_shut_down = answers_requests && !stop.has_begun();
        let served = loop {
            tokio::select! {
                biased;
                served = connection.as_mut() => break served,
                decision = deciding.as_mut(), if decided.is_none() => decided = Some(decision),
                // Ends at once between two requests, otherwise after the response.
                () = stop.begun(), if may_shut_down => {
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
            let refused = decided.and_then(Result::err);
            let (why, answer) = match (refused, served) {
                (Some(why), _) => (why, Vec::new()),
                (None, _) if context.is_connecting() => (NotOpened::hung_up(), Vec::new()),
                (None, Err(error)) if error.is_parse() => unreadable(&error, &reclaim.held_back()),
                (None, Err(error)) if context.timeout.phase() != Phase::Request => {
                    (NotOpened::Failed(ErrorStage::Handshake, EventError::new(error)), Vec::new())
                }
                (None, _) => (NotOpened::NoRequest, Vec::new()),
            };
            return Err(match reclaim.stream() {
                Some(stream) => why.answered(stream, answer),
                None => why.at_once(),
            });
        }
    };
    let take = |upgraded: Upgraded| {
        let parts = upgraded.downcast::<TokioIo<ReclaimableIo<Rewound<S>>>>().ok()?;
        let (stream, unread) = parts.io.into_inner().keep()?.into_parts();
        let leftover = match unread.is_empty() {
            true => parts.read_buf,
            false => [parts.read_buf, unread].concat().into(),
        };
        Some((keep(stream), leftover))
    };
    upgrading.open(take).await.map_err(|why| NotOpened::Refused(why, None).at_once())
}

/// The refusal of a head that the HTTP library cannot read, in place of its `own` answer: of HTTP/2 it gives none, nor if
/// it is written already.
fn unreadable(error: &hyper::Error, own: &[u8]) -> (NotOpened, Vec<u8>) {
    if error.is_parse_version_h2() {
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return (NotOpened::Unreadable(Why::http2(), status), Vec::new());
    }
    let refusal = Refusal::unreadable(own);
    let why = NotOpened::Unreadable(refusal.why(), refusal.status());
    (why, if own.is_empty() { Vec::new() } else { refusal.into_bytes() })
}

#[cfg(test)]
mod tests;
