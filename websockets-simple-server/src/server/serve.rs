//! Connections over streams that the application brings.

use std::{fmt, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

use crate::{
    addressing::Placement,
    connection::{Connection, ServeError, SessionParts, served},
    handshake::{HandshakeContext, Refusal, UpgradeOverrides, linger},
    net::{LocalEndpoint, Peer},
    run::Shared,
    server::Server,
    users::{Authenticated, Identity, User, UserId},
};

/// A stream that is to become a connection, made by [`Server::serve`].
///
/// Awaiting it does the opening handshake over the stream, and gives the open connection.
///
/// # Errors
///
/// [`ServeError`] if there is none: the server does not run, or has refused the request, or the stream has ended.
///
/// # Cancel safety
///
/// Dropping it before it is awaited drops the stream. Once it was polled, the handshake goes on in a task of the server,
/// and so does the connection, even if the future is dropped.
#[must_use = "nothing is read from the stream before this is awaited"]
pub struct Serve<I: Identity, S> {
    shared: Arc<Shared<I>>,
    stream: S,
    peer_addr: Option<SocketAddr>,
    endpoint: Option<SocketAddr>,
    overrides: UpgradeOverrides<I>,
}

impl<I: Identity> Server<I> {
    /// Drives one connection over a stream of the application that speaks HTTP/1.1 from its first byte: a pipe in a test
    /// (`tokio::io::duplex`), a tunnel, a socket of a listener of its own, a TLS stream. Await the returned value to get
    /// the connection once it is open.
    ///
    /// Everything is as on the server's own endpoints: the handshake timeout and all other limits, users, events, the
    /// heartbeat, the fallback, the stop. Connections per address are counted where [`peer_addr`](Serve::peer_addr) tells
    /// one. The server must be running, but needs no endpoint ([`ServerParams::mounted`](crate::ServerParams::mounted)),
    /// and without one its runtime needs no driver for sockets.
    ///
    /// # Examples
    ///
    /// ```
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServer::new(ServerParams::mounted());
    /// server.start().await?;
    /// let (mut client, stream) = duplex(4096);
    /// client
    ///     .write_all(
    ///         b"GET /news HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    ///           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ///     )
    ///     .await?;
    /// let connection = server.serve(stream).await?;
    /// assert_eq!(connection.channel(), "/news");
    /// connection.send_text("welcome").await?;
    /// let mut answer = [0; 12];
    /// client.read_exact(&mut answer).await?;
    /// assert_eq!(&answer, b"HTTP/1.1 101");
    /// # Ok(()) }
    /// ```
    pub fn serve<S>(&self, stream: S) -> Serve<I, S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Serve {
            shared: Arc::clone(&self.shared),
            stream,
            peer_addr: None,
            endpoint: None,
            overrides: UpgradeOverrides::default(),
        }
    }
}

impl<I: Identity, S> Serve<I, S> {
    /// Sets the [peer address](crate::Connection::peer_addr), by which connections per IP address are counted. Without
    /// one, only the limit of connections in total applies.
    pub fn peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// Sets the [local address](crate::Connection::endpoint) that the peer connected to.
    pub fn endpoint(mut self, addr: SocketAddr) -> Self {
        self.endpoint = Some(addr);
        self
    }

    /// Sets the channel, groups and id of the connection, instead of
    /// [`with_placement`](crate::Server::with_placement).
    pub fn placement(mut self, placement: Placement) -> Self {
        self.overrides.placement = Some(placement);
        self
    }
}

impl<T: UserId, S> Serve<User<T>, S> {
    /// Sets the user of the connection, which the application has authenticated. The user service is not asked.
    pub fn identified(mut self, user: Authenticated<T>) -> Self {
        self.overrides.user = Some(user);
        self
    }
}

impl<I, S> Serve<I, S>
where
    I: Identity,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    async fn open(self) -> Result<Connection<I>, ServeError> {
        let Self { shared, stream, peer_addr, endpoint, overrides } = self;
        let (run, guard) = match shared.enter() {
            Ok(entered) => entered,
            Err(refusal) => {
                linger(stream, refusal.into_bytes()).await;
                return Err(ServeError::NotRunning);
            }
        };
        let peer = Peer::new(peer_addr, endpoint.map_or(LocalEndpoint::Unknown, LocalEndpoint::Tcp));
        let admittance = match shared.limiter.admit(peer.counted_ip(&shared.params.trusted_proxies)) {
            Ok(admittance) => admittance,
            Err(limit) => {
                drop(guard);
                let refusal = Refusal::full(limit, &shared.params);
                let error = ServeError::refused(&refusal);
                linger(stream, refusal.into_bytes()).await;
                return Err(error);
            }
        };
        let context = HandshakeContext::new(Arc::clone(&shared), peer, admittance, run.handle.stop)
            .with_overrides(overrides);
        let (told, opened) = oneshot::channel();
        let parts = SessionParts { told: Some(told), ..SessionParts::new(shared.params.heartbeat) };
        run.sessions.spawn_on(served(context, guard, stream, parts), &run.runtime);
        // Without an answer the task was dropped: its runtime is shutting down, or it has panicked.
        opened.await.unwrap_or(Err(ServeError::Lost))
    }
}

impl<I, S> IntoFuture for Serve<I, S>
where
    I: Identity,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Result<Connection<I>, ServeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl<I: Identity, S> fmt::Debug for Serve<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("peer_addr", &self.peer_addr).finish_non_exhaustive()
    }
}
