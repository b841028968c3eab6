//! What takes minutes: `.ci/slow cluster` runs it, and prints what was measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use serde_json::json;
use tokio::task::JoinSet;
use websockets_simple_tests::{bus_server::BusServerKind, cluster::process::LEASE};

use crate::{
    S, kills,
    load::sum,
    outages::{Outage, outage},
    over_each,
    trio::{Trio, eventually},
};

over_each! {
    #[ignore = "takes minutes: .ci/slow runs it"] a_bus_that_was_killed_for_1_5_and_30_s_is_back_within_2_s
    #[ignore = "takes minutes: .ci/slow runs it"] a_bus_that_was_suspended_for_3_10_and_30_s_is_back_within_2_s
    #[ignore = "takes minutes: .ci/slow runs it"] a_node_that_was_suspended_for_20_s_is_back_within_a_second
    #[ignore = "takes minutes: .ci/slow runs it"] a_node_that_is_killed_under_600_changes_a_second_is_gone_within_20_s
    #[ignore = "takes minutes: .ci/slow runs it"] a_hundred_thousand_connects_leave_nothing_behind
}

async fn a_bus_that_was_killed_for_1_5_and_30_s_is_back_within_2_s(kind: BusServerKind) {
    for time in [1, 5, 30] {
        outage(kind, Outage::Kill, time * S).await;
    }
}

async fn a_bus_that_was_suspended_for_3_10_and_30_s_is_back_within_2_s(kind: BusServerKind) {
    for time in [3, 10, 30] {
        outage(kind, Outage::Stop, time * S).await;
    }
}

async fn a_node_that_was_suspended_for_20_s_is_back_within_a_second(kind: BusServerKind) {
    kills::suspended(kind, LEASE, 20 * S).await;
}

async fn a_node_that_is_killed_under_600_changes_a_second_is_gone_within_20_s(kind: BusServerKind) {
    let rate = kills::killed(kind, LEASE, 600).await;
    assert!(rate > 500.0, "{rate:.0} changes/s: the machine is too slow or too busy");
}

/// `CLUSTER_CONNECTS` says how many.
async fn a_hundred_thousand_connects_leave_nothing_behind(kind: BusServerKind) {
    const AT_ONCE: usize = 24;
    let connects = std::env::var("CLUSTER_CONNECTS").map_or(100_000, |number| number.parse().unwrap());
    let trio = Trio::start(kind, LEASE).await;
    let before = (trio.bus.subscriptions().await, sum(&trio, "subscriptions").await);
    let (begun, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut guests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (nodes, next) = (trio.nodes.clone(), Arc::clone(&next));
        guests.spawn(async move {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= connects {
                    return;
                }
                // Each channel and each user at each node at some time.
                let (user, channel) = (format!("guest-{}", number % 1999), format!("/room/{}", number % 499));
                let guest = nodes[number % 3].client(&user, &channel).await;
                guest.disconnect().await;
            }
        });
    }
    let mut most = 0;
    while let Some(ended) = guests.join_next().await {
        ended.unwrap();
        most = most.max(trio.bus.subscriptions().await);
    }
    let rate = connects as f64 / begun.elapsed().as_secs_f64();
    assert!(most > before.0, "channels are subscribed to");
    for node in &trio.nodes {
        eventually(async || node.ask(json!({ "do": "presence" })).await["users"] == 0).await;
    }
    // Subjects are kept for a while after their last connection.
    let back = async || {
        before == (trio.bus.subscriptions().await, sum(&trio, "subscriptions").await)
            && sum(&trio, "nodes").await == 6
    };
    let settled = eventually(back).await - begun;
    println!(
        "{kind:?}: {connects} connects, {rate:.0}/s, {most} subscriptions at the bus at the end of them, {} after {settled:.1?}",
        before.0
    );
    for figure in ["missed", "late", "invalid", "overflowed", "full", "down"] {
        assert_eq!(sum(&trio, figure).await, 0, "{figure}");
    }
}
