//! What the senders, the connections and the tasks of a node share.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use websockets_simple_core::Remote;

use crate::cluster::{
    BusPort, ClusterEventKind, ClusterParams, NodeId, NodeInfo, PublishError,
    directory::{Directory, OwnConnection},
    envelope::Sealing,
    head::{Head, Revoked},
    holders::Place,
    lane::{Lane, Subjects},
    parts::PARTS,
    revoked::RevocationLog,
    sequence::Given,
    view::{Named, Told},
};

/// Why nothing is heard while the server does not run.
const NOT_RUNNING: &str = "the server is not running";

/// When a bus that has ended by itself is started again.
const BUS_AGAIN: Duration = Duration::from_secs(1);

/// Most events that wait to be told, beside those of users.
const MOST_EVENTS: usize = 1024;

/// What the senders, the connections and the tasks of a node share.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) params: ClusterParams,
    pub(crate) node: NodeInfo,
    pub(crate) port: BusPort,
    pub(crate) sealing: Sealing,
    subjects: Subjects,
    given: Mutex<Given>,
    /// Whoever takes it over and over [hands it over](Self::directory_in_turns) in between.
    directory: parking_lot::Mutex<Directory>,
    revocations: Mutex<RevocationLog>,
    status: Mutex<Status>,
    events: Mutex<Events>,
    /// For the task that speaks for the node: there is something to say.
    pub(crate) to_say: Notify,
    /// For the task that raises events.
    pub(crate) to_tell: Notify,
    /// For those that wait for a probe.
    pub(crate) probed: Notify,
    /// The last probe that was asked for, and the last one that came back.
    pub(crate) probe: AtomicU64,
    pub(crate) probes_back: AtomicU64,
    /// Whether it knows who is connected to every node that it hears.
    pub(crate) is_synced: AtomicBool,
    /// Whether it has said good-bye.
    pub(crate) is_leaving: AtomicBool,
    /// Whether its bus runs, and for those that wait for its end.
    bus_runs: AtomicBool,
    bus_ended: Notify,
    pub(crate) counts: Counts,
}

/// Whether a node hears the others.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    /// Since when it does not, and why.
    Down(Instant, Arc<str>),
    /// Since when it is connected; it has not heard itself yet.
    Joining(Instant),
    /// Since when it hears everything.
    Up(Instant),
}

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<ClusterEventKind>,
    /// Missed messages that were not told, by their node.
    missed: HashMap<NodeInfo, u64>,
}

/// What is counted for the figures.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) handed: AtomicU64,
    pub(crate) down: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) too_large: AtomicU64,
    pub(crate) heard: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) overflowed: AtomicU64,
}

/// What is told next.
#[derive(Debug)]
pub(crate) enum Next {
    Cluster(ClusterEventKind),
    User(Told),
}

impl ClusterState {
    pub(crate) fn new(params: ClusterParams) -> Self {
        let id = NodeId::random();
        let name = params.name.clone().unwrap_or_else(|| id.short());
        Self {
            node: NodeInfo { id, name },
            port: BusPort::new(params.outgoing, params.incoming),
            sealing: Sealing::new(id, params.keys.clone()),
            subjects: Subjects::new(&params.app),
            given: Mutex::default(),
            directory: parking_lot::Mutex::new(Directory::new(params.linger)),
            revocations: Mutex::default(),
            status: Mutex::new(Status::Down(Instant::now(), NOT_RUNNING.into())),
            events: Mutex::default(),
            to_say: Notify::new(),
            to_tell: Notify::new(),
            probed: Notify::new(),
            probe: AtomicU64::new(0),
            probes_back: AtomicU64::new(0),
            is_synced: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            bus_runs: AtomicBool::new(false),
            bus_ended: Notify::new(),
            counts: Counts::default(),
            params,
        }
    }

