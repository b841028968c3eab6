//! Supervises the long-lived tasks of a run: a task that panics is reported and restarted.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::task::TaskTracker;
use websockets_simple_core::{ErrorStage, EventError};

use crate::{
    config::Endpoint,
    run::{shared::Shared, stop::Stop},
    users::Identity,
};

/// Longest pause before a task that fails repeatedly is restarted.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A task that ran for this long before it failed is restarted at once.
const STABLE: Duration = Duration::from_secs(10);

/// What a task is for.
#[derive(Clone, Debug)]
pub(super) enum TaskKind {
    Accept(Endpoint),
    #[cfg(feature = "cluster")]
    Bus,
    #[cfg_attr(not(feature = "rustls"), expect(dead_code, reason = "there are no certificates"))]
    Certificates(Endpoint),
    #[cfg(feature = "cluster")]
    ClusterEvents,
    Flusher(usize),
    #[cfg(feature = "cluster")]
    Node,
    Revocations,
    Samples,
}

/// Makes the future of a task, for each start.
type Start = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

struct Task {
    kind: TaskKind,
    start: Start,
    started: Instant,
    pause: Duration,
}

/// The long-lived tasks of one run. Dropping it aborts them.
pub(super) struct Supervisor<I: Identity> {
    shared: Arc<Shared<I>>,
    /// The tasks in which error events are raised.
    sessions: TaskTracker,
    stop: Stop,
    running: JoinSet<()>,
    tasks: HashMap<Id, Task>,
}

/// A long-lived task of the server failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{task} failed and is restarted")]
struct TaskFailed {
    task: String,
}

impl<I: Identity> Supervisor<I> {
    pub(super) fn new(shared: Arc<Shared<I>>, sessions: TaskTracker, stop: Stop) -> Self {
        Self { shared, sessions, stop, running: JoinSet::new(), tasks: HashMap::new() }
    }

    /// Starts a task, and restarts it whenever it panics. A task that returns is finished.
    pub(super) fn supervise<F>(&mut self, kind: TaskKind, start: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let start: Start = Box::new(move || Box::pin(start()));
        self.spawn(Task { kind, start, started: Instant::now(), pause: Duration::ZERO });
    }

    fn spawn(&mut self, mut task: Task) {
        task.started = Instant::now() + task.pause;
        // Begun before the pause, so that a stream of events that a task listens to has no gap.
        let running = catch_unwind(AssertUnwindSafe(|| (task.start)()));
        let (pause, stop) = (task.pause, self.stop.clone());
        let handle = self.running.spawn(async move {
            if !pause.is_zero() {
                let _ = stop.run_until_begun(tokio::time::sleep(pause)).await;
            }
            match running {
                Ok(running) => running.await,
                Err(panic) => resume_unwind(panic),
            }
        });
        self.tasks.insert(handle.id(), task);
    }

    /// Reports and restarts failed tasks, for as long as this is polled.
    pub(super) async fn watch(&mut self) -> Infallible {
        loop {
            let Some(ended) = self.running.join_next_with_id().await else {
                return std::future::pending().await;
            };
            match ended {
                Ok((id, ())) => {
                    self.tasks.remove(&id);
                }
                Err(error) => {
                    if let Some(task) = self.tasks.remove(&error.id())
                        && error.is_panic()
                    {
                        self.restart(task);
                    }
                }
            }
        }
    }

    fn restart(&mut self, mut task: Task) {
        task.pause = match task.started.elapsed() >= STABLE {
            true => Duration::ZERO,
            false => (task.pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE),
        };
        // The text of the panic is left out, as it may quote a secret.
        tracing::error!(task = %task.kind, pause = ?task.pause, "a long-lived task panicked");
        if self.stop.has_begun() && !task.kind.lasts_through_the_stop() {
            return;
        }
        let error = EventError::new(TaskFailed { task: task.kind.to_string() });
        self.shared.raise_in_background(&self.sessions, &self.stop, ErrorStage::Task, error);
        self.spawn(task);
    }
}

