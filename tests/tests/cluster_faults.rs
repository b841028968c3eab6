//! Nodes that are cut off, deaf, mute or gone, over a bus and a network in memory: minutes of them in milliseconds.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
use websockets_simple_server::{
    Bus, BusLink, ClusterEventKind, ClusterParams, ClusterStatus, Event, MemoryBus, PresenceEventKind,
    PublishError, Remote, Revocation, ServerParams, Uncertainty, User, async_trait,
    test_util::{BusFaults, Dialer, Expect, FaultyBus, ServeNetwork, Serving, network},
};
use websockets_simple_tests::cluster::{NodeServer, cluster_event, presence_event, server_with, token};

const S: Duration = Duration::from_secs(1);

/// A node whose bus has faults, and its network.
struct Node {
    server: NodeServer,
    /// Read for connections, for the cluster and for users, each for itself.
    connections: Events<Event<User<String>>>,
    events: Events<Event<User<String>>>,
    users: Events<Event<User<String>>>,
    faults: BusFaults,
    dialer: Dialer,
    _serving: Serving,
}

impl Node {
    async fn start(bus: &MemoryBus, change: impl FnOnce(ClusterParams) -> ClusterParams) -> Self {
        let faults = BusFaults::new(7);
        let params = ClusterParams::new("chat", FaultyBus::new(bus.clone(), faults.clone()));
        let server = server_with(ServerParams::mounted(), change(params));
        let [connections, events, users] = [(); 3].map(|()| server.events());
        server.start().await.unwrap();
        let (dialer, incoming) = network();
        let serving = server.serve_network(incoming);
        Self { server, connections, events, users, faults, dialer, _serving: serving }
    }

    async fn client(&mut self, user: &str) -> (WebsocketClient, Events<ClientEvent>) {
        let params = ClientParams::new("server", 80).connector(self.dialer.clone()).token(token(user));
        let client = WebsocketClient::new(params).unwrap();
        let mut heard = client.events();
        client.connect().await.unwrap();
        heard.expect_connected().await;
        self.connections.expect_connected().await;
        (client, heard)
    }

    fn names(&self) -> Vec<String> {
        let nodes = self.server.presence().nodes().value;
        let mut names: Vec<_> = nodes.iter().map(|node| node.info.name.to_string()).collect();
        names.sort();
        names
    }

    fn is_online(&self, user: &str) -> bool {
        *self.server.presence().is_online(user)
    }
}

/// Nodes with these names, which hear each other.
async fn nodes<const N: usize>(names: [&str; N]) -> [Node; N] {
    let bus = MemoryBus::new();
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(Node::start(&bus, |params| params.node(name)).await);
    }
    for node in &nodes {
        node.server.cluster().until_ready().await;
        assert_eq!(node.names(), names);
    }
    nodes.try_into().map_err(|_| "as many as names").unwrap()
}

/// The presence events of a while.
async fn told(node: &mut Node, time: Duration) -> Vec<(String, PresenceEventKind)> {
    let mut told = Vec::new();
    let listen = async {
        while let Some(event) = node.users.recv().await {
            if let Event::Presence(event) = event {
                told.push((event.user, event.kind));
            }
        }
    };
    let _ = tokio::time::timeout(time, listen).await;
    told
}

/// The events of the cluster, until one of them is as it should be.
async fn until(node: &mut Node, mut is_right: impl FnMut(&ClusterEventKind) -> bool) {
    while !is_right(&cluster_event(&mut node.events).await) {}
}

fn joined(user: &str) -> (String, PresenceEventKind) {
    (user.to_owned(), PresenceEventKind::Joined)
}

