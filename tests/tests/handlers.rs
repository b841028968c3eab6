//! Handlers for one kind of events, with and without a value that they share.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use websockets_simple_client::{ClientConnection, WebsocketClient};
use websockets_simple_server::{
    Anonymous, Connection, ErrorStage, Message, ServerParams, SubscribeOptions, WebsocketServer,
};
use websockets_simple_tests::{opened, params, raw::RawPeer, started, within};

/// Writes down what happened, in order.
#[derive(Clone)]
struct Log(UnboundedSender<String>);

impl Log {
    fn new() -> (Self, UnboundedReceiver<String>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    fn write(&self, line: impl Into<String>) {
        let _ = self.0.send(line.into());
    }

    async fn connected(self, connection: ClientConnection) {
        let _ = connection.send_text("hello").await;
        self.write(format!("connected to {}", connection.peer_addr().unwrap().ip()));
    }
}

async fn lines<const N: usize>(log: &mut UnboundedReceiver<String>) -> [String; N] {
    let mut lines = [const { String::new() }; N];
    for line in &mut lines {
        *line = within(log.recv()).await.unwrap();
    }
    lines
}

#[tokio::test]
async fn each_kind_of_event_has_a_handler_of_its_own_on_both_ends() {
    let server = WebsocketServer::new(ServerParams::local());
    // Without a shared value.
    server.on_connect(|connection| async move {
        let _ = connection.send_text("welcome").await;
    });
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    let (log, mut heard) = Log::new();
    let told = server.with_state(log);
    told.on_message(async |log, _, message| log.write(message.to_string()));
    told.on_disconnect(async |log, connection, end| {
        log.write(format!("{} {:?}", connection.channel(), end.by))
    });
    let addr = started(&server).await;

    let client = WebsocketClient::new(params(addr).path("/room")).unwrap();
    let (log, mut theirs) = Log::new();
    let told = client.with_state(log);
    told.on_connect(Log::connected);
    told.on_message(|log, _, message| async move { log.write(message.to_string()) });
    told.on_disconnect(|log, _, end| async move { log.write(format!("{:?}", end.by)) });
    let (heard_too, mut again) = unbounded_channel();
    client.on_message(move |_, message| {
        let _ = heard_too.send(message);
        std::future::ready(())
    });
    client.connect().await.unwrap();
    assert_eq!(lines(&mut theirs).await, ["connected to 127.0.0.1", "welcome", "hello"]);
    assert_eq!(within(again.recv()).await.unwrap().as_text(), Some("welcome"));
    client.disconnect().await;
    assert_eq!(lines(&mut theirs).await, ["Local"]);
    assert_eq!(lines(&mut heard).await, ["hello", "/room Peer"]);
}

#[tokio::test]
async fn errors_come_to_the_handler_for_errors_and_to_no_other() {
    let server = WebsocketServer::new(ServerParams::local());
    let (log, mut heard) = Log::new();
    let told = server.with_state(log);
    told.on_error(|log, error| async move {
        assert!(error.connection.is_some_and(|connection| connection.channel() == "/room"));
        log.write(format!("{:?}", error.stage));
    });
    told.on_message(|log, _, _| async move { log.write("a message") });
    told.on_disconnect(|log, _, _| async move { log.write("the end") });
    let (stages, mut without_state) = unbounded_channel();
    server.on_error(move |error| {
        let _ = stages.send(error.stage);
        std::future::ready(())
    });
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/room", "").await;
    // A reserved opcode.
    peer.frame(0x83, b"x").await;
    assert_eq!(within(without_state.recv()).await, Some(ErrorStage::Protocol));
    drop(peer);
    assert_eq!(lines(&mut heard).await, ["Protocol", "the end"]);

    // The same on a client, whose port nobody listens on.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = WebsocketClient::new(params(closed)).unwrap();
    let (log, mut heard) = Log::new();
    let told = client.with_state(log);
    told.on_error(|log, error| async move { log.write(format!("{:?}", error.stage)) });
    told.on_message(|log, _, _| async move { log.write("a message") });
    let (stages, mut without_state) = unbounded_channel();
    client.on_error(move |error| {
        let _ = stages.send(error.stage);
        std::future::ready(())
    });
    client.connect().await.unwrap_err();
    assert_eq!(within(without_state.recv()).await, Some(ErrorStage::Transport));
    drop((client, told));
    assert_eq!(lines(&mut heard).await, ["Transport"]);
}

#[tokio::test]
async fn what_is_sent_is_no_message_for_the_handler_of_received_ones() {
    let server = WebsocketServer::new(ServerParams::local());
    let (log, mut heard) = Log::new();
    let told = server.with_state(log);
    told.on_message(|log, connection, message| async move {
        log.write(format!("message {message}"));
        let _ = connection.send_text("an answer").await;
    });
    let client = WebsocketClient::new(params(started(&server).await)).unwrap();
    // Somebody asks for Sent events.
    let mut all = server.events_with(SubscribeOptions::default().sent());
    client.connect().await.unwrap();
    client.send_text("one").await.unwrap();
    client.send_text("two").await.unwrap();
    assert_eq!(lines(&mut heard).await, ["message one", "message two"]);
    let mut sent = 0;
    while sent < 2 {
        let event = within(all.recv()).await.unwrap();
        sent += usize::from(format!("{event:?}").contains("direction: Sent"));
    }
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_handler_that_is_unsubscribed_hears_nothing_more_and_the_others_go_on() {
    /// A value that is no `Arc` and counts how it is shared.
    #[derive(Clone, Default)]
    struct Room(Arc<Mutex<Vec<Message>>>);
    impl Room {
        async fn keep(self, connection: Connection<Anonymous>, message: Message) {
            self.0.lock().unwrap().push(message.clone());
            let _ = connection.send(message).await;
        }
    }
    let server = WebsocketServer::new(ServerParams::local());
    let (first, second) = (Room::default(), Room::default());
    let subscription = server.with_state(first.clone()).on_message(Room::keep);
    server.with_state(second.clone()).on_message(Room::keep);
    let client = WebsocketClient::new(params(started(&server).await)).unwrap();
    let (heard, mut answers) = unbounded_channel();
    client.on_message(move |_, message| {
        let _ = heard.send(message);
        std::future::ready(())
    });
    client.connect().await.unwrap();
    for (text, handlers) in [("one", 2), ("two", 1)] {
        client.send_text(text).await.unwrap();
        for _ in 0..handlers {
            assert_eq!(within(answers.recv()).await.unwrap().as_text(), Some(text));
        }
        subscription.unsubscribe();
    }
    assert_eq!(first.0.lock().unwrap().len(), 1);
    assert_eq!(second.0.lock().unwrap().len(), 2);
}

#[tokio::test]
#[expect(clippy::mutable_key_type, reason = "what changes in a connection is no part of its identity")]
async fn connections_of_both_ends_are_keys_of_a_map_and_handles_of_one_are_equal() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let client = WebsocketClient::new(params(started(&server).await)).unwrap();
    let first = client.connect().await.unwrap();
    let one = opened(&mut events).await;
    assert_eq!(client.connection().unwrap(), first);
    client.disconnect().await;
    let second = client.connect().await.unwrap();
    let other = opened(&mut events).await;
    assert!(first.id() < second.id() && first != second && one != other);
    let mine = HashMap::from([(first.clone(), 1), (second.clone(), 2), (first.clone(), 3)]);
    assert_eq!((mine.len(), mine[&first], mine[&second]), (2, 3, 2));
    let theirs = HashMap::from([(one.clone(), 1), (other.clone(), 2), (one.clone(), 3)]);
    assert_eq!((theirs.len(), theirs[&one], theirs[&other]), (2, 3, 2));
}
