//! A stream that is lent to the HTTP library, and reclaimed when that drops it.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Longest time to answer a refused client and to read what it still sends.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes to read from a refused client.
const LINGER_BYTES: usize = 256 * 1024;

/// Most bytes of an answer that are held back: the HTTP library's own answers are far shorter.
const HELD_BACK: usize = 4096;

/// The lent stream.
pub(crate) struct ReclaimableIo<S> {
    stream: Option<S>,
    exchange: Exchange,
    owner: Reclaim<S>,
}

/// Receives the stream when the [`ReclaimableIo`] is dropped.
pub(crate) struct Reclaim<S>(Arc<Mutex<Reclaimed<S>>>);

struct Reclaimed<S> {
    stream: Option<S>,
    held_back: Vec<u8>,
}

/// What the HTTP library is doing. What it writes while it reads a head is its own answer to one that it cannot read. It
/// has no text, so it is held back, and replaced.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Arc<AtomicU8>);

/// A head is read.
const READING: u8 = 0;
/// A request was handed over, and is being answered.
const ANSWERING: u8 = 1;
/// The whole answer was taken by the HTTP library, but may not have been written.
const ANSWERED: u8 = 2;

/// An answer; dropped when the HTTP library has taken the whole of it.
#[derive(Debug)]
pub(crate) struct AnswerGuard(Option<Exchange>);

/// Wraps a stream that is to be lent.
pub(crate) fn reclaimable<S>(stream: S) -> (ReclaimableIo<S>, Reclaim<S>, Exchange) {
    let owner = Reclaim(Arc::new(Mutex::new(Reclaimed { stream: None, held_back: Vec::new() })));
    let exchange = Exchange(Arc::new(AtomicU8::new(READING)));
    let lent = ReclaimableIo {
        stream: Some(stream),
        exchange: exchange.clone(),
        owner: Reclaim(Arc::clone(&owner.0)),
    };
    (lent, owner, exchange)
}

impl Exchange {
    /// A request is handed over.
    pub(crate) fn begin(&self) {
        self.0.store(ANSWERING, Ordering::Release);
    }

    /// Another request may follow the answer that has this guard.
    pub(crate) fn answer(&self) -> AnswerGuard {
        AnswerGuard(Some(self.clone()))
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }
}

impl AnswerGuard {
    /// Of an answer that no other request waits for.
    #[cfg(feature = "http2")]
    pub(crate) fn alone() -> Self {
        Self(None)
    }

    /// No other request follows: the answer hands the stream to the application.
    pub(crate) fn is_last(&mut self) {
        self.0 = None;
    }
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.0.store(ANSWERED, Ordering::Release);
        }
    }
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

    /// Holds bytes back, if they answer no request.
    fn hold_back(&self, bytes: &[u8]) -> bool {
        let holds = self.exchange.is(READING);
        if holds {
            let held_back = &mut self.owner.lock().held_back;
            let room = HELD_BACK.saturating_sub(held_back.len());
            held_back.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        holds
    }
}

impl<S> Reclaim<S> {
    /// The stream, if it was reclaimed.
    pub(crate) fn stream(&self) -> Option<S> {
        self.lock().stream.take()
    }

    /// The answer that the HTTP library would have given to a head that it cannot read.
    pub(crate) fn held_back(&self) -> Vec<u8> {
        mem::take(&mut self.lock().held_back)
    }

    fn lock(&self) -> MutexGuard<'_, Reclaimed<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the answer, shuts down writing, then reads and discards input. Closing a socket with unread input resets the
/// connection, and the answer may be lost.
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: Vec<u8>) {
    let _ = tokio::time::timeout(LINGER, async {
        if stream.write_all(&answer).await.is_err() {
            return;
        }
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
        self.owner.lock().stream = self.stream.take();
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
        if self.hold_back(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        self.get_mut().stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = bufs.iter().find(|buf| !buf.is_empty())
            && self.hold_back(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        self.get_mut().stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lent = self.get_mut();
        let flushed = lent.stream()?.poll_flush(cx);
        // The HTTP library flushes when it has written all that it has, so the next head comes next.
        if flushed.is_ready() && lent.exchange.is(ANSWERED) {
            lent.exchange.0.store(READING, Ordering::Release);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Another answer follows.
        if !self.owner.lock().held_back.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // A peer that is gone cannot be told the end, which TLS would do.
        self.get_mut().stream()?.poll_shutdown(cx).map(|_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_back_is_no_more_than_4_kib_and_nothing_of_it_reaches_the_peer() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (mut lent, owner, _) = reclaimable(near);
        for _ in 0..10 {
            lent.write_all(&[b'x'; 1000]).await.unwrap();
        }
        drop(lent);
        assert_eq!(owner.held_back(), [b'x'; HELD_BACK]);
        drop(owner.stream());
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert!(read.is_empty());
    }
}
