//! Byte streams of the application, on which a client connects.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream: everything that is [`AsyncRead`], [`AsyncWrite`], `Send` and `Unpin`.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Io for S {}

/// Opens the byte streams on which a client connects, instead of TCP connections: through a tunnel, over a socket of
/// another kind, or in memory. TLS, if it is used, and the WebSocket handshake are done on top of the stream.
///
/// A closure that gives a future is a connector:
///
/// ```no_run
/// use tokio::net::TcpStream;
/// use websockets_simple_client::{ClientParams, Target};
///
/// // A jump host that forwards everything.
/// let params = ClientParams::new("chat.example", 443)
///     .secured(true)
///     .connector(async |_target: Target| TcpStream::connect("jump.example:7000").await);
/// ```
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream on which the server for this target answers.
    ///
    /// # Errors
    ///
    /// When there is no stream: the source of [`ConnectError::Connect`](crate::ConnectError::Connect). Its text may end
    /// up in logs: keep secrets out of it. A connector that panics is one that fails.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the connect timeout, or when the connect is given up.
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>>;
}

#[async_trait]
impl<F, Connecting, S> Connector for F
where
    F: Fn(Target) -> Connecting + Send + Sync + 'static,
    Connecting: Future<Output = io::Result<S>> + Send,
    S: Io + 'static,
{
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(self(target.clone()).await?))
    }
}

/// The server that a client connects to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    host: String,
    port: u16,
    secured: bool,
}

impl Target {
    /// A target, for those who call a [`Connector`] themselves.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, secured: bool) -> Self {
        Self { host: host.into(), port, secured }
    }

    /// The host name or IP address; of IPv6 without brackets, and with its zone, if it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the client will do a TLS handshake on the stream.
    #[must_use]
    pub fn secured(&self) -> bool {
        self.secured
    }
}
