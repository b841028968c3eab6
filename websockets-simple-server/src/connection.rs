//! The handle to one open connection.

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use chrono::{DateTime, Utc};
use websockets_simple_core::{
    CloseCode, ConnectionShared, Disconnect, EndCause, IntoMessage, Message, MessageWriter, OwnedSending,
    PartKind, SendError, SendHandle, SendSink, SendStatus, Sending, Statistics, Text,
};

use crate::{
    addressing::{Audience, ListPositions},
    config::{ClientId, Scope},
    net::RequestHead,
    run::Shared,
    server::Server,
    users::{Authenticated, Identity, User, UserId},
};
#[cfg(feature = "rustls")]
use websockets_simple_core::tls::PeerCertificate;

pub(crate) use current_user::CurrentUser;
pub use event::{Event, GroupEvent, GroupEventKind, ServerEvent, ServerEventKind, StopReport};
pub(crate) use extras::{Extras, Held};
pub use local::LocalConnection;
pub use observer::Inbound;
pub(crate) use origin::Origin;
pub(crate) use requested::{RequestedParts, requested};
pub(crate) use scoped::ScopedWork;
pub use served::ServeError;
pub(crate) use served::served;
pub(crate) use session::{Boxed, SessionParts, session};
pub(crate) use user_state::UserState;

mod current_user;
mod event;
mod expiry;
mod extras;
#[cfg(feature = "http2")]
mod http2;
mod local;
mod log;
mod observer;
mod origin;
mod requested;
mod scoped;
mod served;
mod session;
mod session_end;
mod state;
#[cfg(test)]
pub(crate) mod testing;
mod user_state;

/// A handle to one open connection of a server; its clones are handles to the same connection.
///
/// Handles may be stored, also as keys of a map, where all handles to one connection are equal (what clippy says of
/// `mutable_key_type` there does not apply: nothing that changes is compared). They do not keep the socket open, and
/// sending after the connection has ended fails with [`SendError::Closed`].
pub struct Connection<I: Identity>(pub(crate) Arc<ConnectionState<I>>);

/// The state that all handles of a connection share.
pub(crate) struct ConnectionState<I: Identity> {
    pub(crate) core: ConnectionShared,
    /// Unique within the server; ascending.
    pub(crate) serial: u64,
    pub(crate) shared: Arc<Shared<I>>,
    pub(crate) origin: Box<Origin<I>>,
    pub(crate) scope: Scope,
    /// Whether it is among those that have ended in the figures of the server. Here, where it takes no room.
    pub(crate) is_summed: AtomicBool,
    /// Its [number](crate::ServerParams::subprotocol). Here, where it takes no room.
    pub(crate) subprotocol: Option<NonZeroU16>,
    pub(crate) positions: ListPositions,
}

