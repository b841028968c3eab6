//! Checks of messages: who hears them, in which order, of which size.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::{
    cluster::{Bus, BusEvent, PublishError, Subject},
    test_util::bus_conformance::{
        BusConformance, SILENCE, Seen,
        node::{Node, number, numbered},
    },
};

/// Messages of one node on one subject, where their order is looked at.
const MANY: u32 = 10_000;

/// Messages of a node that are on the way at once: no server behind a bus calls that slow.
const AT_ONCE: u32 = 500;

/// Beyond this it does not matter whether a bus takes a message.
const LARGEST: usize = 8 * 1024 * 1024;

pub(super) async fn own<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut node] = suite.nodes().await?;
    let subject = suite.subject("a");
    node.port.subscribe(&subject);
    node.publish(&subject, "to all, and so to me").await?;
    node.hears("to all, and so to me").await
}

pub(super) async fn exactly_once<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, mut two, mut three] = suite.nodes().await?;
    let (subject, other) = (suite.subject("a"), suite.subject("b"));
    for (node, subject) in [(&mut one, &subject), (&mut two, &subject), (&mut three, &other)] {
        node.port.subscribe(subject);
        // Twice is once.
        node.port.subscribe(subject);
        node.barrier().await?;
    }
    for round in 0..1000 {
        one.publish(&subject, numbered(1, 0, round)).await?;
        three.publish(&subject, numbered(3, 0, round)).await?;
        for node in [&mut one, &mut two] {
            let mut heard = [number(&node.hear().await?)?, number(&node.hear().await?)?];
            heard.sort_unstable();
            if heard != [(1, 0, round), (3, 0, round)] {
                return Err(format!("a subscribed node heard {heard:?} of the messages {round}"));
            }
        }
    }
    one.publish(&other, "end").await?;
    three.hears("end").await?;
    for node in [&mut one, &mut two, &mut three] {
        node.hears_nothing(SILENCE).await?;
    }
    Ok(())
}

pub(super) async fn order<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [one, two, mut three] = suite.nodes().await?;
    let subjects: Vec<Subject> = ["a", "b", "c"].map(|name| suite.subject(name)).into();
    let mut nodes = [one, two];
    for node in nodes.iter_mut().chain([&mut three]) {
        subjects.iter().for_each(|subject| node.port.subscribe(subject));
        node.barrier().await?;
    }
    let mut said = 0;
    let mut next = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
    while said < MANY {
        let until = MANY.min(said + AT_ONCE / 5);
        for round in said..until {
            for (at, node) in (0..).zip(&nodes) {
                for (subject, name) in (0..).zip(&subjects) {
                    node.publish(name, numbered(at, subject, round)).await?;
                }
            }
        }
        said = until;
        for (node, next) in nodes.iter_mut().chain([&mut three]).zip(&mut next) {
            hear_in_order(node, next, said).await?;
        }
    }
    Ok(())
}

/// Hears all that two nodes said on three subjects.
async fn hear_in_order(node: &mut Node, next: &mut BTreeMap<(u8, u8), u32>, said: u32) -> Seen {
    while next.len() < 6 || next.values().any(|next| *next < said) {
        let (from, subject, heard) = number(&node.hear().await?)?;
        let expected = next.entry((from, subject)).or_insert(0);
        if heard != *expected {
            return Err(format!(
                "number {heard} of node {from} on subject {subject} came where {expected} was due"
            ));
        }
        *expected += 1;
    }
    Ok(())
}

pub(super) async fn unchanged<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, mut two] = suite.nodes().await?;
    let subject = suite.subject("a");
    for node in [&mut one, &mut two] {
        node.port.subscribe(&subject);
        node.barrier().await?;
    }
    for size in [0, 1, 2, 125, 126, 127, 128, 255, 256, 1024, 65_535, 65_536, 256 * 1024, 1024 * 1024] {
        if !arrives(&one, &mut two, &subject, random(size)).await? {
            break;
        }
    }
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let lines = b"\r\n+OK\r\n$-1\r\n*3\r\nPUB a 3\r\nPING\r\n\0\xff\xfe".to_vec();
    for message in [all, lines, vec![0; 4096], vec![0xff; 4096], b"\r\n".repeat(2048)] {
        arrives(&one, &mut two, &subject, message.into()).await?;
    }
    Ok(())
}

