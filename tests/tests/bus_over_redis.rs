//! The bus over Redis and Valkey, against servers that are killed, suspended, restarted, and refuse.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    fs,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, oneshot},
    task::JoinHandle,
    time::{Instant, interval, sleep, timeout},
};
use websockets_simple_server::{
    Bus, BusEvent, BusPort, PublishError, RedisBus, Subject, test_util::bus_conformance,
};
use websockets_simple_tests::{
    authority::Authority,
    bus_server::{
        BusServer,
        BusServerKind::{self, Redis7, Valkey9},
    },
    within,
};

const MIB: usize = 1 << 20;

/// Each of these over both servers.
macro_rules! over_both {
    ($($(#[$attribute:meta])* $name:ident)*) => {
        mod redis_7 {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Redis7).await })*
        }
        mod valkey_9 {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Valkey9).await })*
        }
    };
}

over_both! {
    it_keeps_all_rules_of_a_bus
    nodes_hear_each_other_in_order_and_themselves
    a_subscription_is_in_effect_before_ones_own_later_message_is_back
    after_a_kill_of_3_s_everything_is_as_before_within_a_second
    after_a_kill_of_12_s_everything_is_as_before_within_a_second
    #[ignore = "takes half a minute; .ci/slow has it"] after_a_kill_of_30_s_everything_is_as_before_within_a_second
    a_server_that_is_suspended_is_given_up_after_2_s
    what_was_sent_before_a_new_connection_never_comes_after_what_is_sent_on_it
    a_new_connection_is_had_at_once_while_the_old_one_is_stuck
    a_bus_ends_within_a_second_while_it_is_stuck
    a_server_may_come_later_than_its_nodes
    what_is_queued_is_sent_before_the_end_and_nothing_is_left_at_the_server
    a_wrong_password_is_told_without_it
    a_user_who_may_not_publish_is_told_of_it
    a_server_without_resp3_is_told_of
    what_is_not_read_is_bounded_and_counted
    a_node_that_the_server_gives_up_for_what_waits_for_it_is_back
    large_messages_pass_and_larger_ones_are_refused
    connections_have_a_name
    a_unix_domain_socket_will_do
}

/// A node: a port, and a bus that is run.
struct Node {
    port: Arc<BusPort>,
    running: JoinHandle<()>,
}

impl Node {
    /// Runs a bus.
    fn run(bus: RedisBus) -> Self {
        Self::bounded(bus, 8 * MIB)
    }

    /// Runs a bus, of which so many bytes are kept until they are read.
    fn bounded(bus: RedisBus, incoming: usize) -> Self {
        let port = Arc::new(BusPort::new(8 * MIB, incoming));
        let link = port.link();
        let running = tokio::spawn(async move { bus.run(link).await });
        Self { port, running }
    }

    /// A node that is connected and subscribed.
    async fn ready(server: &BusServer, subjects: &[&str]) -> Self {
        let node = Self::run(bus(server));
        for subject in subjects {
            node.subscribe(subject);
        }
        node.up().await;
        node.settled().await;
        node
    }

    fn subscribe(&self, subject: &str) {
        self.port.subscribe(&Subject::new(subject));
    }

    fn publish(&self, subject: &str, message: impl Into<Bytes>) -> Result<(), PublishError> {
        self.port.publish(&Subject::new(subject), message.into())
    }

    async fn event(&self) -> BusEvent {
        within(self.port.next_event()).await
    }

    /// Passes over all that is heard until it is connected.
    async fn up(&self) {
        while self.event().await != BusEvent::Up {}
    }

    /// Passes over all that is heard until it is not connected. Why that is.
    async fn down(&self) -> String {
        loop {
            if let BusEvent::Down(why) = self.event().await {
                return why.to_string();
            }
        }
    }

    /// The next reason that says this.
    async fn down_as(&self, text: &str) -> String {
        loop {
            let why = self.down().await;
            if why.contains(text) {
                return why;
            }
        }
    }

