//! The life of one connection, read once from top to bottom.

#[cfg(feature = "rustls")]
use std::io;
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
#[cfg(feature = "rustls")]
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;
use websockets_simple_core::{
    Attempt, ConnectionDriver, ConnectionShared, Dispatcher, EndCause, ErrorStage, EventError, Heartbeat,
    Message, OutboxConfig, SUBPROTOCOL, Side, Transport,
};

#[cfg(feature = "rustls")]
use crate::net::ServerTls;
use crate::{
    addressing::{ListPositions, PlacedConnection, UserPermit},
    config::{ConnectionPermit, Endpoint, Overflow, Scope, ServerParams},
    connection::{
        Connection, ConnectionState,
        current_user::CurrentUser,
        expiry::Expiry,
        observer::{RefusedObserver, SubscribedObserver},
        scoped::ScopedWork,
    },
    handshake::{self, Ended, Front, HandshakeContext, HandshakeTimeout, Opened, TimeoutPhase},
    net::{LocalEndpoint, Peer, ProxyProtocol, Socket},
    run::{SessionGuard, Shared},
    users::Identity,
};

/// How long a handshake may still take once the server stops: enough to say so.
pub(crate) const PARTING: Duration = Duration::from_secs(1);

/// Why a request that asked for no WebSocket got no answer.
const NO_ANSWER: &str = "the fallback service took too long";

/// Whether there is room for a connection.
pub(crate) enum Admittance {
    Admitted(ConnectionPermit),
    Overflow(Overflow),
}

/// A future that owns what it works with, so that whoever holds it holds one pointer.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a connection from its first byte to its last.
///
/// What the handshake needs is freed when that is over, and the task itself is small: it lasts as long as the
/// connection.
pub(crate) fn session<I: Identity, S: Socket>(
    shared: Arc<Shared<I>>,
    stream: S,
    peer_addr: Option<SocketAddr>,
    endpoint: Endpoint,
    bound: Option<LocalEndpoint>,
    admittance: Admittance,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let session_guard = SessionGuard::new(&shared);
    let opening = Box::pin(begin(shared, stream, peer_addr, endpoint, bound, admittance, stop));
    async move {
        if let Some(session) = opening.await {
            session.await;
        }
        drop(session_guard);
    }
}

/// From the first byte to the 101.
async fn begin<I: Identity, S: Socket>(
    shared: Arc<Shared<I>>,
    stream: S,
    peer_addr: Option<SocketAddr>,
    endpoint: Endpoint,
    bound: Option<LocalEndpoint>,
    admittance: Admittance,
    stop: CancellationToken,
) -> Option<Boxed<()>> {
    let began = Instant::now();
    let local = match bound {
        Some(bound) => bound,
        None => stream.local().ok()?,
    };
    let front = Arc::new(HandshakeContext {
        shared: Arc::clone(&shared),
        peer_addr,
        stop: stop.clone(),
        deadline: HandshakeTimeout::new(shared.params.limits.handshake),
        connecting: Mutex::default(),
        admittance: Mutex::new(Some(admittance)),
    });
    let (opened, transport, peer) = open(&front, stream, Peer::new(peer_addr, local), &endpoint).await?;
    let heartbeat = shared.params.heartbeat;
    Some(serve(
        shared,
        opened,
        transport,
        peer,
        SessionParts { began, heartbeat, local: None, permit: front.take_permit(), stop },
    ))
}

type Arrived<I> = (Opened<(), I, UserPermit<I>, PlacedConnection<I>>, Transport, Peer);