impl<I: Identity> Connection<I> {
    /// The id of the connection, without a signature.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.0.origin.id
    }

    /// The id as it is sent to clients: signed if [`ServerParams::id_signing`](crate::ServerParams::id_signing) is set.
    #[must_use]
    pub fn signed_id(&self) -> String {
        match &self.0.shared.params.id_signing {
            Some(signing) => signing.sign(self.id(), self.client_addr(), self.header("user-agent")),
            None => self.id().to_string(),
        }
    }

    /// The channel: set by [`Placement::channel`](crate::Placement::channel), otherwise the percent-decoded path of
    /// the request, or `/` if the path was the token.
    #[must_use]
    pub fn channel(&self) -> &str {
        let placed = self.0.origin.extras.get().and_then(|extras| extras.channel.as_deref());
        placed.unwrap_or_else(|| self.0.origin.head.channel())
    }

    /// The groups of the channel that the connection is in, in no particular order.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<str>> {
        self.0.groups().map(|groups| groups.clone()).unwrap_or_default()
    }

    /// Whether the connection is in this group of its channel.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.0.groups().is_some_and(|groups| groups.iter().any(|joined| **joined == *group))
    }

    /// Joins a group of its channel, which need not exist before. False if the connection is in it already, or has
    /// ended.
    pub fn join(&self, group: &str) -> bool {
        self.0.shared.registry.join(self, group)
    }

    /// Leaves a group of its channel. False if the connection is not in it, or has ended.
    pub fn leave(&self, group: &str) -> bool {
        self.0.shared.registry.leave(self, group)
    }

    /// Selects all connections of its channel, itself included.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.on_message(|connection, message| async move {
    ///     let _ = connection.to_channel().except(&connection).send(message);
    /// });
    /// ```
    pub fn to_channel(&self) -> Audience<I> {
        Audience::all(&self.0.shared).channel(self.channel())
    }

    /// Selects all connections in a group of its channel, itself included if it is in the group; it need not be.
    pub fn to_group(&self, group: &str) -> Audience<I> {
        self.to_channel().group(group)
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.origin.head.query(name)
    }

    /// The head of the request that opened the connection, without its token.
    #[must_use]
    pub fn request(&self) -> &RequestHead {
        &self.0.origin.head
    }

    /// The first header of that name, in any case. Values that are not UTF-8 are left out.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.origin.head.header(name)
    }

    /// Whether both ends agreed on compression ([`ServerParams::compression`](crate::ServerParams::compression)).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.0.core.outbox.is_compressed()
    }

    /// The negotiated subprotocol. Without the `websockets-simple+` by which a client offers it with
    /// [control messages](Self::has_controls).
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol.map(|number| self.0.shared.params.subprotocol(number))
    }

    /// Whether both ends agreed on control messages, by which credentials are renewed and clients join groups. Clients of
    /// this library do where they offer `websockets-simple` or a subprotocol of the server.
    #[must_use]
    pub fn has_controls(&self) -> bool {
        self.0.core.has_controls()
    }

    /// The local address that the peer connected to. `None` over a Unix domain socket, and where an HTTP server of the
    /// application has not [set](crate::Upgrade::endpoint) it.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.0.origin.peer.endpoint()
    }

    /// The path of the local Unix domain socket that the peer connected to.
    #[must_use]
    pub fn unix_endpoint(&self) -> Option<&Path> {
        self.0.origin.peer.unix_endpoint()
    }

    /// The address of the client: that of the peer, or what a
    /// [trusted proxy](crate::ServerParams::trusted_proxies) says it is. An IPv4-mapped address is returned as IPv4.
    /// `None` over a Unix domain socket, unless a proxy names the client there.
    #[must_use]
    pub fn client_addr(&self) -> Option<IpAddr> {
        self.0.origin.peer.client()
    }

    /// The address of the peer: of the other end of the socket, which may be a proxy. `None` over a Unix
    /// domain socket, and where an HTTP server of the application has not [set](crate::Upgrade::peer_addr) it.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.origin.peer.addr()
    }

    /// The verified certificate of the peer, if it sent one in the TLS handshake.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&PeerCertificate> {
        self.0.origin.peer.certificate()
    }

    /// Whether broadcasts reach the connection ([`Scope::Global`]) or only its own future ([`Scope::Local`]).
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// When the handshake was complete.
    #[must_use]
    pub fn connected_since(&self) -> DateTime<Utc> {
        self.0.origin.since()
    }

    /// Numbers of messages and bytes in both directions, queued bytes, and the round-trip time.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.0.core.statistics()
    }

    /// The server of this connection. Use it inside handlers instead of a clone of the server: a handler that owns
    /// its server keeps it from being dropped.
    #[must_use]
    pub fn server(&self) -> Server<I> {
        Server::of(&self.0.shared)
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.core.outbox.is_open()
    }

    /// Waits until the connection has ended, whoever closed it: until its transport is released. Disconnected comes after
    /// that, behind handlers that still run; while one of them waits here, a Close of the peer is answered at the timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn closed(&self) -> Disconnect {
        self.0.core.closed().await
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&Disconnect> {
        self.0.core.end()
    }

    /// Stores a value of the application on the connection, one per type. Answers the value that it replaces.
    ///
    /// The values are dropped when the connection has ended and its Disconnected event is dropped: handlers and
    /// [streams](websockets_simple_core::Events) still have them at that event. So two connections may hold handles of
    /// each other. After that, nothing is stored.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, state: T) -> Option<T> {
        self.0.origin.extras.get_or_make().state.insert(state, &self.0.shared)
    }

    /// A clone of the value of this type that [`insert`](Self::insert) stored. For values that change, store an
    /// `Arc<Mutex<_>>`.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.0.origin.extras.get()?.state.get()
    }

    /// Sends a message. **A string is sent as a packet**, `{"Data":"hi","Timestamp":".."}`;
    /// [`send_text`](Self::send_text) sends the text as it is, and [`Json`](crate::Json)`(&value)` is any serializable
    /// value. [`IntoMessage`] lists the rest.
    ///
    /// Messages are sent in the order of the calls. With [`OverflowPolicy::Wait`] this waits for room in the
    /// outbox; with the other policies it never waits.
    ///
    /// [`OverflowPolicy::Wait`]: websockets_simple_core::OverflowPolicy::Wait
    ///
    /// # Errors
    ///
    /// [`SendError`]; the message was not sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, the message is not sent.
    pub fn send(&self, message: impl IntoMessage) -> Sending<'_> {
        self.0.core.outbox.send(message, self.0.shared.subscriptions.wants_notices())
    }

    /// Sends a text as it is: [`send`](Self::send) would make a packet of it.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the message was not sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, the message is not sent.
    pub fn send_text(&self, text: impl Into<Text>) -> Sending<'_> {
        self.send(Message::text(text))
    }

    /// Sends a message without ever waiting. **A string is sent as a packet**, as with [`send`](Self::send);
    /// `Message::text(..)` is sent as it is.
    ///
    /// # Errors
    ///
    /// [`SendError`]; the message was not sent. [`SendError::Full`] where [`send`](Self::send) would wait.
    pub fn try_send(&self, message: impl IntoMessage) -> Result<SendStatus, SendError> {
        self.0.core.outbox.try_send(message, self.0.shared.subscriptions.wants_notices())
    }

    /// The connection as a `Sink` of messages, which sends as [`send`](Self::send) does.
    #[must_use]
    pub fn sink(&self) -> SendSink<Self> {
        SendSink::new(self.clone())
    }

    /// Begins a long message that is sent in parts: `str` for text, `[u8]` for binary. Waits until another such
    /// message is finished.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it resolves, no message has begun.
    pub async fn send_parts<K: PartKind + ?Sized>(&self) -> Result<MessageWriter<'_, K>, SendError> {
        MessageWriter::begin(&self.0.core.outbox).await
    }

    /// Closes the connection: queued messages are sent, then Close with this code and reason (cut to 123 bytes). What was
    /// received before is still handled. Resolves when the transport is released, at the latest after the close timeout.
    /// May be called from a handler of this connection.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the connection closes even if the future is dropped.
    pub async fn disconnect(&self, code: CloseCode, reason: &str) {
        self.close(code, reason);
        self.0.core.outbox.closed().await;
    }

    /// Closes the connection like [`disconnect`](Self::disconnect), without waiting. False if it was ending already.
    pub fn close(&self, code: CloseCode, reason: &str) -> bool {
        self.0.core.outbox.close(EndCause::closed(code, reason))
    }
}

