//! The task that speaks and listens for a node: it hears the bus, keeps the leases of the other nodes, and says who is
//! connected to this one.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::{
    BusEvent, ClusterEventKind, InvalidMessage, NodeId,
    cut::Cut,
    envelope::{First, Opened},
    head::{Beat, Close, Head, Send},
    lane::Lane,
    peer::Peer,
    revoked::NewRevocation,
    sequence::Received,
    state::{ClusterState, Status},
};

use giving::Giving;

mod giving;
mod hearing;
mod looking;

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(250);

/// How long a node that is connected may not hear itself: two beats and a half.
const DEAF: Duration = Duration::from_millis(2500);

/// Why such a node is down.
const DEAF_TEXT: &str = "this node does not hear itself through the bus";

/// A node that slept for so long judges nobody.
const SLEPT: Duration = Duration::from_secs(2);

/// Most other nodes, so that what an intruder invents is bounded.
const MOST_NODES: usize = 1024;

/// Most snapshots that are asked for at once.
const MOST_WANTED: usize = 4;

/// Events that are heard in between.
const HEARD_BETWEEN: usize = 256;

/// How often the same complaint is told.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// How long a node that has said good-bye is not taken for a new one, as its last beats may come after it.
const GONE: Duration = Duration::from_secs(2);

/// A node of the same name that is not heard for so long was replaced.
const REPLACED: Duration = Duration::from_millis(2500);

