//! Reading and writing without waiting: the two ends of a byte stream as a connection uses them.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop,
};

/// The writing end. Whoever calls, a refused write registers the waker of the connection's own task, so that
/// nobody else has to come back for the rest.
pub trait WriteNow: Send {
    /// Writes as much as the stream takes at once.
    fn write_now(&mut self, link: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Pushes out what the stream itself holds back, such as ciphertext.
    fn flush_now(&mut self, link: &Waker) -> Poll<io::Result<()>>;

    /// Ends the writing direction: `close_notify` where there is TLS, then FIN.
    fn end(&mut self, link: &Waker) -> Poll<io::Result<()>>;

    /// Makes the coming drop a reset instead of a quiet close, where the stream knows the difference.
    fn abort(&mut self) {}
}

/// The reading end.
pub trait ReadNow: Send {
    /// Reads what is there; 0 is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
}

/// Both ends of one stream.
pub struct Transport {
    pub(crate) reader: Box<dyn ReadNow>,
    pub(crate) writer: Box<dyn WriteNow>,
}

impl Transport {
    /// A plain TCP connection.
    #[must_use]
    pub fn tcp(stream: TcpStream) -> Self {
        let stream = Arc::new(stream);
        Self { reader: Box::new(Tcp(Arc::clone(&stream))), writer: Box::new(Tcp(stream)) }
    }

    /// Any other stream: TLS, a Unix socket, an in-memory pipe.
    #[must_use]
    pub fn shared<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let stream = Arc::new(Mutex::new(stream));
        Self { reader: Box::new(Shared(Arc::clone(&stream))), writer: Box::new(Shared(stream)) }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

struct Tcp(Arc<TcpStream>);

impl WriteNow for Tcp {
    fn write_now(&mut self, link: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            // Not `poll_write`: its share of the scheduler's budget ends a broadcast after 128 sockets
            // although they could be written to.
            match self.0.poll_write_ready(&mut Context::from_waker(link)) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn flush_now(&mut self, _link: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, _link: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(match socket2_shutdown(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        })
    }

    fn abort(&mut self) {
        // Failing to set it only means a quiet close.
        let _ = self.0.set_zero_linger();
    }
}

fn socket2_shutdown(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

impl ReadNow for Tcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // Read first, ask later: a handler of this task that has used up the scheduler's budget would keep
            // its own connection from being read.
            match self.0.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            match self.0.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

struct Shared<S>(Arc<Mutex<S>>);

impl<S: Unpin> Shared<S> {
    /// Polls outside the scheduler's budget, for the reason given at [`Tcp`].
    fn poll<T>(&self, waker: &Waker, f: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut f = Some(f);
        let polled = std::future::poll_fn(|cx| match f.take() {
            Some(f) => f(Pin::new(&mut *stream), cx),
            None => Poll::Pending,
        });
        pin!(coop::unconstrained(polled)).poll(&mut Context::from_waker(waker))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> WriteNow for Shared<S> {
    fn write_now(&mut self, link: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll(link, |stream, cx| {
            if stream.is_write_vectored() {
                stream.poll_write_vectored(cx, bufs)
            } else {
                stream.poll_write(cx, bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| buf))
            }
        })
    }

    fn flush_now(&mut self, link: &Waker) -> Poll<io::Result<()>> {
        self.poll(link, |stream, cx| stream.poll_flush(cx))
    }

    fn end(&mut self, link: &Waker) -> Poll<io::Result<()>> {
        self.poll(link, |stream, cx| stream.poll_shutdown(cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadNow for Shared<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        self.poll(cx.waker(), |stream, cx| stream.poll_read(cx, &mut buf)).map_ok(|()| buf.filled().len())
    }
}
