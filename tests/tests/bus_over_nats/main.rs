//! The bus over NATS, with real servers that are killed, suspended and come back.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

mod credentials;
mod node;
mod rules;

use std::time::{Duration, Instant};

use node::{Node, config, number, numbered};
use tokio::time::sleep_until;
use websockets_simple_server::{NatsBus, PublishError, Subject};
use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    within,
};

fn bus(server: &BusServer) -> NatsBus {
    NatsBus::new(server.url()).unwrap()
}

#[tokio::test]
async fn two_nodes_hear_each_other_and_themselves_in_order() {
    for kind in BusServerKind::NATS {
        let server = BusServer::start(kind).await;
        let (one, two) = (Node::connected(bus(&server)).await, Node::connected(bus(&server)).await);
        let subject = Subject::new("a.b");
        for node in [&one, &two] {
            node.subscribe(&subject).await;
        }
        for sent in 0..10_000 {
            one.publish_when_there_is_room(&subject, numbered(sent)).await;
        }
        for node in [&one, &two] {
            for expected in 0..10_000 {
                assert_eq!(number(&node.message().await), expected);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_was_subscribed_to_before_its_own_message_came_back_is_never_missed() {
    for kind in BusServerKind::NATS {
        let server = BusServer::start(kind).await;
        let (one, two) = (Node::connected(bus(&server)).await, Node::connected(bus(&server)).await);
        for round in 0..1000 {
            let subject = Subject::new(format!("round.{round}"));
            one.port.subscribe(&subject);
            one.barrier().await;
            two.port.publish(&subject, numbered(round)).unwrap();
            assert_eq!(number(&one.message().await), round, "{kind:?}");
            if round % 2 == 0 {
                one.port.unsubscribe(&subject);
            }
        }
    }
}

#[tokio::test]
async fn nothing_comes_of_a_subject_that_is_subscribed_to_no_more() {
    let server = BusServer::start(BusServerKind::Nats29).await;
    let node = Node::connected(bus(&server)).await;
    let subject = Subject::new("a");
    for round in 0..100 {
        node.subscribe(&subject).await;
        node.port.publish(&subject, numbered(round)).unwrap();
        assert_eq!(number(&node.message().await), round);
        node.port.unsubscribe(&subject);
        node.port.publish(&subject, "unwanted".into()).unwrap();
        node.barrier().await;
    }
    // Only that of the barrier is left there as well.
    node.until(async || server.subscriptions().await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_nothing_is_published_until_it_is_back_and_nothing_earlier_comes_later() {
    for kind in BusServerKind::NATS {
        let mut server = BusServer::start(kind).await;
        let (one, two) = (Node::connected(bus(&server)).await, Node::connected(bus(&server)).await);
        let subjects: Vec<_> = (0..1000).map(|number| Subject::new(format!("many.{number}"))).collect();
        for subject in &subjects {
            two.port.subscribe(subject);
        }
        two.barrier().await;
        let mut sent = 0;
        // It is killed while much is under way.
        while sent < 2000 {
            one.publish_when_there_is_room(&subjects[0], numbered(sent)).await;
            sent += 1;
        }
        server.kill().await;
        let killed = Instant::now();
        let before = sent;
        for node in [&one, &two] {
            let why = node.down().await;
            assert!(why.contains("lost") || why.contains("refused"), "{why}");
            assert_eq!(node.port.publish(&subjects[0], numbered(sent)), Err(PublishError::Down));
        }
        assert!(killed.elapsed() < Duration::from_secs(1), "it took {:?}", killed.elapsed());
        sleep_until((killed + Duration::from_secs(3)).into()).await;
        server.restart().await;
        let back = Instant::now();
        for node in [&one, &two] {
            node.up().await;
        }
        println!("{kind:?}: up {:?} after it was back", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(1), "it took {:?}", back.elapsed());
        two.barrier_past_messages().await;
        for subject in &subjects {
            one.publish_when_there_is_room(subject, numbered(sent)).await;
            sent += 1;
        }
        // All of the subscriptions are in effect, and what was sent before the kill is gone for good.
        let mut heard = Vec::new();
        for _ in &subjects {
            heard.push(number(&two.message().await));
        }
        heard.sort_unstable();
        assert_eq!(heard, (before..sent).collect::<Vec<_>>());
        two.barrier().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_nothing_is_left_at_once_when_that_is_asked_for() {
    for kind in BusServerKind::NATS {
        let server = BusServer::start(kind).await;
        let node = Node::connected(bus(&server)).await;
        let subject = Subject::new("load");
        node.subscribe(&subject).await;
        server.stop().await;
        let stopped = Instant::now();
        let load = || vec![b'x'; 64 * 1024].into();
        let is_full = async || node.port.publish(&subject, load()) == Err(PublishError::Full);
        node.until(is_full).await;
        node.port.reconnect();
        let asked = Instant::now();
        assert_eq!(&*node.down().await, "a new connection was asked for");
        println!("{kind:?}: down {:?} after it was asked for", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_millis(200), "it took {:?}", asked.elapsed());
        assert_eq!(node.port.publish(&subject, load()), Err(PublishError::Down));
        sleep_until((stopped + Duration::from_secs(10)).into()).await;
        server.cont();
        let back = Instant::now();
        node.up().await;
        println!("{kind:?}: up {:?} after it went on", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(1), "it took {:?}", back.elapsed());
        node.port.publish(&subject, "again".into()).unwrap();
        // What the system held for the server may still come, in between.
        let mut late = 0;
        while node.message().await != "again" {
            late += 1;
        }
        println!("{kind:?}: {late} messages came late");
        // The connection before is not there any more.
        node.until(async || server.connections().await == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_suspended_is_noticed_without_being_asked() {
    let server = BusServer::start(BusServerKind::Nats215).await;
    let node = Node::connected(bus(&server)).await;
    server.stop().await;
    let stopped = Instant::now();
    assert_eq!(&*node.down().await, "the connection was lost");
    println!("noticed after {:?}", stopped.elapsed());
    assert!(stopped.elapsed() < Duration::from_secs(9), "it took {:?}", stopped.elapsed());
    // It ends although nobody answers.
    let closed = Instant::now();
    node.close().await;
    assert!(closed.elapsed() < Duration::from_millis(500), "it took {:?}", closed.elapsed());
}

#[tokio::test]
async fn a_server_that_takes_nothing_does_not_hold_up_the_end() {
    let server = BusServer::start(BusServerKind::Nats29).await;
    let node = Node::connected(bus(&server)).await;
    server.stop().await;
    let load = || vec![b'x'; 64 * 1024].into();
    node.until(async || node.port.publish(&Subject::new("a"), load()) == Err(PublishError::Full)).await;
    let closed = Instant::now();
    node.close().await;
    assert!(closed.elapsed() < Duration::from_secs(2), "it took {:?}", closed.elapsed());
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for_and_does_not_hold_up_the_end() {
    for kind in BusServerKind::NATS {
        let mut server = BusServer::prepared(kind, &[]).await;
        let never = Node::start(bus(&server));
        let node = Node::start(bus(&server));
        let why = node.down().await;
        let expected = format!("no connection to {}: ", server.url());
        assert!(why.starts_with(&expected) && why.contains("refused"), "{why}");
        never.close().await;
        server.restart().await;
        let back = Instant::now();
        node.up().await;
        assert!(back.elapsed() < Duration::from_secs(1), "it took {:?}", back.elapsed());
        node.barrier().await;
    }
}

#[tokio::test]
async fn what_is_larger_than_the_server_takes_is_refused() {
    let small = config("max_payload: 1000");
    let server = BusServer::start_with(BusServerKind::Nats29, &["-c", small.path().to_str().unwrap()]).await;
    let node = Node::connected(bus(&server)).await;
    let subject = Subject::new("a");
    node.subscribe(&subject).await;
    assert_eq!(node.port.publish(&subject, vec![0; 1001].into()), Err(PublishError::TooLarge));
    node.port.publish(&subject, vec![0; 1000].into()).unwrap();
    assert_eq!(node.message().await.len(), 1000);
    for kind in BusServerKind::NATS {
        let server = BusServer::start(kind).await;
        let node = Node::connected(bus(&server)).await;
        node.subscribe(&subject).await;
        assert_eq!(node.port.publish(&subject, vec![0; 1024 * 1024 + 1].into()), Err(PublishError::TooLarge));
        node.port.publish(&subject, vec![7; 1024 * 1024].into()).unwrap();
        assert_eq!(node.message().await, vec![7; 1024 * 1024]);
    }
}

#[tokio::test]
async fn after_the_end_nothing_is_left_at_the_server_and_all_that_was_published_has_come() {
    for kind in BusServerKind::NATS {
        let server = BusServer::start(kind).await;
        let (one, two) = (Node::connected(bus(&server)).await, Node::connected(bus(&server)).await);
        let subject = Subject::new("last");
        two.subscribe(&subject).await;
        for number in 0..1027 {
            one.port.subscribe(&Subject::new(format!("many.{number}")));
        }
        one.barrier().await;
        assert_eq!(server.subscriptions().await, 1028 + 2);
        for sent in 0..5000 {
            one.publish_when_there_is_room(&subject, numbered(sent)).await;
        }
        let closed = Instant::now();
        one.close().await;
        println!("{kind:?}: closed after {:?}", closed.elapsed());
        for expected in 0..5000 {
            assert_eq!(number(&two.message().await), expected);
        }
        two.until(async || server.subscriptions().await == 2 && server.connections().await == 1).await;
        // A node that is dropped leaves nothing either.
        drop(two);
        let gone = async {
            while server.connections().await > 0 {
                tokio::task::yield_now().await;
            }
        };
        within(gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_for_new_connections_again_and_again_misses_no_subscription() {
    for kind in BusServerKind::NATS {
        let server = BusServer::start(kind).await;
        let (one, two) = (Node::connected(bus(&server)).await, Node::connected(bus(&server)).await);
        let subject = Subject::new("a");
        two.subscribe(&subject).await;
        for round in 0..20 {
            two.port.reconnect();
            assert_eq!(&*two.down().await, "a new connection was asked for");
            two.up().await;
            two.barrier().await;
            one.port.publish(&subject, numbered(round)).unwrap();
            assert_eq!(number(&two.message().await), round);
        }
        two.until(async || server.connections().await == 2).await;
    }
}

/// On one thread, where the reading of the connection and the fetching of what was read have to take turns.
#[tokio::test]
async fn of_a_burst_of_small_messages_nothing_is_lost() {
    let server = BusServer::start(BusServerKind::Nats215).await;
    let (one, two) = (Node::connected(bus(&server)).await, Node::connected(bus(&server)).await);
    let subject = Subject::new("a");
    two.subscribe(&subject).await;
    let begun = Instant::now();
    let sending = async {
        for sent in 0..100_000 {
            one.publish_when_there_is_room(&subject, numbered(sent)).await;
        }
    };
    let hearing = async {
        for expected in 0..100_000 {
            assert_eq!(number(&two.message().await), expected);
        }
    };
    tokio::join!(sending, hearing);
    println!("{:?} for each", begun.elapsed() / 100_000);
}
