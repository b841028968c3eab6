//! A client that asks the server while messages wait in front of the answer.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use websockets_simple_client::{ClientEvent, ClientParams, GroupError, WebsocketClient};
use websockets_simple_server::{ServerParams, WebsocketServer};
use websockets_simple_tests::{
    params,
    raw::{RawPeer, unmasked},
    started, within,
};

/// The connect timeout, within which a question is answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// KiB of messages that are sent behind the first one.
const SIZES: [usize; 7] = [16, 60, 256, 512, 1024, 2048, 4096];

/// A server that says `first` to who connects, and this many KiB behind it, and lets everybody join every group.
async fn server(kib: usize, pieces: usize) -> (WebsocketServer, ClientParams) {
    let server = WebsocketServer::new(ServerParams::local().outbox(16 << 20)).with_group_rule(|_, _| true);
    server.on_connect(move |connection| async move {
        connection.send_text("first").await.unwrap();
        let text = "x".repeat(kib * 1024 / pieces);
        for _ in 0..pieces {
            connection.send_text(text.as_str()).await.unwrap();
        }
    });
    let params = params(started(&server).await).subprotocol("websockets-simple").connect_timeout(PATIENCE);
    (server, params)
}

/// Whether it was answered or refused in time, and how.
fn check(kib: usize, answer: Result<(), GroupError>, took: Duration) {
    match answer {
        Ok(()) => {}
        // The inbox counts more than the payload.
        Err(GroupError::Stalled) => assert!(kib > 512, "{kib} KiB have room"),
        Err(other) => panic!("{kib} KiB: {other}"),
    }
    assert!(took < PATIENCE / 3, "{kib} KiB: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_asks_is_answered_whatever_comes_behind_its_message_or_told_at_once() {
    for (kib, pieces) in SIZES.into_iter().flat_map(|kib| [(kib, kib), (kib, kib.div_ceil(512))]) {
        let (_server, params) = server(kib, pieces).await;
        let client = WebsocketClient::new(params).unwrap();
        let (told, mut answers) = mpsc::unbounded_channel();
        client.on_message(move |connection, message| {
            let told = told.clone();
            async move {
                if message.as_text() == Some("first") {
                    let at = Instant::now();
                    let answer = connection.join("red").await;
                    told.send((answer, at.elapsed())).unwrap();
                }
            }
        });
        let connection = client.connect().await.unwrap();
        let (answer, took) = within(answers.recv()).await.unwrap();
        check(kib, answer, took);
        // Nothing is lost for it, and the connection goes on.
        within(async {
            while connection.statistics().messages_received <= pieces as u64 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert_eq!(within(connection.join("blue")).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_over_events_that_asks_is_answered_or_told_at_once() {
    for kib in SIZES {
        let (_server, params) = server(kib, kib).await;
        let (client, mut events) = WebsocketClient::open(params).await.unwrap();
        let mut messages = 0;
        while messages <= kib {
            let event = within(events.recv()).await.unwrap();
            let ClientEvent::Message(event) = event else { continue };
            messages += 1;
            if event.message.as_text() == Some("first") {
                let at = Instant::now();
                check(kib, client.join("red").await, at.elapsed());
            }
        }
        assert_eq!(within(client.join("blue")).await, Ok(()));
    }
}

const HELLO: &str = "{\"websockets-simple\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"type\":\"hello\"}";

fn frame(text: &str) -> Vec<u8> {
    unmasked(0x81, text.as_bytes())
}

/// A server that sends 16 MiB behind its first message, and answers nothing. Its client must be connected by `params`.
async fn deaf() -> (ClientParams, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = params(listener.local_addr().unwrap()).subprotocol("websockets-simple");
    let serving = tokio::spawn(async move {
        let (_, mut peer) =
            RawPeer::accept_with(&listener, "Sec-WebSocket-Protocol: websockets-simple\r\n").await;
        peer.write(&frame(HELLO)).await;
        peer.write(&frame("first")).await;
        let text = frame(&"x".repeat(1024));
        for _ in 0..16 * 1024 {
            peer.write(&text).await;
        }
        std::future::pending().await
    });
    (params, serving)
}

#[tokio::test]
async fn who_asks_in_a_handler_is_told_that_the_answer_cannot_come_and_others_wait_for_it() {
    let (params, serving) = deaf().await;
    let client = WebsocketClient::new(params.connect_timeout(Duration::from_secs(2))).unwrap();
    let (told, mut answers) = mpsc::unbounded_channel();
    client.on_message(move |connection, message| {
        let told = told.clone();
        async move {
            if message.as_text() == Some("first") {
                // A task of its own waits, as does a handler that may end before the answer.
                let elsewhere = tokio::spawn({
                    let connection = connection.clone();
                    async move { connection.join("green").await }
                });
                let here = [connection.join("red").await, connection.leave("red").await];
                let again = Instant::now();
                let last = connection.join("blue").await;
                told.send((here, last, again.elapsed(), elsewhere)).unwrap();
                std::future::pending::<()>().await;
            }
        }
    });
    let connection = client.connect().await.unwrap();
    let (here, last, took, elsewhere) = within(answers.recv()).await.unwrap();
    assert_eq!(here, [Err(GroupError::Stalled), Err(GroupError::Stalled)]);
    assert_eq!(last, Err(GroupError::Stalled));
    // It is known already that nothing more is read.
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(within(elsewhere).await.unwrap(), Err(GroupError::Timeout));
    let waiting = connection.statistics().bytes_received;
    assert!((512 * 1024..2 << 20).contains(&waiting), "{waiting} bytes are read ahead");
    serving.abort();
}

#[tokio::test]
async fn a_handler_of_one_connection_may_ask_another_one_whose_handler_is_busy() {
    let (params, serving) = deaf().await;
    let busy = WebsocketClient::new(params.connect_timeout(Duration::from_millis(700))).unwrap();
    busy.on_message(|_, _| std::future::pending());
    let other = busy.connect().await.unwrap();
    let (_server, params) = server(16, 16).await;
    let client = WebsocketClient::new(params).unwrap();
    let (told, mut answers) = mpsc::unbounded_channel();
    client.on_message(move |connection, message| {
        let (told, other) = (told.clone(), other.clone());
        async move {
            if message.as_text() == Some("first") {
                told.send((other.join("red").await, connection.join("red").await)).unwrap();
            }
        }
    });
    client.connect().await.unwrap();
    let (theirs, ours) = within(answers.recv()).await.unwrap();
    assert_eq!((theirs, ours), (Err(GroupError::Timeout), Ok(())));
    serving.abort();
}

#[tokio::test]
async fn a_loop_over_events_whose_answer_cannot_come_is_told_so() {
    let (params, serving) = deaf().await;
    let (client, mut events) = WebsocketClient::open(params.connect_timeout(PATIENCE)).await.unwrap();
    loop {
        let event = within(events.recv()).await.unwrap();
        if matches!(&event, ClientEvent::Message(event) if event.message.as_text() == Some("first")) {
            break;
        }
    }
    let at = Instant::now();
    assert_eq!(client.join("red").await, Err(GroupError::Stalled));
    assert!(at.elapsed() < PATIENCE / 3, "{:?}", at.elapsed());
    serving.abort();
}