/// What a proxy says, TLS if the endpoint asks for it, then the opening handshake, all under one deadline.
async fn open<I: Identity, S: Socket>(
    front: &Arc<HandshakeContext<I>>,
    mut stream: S,
    mut peer: Peer,
    endpoint: &Endpoint,
) -> Option<Arrived<I>> {
    let opening = async {
        if endpoint.proxy_protocol == ProxyProtocol::Required
            && !Box::pin(front.introduce(&mut stream, &mut peer)).await
        {
            return None;
        }
        #[cfg(feature = "rustls")]
        if let Some(tls) = endpoint.server_tls() {
            // Boxed, as are other things that not every handshake needs, for a future is as large as its largest part.
            return match Box::pin(secure(tls, stream)).await {
                Ok((stream, certificate)) => {
                    peer.certificate = certificate;
                    Box::pin(greet(front, stream, peer, Transport::shared)).await
                }
                Err((error, stream)) => {
                    front.failed(ErrorStage::Tls, EventError::new(error)).await;
                    // Why is in an alert, which the client is to read.
                    Box::pin(handshake::linger(stream)).await;
                    None
                }
            };
        }
        greet(front, stream, peer, S::into_transport).await
    };
    let mut opening = std::pin::pin!(opening);
    let opened = tokio::select! {
        biased;
        opened = &mut opening => Some(opened),
        () = front.deadline.passed() => None,
        () = front.stop.cancelled() => tokio::time::timeout(PARTING, &mut opening).await.ok(),
    };
    let Some(opened) = opened else {
        match front.deadline.waiting() {
            TimeoutPhase::Answer => front.failed(ErrorStage::Handshake, EventError::new(NO_ANSWER)).await,
            TimeoutPhase::Handshake => front.ran_out_of_time().await,
            TimeoutPhase::Request => {}
        }
        return None;
    };
    opened
}

/// What a TLS handshake comes to: a stream and the certificate of the client, or an error and the socket.
#[cfg(feature = "rustls")]
type Secured<S> = Result<(TlsStream<S>, Option<PeerCertificate>), (io::Error, S)>;

#[cfg(feature = "rustls")]
async fn secure<S: Socket>(tls: &ServerTls, stream: S) -> Secured<S> {
    let Some(acceptor) = tls.acceptor() else {
        return Err((io::Error::other("there is no certificate yet"), stream));
    };
    let stream = acceptor.accept(stream).into_fallible().await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    match shown.map(|der| PeerCertificate::new(der)) {
        // A certificate that was verified but cannot be read must not pass for none.
        Some(None) => {
            Err((io::Error::other("the client's certificate cannot be read"), stream.into_inner().0))
        }
        certificate => Ok((stream, certificate.flatten())),
    }
}

async fn greet<I: Identity, S>(
    front: &Arc<HandshakeContext<I>>,
    stream: S,
    mut peer: Peer,
    transport: impl FnOnce(S) -> Transport,
) -> Option<Arrived<I>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match handshake::handshake(stream, Arc::clone(front), &peer, &front.deadline).await {
        Ok(opened) => {
            let (stream, opened) = opened.split();
            peer.client = opened.client;
            Some((opened, transport(stream), peer))
        }
        Err(Ended::Refused(attempt, why)) => {
            tracing::debug!(peer = ?front.peer_addr, %why, "refused");
            front.tell_refused(attempt, why).await;
            None
        }
        Err(Ended::NoRequest) => None,
    }
}

/// What the server gives a connection to live with.
pub(crate) struct SessionParts<I: Identity> {
    pub(crate) began: Instant,
    /// Unless somebody chooses another.
    pub(crate) heartbeat: Heartbeat,
    /// It lasts as long as this, and nobody can look it up.
    pub(crate) local: Option<ScopedWork<I>>,
    pub(crate) permit: Option<ConnectionPermit>,
    pub(crate) stop: CancellationToken,
}