/// What a node does to its own server. Answers are whether what it was told is well-formed.
pub(crate) trait Local: std::marker::Send + Sync {
    /// Sends to connections of this node.
    fn send(&self, send: &Send<'_>, opened: &Opened) -> bool;
    /// Closes connections of this node.
    fn close(&self, close: &Close<'_>) -> bool;
    /// Closes the connections of this node whose credentials are revoked.
    fn revoke(&self, revocation: &NewRevocation) -> bool;
    /// Closes the connections of users that were authenticated before; answers how many.
    fn close_users(&self, before: Instant) -> usize;
}

/// The state of the task.
pub(crate) struct Node<'a> {
    state: &'a ClusterState,
    local: &'a dyn Local,
    peers: HashMap<NodeId, Peer>,
    /// Those that have said good-bye, and when.
    gone: HashMap<NodeId, Instant>,
    received: Received,
    cut: Cut,
    /// Snapshots that others are given.
    giving: VecDeque<Giving>,
    give_at: Option<Instant>,
    last_tick: Instant,
    next_beat: Instant,
    /// When this node last heard a beat of its own.
    heard_self: Instant,
    /// Whether it was connected, and has not heard itself, since it was up.
    is_deaf: bool,
    /// Complaints, and when they were told.
    complained: HashMap<Complaint, Instant>,
    invalid: u64,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Complaint {
    Invalid,
    Name(Box<str>),
    Version(NodeId),
}

impl<'a> Node<'a> {
    pub(crate) fn new(state: &'a ClusterState, local: &'a dyn Local) -> Self {
        let now = Instant::now();
        for lane in [Lane::All, Lane::Nodes, Lane::Presence, Lane::Node(state.node.id)] {
            state.subscribe(lane);
        }
        Self {
            state,
            local,
            peers: HashMap::new(),
            gone: HashMap::new(),
            received: Received::default(),
            cut: Cut::new(now),
            giving: VecDeque::new(),
            give_at: None,
            last_tick: now,
            next_beat: now,
            heard_self: now,
            is_deaf: false,
            complained: HashMap::new(),
            invalid: 0,
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        // Of an earlier one that has failed nothing is known.
        self.state.forget_all(Instant::now());
        loop {
            let say_at = self.state.directory().say_at();
            let tick = self.last_tick + TICK;
            let until = if self.is_up() { say_at.map_or(tick, |at| at.min(tick)) } else { tick };
            let until = self.give_at.map_or(until, |at| at.min(until));
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => {
                    self.tick(Instant::now());
                    // What takes many turns leaves others theirs.
                    for _ in 0..HEARD_BETWEEN {
                        let Some(event) = self.state.port.try_next_event() else { break };
                        self.heard(event, Instant::now());
                    }
                    tokio::task::yield_now().await;
                }
                event = self.state.port.next_event() => {
                    self.heard(event, Instant::now());
                    // The inbox may never be empty.
                    tokio::task::consume_budget().await;
                }
                () = self.state.to_say.notified() => {}
            }
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.state.status(), Status::Up(_))
    }

    pub(super) fn heard(&mut self, event: BusEvent, now: Instant) {
        match event {
            BusEvent::Up => self.connected(now),
            BusEvent::Down(why) => self.disconnected(&why, now),
            BusEvent::Message(message) => match self.state.sealing.open(message) {
                Ok(First::Own(opened)) => self.own(&opened, now),
                Ok(First::Of(opened)) => {
                    if self.of_other(opened, now).is_none() {
                        self.is_invalid(InvalidMessage::Malformed, now);
                    }
                }
                Ok(First::OtherVersion(node, version)) => {
                    if self.may_complain(Complaint::Version(node), now) {
                        self.state.tell(ClusterEventKind::OtherVersion { node, version });
                    }
                }
                Err(why) => self.is_invalid(why, now),
            },
            BusEvent::Missed(messages) => {
                self.state.counts.overflowed.fetch_add(messages, Relaxed);
                tracing::warn!(messages, "messages of the bus came faster than they were read");
            }
        }
    }

    fn connected(&mut self, now: Instant) {
        tracing::debug!("connected to the bus");
        self.state.set_status(Status::Joining(now));
        self.heard_self = now;
        self.probe();
        self.beat(now);
    }

    /// Publishes a message to this node itself.
    fn probe(&self) {
        let probe = self.state.probe.fetch_add(1, Relaxed) + 1;
        let _ = self.state.say(Lane::Node(self.state.node.id), &Head::Probe(probe));
    }

    fn disconnected(&mut self, why: &Arc<str>, now: Instant) {
        // That of a connection which was given up says less.
        let why = if self.is_deaf { &Arc::from(DEAF_TEXT) } else { why };
        let Some(since) = self.cut.told_since() else {
            tracing::warn!(%why, "not connected to the bus");
            self.cut.begin(self.peers.keys().copied(), now);
            self.state.set_status(Status::Down(now, Arc::clone(why)));
            self.state.tell(ClusterEventKind::Down(Arc::clone(why)));
            return;
        };
        self.state.set_status(Status::Down(since, Arc::clone(why)));
    }

    /// What this node publishes does not come back to it.
    fn deaf(&mut self, now: Instant) {
        self.is_deaf = true;
        self.disconnected(&Arc::from(DEAF_TEXT), now);
        self.state.port.reconnect();
    }

    /// A message of this node itself.
    fn own(&mut self, opened: &Opened, now: Instant) {
        match opened.head() {
            Ok(Head::Probe(probe)) => {
                self.state.probes_back.fetch_max(probe, Relaxed);
                if probe == self.state.probe.load(Relaxed)
                    && matches!(self.state.status(), Status::Joining(_))
                {
                    self.up(now);
                }
                self.state.probed.notify_waiters();
            }
            Ok(Head::Beat(_)) => self.heard_self = now,
            _ => {}
        }
    }

    fn up(&mut self, now: Instant) {
        tracing::info!(node = %self.state.node, "hears the cluster");
        self.state.is_synced.store(false, Relaxed);
        self.state.set_status(Status::Up(now));
        self.restart_leases(now);
        self.is_deaf = false;
        if let Some(since) = self.cut.told_since() {
            self.state.given().repeat(now.duration_since(since), now);
        }
        self.cut.end(now);
        self.state.tell(ClusterEventKind::Up);
    }

    /// Nobody is judged by what was not heard meanwhile.
    fn restart_leases(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.heard = now;
        }
    }

    fn left(&mut self, node: NodeId, now: Instant) {
        let info = self.info(node);
        let Some(peer) = self.peers.remove(&node) else { return };
        self.state.forget(peer.place, now);
        self.giving.retain(|giving| giving.to != node);
        self.state.left(node);
        self.received.forget(|of, _| of == node);
        if let Some(info) = info.filter(|_| peer.is_told) {
            tracing::info!(node = %info, id = %node, "a node is gone");
            self.state.tell(ClusterEventKind::NodeLeft(info));
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if now.duration_since(self.last_tick) >= SLEPT {
            tracing::warn!(slept = ?now.duration_since(self.last_tick), "this node was stopped for a while");
            self.restart_leases(now);
            self.heard_self = now;
        }
        if now.duration_since(self.last_tick) >= TICK {
            self.last_tick = now;
            self.look(now);
        }
        if self.is_up() && self.state.directory().say_at().is_some_and(|at| at <= now) {
            self.say_changes(now);
        }
        self.give(now);
    }

    fn beat(&mut self, now: Instant) {
        self.next_beat = now + BEAT;
        // After its good-bye it would be taken for a new node.
        if self.state.is_leaving.load(Relaxed) {
            return;
        }
        let (mut sent, mut sent_to) = (Vec::new(), Vec::new());
        for (lane, number) in self.state.given().recent(now) {
            if let Lane::Node(node) = lane {
                sent_to.push((node, number))
            } else {
                sent.push((lane.number(), number))
            }
        }
        let beat = Beat {
            name: &self.state.node.name,
            version: self.state.directory().version(),
            revoked: self.state.revocations().known(self.state.node.id),
            hears_for: self.state.hears_for(now).as_millis() as u64,
            sent,
            sent_to,
        };
        let _ = self.state.say(Lane::Nodes, &Head::Beat(beat));
    }

    fn is_invalid(&mut self, why: InvalidMessage, now: Instant) {
        self.state.counts.invalid.fetch_add(1, Relaxed);
        self.invalid += 1;
        if self.may_complain(Complaint::Invalid, now) {
            let messages = std::mem::take(&mut self.invalid);
            tracing::warn!(messages, %why, "messages on the bus are not believed");
            self.state.tell(ClusterEventKind::Invalid { messages, why });
        }
    }

    fn may_complain(&mut self, what: Complaint, now: Instant) -> bool {
        let is_new = !self.complained.contains_key(&what) && self.complained.len() < MOST_NODES;
        if is_new {
            self.complained.insert(what, now);
        }
        is_new
    }
}
