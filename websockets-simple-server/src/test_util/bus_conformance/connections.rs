//! Checks of connections: new ones, none, the end.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::{
    cluster::{Bus, PublishError, Subject},
    test_util::bus_conformance::{
        BusConformance, SILENCE, Seen,
        node::{Node, Nodes, number, numbered},
        subscriptions::hears_all,
    },
};

/// How long a bus may take to end.
const END: Duration = Duration::from_secs(2);

pub(super) async fn reconnect<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [one, mut two] = suite.nodes().await?;
    let subjects: Vec<_> = (0..10).map(|_| suite.subject("a")).collect();
    let not = suite.subject("not");
    subjects.iter().chain([&not]).for_each(|subject| two.port.subscribe(subject));
    two.port.unsubscribe(&not);
    two.barrier().await?;
    for round in 1..=3 {
        two.port.reconnect();
        two.down().await?;
        two.connected().await.map_err(|seen| format!("after new connection {round}: {seen}"))?;
        one.publish(&not, "not subscribed to").await?;
        let heard = hears_all(&one, &mut two, &subjects).await;
        heard.map_err(|seen| format!("after new connection {round}: {seen}"))?;
    }
    Ok(())
}

pub(super) async fn no_inversion<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, mut two, mut three] = suite.nodes().await?;
    let subject = suite.subject("a");
    for node in [&mut one, &mut two, &mut three] {
        node.port.subscribe(&subject);
        node.barrier().await?;
    }
    let mut random = SmallRng::seed_from_u64(7);
    let (mut said, mut last) = (0, [0; 3]);
    for round in 0..30 {
        for _ in 0..random.random_range(1..200) {
            // What is refused is lost, as is what is on the way.
            said += 1;
            let _ = one.port.publish(&subject, numbered(0, 0, said));
        }
        match random.random_range(0..3) {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(random.random_range(0..2000))).await,
        }
        // The node that publishes, and one of those that listen.
        if round % 3 < 2 {
            one.port.reconnect()
        } else {
            two.port.reconnect()
        }
        if round % 5 == 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (node, last) in [&mut one, &mut two, &mut three].into_iter().zip(&mut last) {
            rising(node, last)?;
        }
    }
    settled(suite, &subject, &mut [&mut one, &mut two, &mut three], said, &mut last).await
}

/// All nodes are connected again, for good: they hear what the first one publishes.
async fn settled<B: Bus>(
    suite: &BusConformance<B>,
    subject: &Subject,
    nodes: &mut [&mut Node],
    mut said: u32,
    last: &mut [u32],
) -> Seen {
    let until = Instant::now() + suite.patience;
    while Instant::now() < until {
        said += 1;
        let _ = nodes[0].port.publish(subject, numbered(0, 0, said));
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            for (node, last) in nodes.iter_mut().zip(&mut *last) {
                rising(node, last)?;
            }
            if last.iter().all(|last| *last == said) {
                return Ok(());
            }
        }
    }
    Err(format!("of {said} messages the last ones that the nodes heard are {last:?}"))
}

/// What was heard has rising numbers.
fn rising(node: &mut Node, last: &mut u32) -> Seen {
    for message in node.heard() {
        let (.., heard) = number(&message)?;
        if heard <= *last {
            return Err(format!("number {heard} came behind number {last}"));
        }
        *last = heard;
    }
    Ok(())
}

pub(super) async fn outage<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let never_run = Node::new((suite.make)(), Nodes::ROOM, suite.subject("own"), suite.patience);
    refuses(&never_run, suite)?;
    if suite.outage.is_none() {
        return Ok(());
    }
    let [mut one, mut two] = suite.nodes().await?;
    let (subject, later) = (suite.subject("a"), suite.subject("later"));
    two.port.subscribe(&subject);
    two.barrier().await?;
    for round in 1..=2 {
        suite.set_down(true).await;
        let during = async {
            for node in [&mut one, &mut two] {
                node.down().await.map_err(|seen| format!("in outage {round}: {seen}"))?;
            }
            for _ in 0..10 {
                refuses(&one, suite)?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            two.port.subscribe(&later);
            Ok(())
        };
        let seen: Seen = during.await;
        suite.set_down(false).await;
        seen?;
        for node in [&mut one, &mut two] {
            node.connected().await.map_err(|seen| format!("after outage {round}: {seen}"))?;
        }
        let subjects = [subject.clone(), later.clone()];
        hears_all(&one, &mut two, &subjects).await.map_err(|seen| format!("after outage {round}: {seen}"))?;
        two.port.unsubscribe(&later);
        two.barrier().await?;
    }
    Ok(())
}

