//! A node that has as many users and channels as it says.

use std::time::{Duration, Instant};

use websockets_simple_server::{Bus, BusEvent, BusPort, MemoryBus, NodeId, Subject};
use websockets_simple_tests::cluster::eventually;

/// Bytes of changes in one message, as other nodes have it.
const PART: usize = 48 * 1024;

/// What nodes say, by its number.
const BEAT: u8 = 3;
const BYE: u8 = 4;
const WANT_SNAPSHOT: u8 = 6;
const SNAPSHOT: u8 = 7;

/// The lanes of what it says.
const TO_NODE: u16 = 1;
const NODES: u16 = 2;

/// A node that has as many users and channels as it says. The ways of messages are written out in the server, in
/// `cluster/envelope.rs` and `cluster/head.rs`.
pub(crate) struct FakeNode {
    port: BusPort,
    id: [u8; 16],
    /// Of what it has said.
    version: u64,
    said: Option<Instant>,
}

/// A number, as postcard writes it.
fn number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn text(to: &mut Vec<u8>, text: &str) {
    number(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

impl FakeNode {
    pub(crate) async fn connect(bus: &MemoryBus, id: u8) -> Self {
        let port = BusPort::new(256 << 20, 256 << 20);
        let (bus, link) = (bus.clone(), port.link());
        tokio::spawn(async move { bus.run(link).await });
        eventually(|| port.largest().is_some()).await;
        let id = [id; 16];
        let name: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        port.subscribe(&Subject::new(format!("ws.bench.1.n.{name}")));
        Self { port, id, version: 0, said: None }
    }

    fn say(&self, subject: &str, lane: u16, head: &[u8]) {
        let mut message = vec![1];
        message.extend_from_slice(&self.id);
        message.extend_from_slice(&lane.to_be_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&(head.len() as u32).to_be_bytes());
        message.extend_from_slice(head);
        self.port.publish(&Subject::new(subject), message.into()).unwrap();
    }

    fn beat(&mut self) {
        if self.said.is_some_and(|said| said.elapsed() < Duration::from_millis(500)) {
            return;
        }
        self.said = Some(Instant::now());
        let mut head = vec![BEAT];
        text(&mut head, &format!("fake-{}", self.id[0]));
        for value in [self.version, 0, 0, 0, 0] {
            number(&mut head, value);
        }
        self.say("ws.bench.nodes", NODES, &head);
    }

    pub(crate) fn bye(&self) {
        self.say("ws.bench.nodes", NODES, &[BYE]);
    }

    /// Says so many changes, of users (0) or channels (1) by their names, each with one connection, once it is asked for
    /// them. Answers how many bytes they are.
    pub(crate) async fn snapshot(
        &mut self,
        node: NodeId,
        kind: u8,
        names: impl Iterator<Item = String>,
    ) -> usize {
        self.version += 1;
        let node = format!("ws.bench.1.n.{node}");
        // Made before it is asked for, so that this is not what takes the time.
        let (mut parts, mut part, mut count) = (Vec::new(), Vec::new(), 0);
        for name in names {
            number(&mut part, kind.into());
            text(&mut part, &name);
            number(&mut part, 1);
            count += 1;
            if part.len() >= PART {
                parts.push((count, std::mem::take(&mut part)));
                count = 0;
            }
        }
        parts.push((count, part));
        self.said = None;
        self.wait_for(WANT_SNAPSHOT).await;
        let (last, mut bytes) = (parts.len() - 1, 0);
        for (at, (count, part)) in parts.into_iter().enumerate() {
            let mut head = vec![SNAPSHOT];
            number(&mut head, self.version);
            number(&mut head, at as u64);
            head.push(u8::from(at == last));
            number(&mut head, count);
            head.extend_from_slice(&part);
            bytes += head.len();
            self.say(&node, TO_NODE, &head);
        }
        bytes
    }

    async fn wait_for(&mut self, kind: u8) {
        loop {
            self.beat();
            let next = tokio::time::timeout(Duration::from_millis(100), self.port.next_event());
            if let Ok(BusEvent::Message(message)) = next.await
                && message.get(31) == Some(&kind)
            {
                return;
            }
        }
    }

    /// Is there, until something is true.
    pub(crate) async fn until(&mut self, is_true: impl Fn() -> bool) {
        while !is_true() {
            self.beat();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
