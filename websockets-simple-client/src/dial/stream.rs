//! The byte stream of a connection, with and without TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use websockets_simple_core::Transport;

use crate::config::Io;

/// A stream to the server, without TLS. TCP, which most are, is not boxed.
pub(crate) enum RawStream {
    Tcp(TcpStream),
    Other(Box<dyn Io>),
}

/// A connected stream, with or without TLS.
pub(crate) enum DialedStream {
    Plain(TcpStream),
    Other(Box<dyn Io>),
    #[cfg(feature = "rustls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    #[cfg(feature = "rustls")]
    OtherTls(Box<tokio_rustls::client::TlsStream<Box<dyn Io>>>),
}

impl RawStream {
    /// The local address and that of the peer, where there are any.
    pub(super) fn addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        match self {
            Self::Tcp(stream) => Ok((Some(stream.local_addr()?), Some(stream.peer_addr()?))),
            Self::Other(_) => Ok((None, None)),
        }
    }

    pub(super) fn plain(self) -> DialedStream {
        match self {
            Self::Tcp(stream) => DialedStream::Plain(stream),
            Self::Other(stream) => DialedStream::Other(stream),
        }
    }
}

impl DialedStream {
    pub(crate) fn into_transport(self) -> Transport {
        match self {
            Self::Plain(stream) => Transport::tcp(stream),
            Self::Other(stream) => Transport::shared(stream),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Transport::shared(*stream),
            #[cfg(feature = "rustls")]
            Self::OtherTls(stream) => Transport::shared(*stream),
        }
    }
}

/// The server hung up without `close_notify`: an end of the stream, as it is over TCP.
#[cfg(feature = "rustls")]
fn end_of_stream(polled: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match polled {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        polled => polled,
    }
}

impl AsyncRead for DialedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => end_of_stream(Pin::new(stream).poll_read(cx, buf)),
            #[cfg(feature = "rustls")]
            Self::OtherTls(stream) => end_of_stream(Pin::new(stream).poll_read(cx, buf)),
        }
    }
}

impl AsyncWrite for DialedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "rustls")]
            Self::OtherTls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "rustls")]
            Self::OtherTls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "rustls")]
            Self::OtherTls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
