//! Reading and writing without waiting: the two halves of a byte stream as a connection uses them.

use std::{
    fmt,
    io::{self, IoSlice},
    net::Shutdown,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::BufMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::coop,
};
use tokio_util::io::poll_read_buf;

/// The writing half of a stream. Whichever task calls, a refused write registers the waker of the connection's own
/// task, so that the driver writes the rest.
pub(crate) trait WriteNow: Send {
    /// Writes as much as the stream takes at once.
    fn write_now(&mut self, driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Flushes what the stream itself holds back, such as ciphertext.
    fn flush_now(&mut self, driver: &Waker) -> Poll<io::Result<()>>;

    /// Ends the writing direction: `close_notify` where there is TLS, then FIN.
    fn end(&mut self, driver: &Waker) -> Poll<io::Result<()>>;

    /// Makes the coming drop a reset instead of an ordinary close, if the stream supports it.
    fn abort(&mut self) {}
}

/// The reading half of a stream.
pub(crate) trait ReadNow: Send {
    /// Reads what is there; 0 is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// As `poll_read`, but into the free capacity behind what `buf` holds, and not more than `most` bytes.
    fn poll_read_behind(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>>;
}

/// The byte stream of a connection, as its two halves.
pub struct Transport {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// The reading half of a TCP connection or of any other stream.
pub(crate) enum Reader {
    Tcp(OwnedReadHalf),
    Other(Arc<Mutex<dyn ReadNow>>),
}

/// The writing half. The common kind is not boxed: a broadcast would follow one more pointer per receiver. The other is
/// boxed twice, as the common one would otherwise take 8 bytes more.
pub(crate) enum Writer {
    Tcp(Tcp),
    Other(Box<Arc<Mutex<dyn WriteNow>>>),
}

impl Transport {
    /// A plain TCP connection.
    #[must_use]
    pub fn tcp(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: Reader::Tcp(reader), writer: Writer::Tcp(Tcp(Some(writer))) }
    }

    /// Any other stream: TLS, a Unix socket, an in-memory pipe.
    #[must_use]
    pub fn shared<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let stream = Arc::new(Mutex::new(Other(stream)));
        Self { reader: Reader::Other(stream.clone()), writer: Writer::other(stream) }
    }
}

impl Reader {
    /// Never has anything. A variant of its own would take 8 bytes.
    pub(crate) fn none() -> Self {
        struct Nothing;

        impl ReadNow for Nothing {
            fn poll_read(&mut self, _cx: &mut Context<'_>, _buf: &mut [u8]) -> Poll<io::Result<usize>> {
                Poll::Pending
            }

            fn poll_read_behind(
                &mut self,
                _cx: &mut Context<'_>,
                _buf: &mut Vec<u8>,
                _most: usize,
            ) -> Poll<io::Result<usize>> {
                Poll::Pending
            }
        }

        Self::Other(Arc::new(Mutex::new(Nothing)))
    }
}

impl Writer {
    pub(crate) fn other(stream: Arc<Mutex<dyn WriteNow>>) -> Self {
        Self::Other(Box::new(stream))
    }

    /// Of a stream that nothing is read from.
    #[cfg(test)]
    pub(crate) fn alone(stream: impl WriteNow + 'static) -> Self {
        Self::other(Arc::new(Mutex::new(stream)))
    }
}

fn lock<S: ?Sized>(stream: &Mutex<S>) -> MutexGuard<'_, S> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl WriteNow for Writer {
    fn write_now(&mut self, driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.write_now(driver, bufs),
            Self::Other(other) => lock(other).write_now(driver, bufs),
        }
    }

    fn flush_now(&mut self, driver: &Waker) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(other) => lock(other).flush_now(driver),
        }
    }

    fn end(&mut self, driver: &Waker) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Poll::Ready(tcp.end()),
            Self::Other(other) => lock(other).end(driver),
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.abort(),
            Self::Other(other) => lock(other).abort(),
        }
    }
}

