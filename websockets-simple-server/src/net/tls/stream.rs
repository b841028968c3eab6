//! TLS over a byte stream: what is read and written goes through buffers of the thread, so that a connection keeps none
//! while it is idle. The connections of `tokio-rustls` keep 4 KiB each for what comes next.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread::LocalKey,
};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{
    self, CommonState, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};
use tokio_util::io::poll_read_buf;

/// The plaintext of one record, at most (RFC 8446 section 5.1).
const IN_RECORD: usize = 16 << 10;

/// Its ciphertext (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
const RECORD: usize = 5 + IN_RECORD + (2 << 10);

/// What is encrypted at a time, in bytes of its plaintext.
const PLAINTEXT: usize = 64 << 10;

/// A buffer of the thread, and the most that is kept of what has not come whole: the records of a handshake message, which
/// rustls limits to 64 KiB.
const BUFFER: usize = PLAINTEXT + 2 * RECORD;

thread_local! {
    static INPUT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static OUTPUT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static JOINED: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

type Spare = LocalKey<Cell<Option<Box<[u8]>>>>;

/// A buffer of the thread; another one where it is lent already, or the thread ends.
fn borrow(spare: &'static Spare) -> Box<[u8]> {
    spare.try_with(Cell::take).ok().flatten().unwrap_or_else(|| vec![0; BUFFER].into())
}

fn give_back(spare: &'static Spare, buffer: Box<[u8]>) {
    let _ = spare.try_with(|spare| spare.set(Some(buffer)));
}

/// The server's end of a TLS connection.
pub(crate) struct TlsStream<S> {
    stream: S,
    tls: UnbufferedServerConnection,
    /// Records that have not come whole.
    incoming: Vec<u8>,
    /// What was decrypted and not taken.
    received: Vec<u8>,
    /// Records of which the stream has taken this many bytes.
    outgoing: Vec<u8>,
    taken: usize,
    /// The peer has sent `close_notify`.
    is_over: bool,
    /// We have.
    has_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands. On failure the stream is given back, to which the alert was written.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, the stream is dropped.
    pub(crate) async fn accept(config: Arc<ServerConfig>, stream: S) -> Result<Self, (io::Error, S)> {
        let tls = match UnbufferedServerConnection::new(config) {
            Ok(tls) => tls,
            Err(error) => return Err((invalid(error), stream)),
        };
        let (incoming, received, outgoing) = (Vec::new(), Vec::new(), Vec::new());
        let mut accepting =
            Self { stream, tls, incoming, received, outgoing, taken: 0, is_over: false, has_ended: false };
        match std::future::poll_fn(|cx| accepting.poll_handshake(cx)).await {
            Ok(()) => Ok(accepting),
            Err(error) => Err((error, accepting.stream)),
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() {
            ready!(self.poll_push(cx))?;
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            ready!(self.poll_records(cx, &mut ReadBuf::new(&mut [])))?;
        }
        Pin::new(self).poll_flush(cx)
    }

    /// Reads once, and decrypts what has come whole: into `buf`, and what it does not take is kept.
    fn poll_records(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let decrypted = if self.incoming.is_empty() {
            let mut input = borrow(&INPUT);
            let decrypted = self.poll_first(cx, &mut input, buf);
            give_back(&INPUT, input);
            decrypted
        } else {
            self.poll_rest(cx, buf)
        };
        if matches!(decrypted, Poll::Ready(Err(_))) {
            // An alert says why. That it may not get through changes nothing.
            let _ = self.poll_push(cx);
        }
        decrypted
    }

    /// Reads into the buffer of the thread, and keeps the record that has not come whole.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut [u8],
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining().max(RECORD).min(input.len());
        let mut read = ReadBuf::new(&mut input[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        let read = read.filled_mut();
        if read.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let used = self.decrypt(read, buf)?;
        self.incoming.extend_from_slice(&read[used..]);
        Poll::Ready(Ok(()))
    }

    /// Reads behind a record that has not come whole: it is not copied again for each piece of it.
    fn poll_rest(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = RECORD.min(BUFFER.saturating_sub(self.incoming.len()));
        if most == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a handshake message is too long",
            )));
        }
        self.incoming.reserve(most);
        let stream = Pin::new(&mut self.stream);
        if ready!(poll_read_buf(stream, cx, &mut (&mut self.incoming).limit(most)))? == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut input = mem::take(&mut self.incoming);
        let used = self.decrypt(&mut input, buf)?;
        if used < input.len() {
            input.drain(..used);
            self.incoming = input;
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts what has come whole; answers how much that was.
    fn decrypt(&mut self, input: &mut [u8], buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(&mut input[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        let now = record.payload.len().min(buf.remaining());
                        buf.put_slice(&record.payload[..now]);
                        self.received.extend_from_slice(&record.payload[now..]);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(records)) => encode(records, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(queued)) => queued.done(),
                Ok(ConnectionState::PeerClosed) => self.is_over = true,
                Ok(_) => return Ok(used + discard),
                Err(error) => {
                    self.queue_alert(&mut input[used + discard..]);
                    return Err(invalid(error));
                }
            }
            used += discard;
        }
    }

    /// Takes what rustls has to say of a fault. The input is not looked at again.
    fn queue_alert(&mut self, input: &mut [u8]) {
        while self.agreed().wants_write()
            && let Ok(ConnectionState::EncodeTlsData(records)) = self.tls.process_tls_records(input).state
            && encode(records, &mut self.outgoing).is_ok()
        {}
    }

    /// Writes the records that wait.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken < self.outgoing.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing[self.taken..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        if self.taken > 0 {
            (self.outgoing, self.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes two pieces, as far as they are encrypted at once.
    fn poll_write_both(&mut self, cx: &mut Context<'_>, one: &[u8], two: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_push(cx))?;
        let one = &one[..one.len().min(PLAINTEXT)];
        let two = &two[..two.len().min(PLAINTEXT - one.len())];
        if !one.is_empty() {
            self.write_out(cx, |mut traffic, output| {
                let begun = traffic.encrypt(one, output)?;
                Ok(begun + traffic.encrypt(two, &mut output[begun..])?)
            })?;
        }
        Poll::Ready(Ok(one.len() + two.len()))
    }

    /// Encrypts what `write` does, and writes as much of it as the stream takes. The rest waits.
    fn write_out(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        let mut output = borrow(&OUTPUT);
        let done = self.encrypt(&mut output, write).and_then(|len| {
            // What rustls says by itself goes first.
            if self.outgoing.is_empty()
                && let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, &output[..len])
            {
                let taken = written?;
                self.outgoing.extend_from_slice(&output[taken..len]);
            } else {
                self.outgoing.extend_from_slice(&output[..len]);
            }
            Ok(())
        });
        give_back(&OUTPUT, output);
        done?;
        match self.poll_push(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn encrypt(
        &mut self,
        output: &mut [u8],
        write: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        loop {
            // All that has come whole was decrypted before.
            match self.tls.process_tls_records(&mut self.incoming).state.map_err(invalid)? {
                ConnectionState::WriteTraffic(traffic) => {
                    return write(traffic, output).map_err(io::Error::other);
                }
                ConnectionState::EncodeTlsData(records) => encode(records, &mut self.outgoing)?,
                ConnectionState::TransmitTlsData(queued) => queued.done(),
                ConnectionState::PeerClosed => self.is_over = true,
                _ => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }
}

impl<S> TlsStream<S> {
    /// What both ends agreed on.
    pub(crate) fn agreed(&self) -> &CommonState {
        &self.tls
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.received.is_empty() {
            let now = this.received.len().min(buf.remaining());
            buf.put_slice(&this.received[..now]);
            this.received.drain(..now);
            if this.received.is_empty() {
                this.received = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        while buf.filled().len() == before && !this.is_over {
            ready!(this.poll_records(cx, buf))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_both(cx, buf, &[])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        // A record is made of one piece: what is small is copied, and of a large message what fits into that record.
        let mut joined = borrow(&JOINED);
        let (mut len, mut rest) = (0, &[][..]);
        for buf in bufs {
            let (now, later) = buf.split_at(buf.len().min(IN_RECORD - len));
            joined[len..len + now.len()].copy_from_slice(now);
            len += now.len();
            if !later.is_empty() {
                rest = later;
                break;
            }
        }
        let written = self.get_mut().poll_write_both(cx, &joined[..len], rest);
        give_back(&JOINED, joined);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_push(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !mem::replace(&mut this.has_ended, true) {
            match this.write_out(cx, |mut traffic, output| traffic.queue_close_notify(output)) {
                // The peer has sent its `close_notify`, and rustls the answer.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                ended => ended?,
            }
        }
        ready!(this.poll_push(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// Adds records of rustls itself.
fn encode(mut records: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    let before = outgoing.len();
    if let Err(EncodeError::InsufficientSize(needed)) = records.encode(&mut []) {
        outgoing.resize(before + needed.required_size, 0);
        records.encode(&mut outgoing[before..]).map_err(io::Error::other)?;
    }
    Ok(())
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
