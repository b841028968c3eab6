//! Checks of subscriptions: when they are in effect, and for which subjects.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    cluster::{Bus, Subject},
    test_util::bus_conformance::{
        BusConformance, SILENCE, Seen,
        node::{Node, Nodes},
    },
};

pub(super) async fn barrier<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, two] = suite.nodes().await?;
    for round in 0..200 {
        let subjects = ["a", "b", "c"].map(|name| suite.subject(name));
        subjects.iter().for_each(|subject| one.port.subscribe(subject));
        one.barrier().await?;
        // Those that were told last are the first to be missing.
        for subject in subjects.iter().rev() {
            two.publish(subject, subject.as_str().to_owned()).await?;
        }
        let mut expected: BTreeSet<_> = subjects.iter().map(|subject| subject.as_str().to_owned()).collect();
        while !expected.is_empty() {
            let heard = one.hear().await.map_err(|seen| format!("round {round}, {expected:?}: {seen}"))?;
            let heard = String::from_utf8_lossy(&heard).into_owned();
            if !expected.remove(&heard) {
                return Err(format!("{heard} came in place of one of {expected:?}"));
            }
        }
        if round % 2 == 0 {
            subjects.iter().for_each(|subject| one.port.unsubscribe(subject));
        }
    }
    Ok(())
}

pub(super) async fn unsubscribe<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, mut two] = suite.nodes().await?;
    let (subject, kept) = (suite.subject("a"), suite.subject("kept"));
    one.port.subscribe(&kept);
    two.port.subscribe(&subject);
    two.barrier().await?;
    for round in 0..100 {
        one.port.subscribe(&subject);
        one.barrier().await?;
        two.publish(&subject, format!("{round} subscribed")).await?;
        one.hears(format!("{round} subscribed")).await?;
        one.port.unsubscribe(&subject);
        one.barrier().await?;
        two.publish(&subject, format!("{round} unsubscribed")).await?;
        // The other node is still subscribed, and the other subject too.
        two.hears(format!("{round} subscribed")).await?;
        two.hears(format!("{round} unsubscribed")).await?;
        two.publish(&kept, format!("{round} kept")).await?;
        one.hears(format!("{round} kept")).await?;
    }
    one.hears_nothing(SILENCE).await
}

pub(super) async fn alike<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let first = suite.subject("a");
    let names =
        ["", ".b", ".b.c", ".b.c.d", "b", "-b", "_b", ".B", ".0", ".b-c", ".b_c", ".bc", ".a", ".b.a"];
    let subjects: Vec<_> = names.iter().map(|rest| Subject::new(format!("{first}{rest}"))).collect();
    let [one, mut two] = suite.nodes().await?;
    for subject in &subjects {
        two.port.subscribe(subject);
        two.barrier().await?;
        // Of all of them it hears the one that it is subscribed to.
        for other in &subjects {
            one.publish(other, other.as_str().to_owned()).await?;
        }
        two.hears(subject.as_str()).await?;
        one.publish(subject, "end").await?;
        two.hears("end").await?;
        two.hears_nothing(SILENCE / 5).await?;
        two.port.unsubscribe(subject);
        two.barrier().await?;
    }
    subjects.iter().for_each(|subject| two.port.subscribe(subject));
    two.barrier().await?;
    for subject in &subjects {
        one.publish(subject, subject.as_str().to_owned()).await?;
        two.hears(subject.as_str()).await?;
    }
    two.hears_nothing(SILENCE).await
}

pub(super) async fn many_subjects<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [one, mut two] = suite.nodes().await?;
    let subjects: Vec<_> = (0..1028).map(|_| suite.subject("a")).collect();
    subjects.iter().for_each(|subject| two.port.subscribe(subject));
    two.barrier().await?;
    hears_all(&one, &mut two, &subjects).await?;
    two.port.reconnect();
    two.down().await?;
    two.connected().await.map_err(|seen| format!("after a new connection: {seen}"))?;
    hears_all(&one, &mut two, &subjects).await.map_err(|seen| format!("after a new connection: {seen}"))
}

/// One message on each subject is heard, and nothing else.
pub(super) async fn hears_all(from: &Node, to: &mut Node, subjects: &[Subject]) -> Seen {
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for some in subjects.chunks(100) {
        for subject in some {
            from.publish(subject, subject.as_str().to_owned()).await?;
            expected.insert(subject.as_str().to_owned());
        }
        while !expected.is_empty() {
            let missing = expected.len();
            let heard = to.hear().await.map_err(|seen| format!("on {missing} subjects nothing: {seen}"))?;
            let heard = String::from_utf8_lossy(&heard).into_owned();
            if !expected.remove(&heard) {
                return Err(format!("{heard} came, which was not expected, or twice"));
            }
        }
    }
    to.hears_nothing(SILENCE).await
}

pub(super) async fn several_nodes<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let (shared, subject): (Arc<dyn Bus>, _) = (Arc::new((suite.make)()), suite.subject("a"));
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let bus = Arc::clone(&shared);
        nodes.push(Node::sharing(bus, Nodes::ROOM, suite.subject("own"), suite.patience));
        nodes.push(Node::new((suite.make)(), Nodes::ROOM, suite.subject("own"), suite.patience));
    }
    for node in &mut nodes {
        node.port.subscribe(&subject);
        node.run();
        node.connected().await?;
    }
    for at in 0..nodes.len() {
        nodes[at].publish(&subject, format!("of node {at}")).await?;
        for node in &mut nodes {
            node.hears(format!("of node {at}")).await?;
        }
    }
    // The end of one is not that of the others of the same bus.
    nodes.remove(0).drop_run().await;
    nodes[1].publish(&subject, "the others").await?;
    for node in &mut nodes {
        node.hears("the others").await?;
        node.hears_nothing(SILENCE / 5).await?;
    }
    Ok(())
}