pub(super) async fn too_large<B: Bus>(suite: &BusConformance<B>) -> Seen {
    let [mut one, mut two] = suite.nodes().await?;
    let subject = suite.subject("a");
    two.port.subscribe(&subject);
    two.barrier().await?;
    let (mut taken, mut refused) = (0, 1024);
    while arrives(&one, &mut two, &subject, random(refused)).await? {
        taken = refused;
        refused *= 2;
        if refused > LARGEST {
            return Ok(());
        }
    }
    // The largest message that is taken arrives.
    while taken + 1 < refused {
        let size = usize::midpoint(taken, refused);
        if arrives(&one, &mut two, &subject, random(size)).await? { taken = size } else { refused = size }
    }
    one.barrier().await?;
    two.hears_nothing(SILENCE).await
}

/// Whether a message is taken; if it is, it comes as it is.
async fn arrives(from: &Node, to: &mut Node, subject: &Subject, message: Bytes) -> Seen<bool> {
    match from.port.publish(subject, message.clone()) {
        Ok(()) => {}
        Err(PublishError::TooLarge) => return Ok(false),
        Err(error) => return Err(format!("{} bytes were not published: {error}", message.len())),
    }
    let size = message.len();
    let heard = to.hear().await.map_err(|seen| format!("of a message of {size} bytes: {seen}"))?;
    if heard == message {
        return Ok(true);
    }
    let same = heard.iter().zip(&message).take_while(|(heard, said)| heard == said).count();
    Err(format!("of a message of {size} bytes came {}, of which the first {same} are right", heard.len()))
}

/// Bytes that say nothing.
fn random(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    SmallRng::seed_from_u64(size as u64).fill(&mut bytes[..]);
    bytes.into()
}

pub(super) async fn slow_reader<B: Bus>(suite: &BusConformance<B>) -> Seen {
    const ROOM: usize = 64 * 1024;
    let mut slow = suite.node(ROOM).await?;
    let [mut one] = suite.nodes().await?;
    let subject = suite.subject("a");
    for node in [&mut slow, &mut one] {
        node.port.subscribe(&subject);
        node.barrier().await?;
    }
    let message = |said: u32| [&said.to_be_bytes()[..], &[7; 1020]].concat();
    let mut said = 0_u32;
    while (said as usize) < 10 * ROOM / 1024 {
        one.publish(&subject, message(said)).await?;
        one.hears(message(said)).await.map_err(|seen| format!("beside a node that does not read: {seen}"))?;
        said += 1;
    }
    let (mut missed, mut last) = (0, None);
    let until = Instant::now() + suite.patience;
    while last != Some(said) {
        said += 1;
        one.publish(&subject, message(said)).await?;
        one.hears(message(said)).await?;
        while last != Some(said) {
            let event = tokio::time::timeout(SILENCE, slow.port.next_event());
            match event.await {
                Ok(BusEvent::Missed(more)) => missed += more,
                Ok(BusEvent::Message(message)) => {
                    last = message.first_chunk().map(|n| u32::from_be_bytes(*n))
                }
                Ok(other) => return Err(format!("{other:?} came to a node that did not read")),
                // It was lost too.
                Err(_) => break,
            }
        }
        if Instant::now() > until {
            return Err("a node that reads again hears nothing new".to_owned());
        }
    }
    if missed == 0 {
        return Err(format!(
            "a node with room for {ROOM} bytes read nothing of {said} KiB and missed nothing"
        ));
    }
    Ok(())
}