impl ReadNow for Reader {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read(cx, buf),
            Self::Other(other) => lock(other).poll_read(cx, buf),
        }
    }

    fn poll_read_behind(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_behind(cx, buf, most),
            Self::Other(other) => lock(other).poll_read_behind(cx, buf, most),
        }
    }
}

/// The writing half of a socket, until it is dropped.
pub(crate) struct Tcp(Option<OwnedWriteHalf>);

impl Tcp {
    fn stream(&self) -> io::Result<&TcpStream> {
        self.0.as_ref().map(AsRef::as_ref).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn write_now(&self, driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = self.stream()?;
        loop {
            let written = match bufs {
                // One piece takes the shorter way through the kernel.
                [only] => stream.try_write(only),
                _ => stream.try_write_vectored(bufs),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            // Not `poll_write`: the scheduler's budget would end a broadcast after 128 sockets although more of
            // them can be written to.
            match stream.poll_write_ready(&mut Context::from_waker(driver)) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn end(&self) -> io::Result<()> {
        match SockRef::from(self.stream()?).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }

    fn abort(&self) {
        // If this fails, the close is merely an ordinary one.
        let _ = self.stream().and_then(TcpStream::set_zero_linger);
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if let Some(half) = self.0.take() {
            // The reading half is dropped with it, and closing needs no shutdown before it.
            half.forget();
        }
    }
}

/// `poll_read` of the half, and not `try_read`: after a read that left room in the buffer it knows without another
/// system call that nothing more is there.
impl ReadNow for OwnedReadHalf {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        unconstrained(cx.waker(), |cx| read(Pin::new(self), cx, buf))
    }

    fn poll_read_behind(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        unconstrained(cx.waker(), |cx| read_behind(Pin::new(self), cx, buf, most))
    }
}

fn read<S: AsyncRead>(stream: Pin<&mut S>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(buf);
    stream.poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
}

fn read_behind<S: AsyncRead>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    buf: &mut Vec<u8>,
    most: usize,
) -> Poll<io::Result<usize>> {
    let most = most.min(buf.capacity() - buf.len());
    poll_read_buf(stream, cx, &mut buf.limit(most))
}

/// Polls outside the scheduler's budget: within it a broadcast would end after 128 sockets although more of them can be
/// written to, and a handler that has used the budget up would keep its own connection from being read.
fn unconstrained<T>(waker: &Waker, f: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    let mut f = Some(f);
    let polled = std::future::poll_fn(|cx| f.take().map_or(Poll::Pending, |f| f(cx)));
    pin!(coop::unconstrained(polled)).poll(&mut Context::from_waker(waker))
}

/// A stream of which both halves are here.
struct Other<S>(S);

impl<S: Unpin> Other<S> {
    fn poll<T>(
        &mut self,
        waker: &Waker,
        f: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        unconstrained(waker, |cx| f(Pin::new(&mut self.0), cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> WriteNow for Other<S> {
    fn write_now(&mut self, driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll(driver, |stream, cx| {
            if stream.is_write_vectored() {
                stream.poll_write_vectored(cx, bufs)
            } else {
                stream.poll_write(cx, bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| buf))
            }
        })
    }

    fn flush_now(&mut self, driver: &Waker) -> Poll<io::Result<()>> {
        self.poll(driver, |stream, cx| stream.poll_flush(cx))
    }

    fn end(&mut self, driver: &Waker) -> Poll<io::Result<()>> {
        self.poll(driver, |stream, cx| stream.poll_shutdown(cx))
    }
}

/// A TLS peer that hangs up without `close_notify` has hung up, as one over TCP: that no Close came before says whether
/// the connection was cut.
fn end_of_stream(polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match polled {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
        other => other,
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadNow for Other<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        end_of_stream(self.poll(cx.waker(), |stream, cx| read(stream, cx, buf)))
    }

    fn poll_read_behind(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        end_of_stream(self.poll(cx.waker(), |stream, cx| read_behind(stream, cx, buf, most)))
    }
}
