//! Listeners and sockets, over TCP or Unix domain sockets.

use std::{io, net::SocketAddr};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use websockets_simple_core::Transport;

use crate::net::peer::LocalEndpoint;
#[cfg(unix)]
use crate::net::unix_socket::BoundSocket;

/// Accepts connections of one kind.
pub(crate) trait Listener: Send + Sync + 'static {
    type Socket: Socket;

    /// Accepts the next connection, with the address of its peer if it has one.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Option<SocketAddr>)>> + Send;

    /// The local address of all connections, if it is the same.
    fn local(&self) -> Option<LocalEndpoint>;
}

/// An accepted connection.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The local address that the peer connected to.
    fn local(&self) -> io::Result<LocalEndpoint>;

    fn into_transport(self) -> Transport;
}

/// A listener of either kind.
#[derive(Debug)]
pub(crate) enum BoundListener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(BoundSocket),
}

impl BoundListener {
    /// The bound address, whose port the system may have chosen; `None` for a Unix domain socket.
    pub(crate) fn tcp_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            #[cfg(unix)]
            Self::Unix(_) => Ok(None),
        }
    }
}

impl Listener for TcpListener {
    type Socket = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = Self::accept(self).await?;
        // On Linux connections inherit the setting of the listener.
        #[cfg(not(target_os = "linux"))]
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(peer)))
    }

    fn local(&self) -> Option<LocalEndpoint> {
        self.local_addr().ok().filter(|addr| !addr.ip().is_unspecified()).map(LocalEndpoint::Tcp)
    }
}

impl Socket for TcpStream {
    fn local(&self) -> io::Result<LocalEndpoint> {
        self.local_addr().map(LocalEndpoint::Tcp)
    }

    fn into_transport(self) -> Transport {
        Transport::tcp(self)
    }
}

#[cfg(unix)]
impl Listener for BoundSocket {
    type Socket = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.listener.accept().await.map(|(stream, _)| (stream, None))
    }

    fn local(&self) -> Option<LocalEndpoint> {
        Some(LocalEndpoint::Unix(self.path().into()))
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn local(&self) -> io::Result<LocalEndpoint> {
        let addr = self.local_addr()?;
        let path = addr.as_pathname().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(LocalEndpoint::Unix(path.into()))
    }

    fn into_transport(self) -> Transport {
        Transport::shared(self)
    }
}
