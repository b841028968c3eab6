//! Whether a client begins with HTTP/2, and a stream of which some bytes were read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends first (RFC 9113 section 3.4), and no HTTP/1.1 client.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Any stream of bytes.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A stream, the first bytes of which were read and are read again.
#[derive(Debug)]
pub(crate) struct Prefixed<S> {
    stream: S,
    read: [u8; PREFACE.len()],
    begin: usize,
    end: usize,
}

/// Reads the first bytes of a stream up to where it is clear whether they are those of HTTP/2.
pub(crate) async fn begins_with_http2<S: AsyncRead + Unpin>(stream: S) -> io::Result<(bool, Prefixed<S>)> {
    let mut prefixed = Prefixed { stream, read: [0; PREFACE.len()], begin: 0, end: 0 };
    loop {
        let Prefixed { stream, read, end, .. } = &mut prefixed;
        let count = stream.read(&mut read[*end..]).await?;
        *end += count;
        if read[..*end] != PREFACE[..*end] || count == 0 {
            return Ok((false, prefixed));
        }
        if *end == PREFACE.len() {
            return Ok((true, prefixed));
        }
    }
}

impl<S> Prefixed<S> {
    /// The stream, without bytes that nobody has read again.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begin == self.end {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = buf.remaining().min(self.end - self.begin);
        buf.put_slice(&self.read[self.begin..self.begin + count]);
        self.begin += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// What is said of bytes that come one by one or together, and that all of them are read again.
    async fn judged(bytes: &[u8]) -> bool {
        let mut said = Vec::new();
        for piece in [1, 3, bytes.len().max(1)] {
            let (mut far, near) = duplex(1);
            let sent = bytes.to_vec();
            let sending = tokio::spawn(async move {
                for piece in sent.chunks(piece) {
                    far.write_all(piece).await.unwrap();
                }
            });
            let (is_http2, mut stream) = begins_with_http2(near).await.unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            sending.await.unwrap();
            assert_eq!(read, bytes);
            said.push(is_http2);
        }
        assert!(said.iter().all(|one| *one == said[0]));
        said[0]
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http_2_and_nothing_of_anything_is_lost() {
        assert!(judged(PREFACE).await);
        assert!(judged(&[PREFACE.as_slice(), b"\0\0\0\x04\0\0\0\0\0"].concat()).await);
        for other in [
            &b""[..],
            b"G",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b"PRI * HTTP/1.1",
        ] {
            assert!(!judged(other).await, "{other:?}");
        }
        for at in 0..PREFACE.len() {
            let mut changed = *PREFACE;
            changed[at] ^= 1;
            assert!(!judged(&changed).await, "{at}");
        }
    }
}