    /// Publishes what is for connections of other nodes.
    pub(crate) fn publish(&self, lane: Lane, head: &Head<'_>, payload: &[u8]) -> Remote {
        let draft = self.sealing.draft(lane, head, payload);
        let subject = self.subjects.of(lane);
        let published =
            self.given().give(lane, |number| self.port.publish(&subject, self.sealing.seal(draft, number)));
        let (count, remote) = match published {
            Ok(()) => (&self.counts.handed, Remote::Handed),
            Err(PublishError::Down) => (&self.counts.down, Remote::Down),
            Err(PublishError::Full) => (&self.counts.full, Remote::Full),
            Err(PublishError::TooLarge) => (&self.counts.too_large, Remote::TooLarge),
        };
        count.fetch_add(1, Relaxed);
        remote
    }

    /// Says something to other nodes. Nobody counts it as missed: it is asked for again, or said again.
    pub(crate) fn say(&self, lane: Lane, head: &Head<'_>) -> Result<(), PublishError> {
        let draft = self.sealing.draft(lane, head, &[]);
        self.port.publish(&self.subjects.of(lane), self.sealing.seal(draft, 0))
    }

    /// The same with a head that is written already.
    pub(crate) fn say_written(&self, lane: Lane, head: &[u8]) -> Result<(), PublishError> {
        let draft = self.sealing.draft_of(lane, head, &[]);
        self.port.publish(&self.subjects.of(lane), self.sealing.seal(draft, 0))
    }

    pub(crate) fn subscribe(&self, lane: Lane) {
        self.port.subscribe(&self.subjects.of(lane));
    }

    pub(crate) fn unsubscribe(&self, lane: Lane) {
        self.port.unsubscribe(&self.subjects.of(lane));
    }

    /// A connection of this node has opened.
    pub(crate) fn opened(&self, connection: OwnConnection<'_>) {
        {
            let mut directory = self.directory();
            if let Some(lane) = directory.opened(connection, Instant::now()) {
                // Under the lock, so that the last one decides.
                self.subscribe(lane);
            }
        }
        self.to_say.notify_one();
        self.to_tell.notify_one();
    }

    /// A connection of this node has ended.
    pub(crate) fn ended(&self, connection: OwnConnection<'_>) {
        self.directory().ended(connection, Instant::now());
        self.to_say.notify_one();
        self.to_tell.notify_one();
    }

    /// Credentials were revoked at this node.
    pub(crate) fn revoked(&self, is_user: bool, what: &str) {
        let number = lock(&self.revocations).add_own(self.node.id, is_user, what, Instant::now());
        let revoked = Revoked { node: self.node.id, number, age: 0, is_user, what: what.into() };
        // Who does not hear it asks for it, as beats say how many there are.
        let _ = self.say(Lane::Presence, &Head::Revoked(vec![revoked]));
    }

