//! Servers that are killed, suspended, stuck, or come late.

use super::*;

pub(crate) async fn after_a_kill_of_3_s_everything_is_as_before_within_a_second(kind: BusServerKind) {
    after_a_kill(kind, Duration::from_secs(3)).await;
}

pub(crate) async fn after_a_kill_of_12_s_everything_is_as_before_within_a_second(kind: BusServerKind) {
    after_a_kill(kind, Duration::from_secs(12)).await;
}

pub(crate) async fn after_a_kill_of_30_s_everything_is_as_before_within_a_second(kind: BusServerKind) {
    after_a_kill(kind, Duration::from_secs(30)).await;
}

/// Publishes numbers until it is told to end.
pub(crate) struct Publisher {
    next: Arc<AtomicU64>,
    ends: oneshot::Sender<()>,
    publishing: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn new(port: &Arc<BusPort>, every: Duration, size: usize) -> Self {
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
    pub(crate) async fn end(self) -> u64 {
        let _ = self.ends.send(());
        within(self.publishing).await.unwrap();
        self.next.load(Ordering::Relaxed)
    }
}

pub(crate) async fn after_a_kill(kind: BusServerKind, outage: Duration) {
    let mut server = BusServer::start(kind).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    let publisher = Publisher::new(&a.port, Duration::from_millis(1), 128);
    let mut last = number(&b.message().await);
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
        let next = number(&b.message().await);
        assert_eq!(next, last + 1, "nothing is lost any more");
        last = next;
    }
}

pub(crate) async fn a_server_that_is_suspended_is_given_up_after_2_s(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    let publisher = Publisher::new(&a.port, Duration::from_millis(1), 1024);
    b.message().await;
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
    while b.message().await != "at last" {}
}

pub(crate) async fn what_was_sent_before_a_new_connection_never_comes_after_what_is_sent_on_it(
    kind: BusServerKind,
) {
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
            let next = number(&b.message().await);
            assert!(next > last || next == 0, "{next} after {last}");
            last = next;
        }
    }
}

/// Suspends the server, and publishes until nothing more is taken.
pub(crate) async fn stuck(server: &BusServer, node: &Node) {
    server.stop().await;
    while node.publish("news", vec![0; 64 * 1024]) != Err(PublishError::Full) {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn a_new_connection_is_had_at_once_while_the_old_one_is_stuck(kind: BusServerKind) {
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

pub(crate) async fn a_bus_ends_within_a_second_while_it_is_stuck(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let node = Node::ready(&server, &["news"]).await;
    stuck(&server, &node).await;
    let asked = Instant::now();
    node.close().await;
    let took = asked.elapsed().as_millis();
    assert!((900..1_300).contains(&took), "{took} ms");
}

pub(crate) async fn a_server_may_come_later_than_its_nodes(kind: BusServerKind) {
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
    assert_eq!(b.message().await, "first");
}
