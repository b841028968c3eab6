//! Clients that come, talk and go for minutes leave nothing behind.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use peak_alloc::PeakAlloc;
use tokio::{sync::watch, task::JoinSet};
use websockets_simple_client::ClientEvent;
use websockets_simple_server::{
    Anonymous, ConnectionEventKind, Event, Events, Message, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{connected, params, started, within};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const CLIENTS: usize = 50;
const MESSAGES: usize = 40;
/// What the first rounds allocate and keep: pools of buffers, the runtime's queues, the tables of the server.
const WARM_UP: usize = 5;
/// What the heap may differ by from the end of the warm-up to the end of any later round.
const GROWTH: usize = 1 << 20;

/// Puts every connection into a group, answers every message, and counts the connections that have begun and ended.
async fn echo(mut events: Events<Event<Anonymous>>, counts: watch::Sender<(usize, usize)>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Connection(event) => counts.send_modify(|(connected, disconnected)| match event.kind {
                ConnectionEventKind::Connected(connection) => {
                    *connected += 1;
                    connection.join(&format!("group {}", *connected % 7));
                }
                ConnectionEventKind::Disconnected(..) => *disconnected += 1,
                _ => (),
            }),
            // A client that went without a word is not there to be answered.
            Event::Message(event) => _ = event.connection.try_send(event.message),
            _ => (),
        }
    }
}

/// One life: it hears an answer to each message, and leaves with or without a close handshake.
async fn life(addr: SocketAddr, number: usize) {
    let client = connected(params(addr)).await;
    let mut events = client.events();
    for message in 0..MESSAGES {
        let text = "x".repeat(1 + message * 997 % 30_000);
        client.send(Message::text(text.clone())).await.unwrap();
        loop {
            match events.recv().await.unwrap() {
                ClientEvent::Message(event) => {
                    assert_eq!(event.message.as_text(), Some(text.as_str()));
                    break;
                }
                ClientEvent::Error(event) => panic!("{:?}", event.error),
                _ => (),
            }
        }
    }
    if number.is_multiple_of(2) {
        client.disconnect().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes SOAK_SECONDS, by default a minute: .ci/slow runs it"]
async fn clients_that_come_talk_and_go_leave_no_connection_and_no_memory_behind() {
    let seconds =
        std::env::var("SOAK_SECONDS").map_or(60, |text| text.parse().expect("SOAK_SECONDS is a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let server = WebsocketServer::new(ServerParams::local());
    let (counts, mut counted) = watch::channel((0, 0));
    let echo = tokio::spawn(echo(server.events(), counts));
    let addr = started(&server).await;
    let mut warm = 0;
    let mut round = 0;
    while round <= WARM_UP || Instant::now() < end {
        round += 1;
        let mut lives = JoinSet::new();
        for number in 0..CLIENTS {
            lives.spawn(life(addr, number));
        }
        within(lives.join_all()).await;
        let all = round * CLIENTS;
        within(counted.wait_for(|&counts| counts == (all, all))).await.unwrap();
        assert_eq!(server.connections().len(), 0);
        if round == WARM_UP {
            warm = HEAP.current_usage();
        } else if round > WARM_UP {
            let grown = HEAP.current_usage().saturating_sub(warm);
            assert!(
                grown <= GROWTH,
                "{grown} bytes more are held after round {round} than after round {WARM_UP}"
            );
        }
    }
    println!("{round} rounds, {} lives, {} bytes held", round * CLIENTS, HEAP.current_usage());
    server.stop().await;
    drop(server);
    within(echo).await.unwrap();
}