impl TaskKind {
    /// Whether connections need it until they have ended.
    fn lasts_through_the_stop(&self) -> bool {
        match self {
            Self::Flusher(_) => true,
            // Connections that are still open hear the other nodes.
            #[cfg(feature = "cluster")]
            Self::Bus | Self::Node => true,
            _ => false,
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(endpoint) => write!(f, "the accept loop of {endpoint}"),
            #[cfg(feature = "cluster")]
            Self::Bus => f.write_str("the bus"),
            #[cfg(feature = "cluster")]
            Self::ClusterEvents => f.write_str("the task that raises the events of the cluster"),
            #[cfg(feature = "cluster")]
            Self::Node => f.write_str("the node of the cluster"),
            Self::Certificates(endpoint) => write!(f, "the certificate watcher of {endpoint}"),
            Self::Flusher(number) => write!(f, "flusher {number}"),
            Self::Revocations => f.write_str("the revocation watcher"),
            Self::Samples => f.write_str("the task that counts connections for the live page"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Notify;
    use websockets_simple_core::SubscribeOptions;

    use super::*;
    use crate::{
        config::ServerParams,
        connection::Event,
        users::{AdmitAll, Anonymous},
    };

    /// A supervisor, and the errors that it raises.
    fn supervisor() -> (Supervisor<Anonymous>, Arc<Mutex<Vec<String>>>, Stop) {
        let shared = Arc::new(Shared::new(ServerParams::mounted(), Box::new(AdmitAll)));
        let (raised, stop) = (Arc::new(Mutex::new(Vec::new())), Stop::default());
        let noted = Arc::clone(&raised);
        shared.subscriptions.on(SubscribeOptions::default(), move |event| {
            if let Event::Error(event) = event {
                noted.lock().unwrap().push(format!("{:?}: {}", event.stage, event.error));
            }
            std::future::ready(())
        });
        (Supervisor::new(shared, TaskTracker::new(), stop.clone()), raised, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_reported_and_started_again_after_ever_longer_pauses() {
        let (mut supervisor, raised, _) = supervisor();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let begun = Instant::now();
        let noted = Arc::clone(&starts);
        supervisor.supervise(TaskKind::Flusher(3), move || {
            let noted = Arc::clone(&noted);
            async move {
                let number = {
                    let mut starts = noted.lock().unwrap();
                    starts.push(begun.elapsed().as_millis());
                    starts.len()
                };
                assert!(number > 9, "secret");
                std::future::pending::<()>().await;
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(60), supervisor.watch()).await;
        assert_eq!(*starts.lock().unwrap(), [0, 10, 30, 70, 150, 310, 630, 1270, 2270, 3270]);
        let raised = raised.lock().unwrap();
        assert_eq!(raised.len(), 9);
        assert!(
            raised.iter().all(|raised| raised == "Task: flusher 3 failed and is restarted"),
            "{raised:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_has_nothing_more_to_do() {
        let (mut supervisor, raised, _) = supervisor();
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        supervisor.supervise(TaskKind::Revocations, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        let _ = tokio::time::timeout(Duration::from_secs(60), supervisor.watch()).await;
        assert_eq!(starts.load(Ordering::Relaxed), 1);
        assert!(raised.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn during_a_stop_only_flushers_are_started_again() {
        for (kind, expected) in [(TaskKind::Revocations, 1), (TaskKind::Flusher(0), 2)] {
            let (mut supervisor, _, stop) = supervisor();
            let (starts, fail) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
            let (counted, failing) = (Arc::clone(&starts), Arc::clone(&fail));
            supervisor.supervise(kind, move || {
                counted.fetch_add(1, Ordering::Relaxed);
                let failing = Arc::clone(&failing);
                async move {
                    failing.notified().await;
                    panic!("failed");
                }
            });
            stop.begin();
            fail.notify_one();
            let _ = tokio::time::timeout(Duration::from_secs(60), supervisor.watch()).await;
            assert_eq!(starts.load(Ordering::Relaxed), expected);
        }
    }
}
