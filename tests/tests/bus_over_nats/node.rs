//! A node of a bus over NATS, driven by hand.

use std::{io::Write, ops::Deref, time::Duration};

use tempfile::NamedTempFile;
use tokio::time::sleep;
use websockets_simple_server::{NatsBus, PublishError, Subject};
use websockets_simple_tests::{bus_node::BusNode, within};

pub(crate) struct Node {
    node: BusNode,
    /// What this node tells itself.
    own: Subject,
}

/// Begins a message of a barrier, which none of the tests sends.
const BARRIER: &str = "barrier";

impl Node {
    /// A node that is not connected yet.
    pub(crate) fn start(bus: NatsBus) -> Self {
        static NODES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NODES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let node = BusNode::run(bus, 4 * 1024 * 1024, 64 * 1024 * 1024);
        let own = Subject::new(format!("own.{number}"));
        node.port.subscribe(&own);
        Self { node, own }
    }

    /// A node that is connected.
    pub(crate) async fn connected(bus: NatsBus) -> Self {
        let node = Self::start(bus);
        node.up().await;
        node
    }

    /// Subscribes, and waits until it is in effect.
    pub(crate) async fn subscribe(&self, subject: &Subject) {
        self.port.subscribe(subject);
        self.barrier().await;
    }

    /// Waits until all of what it was told is in effect. Nothing else may come meanwhile.
    pub(crate) async fn barrier(&self) {
        self.port.publish(&self.own, BARRIER.into()).unwrap();
        assert_eq!(self.message().await, BARRIER);
    }

    /// As [`barrier`](Self::barrier), past messages that still come.
    pub(crate) async fn barrier_past_messages(&self) {
        self.port.publish(&self.own, BARRIER.into()).unwrap();
        while self.message().await != BARRIER {}
    }

    pub(crate) async fn publish_when_there_is_room(&self, subject: &Subject, message: bytes::Bytes) {
        let published = async || match self.port.publish(subject, message.clone()) {
            Ok(()) => true,
            Err(PublishError::Full) => false,
            Err(other) => panic!("{other:?}"),
        };
        self.until(published).await;
    }

    /// Waits for what has to become true.
    pub(crate) async fn until(&self, is_true: impl AsyncFn() -> bool) {
        let becoming = async {
            while !is_true().await {
                sleep(Duration::from_millis(1)).await;
            }
        };
        within(becoming).await;
    }

    pub(crate) async fn close(self) {
        self.node.close().await;
    }
}

impl Deref for Node {
    type Target = BusNode;

    fn deref(&self) -> &BusNode {
        &self.node
    }
}

pub(crate) fn numbered(number: u64) -> bytes::Bytes {
    number.to_be_bytes().to_vec().into()
}

pub(crate) fn number(message: &[u8]) -> u64 {
    u64::from_be_bytes(message.try_into().unwrap())
}

/// A file of what a server is configured with.
pub(crate) fn config(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}
