//! Connections out of requests that an HTTP server has read: that of the application, or our own over HTTP/2.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
#[cfg(feature = "http2")]
use http::Version;
use http::{Response, request::Parts};
use http_body_util::Full as Body;
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpStream, sync::oneshot};
use websockets_simple_core::Transport;

#[cfg(feature = "http2")]
use crate::connection::http2::{byte_stream::Http2Io, stream::Http2Stream};
use crate::{
    connection::session::{Cut, SessionParts, in_time, serve},
    handshake::{HandshakeContext, Refusal, StreamOwner, Upgrading, Why, decide},
    run::{SessionGuard, SessionStage, SessionTask},
    users::Identity,
};

/// Runs a connection from its request to its last byte. `reply` carries the response to the HTTP server.
pub(crate) fn requested<I: Identity>(
    context: HandshakeContext<I>,
    guard: SessionGuard<I>,
    request: RequestedParts<I>,
    reply: oneshot::Sender<Response<Body<Bytes>>>,
) -> SessionTask<I> {
    SessionTask::new(guard, Box::pin(open(context, request, reply)))
}

/// A request, and what its connection needs.
pub(crate) struct RequestedParts<I: Identity> {
    pub(crate) parts: Parts,
    pub(crate) session: SessionParts<I>,
    /// The stream of an HTTP/2 connection of our own.
    #[cfg(feature = "http2")]
    pub(crate) stream: Option<Arc<Http2Stream>>,
}

/// Opens a connection, from the request to the upgraded stream.
async fn open<I: Identity>(
    mut context: HandshakeContext<I>,
    request: RequestedParts<I>,
    reply: oneshot::Sender<Response<Body<Bytes>>>,
) -> Option<SessionStage<I>> {
    let RequestedParts { parts, session, .. } = request;
    #[cfg(feature = "http2")]
    let (version, stream) = (parts.version, request.stream);
    let upgrading = answer(&mut context, parts, reply).await?;
    #[cfg(feature = "http2")]
    let of_io = stream.clone();
    let opening = pin!(upgrading.open(|upgraded| {
        #[cfg(feature = "http2")]
        if version == Version::HTTP_2 {
            let io = Http2Io::new(TokioIo::new(upgraded), of_io);
            return Some((Transport::shared(io), Bytes::new()));
        }
        take(upgraded)
    }));
    match in_time(&context.timeout, &context.stop, opening).await {
        Ok(Ok(opened)) => {
            #[cfg(feature = "http2")]
            if let Some(stream) = stream {
                stream.keep(context.take_place());
                stream.is_open();
            }
            Some(serve(context, opened, session))
        }
        Ok(Err(why)) => {
            context.refused(why).await;
            None
        }
        Err(Cut::Late(_)) => {
            context.timed_out().await;
            None
        }
        Err(Cut::Stopped) => {
            context.stopped().await;
            None
        }
    }
}

/// Why there is no decision on a request.
enum Undecided {
    HungUp,
    TimedOut,
}

/// Answers the request, and returns it if it is admitted.
async fn answer<I: Identity>(
    context: &mut HandshakeContext<I>,
    mut parts: Parts,
    mut reply: oneshot::Sender<Response<Body<Bytes>>>,
) -> Option<Upgrading<I>> {
    let (timeout, version) = (Arc::clone(&context.timeout), parts.version);
    let decided = tokio::select! {
        biased;
        decided = decide(context, &mut parts, StreamOwner::HttpLibrary) => Ok(decided),
        () = reply.closed() => Err(Undecided::HungUp),
        () = timeout.passed() => Err(Undecided::TimedOut),
    };
    let why = match decided {
        Ok(Ok(decision)) => {
            let (response, upgrading) = decision.split();
            if reply.send(response).is_ok() {
                return Some(upgrading);
            }
            Why::hung_up()
        }
        Ok(Err(refusal)) => {
            let why = refusal.why();
            let _ = reply.send(refusal.into_guest_response(version));
            why
        }
        Err(Undecided::HungUp) => Why::hung_up(),
        Err(Undecided::TimedOut) => {
            let _ = reply.send(Refusal::too_slow(&context.shared.params).into_guest_response(version));
            context.timed_out().await;
            return None;
        }
    };
    context.refused(why).await;
    None
}

/// Takes the stream from the HTTP library.
fn take(upgraded: Upgraded) -> Option<(Transport, Bytes)> {
    Some(match socket(upgraded) {
        Ok((stream, leftover)) => {
            // As on the server's own endpoints. A failure only causes delays.
            let _ = stream.set_nodelay(true);
            (Transport::tcp(stream), leftover)
        }
        Err(upgraded) => (Transport::shared(TokioIo::new(upgraded)), Bytes::new()),
    })
}

/// The socket itself, so that the connection uses it directly. Works with hyper's server, and with that of hyper-util,
/// which axum uses.
fn socket(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
            .map(|parts| (parts.io.into_inner(), parts.read_buf)),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, StatusCode, header};
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioExecutor;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;

    const ASKING: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly";

    #[tokio::test]
    async fn the_socket_comes_out_of_both_servers_with_what_was_read_of_it() {
        for by_itself in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            client.write_all(ASKING).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let service = service_fn(move |request: Request<Incoming>| {
                sender.send(hyper::upgrade::on(request)).unwrap();
                let mut response = Response::new(Body::<Bytes>::default());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response.headers_mut().insert(header::CONNECTION, "Upgrade".parse().unwrap());
                async move { Ok::<_, Infallible>(response) }
            });
            let io = TokioIo::new(stream);
            if by_itself {
                http1::Builder::new().serve_connection(io, service).with_upgrades().await.unwrap();
            } else {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection_with_upgrades(io, service).await.unwrap();
            }
            let upgraded = receiver.recv().await.unwrap().await.unwrap();
            let (mut socket, leftover) = socket(upgraded).unwrap();
            assert_eq!(&leftover[..], b"early");
            socket.write_all(b"late").await.unwrap();
            drop(socket);
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert!(heard.starts_with("HTTP/1.1 101 ") && heard.ends_with("\r\n\r\nlate"), "{heard}");
        }
    }
}
