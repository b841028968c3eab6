//! What a node says of its own connections: what has changed, and to those that ask for it everything. Both leave room in
//! the queue to the bus for messages, and the lock of the directory to senders.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::cluster::{
    NodeId, PublishError,
    directory::{Directory, PART},
    head::{Change, Changed, Head, Snapshot},
    lane::Lane,
    node::Node,
    parts::PARTS,
};

/// When there may be room for more.
const ROOM_AGAIN: Duration = Duration::from_millis(5);

/// A snapshot that another node is given.
#[derive(Debug)]
pub(super) struct Giving {
    pub(super) to: NodeId,
    /// What was said when it began. Of what has changed since then it may have the old or the new: the other node is told
    /// the new again.
    version: u64,
    /// The next part of the view.
    next: usize,
    /// Written, and to be published.
    written: VecDeque<Vec<u8>>,
    /// How many messages were written.
    count: u32,
}

impl Giving {
    pub(super) fn new(to: NodeId) -> Self {
        Self { to, version: 0, next: 0, written: VecDeque::new(), count: 0 }
    }

    fn write(&mut self, changes: Vec<Change<'_>>, is_last: bool) {
        let snapshot = Snapshot { version: self.version, part: self.count, is_last, changes };
        // A head is made of what can be written.
        self.written.push_back(postcard::to_stdvec(&Head::Snapshot(snapshot)).unwrap_or_default());
        self.count += 1;
    }

    /// Writes the next parts of the view.
    fn write_from(&mut self, directory: &Directory) {
        if self.next == 0 {
            self.version = directory.version();
        }
        let end = (self.next + directory.view.parts_at_once()).min(PARTS);
        let (mut changes, mut size) = (Vec::new(), 0);
        for part in self.next..end {
            for change in directory.view.own(part) {
                size += change.size();
                changes.push(change);
                if size >= PART {
                    self.write(std::mem::take(&mut changes), false);
                    size = 0;
                }
            }
        }
        self.next = end;
        if end == PARTS || !changes.is_empty() {
            self.write(changes, end == PARTS);
        }
    }
}

impl Node<'_> {
    /// Says what has changed, until the queue to the bus is half full.
    pub(super) fn say_changes(&self, now: Instant) {
        loop {
            if !self.state.port.has_room() {
                return self.state.directory().say_later(now + ROOM_AGAIN);
            }
            let say = |changed: Changed<'_>| self.state.say(Lane::Presence, &Head::Changed(changed)).is_ok();
            if !self.state.directory_in_turns(|directory| directory.say(now, say)) {
                return;
            }
        }
    }

    /// Another node asks for a snapshot.
    pub(super) fn wants_snapshot(&mut self, node: NodeId, now: Instant) {
        if self.peers.get_mut(&node).is_some_and(|peer| peer.may_be_told(now)) {
            match self.giving.iter_mut().find(|giving| giving.to == node) {
                // It waits for its turn, or something of it was lost.
                Some(giving) => *giving = Giving::new(node),
                None => self.giving.push_back(Giving::new(node)),
            }
            self.give_at = Some(now);
        }
    }

    /// Gives snapshots, until the queue to the bus is half full, or this node has something else to do.
    pub(super) fn give(&mut self, now: Instant) {
        if self.give_at.is_none_or(|at| at > now) {
            return;
        }
        self.give_at = None;
        let Some(mut giving) = self.giving.pop_front() else { return };
        self.give_at = Some(now);
        if giving.written.is_empty() {
            self.write(&mut giving);
        }
        while let Some(head) = giving.written.front() {
            if !self.state.port.has_room() {
                self.give_at = Some(now + ROOM_AGAIN);
                break;
            }
            match self.state.say_written(Lane::Node(giving.to), head) {
                Ok(()) => drop(giving.written.pop_front()),
                Err(PublishError::Full) => {
                    self.give_at = Some(now + ROOM_AGAIN);
                    break;
                }
                // It asks again.
                Err(PublishError::Down | PublishError::TooLarge) => return,
            }
        }
        if giving.next < PARTS || !giving.written.is_empty() {
            self.giving.push_front(giving);
        }
    }

    fn write(&self, giving: &mut Giving) {
        self.state.directory_in_turns(|directory| giving.write_from(directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        BusCommand, BusLink, ClusterParams, MemoryBus,
        directory::OwnConnection,
        envelope::Opened,
        head::{Close, Send},
        node::Local,
        revoked::NewRevocation,
        state::ClusterState,
    };

    /// A server without connections.
    struct Nobody;

    impl Local for Nobody {
        fn send(&self, _send: &Send<'_>, _opened: &Opened) -> bool {
            true
        }

        fn close(&self, _close: &Close<'_>) -> bool {
            true
        }

        fn revoke(&self, _revocation: &NewRevocation) -> bool {
            true
        }

        fn close_users(&self, _before: Instant) -> usize {
            0
        }
    }

    /// Two nodes and the bus between them, until something is so. Of what one says to all of who is there nothing is heard
    /// if it is lost.
    async fn until(nodes: &mut [(Node<'_>, BusLink); 2], is_lost: bool, mut is_so: impl FnMut() -> bool) {
        for _ in 0..2000 {
            if is_so() {
                return;
            }
            tokio::time::advance(ROOM_AGAIN).await;
            let mut published = Vec::new();
            for (node, link) in &mut *nodes {
                while let Some(event) = node.state.port.try_next_event() {
                    node.heard(event, Instant::now());
                }
                node.tick(Instant::now());
                while let Some(command) = link.try_next() {
                    let BusCommand::Publish { subject, message } = command else { continue };
                    if !(is_lost && subject.as_str().ends_with("presence")) {
                        published.push(message);
                    }
                }
            }
            for message in published {
                nodes.iter().for_each(|(_, link)| link.deliver(message.clone()));
            }
        }
        panic!("it takes too long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_is_larger_than_the_queue_is_given_and_what_it_does_not_name_is_gone() {
        const CHANNELS: usize = 3_000;
        let params = || ClusterParams::new("chat", MemoryBus::new()).queues(64 * 1024, 8 * 1024 * 1024);
        let (one, other) = (ClusterState::new(params()), ClusterState::new(params()));
        let channel = |number: usize| format!("/a-channel-with-a-name/{number}");
        // Before there is a connection, which is told of all subscriptions then.
        for number in 0..CHANNELS {
            one.opened(OwnConnection { channel: &channel(number), user: None, listed: None });
        }
        let mut nodes = [&one, &other].map(|state| {
            let (node, link) = (Node::new(state, &Nobody), state.port.link());
            link.up(usize::MAX);
            (node, link)
        });
        let known = || {
            let directory = other.directory();
            let names = (0..CHANNELS).map(channel);
            let known: Vec<_> = names.map(|name| directory.view.channel(&name).is_some()).collect();
            (known, other.is_synced.load(std::sync::atomic::Ordering::Relaxed))
        };
        until(&mut nodes, true, || known() == (vec![true; CHANNELS], true)).await;
        for number in (0..CHANNELS).step_by(2) {
            one.ended(OwnConnection { channel: &channel(number), user: None, listed: None });
        }
        let odd: Vec<_> = (0..CHANNELS).map(|number| number % 2 == 1).collect();
        until(&mut nodes, true, || known() == (odd.clone(), true)).await;
        one.opened(OwnConnection { channel: &channel(0), user: None, listed: None });
        until(&mut nodes, false, || known().0[0]).await;
    }
}
