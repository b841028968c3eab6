//! What each way to send makes of a value: packets, raw text, JSON, bytes, messages of the application's own.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use serde_json::{Value, json};
use websockets_simple_client::WebsocketClient;
use websockets_simple_server::{
    DefaultPacket, EncodeError, IntoMessage, Json, Message, SendError, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{opened, params, received, started, text};

/// A message of an application: a shape and its measures, in a line.
struct Circle(u32);

impl IntoMessage for &Circle {
    fn into_message(self) -> Result<Message, EncodeError> {
        match self.0 {
            0 => Err(EncodeError::new("a circle of no size")),
            radius => Ok(Message::from(format!("circle {radius}"))),
        }
    }
}

fn data(text: &str) -> String {
    Message::from(text)
        .try_packet::<DefaultPacket>()
        .map_or_else(|_| "no packet".to_owned(), |packet| packet.data)
}

#[tokio::test]
async fn send_makes_a_packet_of_a_string_and_send_text_does_not_on_every_handle() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let client = WebsocketClient::new(params(started(&server).await).path("/a")).unwrap();
    let mut heard = client.events();
    let theirs = client.connect().await.unwrap();
    let ours = opened(&mut events).await;

    ours.send("hi").await.unwrap();
    ours.try_send("hi").unwrap();
    server.to_channel("/a").send("hi").unwrap();
    server.broadcast("hi").unwrap();
    for _ in 0..4 {
        assert_eq!(data(&text(&mut heard).await), "hi");
    }
    let raw = String::from("{\"a\": 1}");
    ours.send_text(&raw).await.unwrap();
    server.to_channel("/a").send_text(raw.as_str()).unwrap();
    server.broadcast_text(raw.clone()).unwrap();
    for _ in 0..3 {
        assert_eq!(text(&mut heard).await, raw);
    }
    client.send("hi").await.unwrap();
    client.try_send("hi").unwrap();
    theirs.send("hi").await.unwrap();
    theirs.try_send("hi").unwrap();
    for _ in 0..4 {
        assert_eq!(data(&received(&mut events).await.to_string()), "hi");
    }
    client.send_text(&raw).await.unwrap();
    theirs.send_text(&raw).await.unwrap();
    for _ in 0..2 {
        assert_eq!(received(&mut events).await, Message::from(raw.as_str()));
    }
    server.stop().await;
    assert!(matches!(ours.send_text("late").await, Err(SendError::Closed)));
    client.disconnect().await;
    assert!(matches!(client.send_text("late").await, Err(SendError::Closed)));
}

#[tokio::test]
async fn json_bytes_and_messages_of_the_applications_own_go_both_ways() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let client = WebsocketClient::new(params(started(&server).await)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;

    let value = json!({ "price": 12.5, "symbol": "ACME" });
    connection.send(Json(&value)).await.unwrap();
    server.broadcast(Json(&value)).unwrap();
    for _ in 0..2 {
        assert_eq!(Message::from(text(&mut heard).await).json::<Value>().unwrap(), value);
    }
    client.send(Json(&value)).await.unwrap();
    assert_eq!(received(&mut events).await.json::<Value>().unwrap(), value);
    client.send(vec![0, 159]).await.unwrap();
    assert_eq!(received(&mut events).await, Message::from(vec![0, 159]));

    connection.send(&Circle(3)).await.unwrap();
    server.to_all().send(&Circle(4)).unwrap();
    assert_eq!([text(&mut heard).await, text(&mut heard).await], ["circle 3", "circle 4"]);
    let refused = connection.send(&Circle(0)).await.unwrap_err();
    assert!(matches!(&refused, SendError::Encode(_)), "{refused:?}");
    assert!(server.broadcast(&Circle(0)).is_err(), "and nothing is sent");
    connection.send_text("the next").await.unwrap();
    assert_eq!(text(&mut heard).await, "the next");
}
