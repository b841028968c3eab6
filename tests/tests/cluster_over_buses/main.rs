//! Nodes of a cluster, each a process of its own, over real servers of a bus: what is killed, suspended and cut off.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

mod cut_lines;
mod kills;
mod load;
mod outages;
mod slow;
mod trio;

use std::time::{Duration, Instant};

use outages::Outage;
use serde_json::json;
use trio::Trio;
use uuid::Uuid;
use websockets_simple_server::{
    Bus, BusEvent, BusLink, BusPort, ClusterEventKind, ClusterStatus, NatsBus, RedisBus, Remote, Subject,
    test_util::Expect,
};
use websockets_simple_tests::{
    bus_server::{
        BusServer,
        BusServerKind::{self, Nats29, Nats215, Redis7, Valkey9},
    },
    cluster::{APP, all_started, cluster_event, device, each_audience, params_over, process::LEASE, server},
    started, within,
};

const S: Duration = Duration::from_secs(1);

/// Each of these over each server.
macro_rules! over_each {
    ($($(#[$attribute:meta])* $name:ident)*) => {
        mod nats_2_9 { $($crate::over! { $name Nats29 $(#[$attribute])* })* }
        mod nats_2_15 { $($crate::over! { $name Nats215 $(#[$attribute])* })* }
        mod redis_7 { $($crate::over! { $name Redis7 $(#[$attribute])* })* }
        mod valkey_9 { $($crate::over! { $name Valkey9 $(#[$attribute])* })* }
    };
}
macro_rules! over {
    ($name:ident $kind:ident $(#[$attribute:meta])*) => {
        $(#[$attribute])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            super::$name(websockets_simple_tests::bus_server::BusServerKind::$kind).await
        }
    };
}
pub(crate) use {over, over_each};

over_each! {
    each_audience_reaches_exactly_whom_it_names_at_every_node
    a_node_that_is_killed_leaves_with_its_users_and_nobody_else
    while_the_bus_is_gone_each_send_says_so_and_what_is_lost_is_counted
    a_node_that_was_suspended_is_back_at_once_and_learns_what_was_revoked
    wrong_credentials_are_told_without_them
    a_node_of_another_version_is_told_at_each_node
}

async fn each_audience_reaches_exactly_whom_it_names_at_every_node(kind: BusServerKind) {
    let bus = BusServer::start(kind).await;
    let nodes = [(); 3].map(|()| server(params_over(&bus.url())));
    all_started(&nodes).await;
    each_audience(&nodes).await;
    for node in &nodes {
        let figures = node.cluster().figures();
        assert_eq!((figures.missed, figures.late, figures.invalid), (0, 0, 0), "{figures:?}");
        node.stop().await;
    }
    // The bus learns on its own time that a connection has ended.
    trio::eventually(async || bus.subscriptions().await == 0).await;
}

async fn a_node_that_is_killed_leaves_with_its_users_and_nobody_else(kind: BusServerKind) {
    // The default takes its time; over all of them it is a test of minutes.
    let lease = if kind == Nats215 { LEASE } else { 4 * S };
    kills::killed(kind, lease, 100).await;
}

async fn while_the_bus_is_gone_each_send_says_so_and_what_is_lost_is_counted(kind: BusServerKind) {
    outages::outage(kind, Outage::Kill, 3 * S).await;
}

async fn a_node_that_was_suspended_is_back_at_once_and_learns_what_was_revoked(kind: BusServerKind) {
    kills::suspended(kind, 3 * S, 4 * S).await;
}

async fn wrong_credentials_are_told_without_them(kind: BusServerKind) {
    let (extra, url): (&[&str], _) = match kind {
        Nats29 | Nats215 => (&["--user", "chat", "--pass", "right-word"], "nats://chat:wrong-word@"),
        Redis7 | Valkey9 => (&["--requirepass", "right-word"], "redis://:wrong-word@"),
    };
    let bus = BusServer::start_with(kind, extra).await;
    let server = server(params_over(&format!("{url}127.0.0.1:{}", bus.port())));
    let mut events = server.events();
    started(&server).await;
    let ClusterEventKind::Down(why) = cluster_event(&mut events).await else { panic!("it is not up") };
    println!("{kind:?}: {why}");
    assert!(why.contains("password") || why.contains("credentials"), "{why}");
    let ClusterStatus::Down { why: status, .. } = server.cluster().status() else { panic!("it is not up") };
    for shown in [&*why, &*status, &format!("{:?}", server.cluster())] {
        assert!(!shown.contains("wrong-word"), "{shown}");
    }
    // It serves its own connections.
    let mut ann = device(&server, "ann", "/").await;
    assert_eq!(server.to_all().send_text("hello").unwrap().remote, Remote::Down);
    ann.heard.expect_text("hello").await;
    assert!(!server.cluster().ready());
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < 3 * S, "it took {:?}", begun.elapsed());
}

async fn run_bus(url: String, link: BusLink) {
    match url.starts_with("nats:") {
        true => NatsBus::new(url).unwrap().run(link).await,
        false => RedisBus::new(url).unwrap().run(link).await,
    }
}

async fn a_node_of_another_version_is_told_at_each_node(kind: BusServerKind) {
    let trio = Trio::start(kind, LEASE).await;
    let (port, id) = (BusPort::new(64 * 1024, 64 * 1024), Uuid::from_bytes([7; 16]));
    let running = tokio::spawn(run_bus(trio.bus.url(), port.link()));
    while within(port.next_event()).await != BusEvent::Up {}
    // The first bytes of a message are the same in each version.
    let beat = [&[2][..], id.as_bytes(), b"what a later version says"].concat();
    port.publish(&Subject::new(format!("ws.{APP}.nodes")), beat.into()).unwrap();
    for node in &trio.nodes {
        node.until(0, &json!({ "event": "OtherVersion", "node": id.simple().to_string(), "version": 2 }))
            .await;
        assert!(node.knows(&Trio::NAMES).await, "it is no node of theirs");
    }
    port.close();
    running.await.unwrap();
}
