//! The chat in one process: real clients, a real server, every line that everybody hears.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod guests;
mod rooms;

use std::{net::SocketAddr, time::Duration};

use websockets_simple_client::{
    ClientEvent, ClientParams, ConnectError, Events, GroupError, Json, Message, WebsocketClient,
};
use websockets_simple_examples::chat::{self, ChatPacket, DEMO_USERS, Room, SUBPROTOCOL};
use websockets_simple_server::{
    ClusterParams, Endpoint, MemoryBus, MemoryUsers, Token, WebsocketServer, WebsocketServerAuth,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection of somebody, and all that it heard.
struct Device {
    client: WebsocketClient,
    events: Events<ClientEvent>,
    heard: Vec<String>,
}

impl Device {
    async fn connect(params: ClientParams) -> Self {
        let client = WebsocketClient::new(params).unwrap();
        let events = client.events();
        client.connect().await.unwrap();
        Self { client, events, heard: Vec::new() }
    }

    async fn next(&mut self) -> String {
        let next = async {
            loop {
                match self.events.recv().await.expect("the client lives") {
                    ClientEvent::Message(event) => break event.message.as_text().unwrap().to_owned(),
                    ClientEvent::Error(event) => panic!("{:?}", event.error),
                    _ => {}
                }
            }
        };
        let text = tokio::time::timeout(PATIENCE, next).await.expect("a line in time");
        self.heard.push(text.clone());
        text
    }

    async fn hears(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.next().await, *line);
        }
    }

    async fn says(&self, text: &str) {
        self.client.send(Message::text(text)).await.unwrap();
    }

    async fn sends(&self, packet: &ChatPacket) {
        self.client.send(Json(packet)).await.unwrap();
    }

    /// Leaves, and checks that nothing else was heard than what was waited for.
    async fn leaves(mut self) -> Vec<String> {
        self.client.disconnect().await.expect("it was connected");
        while let Some(event) = self.events.try_recv() {
            if let ClientEvent::Message(event) = event {
                panic!("nobody waited for {:?}", event.message);
            }
        }
        self.heard
    }
}

struct Chat {
    /// Dropping it would stop the server.
    server: WebsocketServerAuth<String>,
    tokens: Vec<(&'static str, Token)>,
}

impl Chat {
    async fn open() -> Self {
        let users = MemoryUsers::new();
        let tokens = DEMO_USERS.map(|name| (name, users.issue(name.to_owned()))).to_vec();
        let server = WebsocketServerAuth::<String>::new(chat::params(anywhere()), users);
        Room::open_to_users(&server);
        server.start().await.unwrap();
        Self { server, tokens }
    }

    fn params(&self, name: &str) -> ClientParams {
        let token = self.tokens.iter().find(|(user, _)| *user == name).unwrap().1.clone();
        to(self.server.local_addr().unwrap()).token(token)
    }

    /// A client that knows nothing of packets.
    async fn plain(&self, name: &str) -> Device {
        Device::connect(self.params(name)).await
    }

