//! A network in memory.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{io::DuplexStream, sync::mpsc};

use crate::test_util::{End, Faults, Faulty};

/// Bytes that are on their way in each direction of a line: as many as a pipe of Linux holds.
const ON_THE_WAY: usize = 64 * 1024;

/// Lines that were dialed and not accepted: as many as a listener of this library keeps.
const BACKLOG: usize = 1024;

/// One end of a line in memory.
pub type Line = Faulty<DuplexStream>;

type OnDial = dyn Fn(usize, &Faults) + Send + Sync;

/// Makes a network with one listener: what the [`Dialer`] dials, [`Incoming`] accepts. A line holds 64 KiB in each
/// direction.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use websockets_simple_server::test_util::network;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let (dialer, mut incoming) = network();
/// let mut near = dialer.dial().await?;
/// let mut far = incoming.accept().await.expect("it was dialed");
/// near.write_all(b"hello").await?;
/// dialer.line().cut();
/// let mut heard = Vec::new();
/// far.read_to_end(&mut heard).await?;
/// assert!(heard.is_empty(), "it was on the way");
/// # Ok(()) }
/// ```
#[must_use]
pub fn network() -> (Dialer, Incoming) {
    let (to, lines) = mpsc::channel(BACKLOG);
    let state = State { lines: Mutex::default(), on_dial: Mutex::default(), is_down: AtomicBool::new(false) };
    (Dialer { to, state: Arc::new(state) }, Incoming { lines })
}

/// Dials the listener of a network in memory. Clones are the same dialer.
#[derive(Clone)]
pub struct Dialer {
    to: mpsc::Sender<Line>,
    state: Arc<State>,
}

struct State {
    lines: Mutex<Vec<Faults>>,
    on_dial: Mutex<Option<Arc<OnDial>>>,
    is_down: AtomicBool,
}

impl Dialer {
    /// Dials: the near end of a new line.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` while the network [is down](Self::set_down), and when its listener is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it resolves, nothing was dialed.
    pub async fn dial(&self) -> io::Result<Line> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        if self.state.is_down.load(Ordering::Relaxed) {
            return Err(refused());
        }
        let place = self.to.reserve().await.map_err(|_| refused())?;
        let faults = Faults::new();
        let on_dial = self.state.on_dial.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dialed = {
            let mut lines = self.lines();
            lines.push(faults.clone());
            lines.len() - 1
        };
        if let Some(on_dial) = on_dial {
            on_dial(dialed, &faults);
        }
        let (near, far) = tokio::io::duplex(ON_THE_WAY);
        place.send(faults.wrap(far, End::Server));
        Ok(faults.wrap(near, End::Client))
    }

    /// Calls this for each line that is dialed, before a byte passes, with the number of lines before it: the place to
    /// plan its faults. Only the last one is called.
    pub fn on_dial(&self, plan: impl Fn(usize, &Faults) + Send + Sync + 'static) {
        *self.state.on_dial.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(plan));
    }

    /// Refuses to dial, or no longer.
    pub fn set_down(&self, down: bool) {
        self.state.is_down.store(down, Ordering::Relaxed);
    }

    /// The line that was dialed last.
    ///
    /// # Panics
    ///
    /// When there was none.
    #[must_use]
    pub fn line(&self) -> Faults {
        self.lines().last().expect("a line was dialed").clone()
    }

    /// How many lines were dialed.
    #[must_use]
    pub fn dialed(&self) -> usize {
        self.lines().len()
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Faults>> {
        self.state.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listener of a network in memory.
#[derive(Debug)]
pub struct Incoming {
    lines: mpsc::Receiver<Line>,
}

impl Incoming {
    /// The far end of the next line; `None` when all dialers are gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it resolves, no line is lost.
    pub async fn accept(&mut self) -> Option<Line> {
        self.lines.recv().await
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("dialed", &self.dialed()).finish_non_exhaustive()
    }
}