    async fn heard(&self) -> Bytes {
        match self.event().await {
            BusEvent::Message(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Waits until a message of its own is back, so that what it subscribed to before is in effect.
    async fn settled(&self) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let subject = format!("settled-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.subscribe(&subject);
        self.publish(&subject, subject.clone()).unwrap();
        while self.event().await != BusEvent::Message(subject.clone().into()) {}
        self.port.unsubscribe(&Subject::new(subject));
    }

    async fn close(mut self) {
        self.port.close();
        within(&mut self.running).await.unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn bus(server: &BusServer) -> RedisBus {
    RedisBus::new(server.url()).unwrap()
}

fn number(message: &Bytes) -> u64 {
    u64::from_be_bytes(message[..8].try_into().unwrap())
}

/// What a server answers to a command that is written on one line.
async fn asked(server: &BusServer, command: &str) -> String {
    let mut stream = within(TcpStream::connect(("127.0.0.1", server.port()))).await.unwrap();
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    within(stream.read_to_string(&mut said)).await.unwrap();
    said
}

/// Until a server has neither subscriptions nor connections.
async fn left(server: &BusServer) {
    within(async {
        while server.subscriptions().await > 0 || server.connections().await > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn it_keeps_all_rules_of_a_bus(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let url = server.url();
    let server = Arc::new(Mutex::new(server));
    let its = Arc::clone(&server);
    bus_conformance(move || RedisBus::new(&url).unwrap())
        .outage(move |down| {
            let server = Arc::clone(&server);
            async move {
                let mut server = server.lock().await;
                if down { server.kill().await } else { server.restart().await }
            }
        })
        .left(move || {
            let server = Arc::clone(&its);
            async move {
                let server = server.lock().await;
                server.subscriptions().await + server.connections().await
            }
        })
        .run()
        .await;
}

async fn nodes_hear_each_other_in_order_and_themselves(kind: BusServerKind) {
    const MESSAGES: u64 = 20_000;
    let server = BusServer::start(kind).await;
    let a = Node::ready(&server, &["news.a", "news.b"]).await;
    let b = Node::ready(&server, &["news.a", "news.b"]).await;
    for n in 0..MESSAGES {
        for (node, subject) in [(&a, "news.a"), (&b, "news.b")] {
            let message = [&n.to_be_bytes()[..], subject.as_bytes()].concat();
            while node.publish(subject, message.clone()) == Err(PublishError::Full) {
                tokio::task::yield_now().await;
            }
        }
    }
    for node in [&a, &b] {
        let mut next = [0, 0];
        while next != [MESSAGES, MESSAGES] {
            let message = node.heard().await;
            let of = usize::from(&message[8..] == b"news.b");
            assert_eq!(number(&message), next[of], "of {of}");
            next[of] += 1;
        }
    }
    assert_eq!([a.port.try_next_event(), b.port.try_next_event()], [None, None]);
}

async fn a_subscription_is_in_effect_before_ones_own_later_message_is_back(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let (a, b) = (Node::ready(&server, &[]).await, Node::ready(&server, &["own"]).await);
    for n in 0..1000 {
        let subject = format!("subject.{n}");
        b.subscribe(&subject);
        b.publish("own", "told").unwrap();
        assert_eq!(b.heard().await, "told");
        a.publish(&subject, subject.clone()).unwrap();
        assert_eq!(b.heard().await, subject);
        b.port.unsubscribe(&Subject::new(subject));
    }
    assert_eq!(b.port.subscriptions(), 1);
}

async fn after_a_kill_of_3_s_everything_is_as_before_within_a_second(kind: BusServerKind) {
    after_a_kill(kind, Duration::from_secs(3)).await;
}

async fn after_a_kill_of_12_s_everything_is_as_before_within_a_second(kind: BusServerKind) {
    after_a_kill(kind, Duration::from_secs(12)).await;
}

async fn after_a_kill_of_30_s_everything_is_as_before_within_a_second(kind: BusServerKind) {
    after_a_kill(kind, Duration::from_secs(30)).await;
}

/// Publishes numbers until it is told to end.
struct Publisher {
    next: Arc<AtomicU64>,
    ends: oneshot::Sender<()>,
    publishing: JoinHandle<()>,
}

impl Publisher {
    fn new(port: &Arc<BusPort>, every: Duration, size: usize) -> Self {
        let (ends, mut ended) = oneshot::channel();
        let (port, next) = (Arc::clone(port), Arc::new(AtomicU64::new(0)));
        let numbers = Arc::clone(&next);
        let publishing = tokio::spawn(async move {
            let (mut clock, subject) = (interval(every), Subject::new("news"));
            while ended.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                clock.tick().await;
                // Each has its number, whether it is taken or not.
                let mut message = numbers.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
                message.resize(size, 0);
                let _ = port.publish(&subject, message.into());
            }
        });
        Self { next, ends, publishing }
    }

    /// How many were published.
    async fn end(self) -> u64 {
        let _ = self.ends.send(());
        within(self.publishing).await.unwrap();
        self.next.load(Ordering::Relaxed)
    }
}

async fn after_a_kill(kind: BusServerKind, outage: Duration) {
    let mut server = BusServer::start(kind).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    let publisher = Publisher::new(&a.port, Duration::from_millis(1), 128);
    let mut last = number(&b.heard().await);
    server.kill().await;
    a.down().await;
    assert_eq!(a.publish("news", "lost"), Err(PublishError::Down));
    sleep(outage).await;
    server.restart().await;
    let back = Instant::now();
    let later = publisher.next.load(Ordering::Relaxed);
    a.up().await;
    let up = back.elapsed();
    while last < later {
        // What was heard before the kill is told behind what has become of the connection.
        if let BusEvent::Message(message) = b.event().await {
            assert!(number(&message) > last, "{} after {last}", number(&message));
            last = number(&message);
        }
    }
    let after = [up, back.elapsed()];
    assert!(after.iter().all(|after| *after < Duration::from_secs(1)), "{after:?}");
    let published = publisher.end().await;
    while last + 1 < published {
        let next = number(&b.heard().await);
        assert_eq!(next, last + 1, "nothing is lost any more");
        last = next;
    }
}

async fn a_server_that_is_suspended_is_given_up_after_2_s(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    let publisher = Publisher::new(&a.port, Duration::from_millis(1), 1024);
    b.heard().await;
    server.stop().await;
    let stopped = Instant::now();
    let (of_a, of_b) = tokio::join!(
        async { (a.down().await, stopped.elapsed()) },
        // It publishes nothing: it has to ask first.
        async { (b.down().await, stopped.elapsed()) }
    );
    assert_eq!([&of_a.0, &of_b.0], ["the server does not answer"; 2]);
    assert!((1_900..2_600).contains(&of_a.1.as_millis()), "{of_a:?}");
    assert!((1_900..3_600).contains(&of_b.1.as_millis()), "{of_b:?}");
    assert_eq!(a.publish("news", "lost"), Err(PublishError::Down));
    sleep(Duration::from_secs(5).saturating_sub(stopped.elapsed())).await;
    server.cont();
    let back = Instant::now();
    tokio::join!(a.up(), b.up());
    // One attempt may be under way whose time is over.
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    publisher.end().await;
    b.settled().await;
    a.settled().await;
    a.publish("news", "at last").unwrap();
    while b.heard().await != "at last" {}
}

async fn what_was_sent_before_a_new_connection_never_comes_after_what_is_sent_on_it(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    let mut n = 0_u64;
    for _ in 0..20 {
        server.stop().await;
        let mut send = |size: usize| {
            let mut message = n.to_be_bytes().to_vec();
            message.resize(size, 0);
            n += 1;
            a.publish("news", message)
        };
        while send(1_000) != Err(PublishError::Full) {}
        // Gone to the system, as much as is under way at a time.
        sleep(Duration::from_millis(20)).await;
        a.port.reconnect();
        a.down().await;
        // The next connection is there as well when the server goes on.
        sleep(Duration::from_millis(100)).await;
        server.cont();
        a.up().await;
        for _ in 0..1_000 {
            send(100).unwrap();
        }
        n += 1;
        a.publish("news", (n - 1).to_be_bytes().to_vec()).unwrap();
        let mut last = 0;
        while last + 1 < n {
            let next = number(&b.heard().await);
            assert!(next > last || next == 0, "{next} after {last}");
            last = next;
        }
    }
}

/// Suspends the server, and publishes until nothing more is taken.
async fn stuck(server: &BusServer, node: &Node) {
    server.stop().await;
    while node.publish("news", vec![0; 64 * 1024]) != Err(PublishError::Full) {
        tokio::task::yield_now().await;
    }
}

async fn a_new_connection_is_had_at_once_while_the_old_one_is_stuck(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let node = Node::ready(&server, &["news"]).await;
    stuck(&server, &node).await;
    let asked = Instant::now();
    node.port.reconnect();
    assert_eq!(node.down().await, "a new connection was asked for");
    assert!(asked.elapsed() < Duration::from_millis(200), "{:?}", asked.elapsed());
    server.cont();
    node.up().await;
    node.settled().await;
    // Also without any trouble.
    node.port.reconnect();
    assert_eq!(node.down().await, "a new connection was asked for");
    node.up().await;
    node.settled().await;
}

async fn a_bus_ends_within_a_second_while_it_is_stuck(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let node = Node::ready(&server, &["news"]).await;
    stuck(&server, &node).await;
    let asked = Instant::now();
    node.close().await;
    let took = asked.elapsed().as_millis();
    assert!((900..1_300).contains(&took), "{took} ms");
}

async fn a_server_may_come_later_than_its_nodes(kind: BusServerKind) {
    let mut server = BusServer::prepared(kind, &[]).await;
    let (a, b) = (Node::run(bus(&server)), Node::run(bus(&server)));
    b.subscribe("news");
    for node in [&a, &b] {
        let why = node.down_as("refused").await;
        assert!(why.starts_with(&format!("no connection to 127.0.0.1:{}: ", server.port())), "{why}");
    }
    let asked = Instant::now();
    let never = Node::run(bus(&server));
    never.down_as("refused").await;
    never.close().await;
    assert!(asked.elapsed() < Duration::from_millis(200), "{:?}", asked.elapsed());
    server.restart().await;
    let back = Instant::now();
    tokio::join!(a.up(), b.up());
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    b.settled().await;
    a.publish("news", "first").unwrap();
    assert_eq!(b.heard().await, "first");
}

async fn what_is_queued_is_sent_before_the_end_and_nothing_is_left_at_the_server(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let subjects: Vec<_> = (0..1_000).map(|n| format!("subject.{n}")).collect();
    let all: Vec<_> = subjects.iter().map(String::as_str).collect();
    let a = Node::ready(&server, &all).await;
    let b = Node::ready(&server, &["news"]).await;
    assert!(server.subscriptions().await >= 1_001);
    for n in 0..10_000_u64 {
        a.publish("news", n.to_be_bytes().to_vec()).unwrap();
    }
    a.close().await;
    for n in 0..10_000 {
        assert_eq!(number(&b.heard().await), n);
    }
    b.close().await;
    left(&server).await;
}

async fn a_wrong_password_is_told_without_it(kind: BusServerKind) {
    let server = BusServer::start_with(kind, &["--requirepass", "right-word"]).await;
    let wrong = Node::run(bus(&server).user_and_password("hidden-user", "hidden-word"));
    let url = server.url().replace("//", "//:hidden-word@");
    let in_url = Node::run(RedisBus::new(url).unwrap());
    for node in [&wrong, &in_url] {
        let why = node.down_as("WRONGPASS").await;
        assert!(
            why.ends_with("the server refuses us: the user or the password is wrong (WRONGPASS)"),
            "{why}"
        );
        assert!(!why.contains("hidden"), "{why}");
    }
    let without = Node::run(bus(&server));
    let why = without.down_as("NOAUTH").await;
    assert!(why.ends_with("the server refuses us: it asks for a password (NOAUTH)"), "{why}");
    let right = Node::run(bus(&server).user_and_password("", "right-word"));
    right.up().await;
    right.settled().await;
}

async fn a_user_who_may_not_publish_is_told_of_it(kind: BusServerKind) {
    let users = "--user mute on >word &* +subscribe +unsubscribe \
                 --user fenced on >word &fenced.* +subscribe +unsubscribe +publish";
    let server = BusServer::start_with(kind, &users.split_whitespace().collect::<Vec<_>>()).await;
    let mute = Node::run(bus(&server).user_and_password("mute", "word"));
    mute.up().await;
    mute.publish("news", "hidden").unwrap();
    assert_eq!(mute.down().await, "the server refuses PUBLISH: the user has no permission for it (NOPERM)");
    // It may neither PING nor have a name, and does without.
    let fenced = Node::run(bus(&server).user_and_password("fenced", "word"));
    fenced.subscribe("fenced.news");
    fenced.up().await;
    sleep(Duration::from_millis(2_500)).await;
    fenced.publish("fenced.news", "here").unwrap();
    assert_eq!(fenced.heard().await, "here");
    fenced.subscribe("news");
    assert_eq!(
        fenced.down().await,
        "the server refuses SUBSCRIBE: the user has no permission for it (NOPERM)"
    );
}

async fn a_server_without_resp3_is_told_of(kind: BusServerKind) {
    let server = BusServer::start_with(kind, &["--rename-command", "HELLO", "OLLEH"]).await;
    let node = Node::run(bus(&server).user_and_password("hidden-user", "hidden-word"));
    let why = node.down_as("RESP3").await;
    assert!(why.ends_with("the server does not speak RESP3: Redis 6 or later is needed, or Valkey"), "{why}");
    assert!(!why.contains("hidden"), "{why}");
}

#[tokio::test]
async fn what_is_not_a_redis_server_is_told_of() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let node = Node::run(RedisBus::new(format!("redis://127.0.0.1:{port}")).unwrap());
    let why = node.down_as("protocol").await;
    assert!(why.ends_with("what the server says is not the protocol of Redis"), "{why}");
    serving.abort();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_after_2_s_and_ends_nothing_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    let node = Node::run(RedisBus::new(&url).unwrap());
    let why = node.down_as("answer").await;
    assert!(why.ends_with("it does not answer within 2 s"), "{why}");
    assert!((1_900..2_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let node = Node::run(RedisBus::new(&url).unwrap());
    let early = timeout(Duration::from_millis(100), node.port.next_event()).await;
    assert!(early.is_err(), "{early:?}");
    let asked = Instant::now();
    node.close().await;
    assert!(asked.elapsed() < Duration::from_millis(200), "{:?}", asked.elapsed());
}

/// The valkey-server of PyPI is built without TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_shown_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let roots = file("roots.pem", &authority.pem());
    let others = file("others.pem", &stranger.pem());
    let of_server = authority.issue(&["localhost"], |_| {});
    let (chain, key) = (file("server.pem", &of_server.chain), file("server.key", &of_server.key));
    let of_node = authority.client("node", 7);
    let (of_node, its_key) = (file("node.pem", &of_node.chain), file("node.key", &of_node.key));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let tls = ["--tls-port", &port, "--tls-cert-file", &chain, "--tls-key-file", &key];
    let tls = [&tls[..], &["--tls-ca-cert-file", &roots, "--tls-auth-clients", "yes"]].concat();
    let server = BusServer::start_with(Redis7, &tls).await;
    let url = format!("rediss://localhost:{port}");
    let bus = || RedisBus::new(&url).unwrap();

    let a = Node::run(bus().tls_root_certificates(&roots).client_certificate(&of_node, &its_key));
    a.subscribe("news");
    a.up().await;
    a.settled().await;
    a.publish("news", vec![7; 3 * MIB]).unwrap();
    assert_eq!(a.heard().await, vec![7; 3 * MIB]);

    let unknown = Node::run(bus().tls_root_certificates(&roots));
    unknown.down_as("certificate").await;
    let distrusted = Node::run(bus().tls_root_certificates(&others).client_certificate(&of_node, &its_key));
    let why = distrusted.down_as("certificate").await;
    assert!(why.contains("the certificate of the server is not accepted"), "{why}");
    // The files are read at each attempt.
    fs::write(&others, authority.pem()).unwrap();
    distrusted.up().await;
    // The system does not trust it either.
    let of_system = Node::run(bus().client_certificate(&of_node, &its_key));
    of_system.down_as("the certificate of the server is not accepted").await;
    let missing = Node::run(bus().tls_root_certificates("/missing.pem"));
    missing.down_as("cannot read /missing.pem: No such file").await;
    // What was meant to be encrypted is not sent as it is.
    let plain = Node::run(RedisBus::new(server.url()).unwrap().tls_root_certificates(&roots));
    plain.down_as("which the URL does not ask for: rediss://").await;
    let not_tls = Node::run(RedisBus::new(server.url().replace("redis", "rediss")).unwrap());
    let why = not_tls.down().await;
    assert!(why.starts_with("no connection to 127.0.0.1:"), "{why}");
}

async fn what_is_not_read_is_bounded_and_counted(kind: BusServerKind) {
    const MESSAGES: u64 = 50_000;
    let server = BusServer::start(kind).await;
    let a = Node::ready(&server, &["end"]).await;
    let b = Node::bounded(bus(&server), 64 * 1024);
    b.subscribe("news");
    b.up().await;
    b.settled().await;
    for n in 0..MESSAGES {
        let mut message = n.to_be_bytes().to_vec();
        message.resize(1_000, 0);
        while a.publish("news", message.clone()) == Err(PublishError::Full) {
            tokio::task::yield_now().await;
        }
    }
    // Behind all of them at the server.
    a.publish("end", "end").unwrap();
    a.heard().await;
    let BusEvent::Missed(first) = b.event().await else { panic!("it was told of nothing") };
    let (mut missed, mut heard) = (first, 0);
    while missed + heard < MESSAGES {
        match b.event().await {
            BusEvent::Missed(more) => missed += more,
            BusEvent::Message(_) => heard += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(missed + heard, MESSAGES);
    assert!(heard >= 50, "there was room for so many: {heard}");
    b.settled().await;
}

async fn a_node_that_the_server_gives_up_for_what_waits_for_it_is_back(kind: BusServerKind) {
    let limit = ["--client-output-buffer-limit", "pubsub 100kb 0 0"];
    let server = BusServer::start_with(kind, &limit).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    // Much more than the buffers of the system take.
    let why = tokio::select! {
        why = b.down() => why,
        () = async {
            loop {
                let _ = a.publish("news", vec![0; 4 * MIB]);
                tokio::task::yield_now().await;
            }
        } => unreachable!(),
    };
    assert!(why == "the server closed the connection" || why.contains("reset"), "{why}");
    // Of the large ones that wait some will end its next connections too.
    tokio::select! {
        () = async { while b.event().await != BusEvent::Message("small".into()) {} } => {}
        () = async {
            loop {
                let _ = a.publish("news", "small");
                sleep(Duration::from_millis(10)).await;
            }
        } => unreachable!(),
    }
}

async fn large_messages_pass_and_larger_ones_are_refused(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let port = Arc::new(BusPort::new(64 * MIB, 64 * MIB));
    let (link, redis) = (port.link(), bus(&server));
    let node = Node { port, running: tokio::spawn(async move { redis.run(link).await }) };
    node.subscribe("news");
    node.up().await;
    let largest: Bytes = (0..8 * MIB).map(|n| n as u8 ^ (n >> 8) as u8).collect::<Vec<_>>().into();
    assert_eq!(node.publish("news", vec![0; 8 * MIB + 1]), Err(PublishError::TooLarge));
    node.publish("news", largest.clone()).unwrap();
    node.publish("news", "\r\n").unwrap();
    node.publish("news", "").unwrap();
    assert!(node.heard().await == largest);
    assert_eq!(node.heard().await, "\r\n");
    assert_eq!(node.heard().await, "");
}

async fn connections_have_a_name(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let named = Node::run(bus(&server).name("node 1"));
    let unnamed = Node::run(bus(&server));
    named.up().await;
    named.settled().await;
    unnamed.up().await;
    unnamed.settled().await;
    let clients = asked(&server, "CLIENT LIST").await;
    for words in ["name=node-1 ", "name=websockets-simple ", "resp=3"] {
        assert!(clients.contains(words), "{words}: {clients}");
    }
}

async fn a_unix_domain_socket_will_do(kind: BusServerKind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock").to_str().unwrap().to_owned();
    let server = BusServer::start_with(kind, &["--unixsocket", &path]).await;
    let node = Node::run(RedisBus::new(format!("redis+unix://{path}")).unwrap());
    node.up().await;
    node.settled().await;
    drop(server);
    node.down().await;
    node.down_as(&format!("no connection to {path}: ")).await;
}
