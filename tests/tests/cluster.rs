//! One server on several nodes, over a bus of the process.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use websockets_simple_client::{ClientParams, WebsocketClient};
use websockets_simple_server::{
    BroadcastLevel, Bus, BusCommand, BusLink, BusPort, CloseCode, ClusterEventKind, ClusterParams,
    ClusterStatus, InvalidCluster, InvalidMessage, MemoryBus, Remote, Revocation, ServerParams,
    SignalDefault, StartError, Subject, WebsocketServer, async_trait, test_util::Expect,
};
use websockets_simple_tests::{
    cluster::{
        all_ready, all_started, cluster_event, device, each_audience, eventually, server, server_with,
    },
    started, text, within,
};

fn params(bus: &MemoryBus) -> ClusterParams {
    ClusterParams::new("chat", bus.clone()).key("a key of the cluster, of 16 bytes or more")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_audience_reaches_exactly_whom_it_names_at_every_node() {
    let bus = MemoryBus::new();
    let nodes = [server(params(&bus)), server(params(&bus)), server(params(&bus))];
    all_started(&nodes).await;
    each_audience(&nodes).await;
    for node in &nodes {
        let figures = node.cluster().figures();
        assert_eq!((figures.missed, figures.late, figures.invalid), (0, 0, 0), "{figures:?}");
        node.stop().await;
    }
    assert_eq!(bus.subjects(), 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_closed_wherever_they_are_and_only_those_that_are_meant() {
    let bus = MemoryBus::new();
    let nodes = [server(params(&bus)), server(params(&bus))];
    all_started(&nodes).await;
    let [one, other] = &nodes;
    let mut devices = Vec::new();
    for (user, path) in [("ann", "/a"), ("ann", "/b"), ("ben", "/a"), ("cat", "/b"), ("dan", "/b")] {
        devices.push(device(other, user, path).await);
    }
    let mut here = device(one, "ann", "/a").await;
    other.cluster().settled().await.unwrap();
    eventually(|| *one.presence().devices("ann") == 3).await;
    let code = CloseCode::new(4100).unwrap();
    assert_eq!(one.to_channel("/a").except_user("ann").close(code, "out"), 0, "none of them is here");
    devices[2].heard.expect_closed(4100).await;
    assert_eq!(one.disconnect_user("ann", code, "out").await, 1);
    here.heard.expect_closed(4100).await;
    devices[0].heard.expect_closed(4100).await;
    devices[1].heard.expect_closed(4100).await;
    assert_eq!(one.revoke(&Revocation::User("cat".to_owned())), 0);
    devices[3].heard.expect_closed(4004).await;
    // Who is told of the end is told before the server has forgotten the connection. Dan was not meant.
    eventually(|| other.connection_count() == 1).await;
    assert_eq!(one.to_all().here().close(code, ""), 0);
    assert!(devices[4].connection.is_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_is_not_specific_enough_goes_nowhere() {
    let bus = MemoryBus::new();
    let level = ServerParams::local().broadcast_level(BroadcastLevel::Group);
    let nodes = [server_with(level, params(&bus)), server(params(&bus))];
    all_started(&nodes).await;
    let mut there = device(&nodes[1], "ann", "/a?groups=red").await;
    nodes[1].cluster().settled().await.unwrap();
    nodes[0].to_channel("/a").send_text("refused").unwrap_err();
    assert_eq!(nodes[0].cluster().figures().handed, 0);
    nodes[0].to_group("/a", "red").send_text("for red").unwrap();
    there.heard.expect_text("for red").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_groups_of_clients_work_across_nodes() {
    let bus = MemoryBus::new();
    let node = || {
        let params = ServerParams::local().signals(SignalDefault::Rebroadcast);
        let server = WebsocketServer::new(params).with_cluster(ClusterParams::new("signals", bus.clone()));
        server.with_group_rule(|_, group| group.starts_with("topic:"))
    };
    let [one, other] = [node(), node()];
    let mut clients = Vec::new();
    for node in [&one, &other] {
        let client = ClientParams::url(&format!("ws://{}/room", started(node).await)).unwrap();
        let client = client.subprotocol("websockets-simple");
        let client = WebsocketClient::new(client).unwrap();
        let heard = client.events();
        client.connect().await.unwrap();
        clients.push((client, heard));
    }
    one.cluster().until_ready().await;
    other.cluster().until_ready().await;
    other.cluster().settled().await.unwrap();
    clients[1].0.join("topic:rust").await.unwrap();
    clients[0].0.send_text(r#"{"message":"hi","group":"topic:rust"}"#).await.unwrap();
    clients[1].1.expect_text("hi").await;
    assert_eq!(one.presence().channel("/room").connections, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_of_the_channels_that_are_chosen() {
    let bus = MemoryBus::new();
    let listing = || server(params(&bus).list_members(|channel| channel.starts_with("/rooms/")));
    let nodes = [listing(), listing()];
    all_started(&nodes).await;
    let _ann = device(&nodes[0], "ann", "/rooms/1?id=phone").await;
    let ben = device(&nodes[1], "ben", "/rooms/1?id=laptop").await;
    let _cat = device(&nodes[1], "cat", "/other").await;
    for node in &nodes {
        eventually(|| node.presence().channel("/rooms/1").members.len() == 2).await;
        let room = node.presence().channel("/rooms/1").value;
        let id = |n: usize| nodes[n].cluster().node().unwrap().id;
        let mut members: Vec<_> = room
            .members
            .iter()
            .map(|member| (member.client.to_string(), member.user.clone().unwrap(), member.node))
            .collect();
        members.sort();
        let expected =
            [("laptop".to_owned(), "ben".to_owned(), id(1)), ("phone".to_owned(), "ann".to_owned(), id(0))];
        assert_eq!((members, room.connections), (expected.to_vec(), 2));
        eventually(|| node.presence().channel("/other").connections == 1).await;
        assert!(node.presence().channel("/other").members.is_empty());
        assert_eq!(node.presence().channel("/nowhere").connections, 0);
    }
    ben.client.disconnect().await;
    for node in &nodes {
        eventually(|| node.presence().channel("/rooms/1").members.len() == 1).await;
    }
}

/// A bus that takes small messages, and stops taking any.
struct Small;

#[async_trait]
impl Bus for Small {
    async fn run(&self, mut link: BusLink) {
        link.up(70_000);
        loop {
            match link.next().await {
                BusCommand::Publish { message, .. } if message.len() < 10_000 => link.deliver(message),
                BusCommand::Publish { .. } => break,
                BusCommand::Close => return,
                _ => {}
            }
        }
        link.closing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_bus_does_not_take_is_sent_here_and_said_to_be_nowhere_else() {
    let small = server(ClusterParams::new("chat", Small).queues(128 * 1024, 64 * 1024));
    started(&small).await;
    eventually(|| small.cluster().ready()).await;
    let mut here = device(&small, "ann", "/").await;
    let sent = |size: usize| small.to_all().send_text("x".repeat(size)).unwrap();
    let large = sent(100_000);
    assert_eq!((large.accepted, large.remote), (1, Remote::TooLarge));
    assert_eq!(text(&mut here.heard).await.len(), 100_000);
    assert_eq!(sent(100).remote, Remote::Handed);
    text(&mut here.heard).await;
    let mut remotes = Vec::new();
    for _ in 0..4 {
        remotes.push(sent(60_000).remote);
        assert_eq!(text(&mut here.heard).await.len(), 60_000, "each is sent here");
    }
    assert_eq!(remotes.last(), Some(&Remote::Full), "{remotes:?}");
    let figures = small.cluster().figures();
    assert!(figures.too_large == 1 && figures.full >= 1 && figures.handed >= 2, "{figures:?}");
}

/// Somebody on the bus who is no node.
async fn intruder(bus: &MemoryBus) -> BusPort {
    let port = BusPort::new(1024 * 1024, 1024 * 1024);
    let (bus, link) = (bus.clone(), port.link());
    tokio::spawn(async move { bus.run(link).await });
    eventually(|| port.largest().is_some()).await;
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_say_on_the_bus_is_told_and_changes_nothing() {
    let bus = MemoryBus::new();
    let node = server(params(&bus));
    let mut events = node.events();
    started(&node).await;
    within(node.cluster().until_ready()).await;
    let mut ann = device(&node, "ann", "/").await;
    let intruder = intruder(&bus).await;
    for message in [&b""[..], b"\x01", &[1; 500], b"{}"] {
        intruder.publish(&Subject::new("ws.chat.1.all"), message.to_vec().into()).unwrap();
    }
    // A node of a later release.
    let beat = [&[2][..], &[7; 16], &[0xff; 50]].concat();
    intruder.publish(&Subject::new("ws.chat.nodes"), beat.into()).unwrap();
    // One without the key, and one of another application.
    let unsigned = server(ClusterParams::new("chat", bus.clone()));
    let other = server(ClusterParams::new("other", bus.clone()));
    for stranger in [&unsigned, &other] {
        started(stranger).await;
        eventually(|| matches!(stranger.cluster().status(), ClusterStatus::Up { .. })).await;
        stranger.broadcast_text("for nobody here").unwrap();
    }
    let (mut is_invalid, mut is_other) = (false, false);
    while !(is_invalid && is_other) {
        match cluster_event(&mut events).await {
            ClusterEventKind::Invalid { why, .. } => {
                assert!(matches!(why, InvalidMessage::Malformed | InvalidMessage::Signature));
                is_invalid = true;
            }
            ClusterEventKind::OtherVersion { node, version } => {
                assert_eq!((node.to_string(), version), ("07".repeat(16), 2));
                is_other = true;
            }
            ClusterEventKind::Up => {}
            other => panic!("{other:?}"),
        }
    }
    node.broadcast_text("for all").unwrap();
    ann.heard.expect_text("for all").await;
    assert_eq!(node.presence().nodes().len(), 1);
    assert!(node.cluster().figures().invalid >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_changed_node_by_node() {
    let bus = MemoryBus::new();
    let node = |key: &str, previous: &[&str]| {
        let params = ClusterParams::new("chat", bus.clone()).key(key);
        server(previous.iter().fold(params, |params, key| params.previous_key(key)))
    };
    let (old, new) = ("the old key, of 16 bytes", "the new key, of 16 bytes");
    for pair in [
        [node(old, &[]), node(old, &[new])],
        [node(old, &[new]), node(new, &[old])],
        [node(new, &[old]), node(new, &[])],
    ] {
        all_started(&pair).await;
        all_ready(&pair).await;
        for node in &pair {
            node.stop().await;
        }
    }
}

#[tokio::test]
async fn a_cluster_that_cannot_be_joined_is_an_error_of_the_start() {
    let bus = MemoryBus::new();
    for (wrong, why) in [
        (ClusterParams::new("a.b", bus.clone()), InvalidCluster::Name("a.b".to_owned())),
        (ClusterParams::new("chat", bus.clone()).lease(Duration::ZERO), InvalidCluster::Lease),
    ] {
        let error = server(wrong).start().await.unwrap_err();
        assert!(matches!(error, StartError::Cluster(of) if of == why));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_cluster_is_alone_and_ready() {
    let alone = WebsocketServer::new(ServerParams::local());
    assert!(!alone.cluster().ready(), "it does not run");
    started(&alone).await;
    assert!(alone.cluster().ready());
    alone.cluster().settled().await.unwrap();
    assert_eq!(alone.cluster().node(), None);
    assert_eq!(alone.broadcast_text("nobody").unwrap().remote, Remote::Alone);
    assert_eq!(alone.to_all().close(CloseCode::NORMAL, ""), 0);
    assert!(alone.presence().nodes().is_empty());
}
