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
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::Instant,
};
#[cfg(feature = "rustls")]
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;
use websockets_simple_core::{
    Attempt, CloseCode, EndedBy, Heartbeat, Line, Link, Message, Narrator, OutboxConfig, SUBPROTOCOL, Side,
    Transport,
};
#[cfg(feature = "rustls")]
use websockets_simple_core::{ErrorStage, EventError};

use crate::{
    Connection, Endpoint, HandshakeRequest, Identity, ServerParams,
    connection::Inner,
    current_user::CurrentUser,
    expiry::Expiry,
    handshake::{self, Ended, Opened},
    limits::{Full, SlotPermit},
    peer::Peer,
    registry::{Places, Seat},
    shared::{InSession, Shared},
};
#[cfg(feature = "rustls")]
use crate::{ServerTls, handshake::Front};

use desk::Desk;
use recipient::{Member, Unknown};

pub(crate) use mounted::{Mounted, mounted};

mod desk;
mod mounted;
mod recipient;

/// How long a handshake may still take once the server stops: enough to say so.
const PARTING: Duration = Duration::from_secs(1);

/// Whether there is room for a connection.
pub(crate) enum Arrival {
    Welcome(SlotPermit),
    /// There is none; while this permit can be had the peer is told so.
    Surplus(Full, OwnedSemaphorePermit),
}

/// A future that owns what it works with, so that whoever holds it holds one pointer.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a connection from its first byte to its last.
///
/// What the handshake needs is freed when that is over, and the task itself is small: it lasts as long as the
/// connection.
pub(crate) fn session<I: Identity>(
    shared: Arc<Shared<I>>,
    stream: TcpStream,
    peer_addr: SocketAddr,
    endpoint: Endpoint,
    bound: Option<SocketAddr>,
    arrival: Arrival,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let in_session = InSession::new(&shared);
    let opening = Box::pin(begin(shared, stream, peer_addr, endpoint, bound, arrival, stop));
    async move {
        if let Some(conversation) = opening.await {
            conversation.await;
        }
        drop(in_session);
    }
}

/// From the first byte to the 101.
async fn begin<I: Identity>(
    shared: Arc<Shared<I>>,
    stream: TcpStream,
    peer_addr: SocketAddr,
    endpoint: Endpoint,
    bound: Option<SocketAddr>,
    arrival: Arrival,
    stop: CancellationToken,
) -> Option<Boxed<()>> {
    let began = Instant::now();
    let local_addr = match bound {
        Some(bound) => bound,
        None => stream.local_addr().ok()?,
    };
    // Linux hands the listener's setting down to its connections.
    #[cfg(not(target_os = "linux"))]
    let _ = stream.set_nodelay(true);
    let (slot, surplus) = match arrival {
        Arrival::Welcome(slot) => (Some(slot), None),
        Arrival::Surplus(full, permit) => (None, Some((full, permit))),
    };
    let front = Arc::new(Desk {
        shared: Arc::clone(&shared),
        peer_addr: Some(peer_addr),
        stop: stop.clone(),
        connecting: Mutex::default(),
        slot: Mutex::new(slot),
        surplus: surplus.as_ref().map(|(full, _)| *full),
    });
    let (opened, transport, peer) = open(&front, stream, Peer::new(peer_addr, local_addr), &endpoint).await?;
    let heartbeat = shared.params.heartbeat;
    Some(converse(shared, opened, transport, peer, Stay { began, heartbeat, slot: front.take_slot(), stop }))
}

type Arrived<I> = (Opened<(), I, Seat<I>>, Transport, Peer);

/// TLS if the endpoint asks for it, then the opening handshake, all under one deadline.
async fn open<I: Identity>(
    front: &Arc<Desk<I>>,
    stream: TcpStream,
    #[cfg_attr(not(feature = "rustls"), expect(unused_mut, reason = "TLS tells more of the peer"))] mut peer: Peer,
    endpoint: &Endpoint,
) -> Option<Arrived<I>> {
    let deadline = front.shared.params.limits.handshake;
    #[cfg(not(feature = "rustls"))]
    let _ = endpoint;
    let opening = async {
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
                    Box::pin(crate::loan::linger(stream)).await;
                    None
                }
            };
        }
        greet(front, stream, peer, Transport::tcp).await
    };
    let mut opening = std::pin::pin!(tokio::time::timeout(deadline, opening));
    let opened = tokio::select! {
        biased;
        opened = &mut opening => opened.ok(),
        () = front.stop.cancelled() => tokio::time::timeout(PARTING, &mut opening).await.ok().and_then(Result::ok),
    };
    let Some(opened) = opened else {
        front.ran_out_of_time().await;
        return None;
    };
    opened
}

