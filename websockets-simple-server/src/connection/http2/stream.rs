//! One stream of an HTTP/2 connection: its deadline, and its place in the limits, until hyper has let go of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use websockets_simple_core::deadline;

use crate::{connection::http2::tally::Tally, net::Place, run::Stop};

/// How long the answer to a handshake, or the rest of what a connection has written, may still take to be sent: if the
/// client gives it no window, it would be kept for ever.
const LINGER: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The stream whose request is being answered in this task.
    pub(super) static STREAM: Arc<Http2Stream>;
}

/// A stream, held by all tasks that it has.
#[derive(Debug)]
pub(crate) struct Http2Stream {
    ends: Mutex<Ends>,
    changed: Notify,
    /// `None` while its handshake has it.
    place: Mutex<Option<Place>>,
    tally: Arc<Tally>,
}

/// By when a stream has to be done.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// `None` while its connection is open.
    at: Option<Instant>,
    is_page: bool,
}

impl Http2Stream {
    /// A stream whose handshake may take that long.
    pub(super) fn new(tally: &Arc<Tally>, handshake: Duration) -> Arc<Self> {
        tally.opened();
        let at = deadline(Instant::now(), handshake.saturating_add(LINGER));
        Arc::new(Self {
            ends: Mutex::new(Ends { at: Some(at), is_page: false }),
            changed: Notify::new(),
            place: Mutex::new(None),
            tally: Arc::clone(tally),
        })
    }

    /// It is answered by the fallback, within this time.
    pub(super) fn is_a_page(&self, within: Duration) {
        self.set(Ends { at: Some(deadline(Instant::now(), within)), is_page: true });
    }

    /// It has become a connection, which has deadlines of its own.
    pub(crate) fn is_open(&self) {
        self.set(Ends { at: None, is_page: false });
    }

    /// Its connection has ended, and what it has written may not be sent.
    pub(crate) fn linger(&self) {
        self.set(Ends { at: Some(deadline(Instant::now(), LINGER)), is_page: false });
    }

    /// Keeps this place for as long as the stream takes memory.
    pub(crate) fn keep(&self, place: Place) {
        let before = self.place.lock().unwrap_or_else(PoisonError::into_inner).replace(place);
        drop(before);
    }

    /// Resolves when its time is over, with whether it was that of a page. A stop leaves a second.
    pub(super) async fn late(&self, stop: &Stop) -> bool {
        let mut stopped = None;
        loop {
            let changed = self.changed.notified();
            let Ends { at, is_page } = *self.ends();
            let Some(mut at) = at else {
                changed.await;
                continue;
            };
            if let Some(stopped) = stopped {
                at = at.min(deadline(stopped, LINGER));
            }
            tokio::select! {
                () = tokio::time::sleep_until(at) => return is_page,
                () = changed => {}
                () = stop.begun(), if stopped.is_none() => stopped = Some(Instant::now()),
            }
        }
    }

    fn set(&self, ends: Ends) {
        *self.ends() = ends;
        self.changed.notify_waiters();
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.tally.closed();
    }
}
