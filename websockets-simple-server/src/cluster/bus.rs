//! What carries messages between the nodes of a cluster.

use std::{borrow::Borrow, fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::cluster::port::BusLink;

/// What carries messages between the nodes of a cluster: publish and subscribe, at most once, without a memory.
///
/// A bus only moves bytes. What it needs beside that is done by its [`BusLink`], once for all buses: publishing never
/// waits, what is queued is bounded in bytes, nothing is queued while there is no connection, and what a node is
/// subscribed to is told again after each new connection. [`MemoryBus`](crate::MemoryBus) connects the servers of one
/// process; the features `nats` and `redis` bring one each. The checks of
/// `test_util::bus_conformance` (feature `test-util`) hold a bus of your own to the rules.
///
/// The rules: messages of one node on one subject come in order, as long as its connection lasts. A message that a node
/// publishes to itself comes back after the subscriptions that the node was told before it are in effect. A message may be lost; it is never
/// changed. A node hears its own messages too.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Connects, does what the link says, delivers what is heard, and connects again when the connection is lost: until the
    /// link says [`Close`](BusCommand::Close). It is one of the tasks of the server, which calls it at each start, and
    /// again if it returns early or panics. It may be dropped at any await.
    async fn run(&self, link: BusLink);
}

/// What a bus is to do, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BusCommand {
    /// Send this to all nodes that are subscribed to the subject.
    Publish {
        /// Where it goes.
        subject: Subject,
        /// What is sent.
        message: Bytes,
    },
    /// Deliver what is published on this subject from now on.
    Subscribe(Subject),
    /// Deliver no more of this subject.
    Unsubscribe(Subject),
    /// The connection is to be given up for a new one: what is published does not come back, or the queue of subscriptions is full.
    Reconnect,
    /// Send what is still to be sent, and return from [`Bus::run`]. It is repeated, if it is asked for again.
    Close,
}

/// What is heard of a bus.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BusEvent {
    /// It is connected, and told of all subscriptions.
    Up,
    /// The connection was lost, or there is none yet. Why, without any secret.
    Down(Arc<str>),
    /// What was published on a subject that this node is subscribed to.
    Message(Bytes),
    /// At least this many messages were lost on this side, as they came faster than they were read.
    Missed(u64),
}

/// Why a message was not published. Nothing was sent, nor will it be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The bus is not connected.
    #[error("the bus is not connected")]
    Down,
    /// Too much waits to be sent.
    #[error("too much waits to be sent on the bus")]
    Full,
    /// The bus takes no message of this size.
    #[error("the bus takes no message of this size")]
    TooLarge,
}

/// A subject of a bus: words of ASCII letters, digits, `-` and `_`, with dots between them.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subject(Arc<str>);

impl Subject {
    /// A subject. The name is not checked.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Subject {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