/// What a TLS handshake comes to: a stream and the certificate of the client, or an error and the socket.
#[cfg(feature = "rustls")]
type Secured = Result<(TlsStream<TcpStream>, Option<PeerCertificate>), (io::Error, TcpStream)>;

#[cfg(feature = "rustls")]
async fn secure(tls: &ServerTls, stream: TcpStream) -> Secured {
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
    front: &Arc<Desk<I>>,
    stream: S,
    mut peer: Peer,
    transport: impl FnOnce(S) -> Transport,
) -> Option<Arrived<I>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match handshake::handshake(stream, Arc::clone(front), &peer).await {
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
struct Stay {
    began: Instant,
    /// Unless somebody chooses another.
    heartbeat: Heartbeat,
    slot: Option<SlotPermit>,
    stop: CancellationToken,
}

/// From the 101 to the end.
fn converse<I: Identity>(
    shared: Arc<Shared<I>>,
    opened: Opened<(), I, Seat<I>>,
    transport: Transport,
    peer: Peer,
    stay: Stay,
) -> Boxed<()> {
    let Stay { began, heartbeat, slot, stop } = stay;
    let Opened { leftover, head, subprotocol, user, seat, farewell, .. } = opened;
    let heartbeat = user.as_ref().and_then(crate::Authenticated::heartbeat_override).unwrap_or_else(|| {
        let request = HandshakeRequest::new(&head, peer.addr, peer.endpoint).of_client(peer.client);
        shared.params.heartbeat_for(&request).unwrap_or(heartbeat)
    });
    let connection = Connection(Arc::new(Inner {
        line: Line::new(Side::Server, outbox(&shared.params)),
        id: shared.next_id(),
        shared: Arc::clone(&shared),
        head,
        subprotocol,
        user: user.map(|user| Box::new(CurrentUser::new(user))),
        peer,
        since: chrono::Utc::now(),
        state: Mutex::default(),
        places: Places::default(),
    }));
    let line = &connection.0.line;
    let inner = Arc::clone(&connection.0);
    let link = Arc::clone(&shared.link);
    if connection.subprotocol() == Some(SUBPROTOCOL) && farewell.is_none() {
        line.begin_controls();
    }
    if let Some(text) = farewell {
        let why = "not authorized".to_owned();
        let _ = line.try_send(Message::text(text), false);
        line.close(EndedBy::Local, CloseCode::POLICY, &why);
        let attempt = Attempt::new(connection.0.peer.known_addr(), connection.channel())
            .of_client(connection.client_addr());
        let unknown = Unknown { shared, refused: Some((attempt, why)) };
        let link = Link::new(transport, &leftover, inner, link, heartbeat, unknown);
        return Box::pin(async move {
            link.await;
            drop(slot);
        });
    }
    if let Some(text) = shared.params.success_text.as_deref() {
        let _ = line.try_send(Message::text(text), shared.subscriptions.wants_notices());
    }
    let registered = shared.registry.register(&connection);
    if stop.is_cancelled() {
        // Too late for the round in which the stop closed everybody.
        line.close(EndedBy::Stop, CloseCode::GOING_AWAY, "the server stops");
    }
    shared.close_if_revoked(&connection, began);
    let member = Member {
        narrator: Narrator::new(Arc::clone(&shared.subscriptions)),
        connection: connection.clone(),
        registered: Some(registered),
    };
    let link = Link::new(transport, &leftover, inner, link, heartbeat, member);
    let expires = connection.0.user.as_ref().and_then(|user| user.said().expiry());
    let expiry = expires.map(|at| Box::new(Expiry::new(at)));
    Box::pin(Conversation { link, connection, expiry, stop, _seat: seat, _slot: slot })
}

/// An admitted connection, and the places it takes.
struct Conversation<I: Identity> {
    link: Link<Member<I>>,
    connection: Connection<I>,
    expiry: Option<Box<Expiry>>,
    stop: CancellationToken,
    _seat: Option<Seat<I>>,
    _slot: Option<SlotPermit>,
}

/// Nothing in it is pinned in place, whatever the type of a user id.
impl<I: Identity> Unpin for Conversation<I> {}

impl<I: Identity> Future for Conversation<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Poll::Ready(end) = Pin::new(&mut self.link).poll(cx) else {
            let Self { connection, expiry, .. } = &mut *self;
            if let Some(expiry) = expiry {
                expiry.poll(&*connection.0, cx);
            }
            return Poll::Pending;
        };
        let Inner { shared, line, .. } = &*self.connection.0;
        shared.registry.drained(&self.connection);
        if self.stop.is_cancelled() {
            shared.tally.count(line.was_killed(), end.clean);
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
