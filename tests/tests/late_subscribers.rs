//! Who subscribes after the connect misses nothing, and who never does is not held up.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use websockets_simple_client::{
    ClientEvent, ClientParams, CloseCode, ConnectError, ConnectionEventKind, Heartbeat, HeartbeatMode,
    MessageParts, OpenError, ParamsError, WebsocketClient,
};
use websockets_simple_server::{OverflowPolicy, ServerParams, WebsocketServer};
use websockets_simple_tests::{client_story::client_ended, message, params, started, text, within};

/// A server that says this to everybody who connects, and returns what it gets.
async fn talkative(params: ServerParams, says: &'static [&'static str]) -> (WebsocketServer, ClientParams) {
    let server = WebsocketServer::new(params);
    server.on_connect(move |connection| async move {
        for text in says {
            connection.send_text(*text).await.unwrap();
        }
    });
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    let params = websockets_simple_tests::params(started(&server).await);
    (server, params)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_between_connect_and_the_first_subscription_is_not_lost() {
    let (_server, params) = talkative(ServerParams::local(), &["welcome", "home"]).await;
    let mut lost = 0;
    for _ in 0..300 {
        let client = WebsocketClient::new(params.clone()).unwrap();
        client.connect().await.unwrap();
        let mut events = client.events();
        for expected in ["welcome", "home"] {
            let heard = tokio::time::timeout(Duration::from_secs(2), text(&mut events)).await;
            lost += usize::from(heard.ok().as_deref() != Some(expected));
        }
    }
    assert_eq!(lost, 0);
}

#[tokio::test]
async fn what_waits_is_given_to_the_first_who_takes_messages_however_it_subscribes() {
    let long: &'static str = "x".repeat(20_000).leak();
    let says = vec!["a", "b", long];
    let (_server, params) = talkative(ServerParams::local(), says.leak()).await;
    for way in 0..4 {
        let params = params.clone().message_parts(MessageParts::new(16 * 1024, 1 << 20));
        let client = WebsocketClient::new(params).unwrap();
        // These take no messages.
        client.on_error(|_| async {});
        client.on_connect(|_| async {});
        client.connect().await.unwrap();
        let statistics = || client.statistics().unwrap();
        within(async {
            while statistics().messages_received < 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let (told, mut heard) = mpsc::unbounded_channel();
        let tell = move |what: String| {
            let _ = told.send(what);
            std::future::ready(())
        };
        match way {
            0 => drop(client.on_message(move |_, message| tell(message.to_string()))),
            1 => drop(client.with_state(()).on_message(move |(), _, message| tell(message.to_string()))),
            2 => drop(client.on_message_part(move |_, part| tell(part.len().to_string()))),
            _ => drop(client.on(move |event| {
                tell(match event {
                    ClientEvent::Message(event) => format!("{} {}", event.message, event.missed),
                    ClientEvent::MessagePart(event) => event.part.len().to_string(),
                    other => format!("{other:?}"),
                })
            })),
        }
        let expected: &[&str] = match way {
            0 | 1 => &["a", "b"],
            2 => &["16384", "3616"],
            _ => &["a 0", "b 0", "16384", "3616"],
        };
        for expected in expected {
            assert_eq!(within(heard.recv()).await.as_deref(), Some(*expected), "{way}");
        }
    }
}

#[tokio::test]
async fn a_client_that_only_sends_is_not_held_up_by_what_the_server_answers() {
    const SENT: usize = 100;
    // The server would close the connection if the answers were not read.
    let policy = ServerParams::local().outbox(64 * 1024).overflow(OverflowPolicy::Disconnect);
    let (server, params) = talkative(policy, &[]).await;
    let client = WebsocketClient::new(params).unwrap();
    client.connect().await.unwrap();
    let long = "x".repeat(64 * 1024 - 100);
    for sent in 0..SENT as u64 {
        within(client.send_text(long.as_str())).await.unwrap();
        within(async {
            while client.statistics().unwrap().messages_received <= sent {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert_eq!(server.connections().len(), 1);
    // Who comes now learns what was missed: the answers so far.
    let mut events = client.events();
    client.send_text("the last").await.unwrap();
    let missed = within(async {
        loop {
            if let ClientEvent::Message(event) = events.recv().await.unwrap() {
                return (event.message.to_string(), event.missed);
            }
        }
    })
    .await;
    assert_eq!(missed, ("the last".to_owned(), SENT as u64));
    client.send_text("one more").await.unwrap();
    assert_eq!(text(&mut events).await, "one more");
}

#[tokio::test]
async fn neither_close_nor_disconnect_waits_for_a_subscription() {
    let (server, params) = talkative(ServerParams::local(), &["welcome"]).await;
    for by_server in [true, false] {
        let client = WebsocketClient::new(params.clone()).unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        client.on_disconnect({
            let ended = Arc::clone(&ended);
            move |_, _| {
                ended.fetch_add(1, Ordering::SeqCst);
                async {}
            }
        });
        let connection = client.connect().await.unwrap();
        within(async {
            while connection.statistics().messages_received < 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let at = Instant::now();
        if by_server {
            let theirs = server.connections().pop().unwrap();
            within(theirs.disconnect(CloseCode::RESTART, "")).await;
            assert_eq!(within(connection.closed()).await.code, Some(1012));
            within(async {
                while ended.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        } else {
            assert!(within(client.disconnect()).await.unwrap().clean);
        }
        assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        // What waited went with its connection.
        let mut events = client.events();
        client.connect().await.unwrap();
        assert_eq!(text(&mut events).await, "welcome");
    }
}

#[tokio::test]
async fn a_client_without_subscriptions_answers_pings_of_a_talkative_server() {
    let heartbeat = Heartbeat::new(Duration::from_millis(50), HeartbeatMode::Ping);
    let (server, params) = talkative(ServerParams::local().heartbeat(heartbeat), &["welcome"]).await;
    let client = WebsocketClient::new(params).unwrap();
    let connection = client.connect().await.unwrap();
    let theirs = within(async {
        loop {
            if let Some(connection) = server.connections().pop() {
                return connection;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It is measured by the answer to a ping.
    within(async {
        while theirs.statistics().round_trip.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(connection.is_open());
}

#[tokio::test]
async fn open_gives_a_client_and_everything_that_happens_from_the_beginning() {
    let (_server, params) = talkative(ServerParams::local(), &["welcome"]).await;
    let (client, mut events) = WebsocketClient::open(params).await.unwrap();
    let ClientEvent::Connection(first) = within(events.recv()).await.unwrap() else {
        panic!("not Connecting")
    };
    assert!(matches!(first.kind, ConnectionEventKind::Connecting(_)));
    assert_eq!(message(&mut events).await.as_text(), Some("welcome"));
    client.disconnect().await;
    assert_eq!(client_ended(&mut events).await.code, Some(1000));
}

#[tokio::test]
async fn open_says_whether_a_parameter_is_wrong_or_the_connect_failed() {
    let wrong = WebsocketClient::open(ClientParams::new(" ", 80)).await.unwrap_err();
    assert!(matches!(wrong, OpenError::Params(ParamsError::BlankHost)), "{wrong:?}");
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failed = WebsocketClient::open(params(closed)).await.unwrap_err();
    assert!(matches!(failed, OpenError::Connect(ConnectError::Connect(_))), "{failed:?}");
    assert_eq!(failed.to_string(), "cannot connect");
}
