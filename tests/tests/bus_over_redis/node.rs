//! Nodes of a bus, and what their server says.

use super::*;

pub(crate) struct Node(BusNode);

impl Node {
    /// Runs a bus.
    pub(crate) fn run(bus: RedisBus) -> Self {
        Self::bounded(bus, 8 * MIB)
    }

    /// Runs a bus, of which so many bytes are kept until they are read.
    pub(crate) fn bounded(bus: RedisBus, incoming: usize) -> Self {
        Self::of(BusNode::run(bus, 8 * MIB, incoming))
    }

    pub(crate) fn of(node: BusNode) -> Self {
        Self(node)
    }

    /// A node that is connected and subscribed.
    pub(crate) async fn ready(server: &BusServer, subjects: &[&str]) -> Self {
        let node = Self::run(bus(server));
        for subject in subjects {
            node.subscribe(subject);
        }
        node.up().await;
        node.settled().await;
        node
    }

    pub(crate) fn subscribe(&self, subject: &str) {
        self.port.subscribe(&Subject::new(subject));
    }

    pub(crate) fn publish(&self, subject: &str, message: impl Into<Bytes>) -> Result<(), PublishError> {
        self.port.publish(&Subject::new(subject), message.into())
    }

    /// The next reason that says this.
    pub(crate) async fn down_as(&self, text: &str) -> String {
        loop {
            let why = self.down().await;
            if why.contains(text) {
                return why;
            }
        }
    }

    /// Waits until a message of its own is back, so that what it subscribed to before is in effect.
    pub(crate) async fn settled(&self) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let subject = format!("settled-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.subscribe(&subject);
        self.publish(&subject, subject.clone()).unwrap();
        while self.event().await != BusEvent::Message(subject.clone().into()) {}
        self.port.unsubscribe(&Subject::new(subject));
    }

    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}

impl Deref for Node {
    type Target = BusNode;

    fn deref(&self) -> &BusNode {
        &self.0
    }
}

pub(crate) fn bus(server: &BusServer) -> RedisBus {
    RedisBus::new(server.url()).unwrap()
}

pub(crate) fn number(message: &Bytes) -> u64 {
    u64::from_be_bytes(message[..8].try_into().unwrap())
}

/// What a server answers to a command that is written on one line.
pub(crate) async fn asked(server: &BusServer, command: &str) -> String {
    let mut stream = within(TcpStream::connect(("127.0.0.1", server.port()))).await.unwrap();
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    within(stream.read_to_string(&mut said)).await.unwrap();
    said
}

/// Until a server has neither subscriptions nor connections.
pub(crate) async fn left(server: &BusServer) {
    within(async {
        while server.subscriptions().await > 0 || server.connections().await > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