/// Nothing is taken while there is no connection.
fn refuses<B: Bus>(node: &Node, suite: &BusConformance<B>) -> Seen {
    match node.port.publish(&suite.subject("a"), "lost".into()) {
        Err(PublishError::Down) => Ok(()),
        other => Err(format!("without a connection publishing gave {other:?}")),
    }
}

pub(super) async fn close<B: Bus>(suite: &BusConformance<B>) -> Seen {
    // With all that was published before.
    let [mut one, mut two] = suite.nodes().await?;
    let subject = suite.subject("a");
    two.port.subscribe(&subject);
    two.barrier().await?;
    for number in 0..200 {
        one.publish(&subject, numbered(0, 0, number)).await?;
    }
    one.port.close();
    one.ends_within(END).await?;
    for number in 0..200 {
        two.hears(numbered(0, 0, number))
            .await
            .map_err(|seen| format!("published before the end: {seen}"))?;
    }
    // It can be run again after that.
    one.run();
    one.connected().await.map_err(|seen| format!("run again after its end: {seen}"))?;
    // Before it is connected.
    for _ in 0..5 {
        let mut node = Node::new((suite.make)(), Nodes::ROOM, suite.subject("own"), suite.patience);
        node.run();
        node.port.close();
        node.ends_within(END).await.map_err(|seen| format!("before it was connected: {seen}"))?;
    }
    if suite.outage.is_none() {
        return Ok(());
    }
    // When there is nothing to be connected to.
    suite.set_down(true).await;
    let mut never = Node::new((suite.make)(), Nodes::ROOM, suite.subject("own"), suite.patience);
    let seen = async {
        two.down().await?;
        never.run();
        tokio::time::sleep(SILENCE).await;
        for node in [&mut two, &mut never] {
            node.port.close();
            node.ends_within(END).await.map_err(|seen| format!("in an outage: {seen}"))?;
        }
        Ok(())
    };
    let seen: Seen = seen.await;
    suite.set_down(false).await;
    seen?;
    one.down().await?;
    one.connected().await
}

pub(super) async fn restart<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, mut two] = suite.nodes().await?;
    let subject = suite.subject("a");
    for node in [&mut one, &mut two] {
        node.port.subscribe(&subject);
        node.barrier().await?;
    }
    let mut random = SmallRng::seed_from_u64(11);
    let (mut said, mut last) = (0, [0; 2]);
    for _ in 0..40 {
        one.drop_run().await;
        one.run();
        for _ in 0..random.random_range(0..20) {
            tokio::task::yield_now().await;
            said += 1;
            let _ = one.port.publish(&subject, numbered(0, 0, said));
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..3000))).await;
        for (node, last) in [&mut one, &mut two].into_iter().zip(&mut last) {
            rising(node, last)?;
        }
    }
    settled(suite, &subject, &mut [&mut one, &mut two], said, &mut last).await
}

pub(super) async fn nothing_left<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let Some(left) = &suite.left else { return Ok(()) };
    // Those of the checks before may still be on their way out.
    tokio::time::sleep(SILENCE).await;
    let before = left().await;
    for round in 0..10 {
        let mut nodes: [Node; 2] = suite.nodes().await?;
        for node in &mut nodes {
            (0..20).for_each(|_| node.port.subscribe(&suite.subject("a")));
            node.barrier().await?;
        }
        let [mut closed, mut dropped] = nodes;
        closed.port.close();
        closed.ends_within(END).await?;
        if round % 2 == 0 {
            dropped.drop_run().await;
        } else {
            dropped.port.reconnect();
        }
    }
    let until = Instant::now() + suite.patience;
    loop {
        let after = left().await;
        if after <= before {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("there were {before} before 20 nodes came and went, and are {after}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
