//! Which way a message between nodes goes: the subjects of the bus.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::cluster::{NodeId, Subject, envelope::VERSION};

/// How many subjects the channels share. Each takes memory in the client of the bus and in its server.
pub(crate) const BUCKETS: u16 = 1024;

/// A way between nodes. Messages of one node on one lane are numbered, and heard in order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Lane {
    /// To every node.
    All,
    /// To the nodes with connections in channels of this bucket.
    Channels(u16),
    /// To one node.
    Node(NodeId),
    /// To every node, of every version: what nodes are there.
    Nodes,
    /// To every node: who is connected where, and what is revoked.
    Presence,
}

impl Lane {
    /// The lane of a channel. FNV-1a, as it has to be the same at every node.
    pub(crate) fn of_channel(channel: &str) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in channel.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self::Channels((hash % u64::from(BUCKETS)) as u16)
    }

    /// What a message says of its lane.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::All => 0,
            Self::Node(_) => 1,
            Self::Nodes => 2,
            Self::Presence => 3,
            Self::Channels(bucket) => FIRST_BUCKET + bucket,
        }
    }

    /// The lane of a message that this node has heard.
    pub(crate) fn heard(number: u16, by: NodeId) -> Option<Self> {
        Some(match number {
            0 => Self::All,
            1 => Self::Node(by),
            2 => Self::Nodes,
            3 => Self::Presence,
            _ => Self::Channels(number.checked_sub(FIRST_BUCKET).filter(|bucket| *bucket < BUCKETS)?),
        })
    }
}

const FIRST_BUCKET: u16 = 16;

/// The subjects of an application.
#[derive(Debug)]
pub(crate) struct Subjects {
    app: Box<str>,
    all: Subject,
    nodes: Subject,
    presence: Subject,
    channels: Box<[OnceLock<Subject>]>,
    /// Of the other nodes to which something was sent.
    node: Mutex<HashMap<NodeId, Subject>>,
}

impl Subjects {
    pub(crate) fn new(app: &str) -> Self {
        let subject = |rest: &str| Subject::new(format!("ws.{app}.{rest}"));
        Self {
            app: app.into(),
            all: subject(&format!("{VERSION}.all")),
            nodes: subject("nodes"),
            presence: subject(&format!("{VERSION}.presence")),
            channels: (0..BUCKETS).map(|_| OnceLock::new()).collect(),
            node: Mutex::default(),
        }
    }

    pub(crate) fn of(&self, lane: Lane) -> Subject {
        match lane {
            Lane::All => self.all.clone(),
            Lane::Nodes => self.nodes.clone(),
            Lane::Presence => self.presence.clone(),
            Lane::Node(node) => {
                let name = || Subject::new(format!("ws.{}.{VERSION}.n.{node}", self.app));
                self.of_nodes().entry(node).or_insert_with(name).clone()
            }
            Lane::Channels(bucket) => {
                let name = || Subject::new(format!("ws.{}.{VERSION}.c.{bucket}", self.app));
                self.channels[usize::from(bucket)].get_or_init(name).clone()
            }
        }
    }

    /// A node is gone for good.
    pub(crate) fn forget(&self, node: NodeId) {
        self.of_nodes().remove(&node);
    }

    fn of_nodes(&self) -> MutexGuard<'_, HashMap<NodeId, Subject>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_lane_has_a_number_and_a_subject_of_its_own() {
        let (node, subjects) = (NodeId::random(), Subjects::new("chat"));
        let lanes = [Lane::All, Lane::Node(node), Lane::Nodes, Lane::Presence];
        let lanes = lanes.into_iter().chain((0..BUCKETS).map(Lane::Channels));
        let mut seen = HashSet::new();
        for lane in lanes {
            assert_eq!(Lane::heard(lane.number(), node), Some(lane));
            assert!(seen.insert(subjects.of(lane)), "{lane:?}");
        }
        for number in [4, FIRST_BUCKET - 1, FIRST_BUCKET + BUCKETS, u16::MAX] {
            assert_eq!(Lane::heard(number, node), None);
        }
        assert_eq!(subjects.of(Lane::All).as_str(), "ws.chat.1.all");
        assert_eq!(subjects.of(Lane::Nodes).as_str(), "ws.chat.nodes", "of all versions");
    }

    #[test]
    fn the_bucket_of_a_channel_is_the_same_in_every_release() {
        let of = |channel| Lane::of_channel(channel).number() - FIRST_BUCKET;
        assert_eq!([of(""), of("/"), of("/news")], [805, 510, 65]);
        let buckets: HashSet<_> = (0..10_000).map(|n| Lane::of_channel(&format!("/room/{n}"))).collect();
        assert!(buckets.len() > 1000, "{}", buckets.len());
    }
}
