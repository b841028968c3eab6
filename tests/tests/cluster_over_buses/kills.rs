//! Nodes that are killed or suspended.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use websockets_simple_client::WebsocketClient;
use websockets_simple_server::test_util::Expect;
use websockets_simple_tests::{bus_server::BusServerKind, cluster::process::NodeProcess};

use crate::{
    S,
    load::Hoppers,
    trio::{Trio, eventually, named, sleep_from},
};

/// Time from one hop of a user to the next.
const HOP: Duration = Duration::from_millis(20);

/// How long users linger after their last connection.
const LINGER: Duration = Duration::from_secs(3);

/// A node is killed. At each of them so many changes a second are asked for; answers how many there were.
pub(crate) async fn killed(kind: BusServerKind, lease: Duration, changes: u32) -> f64 {
    let trio = Trio::start(kind, lease).await;
    let [a, b, c] = &trio.nodes;
    let mut clients = Vec::new();
    let mut of_c: BTreeSet<String> = BTreeSet::new();
    for node in &trio.nodes {
        for number in 0..5 {
            let user = format!("{}-{number}", node.name);
            clients.push(node.client(&user, "/").await);
            if node.name == c.name {
                of_c.insert(user);
            }
        }
    }
    for node in [b, c] {
        clients.push(node.client("both", "/").await);
    }
    let (join, leave) = come_and_go(a, [b, c]).await;
    let mut hoppers = Hoppers::new();
    // A hop is two changes.
    for number in 0..(changes * HOP.as_millis() as u32).div_ceil(2000) {
        for nodes in [[a, b], [b, a]] {
            let user = format!("hopper-{}-{number}", nodes[0].name);
            hoppers.add(&user, &nodes.map(Arc::clone), HOP);
        }
        let user = format!("hopper-c-{number}");
        hoppers.add(&user, &[Arc::clone(c)], HOP);
        of_c.insert(user);
    }
    for node in [a, b] {
        for user in &of_c {
            node.until(0, &json!({ "event": "Joined", "user": user })).await;
        }
    }
    let (begun, connects) = (Instant::now(), hoppers.connects());
    tokio::time::sleep(2 * S).await;
    let rate = 2.0 * (hoppers.connects() - connects) as f64 / begun.elapsed().as_secs_f64() / 3.0;
    let marks = [a.mark(), b.mark()];
    let killed = c.kill();
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for (node, mark) in [a, b].into_iter().zip(marks) {
        gone.push(node.until(mark, &json!({ "event": "NodeLeft", "node": "c" })).await.at - killed);
        assert!(!node.is_online("c-0").await);
        let mut last = Duration::ZERO;
        for user in &of_c {
            last = last.max(node.until(mark, &json!({ "event": "Left", "user": user })).await.at - killed);
        }
        left.push(last);
    }
    println!(
        "{kind:?}: joins seen after {join:.1?}, leaves after {leave:.1?}; with a lease of {lease:?} killed under {rate:.0} changes/s per node: gone after {gone:.1?}, its users have left after {left:.1?}"
    );
    assert!(join < S && leave < S);
    let most = lease + 8 * S;
    assert!(left.iter().all(|left| *left <= most), "{left:?}");
    hoppers.end().await;
    // Who else has gone with it would leave later, if at all.
    sleep_from(killed, lease + LINGER + S).await;
    for (node, mark) in [a, b].into_iter().zip(marks) {
        let left = named(&node.told(mark), "Left", "user");
        let hopped = |user: &String| !user.starts_with("hopper-a") && !user.starts_with("hopper-b");
        // Those hop no more.
        let left: Vec<_> = left.into_iter().filter(hopped).collect();
        assert_eq!(left.len(), of_c.len(), "{left:?}");
        assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), of_c);
        assert!(node.is_online("both").await && node.knows(&["a", "b"]).await);
    }
    rate
}

/// After how long other nodes know that a user has come, and has gone.
async fn come_and_go(node: &Arc<NodeProcess>, others: [&Arc<NodeProcess>; 2]) -> (Duration, Duration) {
    const ROUNDS: usize = 5;
    let (mut join, mut leave) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let user = format!("guest-{round}");
        let begun = Instant::now();
        let client = node.client(&user, "/").await;
        for other in others {
            join = join.max(eventually(async || other.is_online(&user).await).await - begun);
        }
        let begun = Instant::now();
        client.disconnect().await;
        for other in others {
            leave = leave.max(eventually(async || !other.is_online(&user).await).await - begun);
        }
    }
    for other in others.into_iter().chain([node]) {
        for round in 0..ROUNDS {
            other.until(0, &json!({ "event": "Left", "user": format!("guest-{round}") })).await;
        }
    }
    (join, leave)
}

/// A node with this lease is suspended for longer.
pub(crate) async fn suspended(kind: BusServerKind, lease: Duration, time: Duration) {
    let trio = Trio::start(kind, lease).await;
    let [a, b, c] = &trio.nodes;
    let mut clients: Vec<WebsocketClient> = Vec::new();
    for node in &trio.nodes {
        clients.push(node.client(&format!("of-{}", node.name), "/").await);
    }
    let (ann, ben) = (c.device("ann", "/"), c.device("ben", "/"));
    let mut heard = [ann.events(), ben.events()];
    for client in [&ann, &ben] {
        client.connect().await.unwrap();
    }
    for node in &trio.nodes {
        for user in ["of-a", "of-b", "of-c", "ann", "ben"] {
            node.until(0, &json!({ "event": "Joined", "user": user })).await;
        }
    }
    let marks = trio.marks();
    c.suspend().await;
    let suspended = Instant::now();
    a.ask(json!({ "do": "revoke", "user": "ann" })).await;
    let mut gone = Vec::new();
    for (node, mark) in [a, b].into_iter().zip(marks) {
        gone.push(node.until(mark, &json!({ "event": "NodeLeft", "node": "c" })).await.at - suspended);
        assert!(!node.is_online("of-c").await);
    }
    // One more, of which there is nothing left on the way.
    b.ask(json!({ "do": "revoke", "user": "ben" })).await;
    sleep_from(suspended, time).await;
    let resumed = c.resume();
    let mut back = Vec::new();
    for (node, mark) in [a, b].into_iter().zip(marks) {
        back.push(node.until(mark, &json!({ "event": "NodeJoined", "node": "c" })).await.at - resumed);
    }
    let mut closed = Vec::new();
    for heard in &mut heard {
        heard.expect_closed(4004).await;
        closed.push(resumed.elapsed());
    }
    println!(
        "{kind:?}, a node with a lease of {lease:?} suspended for {time:?}: gone after {gone:.1?}, back {back:.1?} after it went on, revocations in effect after {closed:.1?}"
    );
    assert!(back.iter().all(|back| *back < S), "{back:?}");
    assert!(closed.iter().all(|closed| *closed <= 2 * S), "{closed:?}");
    trio.all_ready().await;
    for node in [a, b] {
        eventually(async || node.is_online("of-c").await).await;
    }
    // Long enough for who would be taken for gone.
    sleep_from(resumed, lease + S).await;
    for user in ["ann", "ben"] {
        c.until(marks[2], &json!({ "event": "Left", "user": user })).await;
    }
    let told = c.told(marks[2]);
    assert_eq!(named(&told, "NodeLeft", "node"), Vec::<String>::new());
    let left: BTreeSet<_> = named(&told, "Left", "user").into_iter().collect();
    assert_eq!(left, BTreeSet::from(["ann".to_owned(), "ben".to_owned()]), "they were revoked");
}
