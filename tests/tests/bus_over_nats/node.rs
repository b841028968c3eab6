//! A node of a bus over NATS, driven by hand.

use std::{io::Write, sync::Arc, time::Duration};

use tempfile::NamedTempFile;
use tokio::{task::JoinHandle, time::sleep};
use websockets_simple_server::{Bus, BusEvent, BusPort, NatsBus, PublishError, Subject};
use websockets_simple_tests::within;

/// Dropped, it is gone as if its process were killed.
pub(crate) struct Node {
    pub(crate) port: BusPort,
    running: JoinHandle<()>,
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
        let port = BusPort::new(4 * 1024 * 1024, 64 * 1024 * 1024);
        let link = port.link();
        let own = Subject::new(format!("own.{number}"));
        port.subscribe(&own);
        Self { port, running: tokio::spawn(async move { bus.run(link).await }), own }
    }

    /// A node that is connected.
    pub(crate) async fn up(bus: NatsBus) -> Self {
        let node = Self::start(bus);
        node.connected().await;
        node
    }

    /// Waits until it is connected, whatever was before.
    pub(crate) async fn connected(&self) {
        while within(self.port.next_event()).await != BusEvent::Up {}
    }

    /// Waits until it is not, and returns why.
    pub(crate) async fn down(&self) -> Arc<str> {
        loop {
            if let BusEvent::Down(why) = within(self.port.next_event()).await {
                return why;
            }
        }
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

    /// The next message, with nothing else before it.
    pub(crate) async fn message(&self) -> bytes::Bytes {
        match within(self.port.next_event()).await {
            BusEvent::Message(message) => message,
            other => panic!("{other:?}"),
        }
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

    /// Asks it to end, and waits until it has.
    pub(crate) async fn close(mut self) {
        self.port.close();
        within(&mut self.running).await.unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
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
