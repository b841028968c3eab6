//! The bus over Redis and Valkey, against servers that are killed, suspended, restarted, and refuse.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    fs,
    net::TcpListener,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, interval, sleep, timeout},
};
use websockets_simple_server::{BusEvent, BusPort, PublishError, RedisBus, Subject};
use websockets_simple_tests::{
    authority::Authority,
    bus_node::BusNode,
    bus_server::{
        BusServer,
        BusServerKind::{self, Redis7, Valkey9},
        keeps_the_rules,
    },
    within,
};

mod node;
mod outages;
mod refusals;

use node::*;
use outages::*;
use refusals::*;

const MIB: usize = 1 << 20;

/// Each of these over both servers.
macro_rules! over_both {
    ($($(#[$attribute:meta])* $name:ident)*) => {
        mod redis_7 {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Redis7).await })*
        }
        mod valkey_9 {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Valkey9).await })*
        }
    };
}

over_both! {
    it_keeps_all_rules_of_a_bus
    nodes_hear_each_other_in_order_and_themselves
    a_subscription_is_in_effect_before_ones_own_later_message_is_back
    after_a_kill_of_3_s_everything_is_as_before_within_a_second
    after_a_kill_of_12_s_everything_is_as_before_within_a_second
    #[ignore = "takes half a minute; .ci/slow has it"] after_a_kill_of_30_s_everything_is_as_before_within_a_second
    a_server_that_is_suspended_is_given_up_after_2_s
    what_was_sent_before_a_new_connection_never_comes_after_what_is_sent_on_it
    a_new_connection_is_had_at_once_while_the_old_one_is_stuck
    a_bus_ends_within_a_second_while_it_is_stuck
    a_server_may_come_later_than_its_nodes
    what_is_queued_is_sent_before_the_end_and_nothing_is_left_at_the_server
    a_wrong_password_is_told_without_it
    a_user_who_may_not_publish_is_told_of_it
    a_server_without_resp3_is_told_of
    what_is_not_read_is_bounded_and_counted
    a_node_that_the_server_gives_up_for_what_waits_for_it_is_back
    large_messages_pass_and_larger_ones_are_refused
    connections_have_a_name
    a_unix_domain_socket_will_do
}

async fn it_keeps_all_rules_of_a_bus(kind: BusServerKind) {
    keeps_the_rules(kind, |url| RedisBus::new(url).unwrap()).await;
}

async fn nodes_hear_each_other_in_order_and_themselves(kind: BusServerKind) {
    const MESSAGES: u64 = 20_000;
    let server = BusServer::start(kind).await;
    let a = Node::ready(&server, &["news.a", "news.b"]).await;
    let b = Node::ready(&server, &["news.a", "news.b"]).await;
    for n in 0..MESSAGES {
        for (node, subject) in [(&a, "news.a"), (&b, "news.b")] {
            let message = [&n.to_be_bytes()[..], subject.as_bytes()].concat();
            while node.publish(subject, message.clone()) == Err(PublishError::Full) {
                tokio::task::yield_now().await;
            }
        }
    }
    for node in [&a, &b] {
        let mut next = [0, 0];
        while next != [MESSAGES, MESSAGES] {
            let message = node.message().await;
            let of = usize::from(&message[8..] == b"news.b");
            assert_eq!(number(&message), next[of], "of {of}");
            next[of] += 1;
        }
    }
    assert_eq!([a.port.try_next_event(), b.port.try_next_event()], [None, None]);
}

async fn a_subscription_is_in_effect_before_ones_own_later_message_is_back(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let (a, b) = (Node::ready(&server, &[]).await, Node::ready(&server, &["own"]).await);
    for n in 0..1000 {
        let subject = format!("subject.{n}");
        b.subscribe(&subject);
        b.publish("own", "told").unwrap();
        assert_eq!(b.message().await, "told");
        a.publish(&subject, subject.clone()).unwrap();
        assert_eq!(b.message().await, subject);
        b.port.unsubscribe(&Subject::new(subject));
    }
    assert_eq!(b.port.subscriptions(), 1);
}

