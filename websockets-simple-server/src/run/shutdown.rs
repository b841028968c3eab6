//! The shutdown of a run.

#[cfg(feature = "http2")]
use std::collections::HashSet;
use std::{
    cell::Cell,
    collections::{HashMap, hash_map::Entry},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use websockets_simple_core::catch_panic;

use crate::{
    connection::{Boxed, StopReport},
    run::{
        drain::{close_all, drain},
        shared::Shared,
        stop::Stop,
    },
    users::Identity,
};

/// Timeout for connections whose handlers were dropped, and for the handlers of the Stopped event.
pub(super) const FINAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for the stop, then ends all connections. Answers how many ended in which way.
pub(super) async fn shutdown<I: Identity>(
    shared: &Shared<I>,
    stop: &Stop,
    accepting: &TaskTracker,
) -> StopReport {
    stop.begun().await;
    let how = stop.drain();
    // 1. Those that are closed in batches; meanwhile others are refused.
    drain(shared, stop, how).await;
    // 2. No new connections.
    stop.close_all();
    accepting.close();
    accepting.wait().await;
    shared.close_entrance();
    // 3. Every connection is sent Close after its queued messages; handlers finish.
    shared.subscriptions.lift_bounds(true);
    close_all(shared, how);
    let in_time = tokio::time::timeout(shared.params.stop_timeout, shared.shutdown.at_rest()).await.is_ok();
    // 4. Handlers that have not finished are dropped; after that, connections end quickly.
    if !in_time {
        shared.abort_all_handlers(stop);
        let _ = tokio::time::timeout(FINAL_TIMEOUT * 2, shared.shutdown.at_rest()).await;
    }
    // 5. What carried connections of several clients sends the rest of them. One of them may wait for this stop.
    #[cfg(feature = "http2")]
    let _ = tokio::time::timeout(FINAL_TIMEOUT, shared.shutdown.nothing_carried()).await;
    shared.shutdown.take_report()
}

/// Counts the tasks that a stop waits for, and how connections ended.
#[derive(Debug, Default)]
pub(crate) struct ShutdownTracker {
    clean: AtomicUsize,
    unclean: AtomicUsize,
    dropped: AtomicUsize,
    /// Tasks of connections, handshakes included.
    sessions: AtomicUsize,
    /// Tasks that carry other sessions, and are none themselves.
    #[cfg(feature = "http2")]
    carriers: Mutex<HashSet<u64>>,
    /// Those inside of which the stop is awaited, and how often.
    waiting: Mutex<HashMap<u64, usize>>,
    /// Notified when one of them changes.
    changed: Notify,
}

impl ShutdownTracker {
    /// Counts the end of a connection during a stop.
    pub(crate) fn count(&self, aborted: bool, clean: bool) {
        let ended = match (aborted, clean) {
            (true, _) => &self.dropped,
            (false, true) => &self.clean,
            (false, false) => &self.unclean,
        };
        ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take_report(&self) -> StopReport {
        StopReport {
            clean: self.clean.swap(0, Ordering::Relaxed),
            unclean: self.unclean.swap(0, Ordering::Relaxed),
            dropped: self.dropped.swap(0, Ordering::Relaxed),
        }
    }

    /// Resolves when no task runs, except for those with a handler that waits for the stop.
    pub(crate) async fn at_rest(&self) {
        loop {
            let changed = self.changed.notified();
            if self.sessions.load(Ordering::Acquire) <= self.waiting().len() {
                return;
            }
            changed.await;
        }
    }

    /// The task that is polled now carries sessions: it is waited for after them.
    #[cfg(feature = "http2")]
    pub(crate) fn carries_sessions<I: Identity>(&self, shared: &Shared<I>) {
        let Some((owner, number)) = CURRENT.get() else { return };
        if owner == shared.owner && self.carriers().insert(number) {
            self.sessions.fetch_sub(1, Ordering::AcqRel);
            self.changed.notify_waiters();
        }
    }

    /// Resolves when no task carries sessions.
    #[cfg(feature = "http2")]
    async fn nothing_carried(&self) {
        loop {
            let changed = self.changed.notified();
            if self.carriers().is_empty() {
                return;
            }
            changed.await;
        }
    }

    #[cfg(feature = "http2")]
    fn carriers(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.carriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the task with this number was no session in the end.
    #[cfg(feature = "http2")]
    fn carried(&self, number: u64) -> bool {
        self.carriers().remove(&number)
    }

    #[cfg(not(feature = "http2"))]
    fn carried(&self, _number: u64) -> bool {
        false
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// The server and the number of the task that is polled now.
    static CURRENT: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Counts a connection's task until it is dropped, also by a panic.
pub(crate) struct SessionGuard<I: Identity> {
    shared: Arc<Shared<I>>,
    number: u64,
}

impl<I: Identity> SessionGuard<I> {
    pub(crate) fn new(shared: &Arc<Shared<I>>) -> Self {
        shared.shutdown.sessions.fetch_add(1, Ordering::AcqRel);
        Self { shared: Arc::clone(shared), number: shared.next_serial() }
    }
}

impl<I: Identity> Drop for SessionGuard<I> {
    fn drop(&mut self) {
        let shutdown = &self.shared.shutdown;
        if !shutdown.carried(self.number) {
            shutdown.sessions.fetch_sub(1, Ordering::AcqRel);
        }
        shutdown.changed.notify_waiters();
    }
}

/// The task of a connection: its handshake, then the connection itself. It knows of a stop that is awaited inside of it,
/// whether by a handler of any event, a hook, a service or the work of a local connection. A panic that nothing inside of
/// it has caught is an error event.
///
/// One pointer, as the runtime rounds a task up to whole 128 bytes: its stage holds its guard. `None` once it is over.
pub(crate) struct SessionTask<I: Identity>(Option<SessionStage<I>>);

/// What the task of a connection does until its next stage, or its end.
pub(crate) struct SessionStage<I: Identity>(Box<dyn Stage<I>>);

trait Stage<I: Identity>: Send {
    /// Ready with the next stage, or with nothing if the task is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<SessionStage<I>>>;

    /// The guard of the task, which the current stage has.
    fn guard(&mut self) -> &mut Option<SessionGuard<I>>;
}

/// A stage that is a future. The guard is behind it, as it is dropped after it.
struct Guarded<I: Identity, F> {
    future: F,
    guard: Option<SessionGuard<I>>,
}

impl<I: Identity> SessionStage<I> {
    /// The last stage.
    pub(crate) fn last(future: impl Future<Output = ()> + Send + Unpin + 'static) -> Self {
        struct Last<F>(F);

        impl<I: Identity, F: Future<Output = ()> + Send + Unpin> Stage<I> for Guarded<I, Last<F>> {
            fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<SessionStage<I>>> {
                Pin::new(&mut self.future.0).poll(cx).map(|()| None)
            }

            fn guard(&mut self) -> &mut Option<SessionGuard<I>> {
                &mut self.guard
            }
        }

        Self(Box::new(Guarded { future: Last(future), guard: None }))
    }
}

impl<I: Identity> Stage<I> for Guarded<I, Boxed<Option<SessionStage<I>>>> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<SessionStage<I>>> {
        self.future.as_mut().poll(cx)
    }

    fn guard(&mut self) -> &mut Option<SessionGuard<I>> {
        &mut self.guard
    }
}

impl<I: Identity> SessionTask<I> {
    pub(crate) fn new(guard: SessionGuard<I>, opening: Boxed<Option<SessionStage<I>>>) -> Self {
        Self(Some(SessionStage(Box::new(Guarded { future: opening, guard: Some(guard) }))))
    }
}

impl<I: Identity> Future for SessionTask<I> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(guard) = self.0.as_mut().and_then(|stage| stage.0.guard().as_ref()) else {
            return Poll::Ready(());
        };
        let _inside = Inside::enter(guard);
        let panicked = match catch_panic(|| poll_stage(&mut self.0, cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => None,
            Err(panicked) => Some(panicked),
        };
        let guard = self.0.as_mut().and_then(|stage| stage.0.guard().take());
        let dropped = catch_panic(|| self.0 = None).err();
        if let (Some(guard), Some(panicked)) = (&guard, panicked.or(dropped)) {
            guard.shared.report_panic(panicked, "the task of a connection");
        }
        Poll::Ready(())
    }
}

fn poll_stage<I: Identity>(stage: &mut Option<SessionStage<I>>, cx: &mut Context<'_>) -> Poll<()> {
    while let Some(current) = stage {
        let Some(mut next) = ready!(current.0.poll(cx)) else { break };
        *next.0.guard() = current.0.guard().take();
        *stage = Some(next);
    }
    Poll::Ready(())
}

/// While this lives, the thread polls a task.
struct Inside(Option<(u64, u64)>);

impl Inside {
    fn enter<I: Identity>(guard: &SessionGuard<I>) -> Self {
        Self(CURRENT.replace(Some((guard.shared.owner, guard.number))))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// A wait for the stop inside of a task, which the stop must not wait for.
pub(crate) struct StopWaiter<'a> {
    shutdown: &'a ShutdownTracker,
    number: u64,
}

impl<'a> StopWaiter<'a> {
    /// `None` outside of the tasks of this server.
    pub(crate) fn inside<I: Identity>(shared: &'a Shared<I>) -> Option<Self> {
        let (owner, number) = CURRENT.get()?;
        if owner != shared.owner {
            return None;
        }
        let shutdown = &shared.shutdown;
        *shutdown.waiting().entry(number).or_default() += 1;
        shutdown.changed.notify_waiters();
        Some(Self { shutdown, number })
    }
}

impl Drop for StopWaiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.shutdown.waiting();
        if let Entry::Occupied(mut entry) = waiting.entry(self.number) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
