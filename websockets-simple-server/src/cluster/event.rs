//! What happens to a cluster, as events.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use websockets_simple_core::EventId;

use crate::{
    cluster::{InvalidMessage, NodeId, NodeInfo},
    users::Identity,
};

/// The event that something happened to the cluster, as this node sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterEvent {
    /// Unique, ascending.
    pub id: EventId,
    /// When it was raised.
    pub timestamp: DateTime<Utc>,
    /// What happened.
    pub kind: ClusterEventKind,
}

/// What happened to a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClusterEventKind {
    /// This node hears all that is published from now on, itself included.
    Up,
    /// This node hears nothing of the others, and they hear nothing of it. Why, without any secret. Its own connections go
    /// on among themselves.
    Down(Arc<str>),
    /// Another node was heard for the first time.
    NodeJoined(NodeInfo),
    /// Another node has stopped, or was not heard for its lease. Its connections count as ended.
    NodeLeft(NodeInfo),
    /// At least this many messages of a node, for connections here or not, never came. They are never delivered later.
    Missed {
        /// The node that sent them.
        node: NodeInfo,
        /// How many.
        messages: u64,
    },
    /// A node that speaks another version of what nodes say to each other: neither hears the messages of the other. Told
    /// once a minute.
    OtherVersion {
        /// Which node.
        node: NodeId,
        /// What it speaks. This release speaks 1.
        version: u8,
    },
    /// Two nodes that live have this name. Told once a minute.
    DuplicateName(Arc<str>),
    /// Messages were not believed. Told once a minute.
    Invalid {
        /// How many since it was told last.
        messages: u64,
        /// What was wrong with the last one.
        why: InvalidMessage,
    },
    /// Nobody can say what was revoked while this node was cut off, so connections of users were
    /// [closed](crate::Uncertainty::Close).
    Uncertain {
        /// How many.
        closed: usize,
    },
}

/// The event that a user has joined or left, counted over all nodes and all their connections. For each user these
/// events take turns, beginning with `Joined`; a user who leaves and comes back within
/// [the linger time](crate::ClusterParams::linger) has not left.
#[derive(Debug)]
#[non_exhaustive]
pub struct PresenceEvent<I: Identity> {
    /// Unique, ascending.
    pub id: EventId,
    /// When it was raised.
    pub timestamp: DateTime<Utc>,
    /// The user.
    pub user: I::Id,
    /// What happened.
    pub kind: PresenceEventKind,
}

/// What a user has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PresenceEventKind {
    /// There is a first connection, at whatever node.
    Joined,
    /// There has been no connection for a while, at no node that is known.
    Left,
}

impl ClusterEvent {
    pub(crate) fn new(kind: ClusterEventKind) -> Self {
        Self { id: EventId::new(), timestamp: Utc::now(), kind }
    }
}

impl<I: Identity> PresenceEvent<I> {
    pub(crate) fn new(user: I::Id, kind: PresenceEventKind) -> Self {
        Self { id: EventId::new(), timestamp: Utc::now(), user, kind }
    }
}

impl<I: Identity> Clone for PresenceEvent<I> {
    fn clone(&self) -> Self {
        Self { user: self.user.clone(), ..*self }
    }
}