fn left(user: &str) -> (String, PresenceEventKind) {
    (user.to_owned(), PresenceEventKind::Left)
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_is_told_at_every_node_once_and_soon() {
    let [mut a, mut b, mut c] = nodes(["a", "b", "c"]).await;
    let (ann, _) = a.client("ann").await;
    let (phone, _) = b.client("ann").await;
    for node in [&mut a, &mut b, &mut c] {
        assert_eq!(told(node, S / 2).await, [joined("ann")]);
        assert_eq!((*node.server.presence().devices("ann"), *node.server.presence().count()), (2, 1));
        assert_eq!(node.server.presence().channel("/").connections, 2);
    }
    ann.disconnect().await;
    assert_eq!(told(&mut c, 10 * S).await, [], "the phone is still there");
    phone.disconnect().await;
    for node in [&mut a, &mut b, &mut c] {
        assert_eq!(told(node, 4 * S).await, [left("ann")]);
        assert!(!node.is_online("ann"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_reconnect_to_another_node_is_silent() {
    let [mut a, mut b] = nodes(["a", "b"]).await;
    let (ann, _) = a.client("ann").await;
    assert_eq!(told(&mut b, S).await, [joined("ann")]);
    for _ in 0..3 {
        ann.disconnect().await;
        tokio::time::sleep(2 * S).await;
        let (again, _) = b.client("ann").await;
        again.disconnect().await;
        tokio::time::sleep(2 * S).await;
        ann.connect().await.unwrap();
    }
    assert_eq!(told(&mut b, 60 * S).await, []);
    assert_eq!(told(&mut a, 60 * S).await, [joined("ann")]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_says_so_and_its_users_leave() {
    let [mut a, mut b] = nodes(["a", "b"]).await;
    let _ann = a.client("ann").await;
    assert_eq!(told(&mut b, S).await, [joined("ann")]);
    a.server.stop().await;
    until(&mut b, |kind| matches!(kind, ClusterEventKind::NodeLeft(node) if *node.name == *"a")).await;
    assert_eq!(told(&mut b, 4 * S).await, [left("ann")]);
    assert_eq!(b.names(), ["b"]);
    assert!(!a.server.cluster().ready());
    // It may come back.
    a.server.start().await.unwrap();
    a.server.cluster().until_ready().await;
    tokio::time::sleep(4 * S).await;
    assert_eq!((a.names(), b.names()), (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_without_a_word_leaves_when_its_lease_ends() {
    let [mut a, mut b, c] = nodes(["a", "b", "c"]).await;
    let _ann = a.client("ann").await;
    assert_eq!(told(&mut b, S).await, [joined("ann")]);
    a.faults.cut();
    tokio::time::sleep(11 * S).await;
    assert!(b.is_online("ann") && c.is_online("ann"));
    assert!(b.server.presence().is_online("ann").age > 10 * S, "it says how old that is");
    tokio::time::sleep(2 * S).await;
    assert!(!b.is_online("ann") && !c.is_online("ann"));
    assert_eq!(told(&mut b, 4 * S).await, [left("ann")]);
    // The node itself judges nobody.
    assert_eq!(a.names(), ["a", "b", "c"]);
    a.faults.mend();
    assert_eq!(told(&mut b, 2 * S).await, [joined("ann")]);
    assert_eq!(told(&mut a, S).await, [joined("ann")], "there was nothing else to tell");
}

#[tokio::test(start_paused = true)]
async fn while_the_bus_is_down_for_all_nobody_leaves_and_each_send_says_so() {
    let [mut a, mut b] = nodes(["a", "b"]).await;
    let (_ann, mut heard) = a.client("ann").await;
    let (_ben, mut other) = b.client("ben").await;
    tokio::time::sleep(S).await;
    [&a, &b].into_iter().for_each(|node| node.faults.cut());
    until(&mut a, |kind| matches!(kind, ClusterEventKind::Down(_))).await;
    let report = a.server.to_all().send_text("here").unwrap();
    assert_eq!((report.accepted, report.remote), (1, Remote::Down));
    heard.expect_text("here").await;
    assert!(!a.server.cluster().ready());
    assert_eq!(a.server.cluster().settled().await, Err(PublishError::Down));
    assert!(matches!(a.server.cluster().status(), ClusterStatus::Down { .. }));
    tokio::time::sleep(60 * S).await;
    assert!(a.is_online("ben") && b.is_online("ann"));
    // Who comes meanwhile is known afterwards.
    let _cat = b.client("cat").await;
    [&a, &b].into_iter().for_each(|node| node.faults.mend());
    assert_eq!(cluster_event(&mut a.events).await, ClusterEventKind::Up);
    tokio::time::sleep(2 * S).await;
    assert!(a.is_online("cat") && a.server.cluster().ready() && b.server.cluster().ready());
    assert_eq!(a.server.to_all().send_text("everywhere").unwrap().remote, Remote::Handed);
    other.expect_text("everywhere").await;
    let told = told(&mut a, 60 * S).await;
    assert_eq!(told, [joined("ann"), joined("ben"), joined("cat")], "nobody has left");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_hear_itself_is_down_and_judges_nobody() {
    for fault in [BusFaults::deafen, BusFaults::mute] {
        let [mut a, mut b] = nodes(["a", "b"]).await;
        let _ben = b.client("ben").await;
        tokio::time::sleep(S).await;
        fault(&a.faults);
        until(&mut a, |kind| matches!(kind, ClusterEventKind::Down(_))).await;
        tokio::time::sleep(60 * S).await;
        assert!(a.is_online("ben"), "it is the one that is cut off");
        assert!(!a.server.cluster().ready());
        a.faults.mend();
        a.server.cluster().until_ready().await;
        assert_eq!(a.names(), ["a", "b"]);
        tokio::time::sleep(2 * S).await;
        assert_eq!(b.names(), ["a", "b"]);
        assert_eq!(told(&mut a, 20 * S).await, [joined("ben")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_and_what_comes_twice_or_late_is_not_delivered_again() {
    for seed in 0..20 {
        let bus = MemoryBus::new();
        let a = Node::start(&bus, |params| params.node("a")).await;
        let mut b = Node::start(&bus, |params| params.node("b")).await;
        let (_ben, mut heard) = b.client("ben").await;
        a.server.cluster().until_ready().await;
        b.server.cluster().settled().await.unwrap();
        tokio::time::sleep(2 * S).await;
        // From the first one that is heard on, none is lost unnoticed.
        a.server.to_channel("/").send_text("-1").unwrap();
        heard.expect_text("-1").await;
        for fault in [BusFaults::lose, BusFaults::double, BusFaults::reorder] {
            fault(&a.faults, 0.1);
        }
        let sent = 300 + seed;
        for n in 0..sent {
            assert_eq!(a.server.to_channel("/").send_text(n.to_string()).unwrap().remote, Remote::Handed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for fault in [BusFaults::lose, BusFaults::double, BusFaults::reorder] {
            fault(&a.faults, 0.0);
        }
        // The tail is announced by beats.
        tokio::time::sleep(5 * S).await;
        a.server.to_channel("/").send_text("end").unwrap();
        let (mut delivered, mut last) = (0, -1);
        loop {
            let message = heard.expect_message().await;
            let Ok(n) = message.as_text().unwrap().parse::<i64>() else { break };
            assert!(n > last, "{n} after {last}");
            (delivered, last) = (delivered + 1, n);
        }
        let mut missed = 0;
        let listen = async {
            loop {
                if let ClusterEventKind::Missed { node, messages } = cluster_event(&mut b.events).await {
                    assert_eq!(*node.name, *"a");
                    missed += messages;
                }
            }
        };
        let _ = tokio::time::timeout(S, listen).await;
        assert_eq!(delivered + missed, sent, "seed {seed}");
        assert!(missed > 0);
        let figures = b.server.cluster().figures();
        assert_eq!((figures.missed, figures.heard), (missed, delivered + 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_while_a_node_was_cut_off_is_missed_although_nothing_is_sent_after_it() {
    // The bus is gone for both, or for the one that hears, for less than the lease or more.
    for (is_for_both, time) in [(true, 60 * S), (false, 10 * S), (false, 60 * S)] {
        let [a, mut b] = nodes(["a", "b"]).await;
        let (_ben, mut heard) = b.client("ben").await;
        b.server.cluster().settled().await.unwrap();
        a.server.to_channel("/").send_text("heard").unwrap();
        heard.expect_text("heard").await;
        if is_for_both {
            a.faults.lose(1.0);
        } else {
            b.faults.cut();
        }
        assert_eq!(a.server.to_channel("/").send_text("lost").unwrap().remote, Remote::Handed);
        if is_for_both {
            [&a, &b].into_iter().for_each(|node| node.faults.cut());
            a.faults.lose(0.0);
        }
        tokio::time::sleep(time).await;
        [&a, &b].into_iter().for_each(|node| node.faults.mend());
        until(&mut b, |kind| matches!(kind, ClusterEventKind::Missed { messages: 1, .. })).await;
        assert_eq!(b.server.cluster().figures().missed, 1, "cut off for {time:?}, both: {is_for_both}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_every_node_also_one_that_was_cut_off() {
    let [mut a, mut b, mut c] = nodes(["a", "b", "c"]).await;
    let (_here, mut here) = a.client("ann").await;
    let (_there, mut there) = b.client("ann").await;
    let (_off, mut off) = c.client("ann").await;
    let (_ben, mut ben) = c.client("ben").await;
    c.faults.cut();
    tokio::time::sleep(S).await;
    assert_eq!(a.server.revoke(&Revocation::User("ann".to_owned())), 1);
    here.expect_closed(4004).await;
    there.expect_closed(4004).await;
    off.expect_silence(30 * S).await;
    c.faults.mend();
    tokio::time::sleep(2 * S).await;
    off.expect_closed(4004).await;
    ben.expect_silence(90 * S).await;
    // Who comes back is not closed by what was revoked before.
    let (_again, mut again) = c.client("ann").await;
    c.faults.cut();
    tokio::time::sleep(S).await;
    c.faults.mend();
    again.expect_silence(90 * S).await;
}

#[tokio::test(start_paused = true)]
async fn a_revocation_of_a_node_that_is_gone_is_told_by_one_that_has_heard_it() {
    let [a, b, mut c] = nodes(["a", "b", "c"]).await;
    let (_ann, mut heard) = c.client("ann").await;
    let (_ben, mut ben) = c.client("ben").await;
    c.faults.cut();
    tokio::time::sleep(S).await;
    a.server.revoke(&Revocation::User("ann".to_owned()));
    tokio::time::sleep(S).await;
    a.faults.cut();
    c.faults.mend();
    tokio::time::sleep(10 * S).await;
    heard.expect_closed(4004).await;
    ben.expect_silence(90 * S).await;
    drop(b);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_can_say_what_was_revoked_users_are_authenticated_again_or_not_as_it_is_set() {
    for keeps in [false, true] {
        let bus = MemoryBus::new();
        let a = Node::start(&bus, |params| params.node("a")).await;
        let uncertain = if keeps { Uncertainty::Keep } else { Uncertainty::Close };
        let mut b = Node::start(&bus, |params| params.node("b").when_uncertain(uncertain)).await;
        let (_ann, mut heard) = b.client("ann").await;
        a.server.cluster().until_ready().await;
        b.server.cluster().until_ready().await;
        // Both are cut off at once, and one of them never comes back.
        a.faults.cut();
        b.faults.cut();
        tokio::time::sleep(5 * S).await;
        b.faults.mend();
        heard.expect_silence(59 * S).await;
        let (_late, mut late) = b.client("ben").await;
        tokio::time::sleep(3 * S).await;
        until(
            &mut b,
            |kind| matches!(kind, ClusterEventKind::Uncertain { closed } if *closed == usize::from(!keeps)),
        )
        .await;
        if keeps {
            heard.expect_silence(S).await;
        } else {
            heard.expect_closed(1012).await;
        }
        late.expect_silence(60 * S).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_again_under_its_name_takes_the_place_of_the_one_before() {
    let bus = MemoryBus::new();
    let mut a = Node::start(&bus, |params| params.node("a")).await;
    let mut b = Node::start(&bus, |params| params.node("b")).await;
    let _ann = a.client("ann").await;
    assert_eq!(told(&mut b, 2 * S).await, [joined("ann")]);
    a.faults.cut();
    tokio::time::sleep(S).await;
    let mut again = Node::start(&bus, |params| params.node("a")).await;
    let _ann = again.client("ann").await;
    tokio::time::sleep(5 * S).await;
    assert_eq!((b.names(), *b.server.presence().devices("ann")), (vec!["a".to_owned(), "b".to_owned()], 1));
    assert_eq!(told(&mut b, 30 * S).await, [], "it was silent");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_live_under_one_name_are_told() {
    let [mut a, _other] = nodes(["a", "a"]).await;
    tokio::time::sleep(5 * S).await;
    until(&mut a, |kind| matches!(kind, ClusterEventKind::DuplicateName(name) if **name == *"a")).await;
    assert_eq!(a.names(), ["a", "a"]);
}

/// A bus that is never there.
struct Nowhere;

#[async_trait]
impl Bus for Nowhere {
    async fn run(&self, mut link: BusLink) {
        link.down("nobody is there");
        link.closing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_starts_and_serves_and_stops_without_its_bus_and_says_so() {
    let server = server_with(ServerParams::mounted(), ClusterParams::new("chat", Nowhere));
    let mut events = server.events();
    server.start().await.unwrap();
    let (dialer, incoming) = network();
    let _serving = server.serve_network(incoming);
    assert_eq!(cluster_event(&mut events).await, ClusterEventKind::Down("nobody is there".into()));
    let params = ClientParams::new("server", 80).connector(dialer).token(token("ann"));
    let client = WebsocketClient::new(params).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(server.broadcast_text("hello").unwrap().remote, Remote::Down);
    heard.expect_text("hello").await;
    assert_eq!(presence_event(&mut events).await, joined("ann"));
    assert!(!server.cluster().ready());
    server.stop().await;
}
