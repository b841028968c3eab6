//! What a node makes of what the others say.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use crate::cluster::{
    ClusterEventKind, NodeId, NodeInfo,
    envelope::Opened,
    head::{Beat, Change, Head, Revocations, Snapshot},
    holders::Place,
    lane::Lane,
    node::{Complaint, GONE, MOST_NODES, Node, REPLACED},
    peer::{Arrived, Followed, Peer},
    sequence::Turn,
};

impl Node<'_> {
    /// A message of another node; `None` if it is malformed.
    pub(super) fn of_other(&mut self, opened: Opened, now: Instant) -> Option<()> {
        let node = opened.node;
        let head = opened.head().ok()?;
        if matches!(head, Head::Bye) {
            if self.peers.contains_key(&node) {
                self.gone.insert(node, now);
            }
            self.left(node, now);
            return Some(());
        }
        if self.gone.get(&node).is_some_and(|at| now.duration_since(*at) < GONE)
            || !self.is_known(node, &head, now)
        {
            return Some(());
        }
        if opened.number > 0 {
            match self.received.heard(node, opened.lane, opened.number) {
                Turn::Late => {
                    self.state.counts.late.fetch_add(1, Relaxed);
                    return Some(());
                }
                Turn::After(missed) => self.missed(node, missed),
            }
            self.state.counts.heard.fetch_add(1, Relaxed);
        }
        match head {
            Head::Send(ref send) => self.local.send(send, &opened).then_some(())?,
            Head::Close(close) => self.local.close(&close).then_some(())?,
            Head::Beat(beat) => self.beat_of(node, &beat, now),
            Head::Changed(ref changed) => {
                let (from, to) = (changed.from, changed.to);
                let peer = self.peers.get_mut(&node)?;
                let followed = peer.follows(from, to);
                if followed == Followed::Next {
                    let place = peer.place;
                    self.apply(place, &changed.changes, now);
                    self.state.to_tell.notify_one();
                } else if followed == Followed::Gap {
                    peer.keep(to, opened, now);
                }
            }
            Head::WantSnapshot => self.wants_snapshot(node, now),
            Head::Snapshot(ref snapshot) => self.snapshot(node, snapshot, now)?,
            Head::Revoked(revoked) => {
                if let Lane::Node(_) = opened.lane {
                    self.peers.get_mut(&node)?.has_said(revoked.len());
                }
                let mut all_known = true;
                for revoked in &revoked {
                    let new = self.state.revocations().add(revoked, now);
                    all_known &= new.is_none_or(|new| self.local.revoke(&new));
                }
                all_known.then_some(())?;
            }
            Head::WantRevocations(known) => self.give_revocations(node, &known, now),
            Head::Revocations(answer) => self.told_revocations(node, &answer, now),
            Head::Bye | Head::Probe(_) => {}
        }
        Some(())
    }

    /// Whether a node is one of the peers, also if it is new.
    fn is_known(&mut self, node: NodeId, head: &Head<'_>, now: Instant) -> bool {
        let name = if let Head::Beat(beat) = head { Some(beat.name) } else { None };
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.heard = now;
            self.state.directory().heard(peer.place, name, now);
            return true;
        }
        if self.peers.len() >= MOST_NODES {
            return false;
        }
        let info = NodeInfo { id: node, name: name.map_or_else(|| node.short(), Into::into) };
        let place = self.state.directory().add(info, now);
        self.peers.insert(node, Peer::new(place, now));
        // It should not have to wait for who is here.
        self.next_beat = now;
        true
    }

    pub(super) fn missed(&self, node: NodeId, messages: u64) {
        if messages > 0
            && let Some(info) = self.info(node)
        {
            self.state.tell_missed(info, messages);
        }
    }

    pub(super) fn info(&self, node: NodeId) -> Option<NodeInfo> {
        let place = self.peers.get(&node)?.place;
        self.state.directory().node(place).map(|entry| entry.info.clone())
    }

    fn beat_of(&mut self, node: NodeId, beat: &Beat<'_>, now: Instant) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if !std::mem::replace(&mut peer.is_told, true)
            && let Some(info) = self.info(node)
        {
            // Its name is known by now, whatever was heard of it before.
            tracing::info!(node = %info, id = %node, "another node");
            self.state.tell(ClusterEventKind::NodeJoined(info));
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.announced(beat.version, now);
        if let Some(deaf_for) = peer.was_deaf_for(beat.hears_for, now) {
            self.state.given().repeat(deaf_for, now);
        }
        let own = self.state.node.id;
        for (lane, number) in &beat.sent {
            let Some(lane) = Lane::heard(*lane, own) else { continue };
            let listens = match lane {
                Lane::Channels(bucket) => self.state.directory().wants(bucket),
                _ => true,
            };
            if listens {
                self.received.announced(node, lane, *number, now);
            }
        }
        for (_, number) in beat.sent_to.iter().filter(|(to, _)| *to == own) {
            self.received.announced(node, Lane::Node(own), *number, now);
        }
        self.same_name(node, beat.name, now);
        let known = self.state.revocations().known(node);
        if known < beat.revoked {
            self.want_revocations(node, now);
        } else {
            self.cut.settled(node);
        }
    }

    /// Of two nodes with one name, one was replaced by the other, or the operator has made a mistake.
    fn same_name(&mut self, node: NodeId, name: &str, now: Instant) {
        let same = |info: &NodeInfo| *info.name == *name && info.id != node;
        let others: Vec<_> = {
            let directory = self.state.directory();
            directory
                .nodes()
                .filter(|(_, entry)| same(&entry.info))
                .map(|(_, entry)| (entry.info.id, entry.heard))
                .collect()
        };
        let is_own = *self.state.node.name == *name;
        let mut lives = is_own;
        for (other, heard) in others {
            if now.duration_since(heard) >= REPLACED {
                self.left(other, now);
            } else if self.peers.get_mut(&other).is_some_and(|peer| peer.is_beside(node, now)) {
                lives = true;
            }
        }
        if lives && self.may_complain(Complaint::Name(name.into()), now) {
            self.state.tell(ClusterEventKind::DuplicateName(name.into()));
        }
    }

    pub(super) fn want_revocations(&mut self, node: NodeId, now: Instant) {
        if self.peers.get_mut(&node).is_some_and(|peer| peer.may_ask(now)) {
            let known = self.state.revocations().all_known();
            let _ = self.state.say(Lane::Node(node), &Head::WantRevocations(known));
        }
    }

    fn give_revocations(&self, node: NodeId, known: &[(NodeId, u64)], now: Instant) {
        let log = self.state.revocations();
        let (parts, has_gap) = log.behind(known, now);
        let said = parts.iter().map(|part| part.len() as u64).sum();
        for part in parts {
            if self.state.say(Lane::Node(node), &Head::Revoked(part)).is_err() {
                return;
            }
        }
        let answer = log.answer(said, has_gap, self.state.hears_for(now));
        let _ = self.state.say(Lane::Node(node), &Head::Revocations(answer));
    }

    /// A node has said all the revocations that it was asked for. If some of them were lost, its next beat has it asked
    /// again.
    fn told_revocations(&mut self, node: NodeId, answer: &Revocations, now: Instant) {
        if !self.peers.get(&node).is_some_and(|peer| peer.has_all_said(answer.said)) {
            return;
        }
        {
            let mut log = self.state.revocations();
            for (of, number) in &answer.known {
                log.caught_up(*of, *number);
            }
        }
        self.cut.answered(node, answer, now);
    }

    /// A part of a snapshot has come.
    fn snapshot(&mut self, node: NodeId, snapshot: &Snapshot<'_>, now: Instant) -> Option<()> {
        let peer = self.peers.get_mut(&node)?;
        let (place, arrived) = (peer.place, peer.part(snapshot, now));
        if arrived == Arrived::Never {
            return Some(());
        }
        self.apply(place, &snapshot.changes, now);
        if arrived == Arrived::All {
            let (all, later) = self.peers.get_mut(&node)?.all_arrived();
            self.state.sweep(place, now, |named| all.names(named));
            for opened in &later {
                let Ok(Head::Changed(changed)) = opened.head() else { return None };
                if self.peers.get_mut(&node)?.follows(changed.from, changed.to) == Followed::Next {
                    self.apply(place, &changed.changes, now);
                }
            }
        }
        self.state.to_tell.notify_one();
        Some(())
    }

    fn apply(&self, place: Place, changes: &[Change<'_>], now: Instant) {
        self.state.directory_in_turns(|directory| {
            changes.iter().for_each(|change| directory.view.apply(place, change, now));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cluster::{
        BusEvent, ClusterParams, MemoryBus,
        envelope::Sealing,
        head::{Close, Revoked, Send},
        node::Local,
        revoked::NewRevocation,
        state::ClusterState,
    };

    /// Remembers what was revoked. It knows users with numbers alone.
    #[derive(Default)]
    struct Users(Mutex<Vec<String>>);

    impl Local for Users {
        fn send(&self, _send: &Send<'_>, _opened: &Opened) -> bool {
            true
        }

        fn close(&self, _close: &Close<'_>) -> bool {
            true
        }

        fn revoke(&self, revocation: &NewRevocation) -> bool {
            self.0.lock().unwrap().push(revocation.what.to_string());
            revocation.what.parse::<u64>().is_ok()
        }

        fn close_users(&self, _before: Instant) -> usize {
            0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn revocations_that_were_lost_are_asked_for_again_and_one_that_is_of_no_use_hides_no_other() {
        let (state, users) =
            (ClusterState::new(ClusterParams::new("chat", MemoryBus::new())), Users::default());
        let mut node = Node::new(&state, &users);
        let (other, lane) = (NodeId::random(), Lane::Node(state.node.id));
        let sealing = Sealing::new(other, Vec::new());
        let now = Instant::now();
        let mut hears = |lane, head: Head<'_>| {
            let message = sealing.seal(sealing.draft(lane, &head, &[]), 0);
            node.heard(BusEvent::Message(message), now);
        };
        let (name, version, hears_for) = ("other", 0, 0);
        let beat = Beat { name, version, revoked: 3, hears_for, sent: Vec::new(), sent_to: Vec::new() };
        hears(Lane::Nodes, Head::Beat(beat));
        let revoked =
            |number, what| Revoked { node: other, number, age: 0, is_user: true, what: Into::into(what) };
        let answer = || Revocations { said: 3, has_gap: false, hears_for: 0, known: vec![(other, 3)] };
        // Of two messages the first was lost.
        hears(lane, Head::Revoked(vec![revoked(3, "3")]));
        hears(lane, Head::Revocations(answer()));
        assert_eq!(state.revocations().known(other), 0);
        // As it is told again.
        hears(lane, Head::Revoked(vec![revoked(1, "a name"), revoked(2, "2")]));
        hears(lane, Head::Revocations(answer()));
        assert_eq!(state.revocations().known(other), 3);
        assert_eq!(*users.0.lock().unwrap(), ["3", "a name", "2"]);
        assert_eq!(state.counts.invalid.load(Relaxed), 1);
    }
}
