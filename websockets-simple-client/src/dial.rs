//! Opens a WebSocket from parameters: resolve, TCP connect, TLS, handshake.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use websockets_simple_core::{Agreement, Transport};

use crate::{config::CheckedParams, error::ConnectError};

mod head;
mod refusal;
mod request;
mod response;
mod verdict;

#[cfg(feature = "rustls")]
mod tls;

/// How long one address is tried before the next one is tried in parallel (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// The addresses of a connection, and what client and server negotiated.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) local_addr: SocketAddr,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) subprotocol: Option<String>,
    pub(crate) controls: bool,
    pub(crate) response_headers: http::HeaderMap,
    pub(crate) tls: Option<TlsInfo>,
}

/// The TLS version and cipher suite that a connection negotiated.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version, such as `TLSv1_3`.
    pub version: String,
    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// A WebSocket that has just been opened.
pub(crate) struct Dialed {
    pub(crate) stream: DialedStream,
    /// Bytes received after the response head.
    pub(crate) leftover: Vec<u8>,
    /// The compression that both ends agreed on.
    pub(crate) compression: Option<Agreement>,
    pub(crate) info: ConnectionInfo,
}

/// A connected stream, with or without TLS.
pub(crate) enum DialedStream {
    Plain(TcpStream),
    #[cfg(feature = "rustls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Opens the connections of a client; its TLS configuration is built once.
#[derive(Clone)]
pub(crate) struct Dialer {
    #[cfg(feature = "rustls")]
    connector: Option<tls::Connector>,
}

impl Dialer {
    /// Builds the TLS configuration if TLS is used.
    pub(crate) fn new(params: &CheckedParams) -> Result<Self, crate::error::ParamsError> {
        #[cfg(not(feature = "rustls"))]
        if params.secured() {
            return Err(crate::error::ParamsError::Tls("the feature `tls` is disabled".to_owned()));
        }
        Ok(Self {
            #[cfg(feature = "rustls")]
            connector: params.secured().then(|| tls::Connector::new(params.tls())).transpose()?,
        })
    }

    /// Opens a WebSocket.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the socket is closed.
    pub(crate) async fn dial(&self, params: &CheckedParams) -> Result<Dialed, ConnectError> {
        let dialed = self.open(params).await;
        #[cfg(feature = "rustls")]
        if let Some(connector) = &self.connector {
            return dialed.map_err(|error| connector.explain(error));
        }
        dialed
    }

    async fn open(&self, params: &CheckedParams) -> Result<Dialed, ConnectError> {
        let stream = connect(params).await?;
        let local_addr = stream.local_addr().map_err(|error| ConnectError::Connect(error.into()))?;
        let peer_addr = stream.peer_addr().map_err(|error| ConnectError::Connect(error.into()))?;
        let (mut stream, tls) = self.secure(params, stream).await?;
        let key = generate_key();
        let head = request::head(params, &key);
        stream.write_all(head.expose().as_bytes()).await.map_err(lost)?;
        stream.flush().await.map_err(lost)?;
        let answer = response::read(&mut stream, params, &derive_accept_key(key.as_bytes())).await?;
        if let Some(message) = verdict::refusal(&mut stream, params, &answer.headers, &answer.leftover).await
        {
            return Err(refusal::after_upgrade(answer.headers, message));
        }
        let info = ConnectionInfo {
            local_addr,
            peer_addr,
            subprotocol: answer.subprotocol,
            controls: answer.controls,
            response_headers: answer.headers,
            tls,
        };
        Ok(Dialed { stream, leftover: answer.leftover, compression: answer.compression, info })
    }

    #[cfg(feature = "rustls")]
    async fn secure(
        &self,
        params: &CheckedParams,
        stream: TcpStream,
    ) -> Result<(DialedStream, Option<TlsInfo>), ConnectError> {
        match &self.connector {
            None => Ok((DialedStream::Plain(stream), None)),
            Some(connector) => {
                let (stream, info) = connector.secure(params, stream).await?;
                Ok((DialedStream::Tls(Box::new(stream)), Some(info)))
            }
        }
    }

    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_async, reason = "with the feature `rustls` it awaits")]
    async fn secure(
        &self,
        _params: &CheckedParams,
        stream: TcpStream,
    ) -> Result<(DialedStream, Option<TlsInfo>), ConnectError> {
        Ok((DialedStream::Plain(stream), None))
    }
}

/// The error for a connection lost during the handshake. With TLS 1.3 a server's refusal of the client certificate
/// arrives only here.
pub(crate) fn lost(error: io::Error) -> ConnectError {
    #[cfg(feature = "rustls")]
    if error.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) {
        return tls::in_words(&error);
    }
    ConnectError::Lost(error.into())
}

/// Connects to one of the addresses of the host.
async fn connect(params: &CheckedParams) -> Result<TcpStream, ConnectError> {
    let host = (params.host.name.as_str(), params.port());
    let addresses: Vec<_> =
        tokio::net::lookup_host(host).await.map_err(|error| ConnectError::Resolve(error.into()))?.collect();
    connect_to_first(addresses, params.receive_buffer(), params.send_buffer())
        .await
        .map_err(|error| ConnectError::Connect(error.into()))
}

/// The addresses in the order in which they are tried: that of the resolver, whose families alternate, beginning with the
/// one of its first address (RFC 8305 section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let starts_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == starts_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    std::iter::from_fn(move || {
        std::mem::swap(&mut first, &mut second);
        second.next().or_else(|| first.next())
    })
}

/// Tries the addresses, families alternating, the next one in parallel after [`STAGGER`]. The first that connects wins.
async fn connect_to_first(
    addresses: Vec<SocketAddr>,
    receive: Option<usize>,
    send: Option<usize>,
) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut addresses = interleaved(addresses);
    let mut tries = JoinSet::new();
    loop {
        let next = addresses.next();
        let more = next.is_some();
        if let Some(address) = next {
            tries.spawn(connect_to(address, receive, send));
        }
        tokio::select! {
            Some(tried) = tries.join_next() => match tried {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(error) => last = io::Error::other(error),
            },
            () = tokio::time::sleep(STAGGER), if more => {}
            else => return Err(last),
        }
    }
}

async fn connect_to(
    address: SocketAddr,
    receive: Option<usize>,
    send: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(size(bytes))?;
    }
    if let Some(bytes) = send {
        socket.set_send_buffer_size(size(bytes))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl DialedStream {
    pub(crate) fn into_transport(self) -> Transport {
        match self {
            Self::Plain(stream) => Transport::tcp(stream),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Transport::shared(*stream),
        }
    }
}

impl AsyncRead for DialedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => match Pin::new(stream).poll_read(cx, buf) {
                // The server hung up without `close_notify`: an end of the stream, as it is over TCP.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                polled => polled,
            },
        }
    }
}

impl AsyncWrite for DialedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
