//! A connection that came as a request to somebody else's HTTP server.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::Full as Body;
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpStream, sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use websockets_simple_core::Transport;

use crate::{
    addressing::{PlacedConnection, UserPermit},
    connection::{Admittance, Boxed, PARTING, ScopedWork, SessionParts, serve},
    handshake::{
        self, Accepted, Ended, Front, HUNG_UP, HandshakeContext, HandshakeTimeout, Refusal, UpgradeOverrides,
    },
    net::Peer,
    run::{SessionGuard, Shared},
    users::Identity,
};

/// A request, and what the application says of it.
pub(crate) struct Mounted<I: Identity> {
    pub(crate) parts: Parts,
    pub(crate) peer: Peer,
    pub(crate) overrides: UpgradeOverrides<I>,
    pub(crate) local: Option<ScopedWork<I>>,
}

/// Runs such a connection, from the request to the last byte. `reply` takes the answer to the HTTP server.
pub(crate) fn mounted<I: Identity>(
    shared: Arc<Shared<I>>,
    session_guard: SessionGuard<I>,
    request: Mounted<I>,
    admittance: Admittance,
    stop: CancellationToken,
    reply: oneshot::Sender<Response<Body<Bytes>>>,
) -> impl Future<Output = ()> + Send {
    let opening = Box::pin(begin(shared, request, admittance, stop, reply));
    async move {
        if let Some(session) = opening.await {
            session.await;
        }
        drop(session_guard);
    }
}

/// From the request to the upgraded stream.
async fn begin<I: Identity>(
    shared: Arc<Shared<I>>,
    request: Mounted<I>,
    admittance: Admittance,
    stop: CancellationToken,
    reply: oneshot::Sender<Response<Body<Bytes>>>,
) -> Option<Boxed<()>> {
    let began = Instant::now();
    let Mounted { parts, mut peer, overrides, local } = request;
    let front = HandshakeContext {
        shared: Arc::clone(&shared),
        peer_addr: peer.addr,
        stop: stop.clone(),
        deadline: HandshakeTimeout::new(shared.params.limits.handshake),
        connecting: Mutex::default(),
        admittance: Mutex::new(Some(admittance)),
    };
    let accepted = answer(&front, parts, &peer, overrides, reply).await?;
    let mut opening = std::pin::pin!(accepted.open(take));
    let opened = tokio::select! {
        biased;
        opened = &mut opening => Some(opened),
        () = front.deadline.passed() => None,
        () = stop.cancelled() => tokio::time::timeout(PARTING, &mut opening).await.ok(),
    };
    match opened {
        Some(Ok(opened)) => {
            let (transport, opened) = opened.split();
            peer.client = opened.client;
            let heartbeat = shared.params.heartbeat_over_http();
            let parts = SessionParts { began, heartbeat, local, permit: front.take_permit(), stop };
            Some(serve(shared, opened, transport, peer, parts))
        }
        Some(Err(why)) => {
            front.give_up(why).await;
            None
        }
        None => {
            front.ran_out_of_time().await;
            None
        }
    }
}

/// Answers the request; gives what was admitted.
async fn answer<I: Identity>(
    front: &HandshakeContext<I>,
    parts: Parts,
    peer: &Peer,
    overrides: UpgradeOverrides<I>,
    mut reply: oneshot::Sender<Response<Body<Bytes>>>,
) -> Option<Accepted<I, UserPermit<I>, PlacedConnection<I>>> {
    let verdict = Mutex::new(None);
    let decide = |decided| *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(decided);
    let answering = handshake::answer(parts, front, peer, overrides, decide);
    let answered = tokio::select! {
        biased;
        answered = answering => Some(answered),
        () = reply.closed() => None,
        () = front.deadline.passed() => {
            let _ = reply.send(Refusal::too_slow(front.params()).into_guest_response());
            front.ran_out_of_time().await;
            return None;
        }
    };
    let heard = match answered {
        Some(Ok(response)) => reply.send(response).is_ok(),
        Some(Err(refusal)) => reply.send(refusal.into_guest_response()).is_ok(),
        None => false,
    };
    match verdict.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(accepted)) if heard => return Some(accepted),
        Some(Err(Ended::Refused(attempt, why))) => {
            tracing::debug!(peer = ?front.peer_addr, %why, "refused");
            front.tell_refused(attempt, why).await;
        }
        _ => front.give_up(HUNG_UP).await,
    }
    None
}

/// Takes the stream out of the hands of the HTTP library.
fn take(upgraded: Upgraded) -> Option<(Transport, Bytes)> {
    Some(match socket(upgraded) {
        Ok((stream, leftover)) => {
            // As on our own endpoints. Failing to set it only means a delay.
            let _ = stream.set_nodelay(true);
            (Transport::tcp(stream), leftover)
        }
        Err(upgraded) => (Transport::shared(TokioIo::new(upgraded)), Bytes::new()),
    })
}

/// The socket itself, so that nothing stands between it and the connection; with hyper's own server, or with the one of
/// hyper-util that axum uses.
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
