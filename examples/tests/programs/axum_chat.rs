//! The axum application.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use websockets_simple_client::{ClientEvent, ClientParams, Events, Message, WebsocketClient};

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

async fn hears(events: &mut Events<ClientEvent>) -> String {
    let heard = async {
        loop {
            match events.recv().await.unwrap() {
                ClientEvent::Message(event) => return event.message.as_text().unwrap().to_owned(),
                ClientEvent::Error(event) => panic!("{:?}", event.error),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("a message in time")
}

async fn post(addr: &str, path: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = text.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    answer
}

#[tokio::test]
async fn what_is_posted_to_a_room_and_what_is_said_there_is_heard_by_all_in_it() {
    let mut server = Program::start(env!("CARGO_BIN_EXE_axum-chat"), &["--listen", "127.0.0.1:0"]);
    let addr = server.address().await;
    let mut rooms = Vec::new();
    for room in ["kitchen", "kitchen", "hall"] {
        let client =
            WebsocketClient::new(ClientParams::url(&format!("ws://{addr}/rooms/{room}")).unwrap()).unwrap();
        let events = client.events();
        client.connect().await.unwrap();
        rooms.push((client, events));
    }
    assert!(post(&addr, "/rooms/kitchen", "dinner is ready").await.ends_with("2 heard it\n"));
    assert!(post(&addr, "/rooms/hall", "only here").await.ends_with("1 heard it\n"));
    rooms[0].0.send(Message::text("coming")).await.unwrap();
    for (_, events) in &mut rooms[..2] {
        assert_eq!(hears(events).await, "dinner is ready");
        assert_eq!(hears(events).await, "coming");
    }
    assert_eq!(hears(&mut rooms[2].1).await, "only here");
}
