//! Rooms that remember.

use std::time::Duration;

use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

async fn enter(addr: &str, room: &str) -> (WebsocketClient, Events<ClientEvent>) {
    let client = WebsocketClient::new(ClientParams::url(&format!("ws://{addr}/{room}")).unwrap()).unwrap();
    let events = client.events();
    client.connect().await.unwrap();
    (client, events)
}

async fn hears(events: &mut Events<ClientEvent>) -> String {
    let heard = async {
        loop {
            if let ClientEvent::Message(event) = events.recv().await.unwrap() {
                return event.message.to_string();
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("a message in time")
}

#[tokio::test]
async fn newcomers_get_what_was_said_in_their_room_and_then_what_is_said() {
    let server = &mut Program::start(env!("CARGO_BIN_EXE_history"), &["--listen", "127.0.0.1:0"]);
    let addr = server.address().await;
    let (first, mut heard) = enter(&addr, "kitchen").await;
    for text in ["one", "two"] {
        first.send_text(text).await.unwrap();
        assert_eq!(hears(&mut heard).await, text);
    }
    let (second, mut late) = enter(&addr, "kitchen").await;
    assert_eq!([hears(&mut late).await, hears(&mut late).await], ["one", "two"]);
    second.send_text("three").await.unwrap();
    assert_eq!([hears(&mut heard).await, hears(&mut late).await], ["three", "three"]);
    // Another room, and one that was left by all, remember nothing.
    let (_hall, mut elsewhere) = enter(&addr, "hall").await;
    first.disconnect().await;
    second.disconnect().await;
    let (third, mut anew) = enter(&addr, "hall").await;
    third.send_text("hello").await.unwrap();
    assert_eq!([hears(&mut elsewhere).await, hears(&mut anew).await], ["hello", "hello"]);
}

#[tokio::test]
async fn whoever_comes_while_others_speak_hears_every_message_once_and_in_order() {
    const LAST: usize = 600;
    let server = &mut Program::start(env!("CARGO_BIN_EXE_history"), &["--listen", "127.0.0.1:0"]);
    let addr = server.address().await;
    let (speaker, mut heard) = enter(&addr, "hall").await;
    let speaking = async {
        for n in 0..=LAST {
            speaker.send_text(n.to_string()).await.unwrap();
            // Waits for its own, as more than 1,000 a second are too many.
            assert_eq!(hears(&mut heard).await, n.to_string());
        }
    };
    let coming = async {
        for _ in 0..10 {
            let (_newcomer, mut heard) = enter(&addr, "hall").await;
            let first: usize = hears(&mut heard).await.parse().unwrap();
            for expected in first + 1..=LAST.min(first + 150) {
                assert_eq!(hears(&mut heard).await, expected.to_string());
            }
        }
    };
    tokio::join!(speaking, coming);
}
