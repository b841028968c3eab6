//! A stream that is lent to the HTTP library, and reclaimed when that drops it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Longest time to read what a refused client still sends.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes to read from a refused client.
const LINGER_BYTES: usize = 256 * 1024;

/// The lent stream.
pub(crate) struct ReclaimableIo<S> {
    stream: Option<S>,
    owner: Reclaim<S>,
}

/// Receives the stream when the [`ReclaimableIo`] is dropped.
pub(crate) struct Reclaim<S>(Arc<Mutex<Option<S>>>);

/// Wraps a stream that is to be lent.
pub(crate) fn reclaimable<S>(stream: S) -> (ReclaimableIo<S>, Reclaim<S>) {
    let owner = Reclaim(Arc::default());
    (ReclaimableIo { stream: Some(stream), owner: Reclaim(Arc::clone(&owner.0)) }, owner)
}

impl<S> ReclaimableIo<S> {
    /// Takes the stream out for good.
    pub(crate) fn keep(mut self) -> Option<S> {
        self.stream.take()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reclaim<S> {
    /// Calls [`linger`] with the stream, if it was reclaimed.
    pub(crate) async fn linger(self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stream) = stream {
            linger(stream).await;
        }
    }
}

/// Shuts down writing, then reads and discards input. Closing a socket with unread input resets the connection, and the
/// response may be lost.
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let _ = tokio::time::timeout(LINGER, async {
        // The HTTP library does not shut down if an upgrade was requested and refused.
        let _ = stream.shutdown().await;
        let mut buffer = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    })
    .await;
}

impl<S> Drop for ReclaimableIo<S> {
    fn drop(&mut self) {
        *self.owner.0.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReclaimableIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().stream()?.poll_read(cx, buf) {
            // A TLS peer that hangs up without `close_notify` has hung up, as one over TCP.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReclaimableIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A peer that is gone cannot be told the end, which TLS would do.
        self.get_mut().stream()?.poll_shutdown(cx).map(|_| Ok(()))
    }
}
