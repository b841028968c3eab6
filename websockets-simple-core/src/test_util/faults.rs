//! Faults of a line between a client and a server.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// Bytes of one read of the stream below.
const PIECE: usize = 64 * 1024;

/// The largest piece, and the longest pause, of a line in chaos.
const CHAOS: (usize, Duration) = (1500, Duration::from_millis(50));

/// An end of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// That of the client.
    Client,
    /// That of the server.
    Server,
}

/// A direction of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// The faults of one line. Clones are those of the same line; they take effect at both its ends, if both are
/// [wrapped](Self::wrap).
///
/// # Examples
///
/// A line that breaks in the middle of the answer to the handshake:
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::test_util::{Way, network};
///
/// let (dialer, incoming) = network();
/// dialer.on_dial(|dialed, line| {
///     if dialed == 0 {
///         line.cut_after(Way::ToClient, 40);
///     }
/// });
/// # drop((dialer, incoming));
/// ```
#[derive(Clone)]
pub struct Faults(Arc<Mutex<State>>);

struct State {
    stalled: bool,
    broken: Option<io::ErrorKind>,
    /// By [`Way`].
    ways: [WayState; 2],
    delay: Duration,
    piece: usize,
    chaos: Option<SmallRng>,
    /// Those that wait at an end, to read and to write.
    waiting: [[Option<Waker>; 2]; 2],
}

#[derive(Default)]
struct WayState {
    passed: u64,
    /// After so many bytes in all the line is cut.
    cut_at: Option<u64>,
    closed: bool,
}

impl Faults {
    /// A line without faults.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            stalled: false,
            broken: None,
            ways: Default::default(),
            delay: Duration::ZERO,
            piece: PIECE,
            chaos: None,
            waiting: Default::default(),
        })))
    }

    /// An end of this line, over a stream that leads to the other end.
    #[must_use]
    pub fn wrap<S>(&self, stream: S, end: End) -> Faulty<S> {
        Faulty { stream: Some(stream), faults: self.clone(), end, late: None, held: Vec::new() }
    }

    /// Cuts the line when so many bytes more have passed in one direction. What has passed is still read, then the stream
    /// ends; what is on the way in the other direction is lost.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.change(|state| {
            let way = &mut state.ways[way as usize];
            way.cut_at = Some(way.passed + bytes);
        });
    }

    /// Cuts the line: at both ends the stream ends, and what is on the way is lost.
    pub fn cut(&self) {
        self.change(|state| state.broken = Some(io::ErrorKind::BrokenPipe));
    }

    /// Resets the line: reads and writes of both ends fail with `ConnectionReset`.
    pub fn reset(&self) {
        self.change(|state| state.broken = Some(io::ErrorKind::ConnectionReset));
    }

    /// Ends one direction: the receiver reads the end of the stream, the other direction goes on.
    pub fn half_close(&self, way: Way) {
        self.change(|state| state.ways[way as usize].closed = true);
    }

    /// Lets nothing arrive any more, at either end, and reports nothing: a line that is dead without a word. Writes succeed
    /// until the line is full.
    pub fn stall(&self) {
        self.change(|state| state.stalled = true);
    }

    /// Lets what a [stalled](Self::stall) line holds arrive.
    pub fn resume(&self) {
        self.change(|state| state.stalled = false);
    }

    /// Lets at most so many bytes, at least 1, pass at a time.
    pub fn split(&self, bytes: usize) {
        self.change(|state| state.piece = bytes.max(1));
    }

    /// Lets each piece that arrives be read so much later, one after the other.
    pub fn delay(&self, time: Duration) {
        self.change(|state| state.delay = time);
    }

    /// Splits what passes into pieces of random sizes, of up to 1,500 bytes, and lets each arrive after a random pause of
    /// up to 50 ms: the same for the same seed, as long as the ends take turns in the same order.
    pub fn chaos(&self, seed: u64) {
        self.change(|state| state.chaos = Some(SmallRng::seed_from_u64(seed)));
    }

    /// How many bytes were sent in a direction.
    #[must_use]
    pub fn passed(&self, way: Way) -> u64 {
        self.state().ways[way as usize].passed
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.change_and_wake_if(|state| {
            change(state);
            true
        });
    }

    /// Wakes those that wait if the change says that it concerns them.
    fn change_and_wake_if(&self, change: impl FnOnce(&mut State) -> bool) {
        let woken = {
            let mut state = self.state();
            if change(&mut state) { std::mem::take(&mut state.waiting) } else { Default::default() }
        };
        woken.into_iter().flatten().flatten().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The largest piece that passes next.
    fn piece(&mut self) -> usize {
        self.chaos.as_mut().map_or(self.piece, |chaos| chaos.random_range(1..=CHAOS.0).min(self.piece))
    }

    /// How long the next piece waits.
    fn pause(&mut self) -> Duration {
        let more = self.chaos.as_mut().map(|chaos| chaos.random_range(Duration::ZERO..=CHAOS.1));
        self.delay + more.unwrap_or_default()
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to_server, to_client) = (self.passed(Way::ToServer), self.passed(Way::ToClient));
        f.debug_struct("Faults")
            .field("to_server", &to_server)
            .field("to_client", &to_client)
            .finish_non_exhaustive()
    }
}