impl<T: UserId> Connection<User<T>> {
    /// The id of the connection's user.
    ///
    /// # Panics
    ///
    /// Never: every connection of an authenticated server has a user.
    #[must_use]
    pub fn user_id(&self) -> &T {
        self.user().id()
    }

    /// The last result of the user service: when it admitted the user, or when the credentials were renewed.
    ///
    /// # Panics
    ///
    /// Never: every connection of an authenticated server has a user.
    #[must_use]
    pub fn authenticated(&self) -> Arc<Authenticated<T>> {
        self.user().latest()
    }

    fn user(&self) -> &CurrentUser<T> {
        self.0.origin.user.as_ref().expect("every connection of an authenticated server has a user")
    }
}

impl<I: Identity> SendHandle for Connection<I> {
    fn send_owned(self, message: Message) -> OwnedSending {
        Box::pin(async move { self.send(message).await })
    }
}

impl<I: Identity> Clone for Connection<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Identity> PartialEq for Connection<I> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<I: Identity> Eq for Connection<I> {}

impl<I: Identity> Hash for Connection<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl<I: Identity> fmt::Debug for Connection<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.0.origin.id)
            .field("peer_addr", &self.0.origin.peer.addr())
            .field("channel", &self.channel())
            .field("user", &self.0.origin.user)
            .finish_non_exhaustive()
    }
}
