//! The life of one connection, in the order of the code.

use std::{
    pin::{Pin, pin},
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;
use websockets_simple_core::{
    Agreement, ConnectionDriver, ConnectionShared, Dispatcher, EndCause, ErrorStage, EventError, Heartbeat,
    Message, MessageSink, OutboxConfig, Side, Transport,
};

#[cfg(all(feature = "http2", feature = "rustls"))]
use crate::net::ALPN_HTTP2;
#[cfg(feature = "rustls")]
use crate::net::{ServerTls, TlsHandshakeError, TlsStream};
use crate::{
    addressing::{ListPositions, PlacedConnection, UserPermit},
    config::{Endpoint, Scope, ServerParams},
    connection::{
        Connection, ConnectionState, Extras, Origin,
        current_user::CurrentUser,
        expiry::Expiry,
        observer::{RefusedObserver, SubscribedObserver},
        scoped::{ScopedWork, SessionScope},
        served::ServeError,
        session_end::SessionEnd,
    },
    figures::RefusalReason,
    handshake::{
        self, Admitted, HandshakeContext, HandshakeTimeout, NotOpened, Opened, TimeoutPhase, Unopened,
    },
    net::{ConnectionPermit, LocalEndpoint, ProxyProtocol, Socket},
    run::{SessionGuard, SessionStage, SessionTask, Stop},
    users::Identity,
};
#[cfg(feature = "http2")]
use crate::{
    connection::http2,
    net::{ByteStream, Rewound, begins_with_http2},
};

/// How long a handshake may still take once the server stops: enough time to send a 503.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Bytes of messages that wait for the future of a local connection.
const LOCAL_CAPACITY: usize = 64 * 1024;

/// The error when an ordinary request got no response in time.
pub(super) const NO_ANSWER: &str = "the fallback service took too long";

/// A boxed future, which takes one pointer in its owner.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a connection from its first byte to its last. `local` is the address that the peer connected to, if the
/// listener has only one.
///
/// The memory of the handshake is freed when it is over. The task itself is small, as it lives as long as the
/// connection.
pub(crate) fn session<I: Identity, S: Socket>(
    context: HandshakeContext<I>,
    stream: S,
    endpoint: Endpoint,
    local: Option<LocalEndpoint>,
) -> SessionTask<I> {
    let guard = SessionGuard::new(&context.shared);
    // Made where it stays: on the stack first, all of it would be copied.
    let opening = Box::write(Box::new_uninit(), open(context, stream, endpoint, local));
    SessionTask::new(guard, Box::into_pin(opening))
}

/// Opens a connection, from the first byte to the 101, under one deadline: PROXY protocol and TLS if the endpoint uses
/// them, then the opening handshake.
async fn open<I: Identity, S: Socket>(
    mut context: HandshakeContext<I>,
    stream: S,
    endpoint: Endpoint,
    local: Option<LocalEndpoint>,
) -> Option<SessionStage<I>> {
    context.peer.endpoint = match local {
        Some(local) => local,
        None => stream.local().ok()?,
    };
    let (timeout, stop) = (Arc::clone(&context.timeout), context.stop.clone());
    // In a block: the response is dropped there, which begins another phase.
    let opened = { in_time(&timeout, &stop, pin!(secure(&mut context, stream, &endpoint))).await };
    match opened {
        Ok(Ok(Secured::Opened(opened))) => {
            let heartbeat = context.shared.params.heartbeat;
            return Some(serve(context, opened, SessionParts::new(heartbeat)));
        }
        #[cfg(feature = "http2")]
        Ok(Ok(Secured::Http2(stream))) => {
            return Some(SessionStage::last(Box::pin(http2::serve(context, stream))));
        }
        // Boxed, as most handshakes succeed.
        Ok(Err(unopened)) => Box::pin(conclude(context, Ok(unopened))).await,
        Err(cut) => Box::pin(conclude(context, Err(cut))).await,
    }
    None
}

/// Raises why there is no connection: behind the deadline, which cuts nothing short for those who are told late, and
/// beside the stream, which no handler keeps open.
pub(super) async fn conclude<I: Identity>(mut context: HandshakeContext<I>, ended: Result<Unopened, Cut>) {
    match ended {
        Ok(Unopened { why, letting_go }) => {
            let letting_go = async {
                if let Some(letting_go) = letting_go {
                    letting_go.await;
                }
            };
            tokio::join!(letting_go, tell(&mut context, why));
        }
        Err(Cut::Late(TimeoutPhase::Answer)) => {
            context.failed(ErrorStage::Handshake, EventError::new(NO_ANSWER)).await;
        }
        Err(Cut::Late(TimeoutPhase::Handshake)) => context.timed_out().await,
        Err(Cut::Late(TimeoutPhase::Request)) => {}
        Err(Cut::Stopped) => context.stopped().await,
    }
}

/// Why a handshake was cut short.
pub(super) enum Cut {
    Late(TimeoutPhase),
    Stopped,
}

/// What a handshake comes to within its deadline, and the time that a stop leaves it. It is pinned by the caller: an
/// `async fn` that owns a future holds it twice.
pub(super) async fn in_time<F: Future>(
    timeout: &HandshakeTimeout,
    stop: &Stop,
    mut opening: Pin<&mut F>,
) -> Result<F::Output, Cut> {
    tokio::select! {
        biased;
        opened = opening.as_mut() => Ok(opened),
        // Read before the response is dropped, which begins another phase.
        () = timeout.passed() => Err(Cut::Late(timeout.phase())),
        () = stop.begun() => tokio::time::timeout(STOP_GRACE, opening).await.map_err(|_| Cut::Stopped),
    }
}

/// Raises why there is no connection.
async fn tell<I: Identity>(context: &mut HandshakeContext<I>, why: NotOpened) {
    match why {
        NotOpened::Failed(stage, error) => context.failed_early(stage, error).await,
        NotOpened::NoRequest => context.shared.totals.idle(),
        NotOpened::Refused(why, _) => context.refused(why).await,
        NotOpened::Unreadable(why, _) => context.unreadable(why).await,
    }
}

/// What a stream turns out to be.
enum Secured<I: Identity> {
    Opened(Opened<Transport, I>),
    /// HTTP/2, which carries any number of handshakes.
    #[cfg(feature = "http2")]
    Http2(Box<dyn ByteStream>),
}

/// Reads the PROXY protocol header, then does the TLS and the opening handshake.
async fn secure<I: Identity, S: Socket>(
    context: &mut HandshakeContext<I>,
    mut stream: S,
    endpoint: &Endpoint,
) -> Result<Secured<I>, Unopened> {
    if endpoint.proxy_protocol == ProxyProtocol::Required
        && let Err(error) = Box::pin(context.read_proxy_header(&mut stream)).await
    {
        let failed = |error| NotOpened::Failed(ErrorStage::Handshake, error);
        return Err(error.map_or(NotOpened::NoRequest, failed).at_once());
    }
    #[cfg(feature = "rustls")]
    if let Some(tls) = endpoint.server_tls() {
        // Boxed like other optional steps, as a future is as large as its largest step.
        return Box::pin(secure_by_tls(context, stream, tls)).await;
    }
    #[cfg_attr(not(feature = "http2"), expect(unused_mut, reason = "nothing is read before"))]
    let mut read = Bytes::new();
    #[cfg(feature = "http2")]
    if endpoint.http2_prior_knowledge {
        let begun = begins_with_http2(&mut stream).await;
        let (is_http2, begun) = begun
            .map_err(|error| NotOpened::Failed(ErrorStage::Handshake, EventError::new(error)).at_once())?;
        if is_http2 {
            return Ok(Secured::Http2(Box::new(Rewound::new(stream, begun, None))));
        }
        read = begun;
    }
    handshake::handshake(stream, read, context, S::into_transport).await.map(Secured::Opened)
}

/// Does the TLS handshake, then the opening one.
#[cfg(feature = "rustls")]
async fn secure_by_tls<I: Identity, S: Socket>(
    context: &mut HandshakeContext<I>,
    stream: S,
    tls: &ServerTls,
) -> Result<Secured<I>, Unopened> {
    match accept_tls(tls, stream).await {
        Ok((stream, certificate)) => {
            context.peer.certificate = certificate;
            #[cfg(feature = "http2")]
            if stream.agreed().alpn_protocol() == Some(ALPN_HTTP2) {
                return Ok(Secured::Http2(Box::new(stream)));
            }
            let opened = handshake::handshake(stream, Bytes::new(), context, Transport::shared).await;
            opened.map(Secured::Opened)
        }
        Err((error, stream)) => {
            let failed = NotOpened::Failed(ErrorStage::Tls, EventError::new(error));
            // Gives the client time to read the TLS alert with the reason.
            Err(failed.answered(stream, Vec::new()))
        }
    }
}

/// The result of a TLS handshake: a stream and the certificate of the client, or an error and the socket.
#[cfg(feature = "rustls")]
type TlsAccepted<S> = Result<(TlsStream<S>, Option<PeerCertificate>), (TlsHandshakeError, S)>;

#[cfg(feature = "rustls")]
async fn accept_tls<S: Socket>(tls: &ServerTls, stream: S) -> TlsAccepted<S> {
    let other = |why: &str| TlsHandshakeError::Other(why.to_owned());
    let Some(config) = tls.in_use() else {
        return Err((other("no certificate is loaded"), stream));
    };
    let stream = TlsStream::accept(config, stream)
        .await
        .map_err(|(error, stream)| (TlsHandshakeError::new(&error), stream))?;
    let shown = stream.agreed().peer_certificates().and_then(<[_]>::first);
    match shown.map(|der| PeerCertificate::new(der)) {
        // A verified but unreadable certificate must not be treated as no certificate.
        Some(None) => Err((other("the client's certificate cannot be read"), stream.into_inner())),
        certificate => Ok((stream, certificate.flatten())),
    }
}

/// What a session needs besides its handshake.
pub(crate) struct SessionParts<I: Identity> {
    /// Used unless the user service or `heartbeat_of` has chosen another one for this request.
    pub(crate) heartbeat: Heartbeat,
    /// The work of a local connection: it ends with the work, and cannot be looked up.
    pub(crate) local: Option<ScopedWork<I>>,
    /// Who is told that the connection is open, with a handle of it.
    pub(crate) told: Option<Told<I>>,
}

/// Is told what came of a stream that the application has given to the server.
pub(crate) type Told<I> = oneshot::Sender<Result<Connection<I>, ServeError>>;

impl<I: Identity> SessionParts<I> {
    /// Those of a connection that can be looked up.
    pub(crate) fn new(heartbeat: Heartbeat) -> Self {
        Self { heartbeat, local: None, told: None }
    }
}

/// Runs an open connection, from the 101 to its end.
pub(super) fn serve<I: Identity>(
    context: HandshakeContext<I>,
    opened: Opened<Transport, I>,
    parts: SessionParts<I>,
) -> SessionStage<I> {
    let SessionParts { heartbeat, local, told } = parts;
    let Opened { stream: transport, leftover, admitted } = opened;
    let Admitted {
        head,
        subprotocol,
        controls,
        compression,
        user,
        user_permit,
        place,
        farewell,
        client,
        heartbeat: chosen,
        message_parts,
        asked,
    } = *admitted;
    let place = place.unwrap_or_else(PlacedConnection::anywhere);
    context.becomes(farewell.is_none().then_some(&place.id));
    let (shared, mut peer, permit, stop) = context.into_parts();
    peer.client = client;
    let PlacedConnection { channel, groups, id, reserved } = place;
    let heartbeat = chosen.unwrap_or(heartbeat);
    let connection = Connection(Arc::new(ConnectionState {
        core: ConnectionShared::new(Side::Server, outbox(&shared.params, compression)),
        serial: shared.next_serial(),
        shared: Arc::clone(&shared),
        origin: Origin::new(
            id,
            head,
            peer,
            user.map(|user| CurrentUser::new(user, asked)),
            Extras::new(channel, groups),
        ),
        scope: if local.is_some() { Scope::Local } else { Scope::Global },
        is_summed: AtomicBool::new(false),
        subprotocol,
        positions: ListPositions::default(),
    }));
    let core = &connection.0.core;
    let config = Arc::clone(&shared.connection_config);
    if controls && farewell.is_none() {
        core.begin_controls(heartbeat);
    }
    if let Some(text) = farewell {
        shared.refused(RefusalReason::Unauthorized, connection.client_addr());
        told.map(|told| told.send(Err(ServeError::Unauthorized)));
        let _ = core.outbox.try_send(Message::text(text), false);
        core.outbox.close(EndCause::Unauthorized);
        let observer = RefusedObserver::new(&connection, stop);
        let state = Arc::clone(&connection.0);
        let driver = ConnectionDriver::new(transport, &leftover, state, config, heartbeat, observer);
        return SessionStage::last(Box::pin(async move {
            driver.await;
            drop(permit);
        }));
    }
    shared.totals.opened();
    if let Some(text) = shared.params.success_text.as_deref() {
        let _ = core.outbox.try_send(Message::text(text), shared.subscriptions.wants_notices());
    }
    let (registered, sink, scoped) = match local {
        None => {
            let registered = shared.registry.register(&connection);
            drop(reserved);
            (Some(registered), None, None)
        }
        Some(work) => {
            let state = Arc::clone(&connection.0);
            let (sink, messages) =
                MessageSink::new(LOCAL_CAPACITY, move || state.core.outbox.drops_received());
            let is_chosen = reserved.is_some();
            let scope = SessionScope {
                demand: sink.demand(),
                _unlisted: shared.unlisted.keep(&connection, reserved),
            };
            if is_chosen {
                shared.registry.displace(connection.id());
            }
            (None, Some(Box::new(sink)), Some((work, messages, scope)))
        }
    };
    shared.revocable.set(&connection, scoped.is_none());
    if stop.has_begun() {
        // It was registered too late to be closed with all other connections.
        core.outbox.close(EndCause::ServerStopped);
    }
    shared.close_if_revoked(&connection);
    told.map(|told| told.send(Ok(connection.clone())));
    let dispatcher = Dispatcher::new(connection.clone(), Arc::clone(&shared.subscriptions));
    let observer = SubscribedObserver { dispatcher, registered, local: sink };
    let state = Arc::clone(&connection.0);
    let driver = ConnectionDriver::new(transport, &leftover, state, config, heartbeat, observer)
        .with_message_parts(message_parts);
    let expires = connection.0.origin.user.as_ref().and_then(|user| user.latest().expiry());
    let expiry = expires.map(|at| Box::new(Expiry::new(at)));
    let session = Session {
        driver,
        end: SessionEnd(connection),
        held: Box::new(SessionHeld { expiry, stop, _user_permit: user_permit, _permit: permit }),
    };
    match scoped {
        None => SessionStage::last(session),
        Some((work, messages, scope)) => SessionStage::last(work.run(session, messages, scope)),
    }
}

/// An admitted connection and its permits.
pub(crate) struct Session<I: Identity> {
    driver: ConnectionDriver<SubscribedObserver<I>>,
    /// Behind the driver, as it is dropped after it.
    end: SessionEnd<I>,
    held: Box<SessionHeld<I>>,
}

/// What a session rarely looks at. In memory of its own for the reason of [`Origin`].
struct SessionHeld<I: Identity> {
    expiry: Option<Box<Expiry>>,
    stop: Stop,
    _user_permit: Option<UserPermit<I>>,
    _permit: Option<ConnectionPermit>,
}

/// Nothing in it is pinned in place, for any type of user id.
impl<I: Identity> Unpin for Session<I> {}

impl<I: Identity> Session<I> {
    /// Runs the connection; ready with whether it ended cleanly.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Poll::Ready(end) = Pin::new(&mut self.driver).poll(cx) else {
            let Self { end: SessionEnd(connection), held, .. } = self;
            if let Some(expiry) = &mut held.expiry {
                expiry.poll(&*connection.0, cx);
            }
            return Poll::Pending;
        };
        Poll::Ready(end.clean)
    }

    pub(super) fn connection(&self) -> &Connection<I> {
        &self.end.0
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.held.stop
    }

    /// Counts the end for the report of a stop.
    pub(super) fn count(&self, clean: bool) {
        let ConnectionState { shared, core, .. } = &*self.end.0.0;
        if self.stop().has_begun() {
            shared.shutdown.count(core.outbox.handlers_aborted(), clean);
        }
    }
}

impl<I: Identity> Future for Session<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_end(cx).map(|clean| self.count(clean))
    }
}

fn outbox(params: &ServerParams, compression: Option<Agreement>) -> OutboxConfig {
    let pacing = params.pacing();
    OutboxConfig { pacing, compression, ..OutboxConfig::new(params.outbox, params.overflow) }
}
