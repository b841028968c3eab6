//! A node that checks talk through.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    cluster::{Bus, BusEvent, BusPort, PublishError, Subject},
    test_util::bus_conformance::Seen,
};

/// How often what gives no signal is looked at again.
const AGAIN: Duration = Duration::from_millis(1);

/// Connections that may be lost before there is one.
const ATTEMPTS: usize = 10;

/// What the nodes of the checks have in common.
pub(super) struct Nodes;

impl Nodes {
    /// Bytes that a node holds in each direction: beyond anything that the checks have on the way.
    pub(super) const ROOM: usize = 32 * 1024 * 1024;
}

/// One server, without the server.
pub(super) struct Node {
    pub(super) port: Arc<BusPort>,
    bus: Arc<dyn Bus>,
    running: JoinSet<()>,
    /// Where it publishes to itself.
    own: Subject,
    barriers: u64,
    /// What came while something else was waited for.
    heard: VecDeque<Bytes>,
    patience: Duration,
}

impl Node {
    pub(super) fn new(bus: impl Bus, incoming: usize, own: Subject, patience: Duration) -> Self {
        Self::sharing(Arc::new(bus), incoming, own, patience)
    }

    pub(super) fn sharing(bus: Arc<dyn Bus>, incoming: usize, own: Subject, patience: Duration) -> Self {
        let port = Arc::new(BusPort::new(Nodes::ROOM, incoming));
        port.subscribe(&own);
        let (running, heard) = (JoinSet::new(), VecDeque::new());
        Self { port, bus, running, own, barriers: 0, heard, patience }
    }

    /// Runs the bus; the run before, if there is one, is dropped.
    pub(super) fn run(&mut self) {
        self.running.abort_all();
        let (bus, link) = (Arc::clone(&self.bus), self.port.link());
        self.running.spawn(async move { bus.run(link).await });
    }

    /// Drops what runs, wherever it is.
    pub(super) async fn drop_run(&mut self) {
        self.running.shutdown().await;
    }

    /// The bus ends within this time.
    pub(super) async fn ends_within(&mut self, time: Duration) -> Seen {
        let ended = tokio::time::timeout(time, async { while self.running.join_next().await.is_some() {} });
        ended.await.map_err(|_| format!("it was told to close, and runs on after {time:?}"))
    }

    /// It is connected, with all of its subscriptions in effect. Behind an outage the first connection may not last.
    pub(super) async fn connected(&mut self) -> Seen {
        for _ in 0..ATTEMPTS {
            self.up().await?;
            if self.passes_barrier().await? {
                return Ok(());
            }
        }
        Err(format!("{ATTEMPTS} connections were lost, one after the other"))
    }

    /// It is told of a connection. Messages that come meanwhile are kept.
    pub(super) async fn up(&mut self) -> Seen {
        loop {
            match self.event("that it is connected").await? {
                BusEvent::Up => return Ok(()),
                BusEvent::Message(message) => self.heard.push_back(message),
                BusEvent::Down(_) | BusEvent::Missed(_) => {}
            }
        }
    }

    /// It is told that the connection is lost.
    pub(super) async fn down(&mut self) -> Seen {
        loop {
            match self.event("that the connection is lost").await? {
                BusEvent::Down(_) => return Ok(()),
                BusEvent::Message(message) => self.heard.push_back(message),
                BusEvent::Up | BusEvent::Missed(_) => {}
            }
        }
    }

    /// Everything that it was told so far is in effect.
    pub(super) async fn barrier(&mut self) -> Seen {
        match self.passes_barrier().await? {
            true => Ok(()),
            false => Err("the connection was lost while a node waited for its own message".to_owned()),
        }
    }

    /// Whether what it publishes to itself comes back before the connection is lost.
    async fn passes_barrier(&mut self) -> Seen<bool> {
        self.barriers += 1;
        let expected = Bytes::from(format!("{} {}", self.own, self.barriers));
        match self.port.publish(&self.own, expected.clone()) {
            // That it is down is told next.
            Ok(()) | Err(PublishError::Down) => {}
            Err(error) => return Err(format!("a node did not publish to itself: {error}")),
        }
        loop {
            match self.event("what a node published to itself").await? {
                BusEvent::Message(message) if message == expected => return Ok(true),
                BusEvent::Message(message) => self.heard.push_back(message),
                BusEvent::Down(_) => return Ok(false),
                other => return Err(format!("{other:?} came while a node waited for its own message")),
            }
        }
    }

    /// Publishes, once there is room.
    pub(super) async fn publish(&self, subject: &Subject, message: impl Into<Bytes>) -> Seen {
        let (message, until) = (message.into(), Instant::now() + self.patience);
        loop {
            match self.port.publish(subject, message.clone()) {
                Ok(()) => return Ok(()),
                Err(PublishError::Full) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                Err(error) => return Err(format!("{} bytes were not published: {error}", message.len())),
            }
        }
    }

    /// The next message.
    pub(super) async fn hear(&mut self) -> Seen<Bytes> {
        if let Some(message) = self.heard.pop_front() {
            return Ok(message);
        }
        match self.event("a message").await? {
            BusEvent::Message(message) => Ok(message),
            other => Err(format!("{other:?} came in place of a message")),
        }
    }

    /// The next message is this one.
    pub(super) async fn hears(&mut self, expected: impl AsRef<[u8]>) -> Seen {
        let heard = self.hear().await?;
        let expected = Bytes::copy_from_slice(expected.as_ref());
        if heard == expected { Ok(()) } else { Err(format!("{heard:?} came in place of {expected:?}")) }
    }

    /// Nothing comes for a while.
    pub(super) async fn hears_nothing(&mut self, time: Duration) -> Seen {
        if let Some(message) = self.heard.pop_front() {
            return Err(format!("{message:?} came, and should not"));
        }
        match tokio::time::timeout(time, self.port.next_event()).await {
            Err(_) => Ok(()),
            Ok(event) => Err(format!("{event:?} came, and should not")),
        }
    }

    /// All messages so far, also those that wait.
    pub(super) fn heard(&mut self) -> impl Iterator<Item = Bytes> {
        while let Some(event) = self.port.try_next_event() {
            if let BusEvent::Message(message) = event {
                self.heard.push_back(message);
            }
        }
        std::mem::take(&mut self.heard).into_iter()
    }

    /// The next event, in time.
    pub(super) async fn event(&self, what: &str) -> Seen<BusEvent> {
        tokio::time::timeout(self.patience, self.port.next_event())
            .await
            .map_err(|_| format!("{what} was expected, and nothing came for {:?}", self.patience))
    }
}

/// A message that says of which node, on which subject, and which one it is.
pub(super) fn numbered(node: u8, subject: u8, number: u32) -> Bytes {
    let [a, b, c, d] = number.to_be_bytes();
    Bytes::copy_from_slice(&[node, subject, a, b, c, d])
}

/// What a [`numbered`] message says.
pub(super) fn number(message: &Bytes) -> Seen<(u8, u8, u32)> {
    match message[..] {
        [node, subject, a, b, c, d] => Ok((node, subject, u32::from_be_bytes([a, b, c, d]))),
        _ => Err(format!("{message:?} came, which nobody has published")),
    }
}
