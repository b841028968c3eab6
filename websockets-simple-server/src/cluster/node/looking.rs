//! What a node does each time that it looks at the clock.

use std::{collections::HashSet, sync::atomic::Ordering::Relaxed};

use tokio::time::Instant;

use crate::cluster::{
    ClusterEventKind, Uncertainty,
    head::Head,
    lane::Lane,
    node::{BEAT, DEAF, GONE, MOST_WANTED, Node, TICK, TOLD_AGAIN},
    state::Status,
};

impl Node<'_> {
    pub(super) fn look(&mut self, now: Instant) {
        self.gone.retain(|_, at| now.duration_since(*at) < GONE);
        self.complained.retain(|_, at| now.duration_since(*at) < TOLD_AGAIN);
        if now >= self.next_beat {
            self.beat(now);
        }
        while let Some(lane) = self.next_unwanted(now) {
            self.received.forget(|_, of| of == lane);
        }
        match self.state.status() {
            Status::Down(..) => return,
            Status::Joining(since) => {
                self.probe();
                if now.duration_since(since) >= DEAF {
                    self.deaf(now);
                }
                return;
            }
            Status::Up(_) if now.duration_since(self.heard_self) >= DEAF => return self.deaf(now),
            Status::Up(_) => {}
        }
        let lease = self.state.params.lease;
        let silent = self.peers.iter().filter(|(_, peer)| now.duration_since(peer.heard) >= lease);
        let silent: Vec<_> = silent.map(|(node, _)| *node).collect();
        silent.into_iter().for_each(|node| self.left(node, now));
        for (node, messages) in self.received.overdue(now) {
            self.missed(node, messages);
        }
        self.want_snapshots(now);
        let follows_all = self.peers.values().all(|peer| peer.is_followed(now));
        let is_synced = follows_all && self.state.hears_for(now) >= BEAT + TICK;
        if self.state.is_synced.swap(is_synced, Relaxed) != is_synced {
            self.state.probed.notify_waiters();
        }
        self.settle(now);
        let there: HashSet<_> = self.peers.keys().copied().chain([self.state.node.id]).collect();
        self.state.revocations().forget_nodes(|node| there.contains(&node), now);
    }

    /// Under the lock of the directory, so that who wants the lane again subscribes to it afterwards.
    fn next_unwanted(&self, now: Instant) -> Option<Lane> {
        let mut directory = self.state.directory();
        directory.next_unwanted(now).inspect(|lane| self.state.unsubscribe(*lane))
    }

    fn want_snapshots(&mut self, now: Instant) {
        let asked = self.peers.values().filter(|peer| peer.waits(now)).count();
        let behind = self.peers.iter_mut().filter(|(_, peer)| peer.is_behind(now));
        for (node, peer) in behind.take(MOST_WANTED.saturating_sub(asked)) {
            if self.state.say(Lane::Node(*node), &Head::WantSnapshot).is_ok() {
                peer.has_asked(now);
            }
        }
    }

    /// Looks for somebody who knows what was revoked while this node was cut off at nodes that are gone.
    fn settle(&mut self, now: Instant) {
        if !self.cut.is_to_ask(now) {
            return;
        }
        let witnesses: Vec<_> = self.peers.keys().copied().collect();
        for node in witnesses {
            self.want_revocations(node, now);
        }
        if let Some(before) = self.cut.give_up(now) {
            let closed = match self.state.params.uncertainty {
                Uncertainty::Close => self.local.close_users(before),
                Uncertainty::Keep => 0,
            };
            tracing::warn!(closed, "nobody knows what was revoked while this node was cut off");
            self.state.tell(ClusterEventKind::Uncertain { closed });
        }
    }
}