    pub(crate) fn given(&self) -> MutexGuard<'_, Given> {
        lock(&self.given)
    }

    pub(crate) fn directory(&self) -> parking_lot::MutexGuard<'_, Directory> {
        self.directory.lock()
    }

    /// One turn of several with the directory: it goes to who waits for it then, which would find it taken again.
    pub(crate) fn directory_in_turns<T>(&self, turn: impl FnOnce(&mut Directory) -> T) -> T {
        let mut directory = self.directory.lock();
        let done = turn(&mut directory);
        parking_lot::MutexGuard::unlock_fair(directory);
        done
    }

    /// Forgets what is known of a node, but for what is kept of it.
    pub(crate) fn sweep(&self, node: Place, now: Instant, is_kept: impl Fn(Named<'_>) -> bool) {
        for part in 0..PARTS {
            self.directory_in_turns(|directory| directory.view.sweep(node, part, now, &is_kept));
        }
    }

    /// Another node is gone for good.
    pub(crate) fn left(&self, node: NodeId) {
        self.given().forget(node);
        self.subjects.forget(node);
    }

    /// Another node is gone, and its connections with it.
    pub(crate) fn forget(&self, node: Place, now: Instant) {
        // From now on nothing is sent to it.
        self.directory().remove(node);
        self.sweep(node, now, |_| false);
    }

    /// Nothing is known of the other nodes any more.
    pub(crate) fn forget_all(&self, now: Instant) {
        let places = self.directory().places();
        places.into_iter().for_each(|place| self.forget(place, now));
    }

    pub(crate) fn revocations(&self) -> MutexGuard<'_, RevocationLog> {
        lock(&self.revocations)
    }

    pub(crate) fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    pub(crate) fn set_status(&self, status: Status) {
        *lock(&self.status) = status;
        self.probed.notify_waiters();
    }

    /// Runs the bus until it has sent everything after the good-bye.
    pub(crate) async fn run_bus(&self) {
        /// However the task ends.
        struct Running<'a>(&'a ClusterState);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.bus_runs.store(false, Relaxed);
                self.0.bus_ended.notify_waiters();
            }
        }
        self.bus_runs.store(true, Relaxed);
        let _running = Running(self);
        loop {
            self.params.bus.run(self.port.link()).await;
            if self.is_leaving.load(Relaxed) {
                return;
            }
            tracing::warn!("the bus ended by itself, and is started again");
            tokio::time::sleep(BUS_AGAIN).await;
            if self.is_leaving.load(Relaxed) {
                return;
            }
        }
    }

    /// A run of the server begins.
    pub(crate) fn enter(&self) {
        self.is_leaving.store(false, Relaxed);
    }

    /// Says good-bye, and resolves when the bus has ended.
    pub(crate) async fn leave(&self) {
        let _ = self.say(Lane::Nodes, &Head::Bye);
        self.is_leaving.store(true, Relaxed);
        self.port.close();
        loop {
            let ended = self.bus_ended.notified();
            if !self.bus_runs.load(Relaxed) {
                break;
            }
            ended.await;
        }
        self.set_status(Status::Down(Instant::now(), NOT_RUNNING.into()));
    }

    /// For how long this node has heard everything.
    pub(crate) fn hears_for(&self, now: Instant) -> Duration {
        match *lock(&self.status) {
            Status::Up(since) => now.saturating_duration_since(since),
            Status::Down(..) | Status::Joining(_) => Duration::ZERO,
        }
    }

    /// For how long this node has heard nothing.
    pub(crate) fn deaf_for(&self) -> Duration {
        match *lock(&self.status) {
            Status::Down(since, _) => since.elapsed(),
            Status::Joining(_) | Status::Up(_) => Duration::ZERO,
        }
    }

    pub(crate) fn tell(&self, kind: ClusterEventKind) {
        {
            let mut events = lock(&self.events);
            if events.waiting.len() >= MOST_EVENTS {
                // Nobody takes them, and the latest say what is so now.
                events.waiting.pop_front();
            }
            events.waiting.push_back(kind);
        }
        self.to_tell.notify_one();
    }

    pub(crate) fn tell_missed(&self, node: NodeInfo, messages: u64) {
        self.counts.missed.fetch_add(messages, Relaxed);
        {
            let mut events = lock(&self.events);
            if events.missed.len() < MOST_EVENTS || events.missed.contains_key(&node) {
                *events.missed.entry(node).or_default() += messages;
            }
        }
        self.to_tell.notify_one();
    }

    /// What is to be told next, or when there may be something.
    pub(crate) fn next_to_tell(&self, now: Instant) -> Result<Next, Option<Instant>> {
        {
            let mut events = lock(&self.events);
            if let Some(kind) = events.waiting.pop_front() {
                return Ok(Next::Cluster(kind));
            }
            if let Some(node) = events.missed.keys().next().cloned()
                && let Some(messages) = events.missed.remove(&node)
            {
                return Ok(Next::Cluster(ClusterEventKind::Missed { node, messages }));
            }
        }
        let mut directory = self.directory();
        directory.next_told(now).map(Next::User).ok_or_else(|| directory.view.next_leaving())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