/// From the 101 to the end.
pub(crate) fn serve<I: Identity>(
    shared: Arc<Shared<I>>,
    opened: Opened<(), I, UserPermit<I>, PlacedConnection<I>>,
    transport: Transport,
    peer: Peer,
    parts: SessionParts<I>,
) -> Boxed<()> {
    let SessionParts { began, heartbeat, local, permit, stop } = parts;
    let Opened { leftover, head, subprotocol, user, user_permit, place, farewell, .. } = opened;
    let PlacedConnection { channel, groups, id, reserved } = place.unwrap_or_else(PlacedConnection::anywhere);
    let chosen = || shared.params.heartbeat_for(&peer.question(&head, peer.client));
    let heartbeat = user
        .as_ref()
        .and_then(crate::users::Authenticated::heartbeat_override)
        .or_else(chosen)
        .unwrap_or(heartbeat);
    let connection = Connection(Arc::new(ConnectionState {
        core: ConnectionShared::new(Side::Server, outbox(&shared.params)),
        id,
        serial: shared.next_serial(),
        channel,
        groups: Mutex::new(groups),
        shared: Arc::clone(&shared),
        head,
        subprotocol,
        user: user.map(|user| Box::new(CurrentUser::new(user))),
        peer,
        since: chrono::Utc::now(),
        scope: if local.is_some() { Scope::Local } else { Scope::Global },
        state: Mutex::default(),
        positions: ListPositions::default(),
    }));
    let core = &connection.0.core;
    let inner = Arc::clone(&connection.0);
    let driver = Arc::clone(&shared.connection_config);
    if connection.subprotocol() == Some(SUBPROTOCOL) && farewell.is_none() {
        core.begin_controls();
    }
    if let Some(text) = farewell {
        let why = "not authorized".to_owned();
        let _ = core.outbox.try_send(Message::text(text), false);
        core.outbox.close(EndCause::Unauthorized);
        let attempt =
            Attempt::new(connection.peer_addr(), connection.channel()).of_client(connection.client_addr());
        let unknown = RefusedObserver { shared, refused: Some((attempt, why)) };
        let driver = ConnectionDriver::new(transport, &leftover, inner, driver, heartbeat, unknown);
        return Box::pin(async move {
            driver.await;
            drop(permit);
        });
    }
    if let Some(text) = shared.params.success_text.as_deref() {
        let _ = core.outbox.try_send(Message::text(text), shared.subscriptions.wants_notices());
    }
    let (registered, kept) = match local {
        None => {
            let registered = shared.registry.register(&connection);
            drop(reserved);
            (Some(registered), None)
        }
        Some(local) => (None, Some((shared.unlisted.keep(&connection, reserved), local))),
    };
    if stop.is_cancelled() {
        // Too late for the round in which the stop closed everybody.
        core.outbox.close(EndCause::ServerStopped);
    }
    shared.close_if_revoked(&connection, began);
    let member = SubscribedObserver {
        dispatcher: Dispatcher::new(connection.clone(), Arc::clone(&shared.subscriptions)),
        registered,
    };
    let driver = ConnectionDriver::new(transport, &leftover, inner, driver, heartbeat, member);
    let expires = connection.0.user.as_ref().and_then(|user| user.said().expiry());
    let expiry = expires.map(|at| Box::new(Expiry::new(at)));
    let session = Session { driver, connection, expiry, stop, _user_permit: user_permit, _permit: permit };
    match kept {
        None => Box::pin(session),
        Some((kept, local)) => Box::pin(local.run(session, kept)),
    }
}

/// An admitted connection, and the positions it takes.
pub(crate) struct Session<I: Identity> {
    driver: ConnectionDriver<SubscribedObserver<I>>,
    pub(super) connection: Connection<I>,
    expiry: Option<Box<Expiry>>,
    stop: CancellationToken,
    _user_permit: Option<UserPermit<I>>,
    _permit: Option<ConnectionPermit>,
}

/// Nothing in it is pinned in place, whatever the type of a user id.
impl<I: Identity> Unpin for Session<I> {}

impl<I: Identity> Future for Session<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Poll::Ready(end) = Pin::new(&mut self.driver).poll(cx) else {
            let Self { connection, expiry, .. } = &mut *self;
            if let Some(expiry) = expiry {
                expiry.poll(&*connection.0, cx);
            }
            return Poll::Pending;
        };
        let ConnectionState { shared, core, .. } = &*self.connection.0;
        shared.registry.drained(&self.connection);
        if self.stop.is_cancelled() {
            shared.shutdown.count(core.outbox.handlers_aborted(), end.clean);
        }
        Poll::Ready(())
    }
}

fn outbox(params: &ServerParams) -> OutboxConfig {
    OutboxConfig {
        capacity: params.outbox,
        policy: params.overflow,
        frame_pause: params.compatibility.frame_pause(),
        first_frame_pause: params.compatibility.first_frame_pause(),
    }
}
