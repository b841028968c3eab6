//! A stream of HTTP/2 as a byte stream that keeps little of what is written to it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::http2::stream::Http2Stream;

/// Most bytes of one write: a DATA frame of the size that every peer takes (RFC 9113 section 4.2). hyper takes a write of
/// any size, copies it and has up to four of them under way, so that a slow peer would be given whole messages that
/// no overflow policy sees.
const MOST_AT_ONCE: usize = 16 * 1024;

/// The bytes of an HTTP/2 stream that hyper has handed over.
pub(crate) struct Http2Io<S> {
    io: S,
    /// Unless it is one of the application's HTTP server.
    stream: Option<Arc<Http2Stream>>,
}

impl<S> Http2Io<S> {
    pub(crate) fn new(io: S, stream: Option<Arc<Http2Stream>>) -> Self {
        Self { io, stream }
    }
}

impl<S> Drop for Http2Io<S> {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.linger();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http2Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http2Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, &buf[..buf.len().min(MOST_AT_ONCE)])
    }

    /// Several pieces become one, as each write is a DATA frame and wakes two tasks.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pieces = bufs.iter().filter(|buf| !buf.is_empty());
        let Some(first) = pieces.next() else { return self.poll_write(cx, &[]) };
        if first.len() >= MOST_AT_ONCE || pieces.next().is_none() {
            return self.poll_write(cx, first);
        }
        let size = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(MOST_AT_ONCE);
        let mut joined = Vec::with_capacity(size);
        for buf in bufs {
            let room = size - joined.len();
            joined.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        self.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_write_of_any_kind_takes_no_more_than_a_data_frame() {
        let (near, mut far) = duplex(1024 * 1024);
        let mut stream = Http2Io::new(near, None);
        let large = vec![1; 100_000];
        assert_eq!(stream.write(&large).await.unwrap(), MOST_AT_ONCE);
        let pieces = |sizes: &[usize]| sizes.iter().map(|size| vec![2; *size]).collect::<Vec<_>>();
        for (sizes, taken) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[0, 7, 0], 7),
            (&[100_000, 1], MOST_AT_ONCE),
            (&[1, 100_000], MOST_AT_ONCE),
            (&[1, 2, 3], 6),
            (&[10_000, 10_000], MOST_AT_ONCE),
        ] {
            let pieces = pieces(sizes);
            let slices = pieces.iter().map(|piece| IoSlice::new(piece)).collect::<Vec<_>>();
            assert_eq!(stream.write_vectored(&slices).await.unwrap(), taken, "{sizes:?}");
            let mut read = vec![0; taken];
            if sizes.is_empty() {
                far.read_exact(&mut vec![0; MOST_AT_ONCE]).await.unwrap();
            }
            far.read_exact(&mut read).await.unwrap();
            assert!(read.iter().all(|byte| *byte == 2), "{sizes:?}");
        }
    }
}