/// An end of a line with [`Faults`], over a stream.
pub struct Faulty<S> {
    /// `None` once the line is broken.
    stream: Option<S>,
    faults: Faults,
    end: End,
    /// When the held piece may be read.
    late: Option<Pin<Box<Sleep>>>,
    held: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Faulty<S> {
    /// Acts on what was asked of the line, for one that is about to read (0) or to write (1). `Some(kind)` if the line is
    /// broken.
    fn obey(&mut self, cx: &mut Context<'_>, what: usize) -> Option<io::ErrorKind> {
        let (broken, closes) = {
            let mut state = self.faults.state();
            state.waiting[self.end as usize][what] = Some(cx.waker().clone());
            (state.broken, state.ways[self.sends() as usize].closed)
        };
        if broken.is_some() {
            self.stream = None;
            self.held.clear();
        } else if closes && let Some(stream) = &mut self.stream {
            let _ = Pin::new(stream).poll_shutdown(cx);
        }
        broken
    }

    /// The direction in which this end sends.
    fn sends(&self) -> Way {
        match self.end {
            End::Client => Way::ToServer,
            End::Server => Way::ToClient,
        }
    }

    /// Hands out what is held, once it is not too early.
    fn poll_held(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        if let Some(late) = &mut self.late {
            std::task::ready!(late.as_mut().poll(cx));
            self.late = None;
        }
        let given = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..given]);
        self.held.drain(..given);
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let end = self.get_mut();
        match end.obey(cx, 0) {
            Some(io::ErrorKind::BrokenPipe) => return Poll::Ready(Ok(())),
            Some(kind) => return Poll::Ready(Err(kind.into())),
            None => {}
        }
        if !end.held.is_empty() {
            return end.poll_held(cx, buf).map(Ok);
        }
        let (piece, pause) = {
            let mut state = end.faults.state();
            if state.stalled {
                return Poll::Pending;
            }
            (state.piece().min(buf.remaining()), state.pause())
        };
        let Some(stream) = &mut end.stream else { return Poll::Ready(Ok(())) };
        let mut memory = vec![0; piece];
        let mut read = ReadBuf::new(&mut memory);
        std::task::ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        if pause.is_zero() || read.filled().is_empty() {
            buf.put_slice(read.filled());
            return Poll::Ready(Ok(()));
        }
        end.held.extend_from_slice(read.filled());
        end.late = Some(Box::pin(tokio::time::sleep(pause)));
        end.poll_held(cx, buf).map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let end = self.get_mut();
        if let Some(kind) = end.obey(cx, 1) {
            return Poll::Ready(Err(kind.into()));
        }
        let way = end.sends() as usize;
        let (most, closed) = {
            let mut state = end.faults.state();
            let room = state.ways[way].cut_at.map(|at| at - state.ways[way].passed);
            let most = state.piece().min(buf.len());
            (
                room.map_or(most, |room| most.min(usize::try_from(room).unwrap_or(most))),
                state.ways[way].closed,
            )
        };
        if most == 0 && !buf.is_empty() {
            end.stream = None;
        }
        let Some(stream) = end.stream.as_mut().filter(|_| !closed) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let written = std::task::ready!(Pin::new(stream).poll_write(cx, &buf[..most]))?;
        let mut is_cut = false;
        let pass = |state: &mut State| {
            let way = &mut state.ways[way];
            way.passed += written as u64;
            is_cut = way.cut_at.is_some_and(|at| way.passed >= at);
            is_cut
        };
        end.faults.change_and_wake_if(pass);
        if is_cut {
            // The other end reads what has passed, and then the end.
            end.stream = None;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("end", &self.end).field("faults", &self.faults).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
