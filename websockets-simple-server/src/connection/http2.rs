//! An HTTP/2 connection to an endpoint of our own: each of its streams becomes a connection, or a page of the fallback.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::{
    connection::{
        http2::{pieces::Pieces, stream::STREAM, tally::Tally, tasks::StreamTasks},
        requested::{RequestedParts, requested},
        session::SessionParts,
    },
    handshake::{HandshakeContext, Refusal, TimedBody, answer_alone},
    net::{ByteStream, Peer, SharedPlace},
    run::{SessionGuard, Shared, Stop},
    users::Identity,
};

pub(super) mod byte_stream;
mod pieces;
pub(crate) mod stream;
mod tally;
mod tasks;

/// What a client may send on a stream that is not read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many streams may be unread before the others are not read either, at least. It is a sixth of those that the
/// connection may have, beyond this. As many windows are that of the connection, and h2 keeps small frames of half of
/// that, each with some 500 bytes of its own, also if the connection has one stream and one place.
const UNREAD_STREAMS: u32 = 16;

/// What h2 keeps for a stream whose bytes the socket does not take: one DATA frame, beside those of `byte_stream.rs`.
const SEND_BUFFER: usize = 16 * 1024;

/// Streams that may come to nothing: reset before their answer, or refused. Then the connection takes no more of them; a
/// client that goes on begins anew, with TCP and TLS. It is cut after as many again and more than a client can have on
/// their way that is told so.
const FRUITLESS: usize = 100;

/// How long a connection that takes no more streams may still write when there are none.
const LEAVING: Duration = Duration::from_secs(1);

/// The answer to one request.
type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Unanswered>> + Send>>;

type AnswerBody = Either<Full<Bytes>, Pieces<TimedBody>>;

/// A stream that is reset instead of answered: the runtime is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the server is gone")]
struct Unanswered;

/// What the streams of an HTTP/2 connection share.
struct Line<I: Identity> {
    shared: Arc<Shared<I>>,
    peer: Peer,
    stop: Stop,
    place: Arc<SharedPlace>,
    tally: Arc<Tally>,
    sessions: TaskTracker,
}

/// Why an HTTP/2 connection is over.
enum End {
    /// Both sides have let go of it, or it has failed.
    Served(hyper::Result<()>),
    /// It has carried no request in time.
    Unused,
    /// It was given time to end, and has not ended.
    Cut,
}

/// Runs an HTTP/2 connection to its end, at the latest when its streams have ended and the server stops, or none came for
/// the time of a handshake. `context` is that of its PROXY and TLS headers.
pub(super) async fn serve<I: Identity>(mut context: HandshakeContext<I>, stream: Box<dyn ByteStream>) {
    let shared = Arc::clone(&context.shared);
    // A stop waits for the streams: one of them may be where it is awaited.
    shared.shutdown.carries_sessions(&shared);
    let Some(run) = shared.run() else { return };
    let limits = &shared.params.limits;
    let place = context.take_place();
    context.carries_others();
    let tally = Tally::new(context.timeout.ends(), limits.handshake);
    if place.overflow().is_some() {
        tally.expect_nothing(FRUITLESS - 1);
    }
    let line = Arc::new(Line {
        shared: Arc::clone(&shared),
        peer: context.peer.clone(),
        stop: context.stop.clone(),
        place: SharedPlace::new(place, &shared.limiter),
        tally: Arc::clone(&tally),
        sessions: run.sessions,
    });
    let most_fruitless = FRUITLESS + FRUITLESS.max(2 * limits.http2_streams as usize);
    let stop = context.stop.clone();
    let tasks = StreamTasks::new(&line);
    let service = service_fn(move |request| Arc::clone(&line).answer(request));
    let connection = Builder::new(tasks)
        .enable_connect_protocol()
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * UNREAD_STREAMS.max(limits.http2_streams / 6))
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
        .auto_date_header(shared.params.answers_requests())
        .serve_connection(TokioIo::new(stream), service);
    // In a block: no handler that is told of the end holds the socket.
    let end = {
        let mut connection = pin!(connection);
        let mut leaving = false;
        loop {
            tokio::select! {
                biased;
                served = connection.as_mut() => break End::Served(served),
                () = tally.unused() => match leaving {
                    true => break End::Cut,
                    false if !tally.was_asked() => break End::Unused,
                    false => {}
                },
                () = tally.nothing_came_of(most_fruitless) => break End::Cut,
                () = tally.nothing_came_of(FRUITLESS), if !leaving => {}
                () = stop.begun(), if !leaving => {}
            }
            leaving = true;
            tally.leave_within(LEAVING);
            connection.as_mut().graceful_shutdown();
        }
    };
    match end {
        End::Unused => context.timed_out().await,
        // Each of its streams has raised what there is to raise.
        End::Served(Err(error)) => {
            tracing::debug!(peer = ?context.peer.addr, %error, "an HTTP/2 connection failed");
        }
        End::Served(Ok(())) | End::Cut => {}
    }
}

impl<I: Identity> Line<I> {
    /// Answers the request that begins a stream.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answering {
        self.tally.asked();
        let promise = self.tally.promise();
        Box::pin(async move {
            let response = match self.respond(request).await? {
                Answer::Own(response) => {
                    if response.status().is_success() {
                        promise.keep();
                    }
                    response.map(Either::Left)
                }
                Answer::Page(response) => {
                    promise.keep();
                    response.map(|body| Either::Right(Pieces::new(body)))
                }
            };
            Ok(response)
        })
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Answer, Unanswered> {
        let Self { shared, peer, stop, place, sessions, .. } = self;
        let (params, version) = (&shared.params, request.version());
        let refused = |refusal: Refusal| Ok(Answer::Own(refusal.into_own_response(version)));
        let stream = STREAM.with(Arc::clone);
        let place = match place.next() {
            Ok(place) => place,
            Err(limit) => {
                shared.refused(Refusal::reason_of(limit), peer.client);
                return refused(Refusal::full(limit, params));
            }
        };
        let mut context = HandshakeContext::in_place(Arc::clone(shared), peer.clone(), place, stop.clone());
        if request.headers().len() > params.limits.headers {
            let refusal = Refusal::too_many_headers();
            context.unreadable(refusal.why()).await;
            return refused(refusal);
        }
        if params.answers_requests() && request.method() != Method::CONNECT {
            stream.is_a_page(params.limits.handshake);
            let answering = answer_alone(request, &mut context);
            stream.keep(context.take_place());
            return Ok(Answer::Page(answering.await));
        }
        let (reply, answered) = oneshot::channel();
        let guard = SessionGuard::new(shared);
        let session = SessionParts::new(params.heartbeat);
        let request = RequestedParts { parts: request.into_parts().0, session, stream: Some(stream) };
        sessions.spawn(requested(context, guard, request, reply));
        answered.await.map(Answer::Own).map_err(|_| Unanswered)
    }
}

enum Answer {
    Own(Response<Full<Bytes>>),
    Page(Response<TimedBody>),
}