    async fn tagged(&self, name: &str) -> Device {
        Device::connect(self.params(name).subprotocol(SUBPROTOCOL)).await
    }
}

fn anywhere() -> Endpoint {
    Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn to(addr: SocketAddr) -> ClientParams {
    ClientParams::new(addr.ip().to_string(), addr.port())
}

#[tokio::test]
async fn the_conversation_of_ronald_john_and_adam_is_heard_line_by_line() {
    let chat = Chat::open().await;

    let mut ronald = chat.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;

    let mut john = chat.plain("John").await;
    john.hears(&["John joined.", "Welcome John."]).await;
    ronald.hears(&["John joined."]).await;

    ronald.says("Hello John").await;
    ronald.hears(&["Ronald says: Hello John"]).await;
    john.hears(&["Ronald says: Hello John"]).await;

    let mut adam = chat.plain("Adam").await;
    adam.hears(&["Adam joined.", "Welcome Adam."]).await;
    ronald.hears(&["Adam joined."]).await;
    john.hears(&["Adam joined."]).await;

    john.says("Hi Adam").await;
    for device in [&mut ronald, &mut john, &mut adam] {
        device.hears(&["John says: Hi Adam"]).await;
    }
    adam.says("Zażółć, 你好").await;
    for device in [&mut ronald, &mut john, &mut adam] {
        device.hears(&["Adam says: Zażółć, 你好"]).await;
    }

    let ronald = ronald.leaves().await;
    john.hears(&["Ronald left."]).await;
    adam.hears(&["Ronald left."]).await;

    let john = john.leaves().await;
    adam.hears(&["John left."]).await;
    adam.says("Alone").await;
    adam.hears(&["Adam says: Alone"]).await;
    let adam = adam.leaves().await;

    let lines = |text: &str| text.trim().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        ronald,
        lines(
            "Ronald joined.
             Welcome Ronald.
             John joined.
             Ronald says: Hello John
             Adam joined.
             John says: Hi Adam
             Adam says: Zażółć, 你好"
        )
    );
    assert_eq!(
        john,
        lines(
            "John joined.
             Welcome John.
             Ronald says: Hello John
             Adam joined.
             John says: Hi Adam
             Adam says: Zażółć, 你好
             Ronald left."
        )
    );
    assert_eq!(
        adam,
        lines(
            "Adam joined.
             Welcome Adam.
             John says: Hi Adam
             Adam says: Zażółć, 你好
             Ronald left.
             John left.
             Adam says: Alone"
        )
    );
}

#[tokio::test]
async fn clients_of_the_subprotocol_hear_packets_and_others_hear_lines() {
    let chat = Chat::open().await;
    let mut ronald = chat.tagged("Ronald").await;
    ronald.hears(&[r#"{"type":"joined","name":"Ronald"}"#, r#"{"type":"welcome","name":"Ronald"}"#]).await;
    let mut john = chat.plain("John").await;
    john.hears(&["John joined.", "Welcome John."]).await;
    ronald.hears(&[r#"{"type":"joined","name":"John"}"#]).await;

    john.says("words").await;
    ronald.hears(&[r#"{"type":"say","from":"John","text":"words"}"#]).await;
    john.hears(&["John says: words"]).await;

    ronald.says(r#"{"type":"say","from":"Adam","text":"it was not me"}"#).await;
    ronald.hears(&[r#"{"type":"say","from":"Ronald","text":"it was not me"}"#]).await;
    john.hears(&["Ronald says: it was not me"]).await;

    // What `send` makes of a string is the default packet.
    ronald.client.send("wrapped").await.unwrap();
    john.hears(&["Ronald says: wrapped"]).await;
}

#[tokio::test]
async fn a_person_joins_with_the_first_device_and_leaves_with_the_last() {
    let chat = Chat::open().await;
    let mut ronald = chat.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    let mut phone = chat.plain("John").await;
    phone.hears(&["John joined.", "Welcome John."]).await;
    let mut desk = chat.plain("John").await;
    desk.hears(&["Welcome John."]).await;

    phone.leaves().await;
    desk.says("still here").await;
    desk.hears(&["John says: still here"]).await;
    ronald.hears(&["John joined.", "John says: still here"]).await;
    desk.leaves().await;
    ronald.hears(&["John left."]).await;
}

#[tokio::test]
async fn a_private_message_reaches_all_devices_of_both_and_nobody_else() {
    let chat = Chat::open().await;
    let mut adam = chat.plain("Adam").await;
    adam.hears(&["Adam joined.", "Welcome Adam."]).await;
    let mut ronald = chat.tagged("Ronald").await;
    assert_eq!(ronald.next().await, r#"{"type":"joined","name":"Ronald"}"#);
    ronald.next().await;
    let mut phone = chat.plain("John").await;
    phone.hears(&["John joined.", "Welcome John."]).await;
    let mut desk = chat.plain("John").await;
    desk.hears(&["Welcome John."]).await;
    ronald.next().await;

    let private =
        |to: &str| ChatPacket::Private { from: None, to: to.to_owned(), text: "between us".to_owned() };
    ronald.sends(&private("John")).await;
    phone.hears(&["Ronald says to John: between us"]).await;
    desk.hears(&["Ronald says to John: between us"]).await;
    ronald.hears(&[r#"{"type":"private","from":"Ronald","to":"John","text":"between us"}"#]).await;

    // To oneself, once per device.
    phone.sends(&private("John")).await;
    phone.hears(&["John says to John: between us"]).await;
    desk.hears(&["John says to John: between us"]).await;

    ronald.sends(&private("Bob")).await;
    ronald.hears(&[r#"{"type":"error","reason":"Bob is not here"}"#]).await;

    phone.says("to all").await;
    adam.hears(&["Ronald joined.", "John joined.", "John says: to all"]).await;
    phone.hears(&["John says: to all"]).await;
    desk.hears(&["John says: to all"]).await;
}

#[tokio::test]
async fn whoever_asks_hears_who_is_there() {
    let chat = Chat::open().await;
    let mut ronald = chat.tagged("Ronald").await;
    let mut adam = chat.plain("Adam").await;
    adam.hears(&["Adam joined.", "Welcome Adam."]).await;
    adam.says(r#"{"type":"who"}"#).await;
    adam.hears(&["Online: Adam, Ronald."]).await;
    adam.leaves().await;
    for _ in 0..4 {
        ronald.next().await;
    }
    ronald.sends(&ChatPacket::Who).await;
    ronald.hears(&[r#"{"type":"online","names":["Ronald"]}"#]).await;
}

#[tokio::test]
async fn a_malformed_packet_gets_an_error_and_the_chat_goes_on() {
    let chat = Chat::open().await;
    let mut ronald = chat.tagged("Ronald").await;
    ronald.next().await;
    ronald.next().await;

    ronald.says(r#"{"type":"shout","text":"hi"}"#).await;
    assert!(
        ronald.next().await.starts_with(r#"{"type":"error","reason":"this is not a chat packet: unknown"#)
    );
    ronald.says(r#"{"type":"say","#).await;
    assert!(ronald.next().await.starts_with(r#"{"type":"error","reason":"this is not a chat packet: "#));
    ronald.client.send(Message::binary(&b"\0\0"[..])).await.unwrap();
    ronald.hears(&[r#"{"type":"error","reason":"binary messages are not understood"}"#]).await;
    ronald.sends(&ChatPacket::Left { name: "John".to_owned() }).await;
    ronald.hears(&[r#"{"type":"error","reason":"only the server says that"}"#]).await;

    // Nothing to say is said to nobody.
    ronald.says("  \n").await;
    ronald.says("a\nJohn left.\u{1b}[2J").await;
    ronald.hears(&[r#"{"type":"say","from":"Ronald","text":"a John left. [2J"}"#]).await;
}

#[tokio::test]
async fn an_uninvited_client_is_refused() {
    let chat = Chat::open().await;
    for params in [to(chat.server.local_addr().unwrap()), chat.params("John").token("guessed")] {
        let client = WebsocketClient::new(params).unwrap();
        assert!(matches!(client.connect().await, Err(ConnectError::Unauthorized { .. })));
    }
    assert_eq!(chat.server.connection_count(), 0);
}