async fn what_is_queued_is_sent_before_the_end_and_nothing_is_left_at_the_server(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let subjects: Vec<_> = (0..1_000).map(|n| format!("subject.{n}")).collect();
    let all: Vec<_> = subjects.iter().map(String::as_str).collect();
    let a = Node::ready(&server, &all).await;
    let b = Node::ready(&server, &["news"]).await;
    assert!(server.subscriptions().await >= 1_001);
    for n in 0..10_000_u64 {
        a.publish("news", n.to_be_bytes().to_vec()).unwrap();
    }
    a.close().await;
    for n in 0..10_000 {
        assert_eq!(number(&b.message().await), n);
    }
    b.close().await;
    left(&server).await;
}

async fn what_is_not_read_is_bounded_and_counted(kind: BusServerKind) {
    const MESSAGES: u64 = 50_000;
    // The server gives up nobody who is behind, as the readers of a busy machine are.
    let unlimited = ["--client-output-buffer-limit", "pubsub 0 0 0"];
    let server = BusServer::start_with(kind, &unlimited).await;
    let a = Node::ready(&server, &["end"]).await;
    let b = Node::bounded(bus(&server), 64 * 1024);
    b.subscribe("news");
    b.up().await;
    b.settled().await;
    for n in 0..MESSAGES {
        let mut message = n.to_be_bytes().to_vec();
        message.resize(1_000, 0);
        while a.publish("news", message.clone()) == Err(PublishError::Full) {
            tokio::task::yield_now().await;
        }
    }
    // Behind all of them at the server.
    a.publish("end", "end").unwrap();
    a.message().await;
    let BusEvent::Missed(first) = b.event().await else { panic!("it was told of nothing") };
    let (mut missed, mut heard) = (first, 0);
    while missed + heard < MESSAGES {
        match b.event().await {
            BusEvent::Missed(more) => missed += more,
            BusEvent::Message(_) => heard += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(missed + heard, MESSAGES);
    assert!(heard >= 50, "there was room for so many: {heard}");
    b.settled().await;
}

async fn a_node_that_the_server_gives_up_for_what_waits_for_it_is_back(kind: BusServerKind) {
    let limit = ["--client-output-buffer-limit", "pubsub 100kb 0 0"];
    let server = BusServer::start_with(kind, &limit).await;
    let a = Node::ready(&server, &[]).await;
    let b = Node::ready(&server, &["news"]).await;
    // Much more than the buffers of the system take.
    let why = tokio::select! {
        why = b.down() => why,
        () = async {
            loop {
                let _ = a.publish("news", vec![0; 4 * MIB]);
                tokio::task::yield_now().await;
            }
        } => unreachable!(),
    };
    assert!(why == "the server closed the connection" || why.contains("reset"), "{why}");
    // Of the large ones that wait some will end its next connections too.
    tokio::select! {
        () = async { while b.event().await != BusEvent::Message("small".into()) {} } => {}
        () = async {
            loop {
                let _ = a.publish("news", "small");
                sleep(Duration::from_millis(10)).await;
            }
        } => unreachable!(),
    }
}

async fn large_messages_pass_and_larger_ones_are_refused(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let node = Node::of(BusNode::run(bus(&server), 64 * MIB, 64 * MIB));
    node.subscribe("news");
    node.up().await;
    let largest: Bytes = (0..8 * MIB).map(|n| n as u8 ^ (n >> 8) as u8).collect::<Vec<_>>().into();
    assert_eq!(node.publish("news", vec![0; 8 * MIB + 1]), Err(PublishError::TooLarge));
    node.publish("news", largest.clone()).unwrap();
    node.publish("news", "\r\n").unwrap();
    node.publish("news", "").unwrap();
    assert!(node.message().await == largest);
    assert_eq!(node.message().await, "\r\n");
    assert_eq!(node.message().await, "");
}

async fn connections_have_a_name(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let named = Node::run(bus(&server).name("node 1"));
    let unnamed = Node::run(bus(&server));
    named.up().await;
    named.settled().await;
    unnamed.up().await;
    unnamed.settled().await;
    let clients = asked(&server, "CLIENT LIST").await;
    for words in ["name=node-1 ", "name=websockets-simple ", "resp=3"] {
        assert!(clients.contains(words), "{words}: {clients}");
    }
}

async fn a_unix_domain_socket_will_do(kind: BusServerKind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock").to_str().unwrap().to_owned();
    let server = BusServer::start_with(kind, &["--unixsocket", &path]).await;
    let node = Node::run(RedisBus::new(format!("redis+unix://{path}")).unwrap());
    node.up().await;
    node.settled().await;
    drop(server);
    node.down().await;
    node.down_as(&format!("no connection to {path}: ")).await;
}
