//! A stream that was read from, and is read again from its first byte.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are read at once: nearly all requests for a WebSocket have fewer.
const MOST_AT_ONCE: usize = 4096;

/// A stream that was read from, and is read again from its first byte.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    stream: S,
    read: Bytes,
    /// How the stream ended or failed behind those bytes: some streams tell it once only.
    ended: Option<io::Result<()>>,
}

/// Reads what there is, at most 4 KiB; no bytes at the end of the stream. It takes as much memory as was read.
pub(crate) fn poll_read_some<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    let mut room = [MaybeUninit::uninit(); MOST_AT_ONCE];
    let mut buf = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
}

impl<S> Rewound<S> {
    /// A stream of which these bytes were read, and perhaps its end.
    pub(crate) fn new(stream: S, read: Bytes, ended: Option<io::Result<()>>) -> Self {
        Self { stream, read, ended }
    }

    /// The stream, and the bytes that nobody has read again.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.read)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let count = buf.remaining().min(self.read.len());
            buf.put_slice(&self.read.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match self.ended.take() {
            Some(ended) => Poll::Ready(ended),
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_again_and_then_how_it_ended_and_then_the_stream() {
        for (ended, told) in [
            (None, "first then"),
            (Some(Ok(())), "first "),
            (Some(Err(io::ErrorKind::ConnectionReset.into())), "connection reset"),
        ] {
            let (mut far, near) = duplex(64);
            far.write_all(b"then").await.unwrap();
            drop(far);
            let mut rewound = Rewound::new(near, Bytes::from_static(b"first "), ended);
            let mut text = String::new();
            let (mut small, read) = ([0; 2], rewound.read(&mut [0; 0]).await.unwrap());
            assert_eq!(read, 0);
            rewound.read_exact(&mut small).await.unwrap();
            text.push_str(std::str::from_utf8(&small).unwrap());
            match rewound.read_to_string(&mut text).await {
                Ok(_) => assert_eq!(text, told),
                Err(error) => assert_eq!(error.to_string(), told),
            }
            let mut rest = String::new();
            rewound.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, if told == "first then" { "" } else { "then" });
        }
    }
}
