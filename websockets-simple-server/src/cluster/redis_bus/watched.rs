//! A byte stream of which it is known when it last moved, and how it ended.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::cluster::redis_bus::wording;

/// A byte stream that tells what it does.
pub(super) struct Watched<S> {
    stream: S,
    seen: Arc<Seen>,
    /// Something waits until the network takes it.
    is_blocked: bool,
}

/// What was seen of a byte stream.
pub(super) struct Seen {
    begun: Instant,
    /// Milliseconds after the beginning.
    moved: AtomicU64,
    fault: OnceLock<String>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen { begun: Instant::now(), moved: AtomicU64::new(0), fault: OnceLock::new() });
        (Self { stream, seen: Arc::clone(&seen), is_blocked: false }, seen)
    }

    fn wrote<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &done {
            // What fits into the buffers of the system says nothing about the other end.
            Poll::Ready(Ok(_)) if std::mem::take(&mut self.is_blocked) => self.seen.moves(),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => self.seen.fails(error),
            Poll::Pending => self.is_blocked = true,
        }
        done
    }
}

impl Seen {
    fn moves(&self) {
        let now = self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    fn fails(&self, error: &io::Error) {
        let _ = self.fault.set(wording::io(error));
    }

    /// When something came, or something left that had to wait for it.
    pub(super) fn moved(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// How the stream ended, if it is the stream that ended.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        match &read {
            Ok(()) if buffer.filled().len() > before => self.seen.moves(),
            Ok(()) => self.seen.fails(&io::ErrorKind::UnexpectedEof.into()),
            Err(error) => self.seen.fails(error),
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::advance,
    };

    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_comes_is_a_move_and_what_leaves_is_one_if_it_had_to_wait() {
        let (ours, mut theirs) = duplex(4);
        let (mut ours, seen) = Watched::new(ours);
        let begun = seen.moved();
        advance(STEP).await;
        ours.write_all(b"four").await.unwrap();
        assert_eq!(seen.moved(), begun, "it went into a buffer");
        let mut four = [0; 4];
        let (wrote, ()) = tokio::join!(ours.write_all(b"more"), async {
            tokio::task::yield_now().await;
            theirs.read_exact(&mut four).await.unwrap();
        });
        wrote.unwrap();
        assert_eq!(seen.moved(), begun + STEP, "it waited for the other end");
        advance(STEP).await;
        theirs.write_all(b"back").await.unwrap();
        ours.read_exact(&mut four).await.unwrap();
        assert_eq!((&four, seen.moved(), seen.fault()), (b"back", begun + 2 * STEP, None));
    }

    #[tokio::test]
    async fn how_it_ends_is_known() {
        let (ours, theirs) = duplex(4);
        let (mut ours, seen) = Watched::new(ours);
        drop(theirs);
        assert_eq!(ours.read(&mut [0; 4]).await.unwrap(), 0);
        assert_eq!(seen.fault(), Some("the server closed the connection"));
    }
}
