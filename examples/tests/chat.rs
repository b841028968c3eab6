//! The chat in one process: real clients, a real server, every line that everybody hears.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

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

/// Nodes of one chat, which hear each other.
async fn nodes<const N: usize>(bus: &MemoryBus) -> [Chat; N] {
    let users = MemoryUsers::new();
    let tokens = DEMO_USERS.map(|name| (name, users.issue(name.to_owned()))).to_vec();
    let mut nodes = Vec::new();
    for _ in 0..N {
        let params = ClusterParams::new("chat", bus.clone()).linger(Duration::from_millis(300));
        let server = WebsocketServerAuth::<String>::new(chat::params(anywhere()), users.clone());
        let server = server.with_cluster(params);
        Room::open_to_users(&server);
        server.start().await.unwrap();
        nodes.push(Chat { server, tokens: tokens.clone() });
    }
    for node in &nodes {
        while node.server.presence().nodes().len() < N || !node.server.cluster().ready() {
            node.server.cluster().until_ready().await;
            tokio::task::yield_now().await;
        }
    }
    nodes.try_into().map_err(|_| "as many").unwrap()
}

fn anywhere() -> Endpoint {
    Endpoint::tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn to(addr: SocketAddr) -> ClientParams {
    ClientParams::new(addr.ip().to_string(), addr.port())
}

async fn guests() -> WebsocketServer {
    let server = WebsocketServer::new(chat::params(anywhere()));
    Room::open_to_guests(&server);
    server.start().await.unwrap();
    server
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
async fn what_is_told_in_a_room_is_heard_by_those_in_it_and_it_ends_with_the_last() {
    let chat = Chat::open().await;
    let mut ronald = chat.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    let mut john = chat.plain("John").await;
    john.hears(&["John joined.", "Welcome John."]).await;
    ronald.hears(&["John joined."]).await;
    let mut adam = chat.plain("Adam").await;
    adam.hears(&["Adam joined.", "Welcome Adam."]).await;
    adam.sends(&ChatPacket::List).await;
    adam.hears(&["There are no rooms."]).await;

    let enter = |room: &str| ChatPacket::Enter { room: room.to_owned() };
    ronald.sends(&enter(" Rust ")).await;
    ronald.hears(&["Adam joined.", "Ronald entered rust."]).await;
    john.sends(&enter("rust")).await;
    john.hears(&["Adam joined.", "John entered rust."]).await;
    ronald.hears(&["John entered rust."]).await;
    adam.hears(&["Rooms: rust (Ronald).", "Rooms: rust (John, Ronald)."]).await;

    let hello = || ChatPacket::Tell { from: None, room: "RUST".to_owned(), text: "a\nb".to_owned() };
    adam.sends(&hello()).await;
    adam.hears(&["Error: you are not in that room"]).await;
    john.sends(&hello()).await;
    for device in [&mut john, &mut ronald] {
        device.hears(&["John says in rust: a b"]).await;
    }
    // A second device does not enter a second time, and leaves without a word.
    let mut phone = chat.tagged("Ronald").await;
    phone.hears(&[r#"{"type":"welcome","name":"Ronald"}"#]).await;
    phone.sends(&enter("rust")).await;
    phone.hears(&[r#"{"type":"entered","room":"rust","name":"Ronald"}"#]).await;
    phone.leaves().await;

    ronald.sends(&ChatPacket::Exit { room: "rust".to_owned() }).await;
    ronald.hears(&["Ronald left rust."]).await;
    john.hears(&["Ronald left rust."]).await;
    ronald.sends(&ChatPacket::Exit { room: "rust".to_owned() }).await;
    ronald.hears(&["Error: you are not in that room"]).await;
    john.leaves().await;
    ronald.hears(&["John left."]).await;
    let rooms = "Rooms: rust (John, Ronald).";
    adam.hears(&[rooms, rooms, "Rooms: rust (John).", "There are no rooms.", "John left."]).await;
}

#[tokio::test]
async fn a_room_is_entered_and_left_as_a_group_as_well() {
    let chat = Chat::open().await;
    let mut ronald = chat.tagged("Ronald").await;
    let mut john = chat.plain("John").await;
    ronald.client.join("rust").await.unwrap();
    john.sends(&ChatPacket::Enter { room: "rust".into() }).await;
    john.hears(&["John joined.", "Welcome John.", "John entered rust."]).await;
    ronald.sends(&ChatPacket::Tell { from: None, room: "rust".into(), text: "hi".into() }).await;
    john.hears(&["Ronald says in rust: hi"]).await;
    ronald.client.leave("rust").await.unwrap();
    john.hears(&["Ronald left rust."]).await;
    let refused = ronald.client.join("Not the name of a room").await;
    assert!(
        matches!(&refused, Err(GroupError::Refused { reason }) if reason == "not allowed here"),
        "{refused:?}"
    );

    // By a packet the device leaves the group as well.
    ronald.client.join("rust").await.unwrap();
    john.hears(&["Ronald entered rust."]).await;
    ronald.sends(&ChatPacket::Exit { room: "rust".into() }).await;
    john.hears(&["Ronald left rust."]).await;
    assert!(!chat.server.has_group("/", "rust"));
    let packets = r#"{"type":"joined","name":"Ronald"}|{"type":"welcome","name":"Ronald"}|{"type":"joined","name":"John"}|{"type":"entered","room":"rust","name":"Ronald"}"#;
    let mut heard = Vec::new();
    while heard.len() < 4 {
        heard.push(ronald.next().await);
    }
    heard.sort();
    let mut expected: Vec<_> = packets.split('|').collect();
    expected.sort_unstable();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn rooms_have_names_and_nobody_is_in_more_than_a_few() {
    let chat = Chat::open().await;
    let mut ronald = chat.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    ronald.sends(&ChatPacket::Enter { room: " \u{200b}".to_owned() }).await;
    ronald.hears(&["Error: a room needs a name"]).await;
    for room in 1..=16 {
        ronald.sends(&ChatPacket::Enter { room: room.to_string() }).await;
        ronald.hears(&[&format!("Ronald entered {room}.")]).await;
    }
    ronald.sends(&ChatPacket::Enter { room: "one more".to_owned() }).await;
    ronald.hears(&["Error: nobody can be in more than 16 rooms"]).await;
    ronald.sends(&ChatPacket::Enter { room: "16".to_owned() }).await;
    ronald.hears(&["Ronald entered 16."]).await;
}

#[tokio::test]
async fn the_nodes_of_a_cluster_have_one_chat() {
    let [one, two] = nodes(&MemoryBus::new()).await;
    let mut ronald = one.tagged("Ronald").await;
    ronald.hears(&[r#"{"type":"joined","name":"Ronald"}"#, r#"{"type":"welcome","name":"Ronald"}"#]).await;
    let mut john = two.plain("John").await;
    // Ronald's coming was told before, or is told now: it takes some milliseconds.
    while john.next().await != "Welcome John." {}
    ronald.hears(&[r#"{"type":"joined","name":"John"}"#]).await;

    john.says("words").await;
    ronald.hears(&[r#"{"type":"say","from":"John","text":"words"}"#]).await;
    while john.next().await != "John says: words" {}
    ronald.sends(&ChatPacket::Private { from: None, to: "John".into(), text: "between us".into() }).await;
    john.hears(&["Ronald says to John: between us"]).await;
    ronald.hears(&[r#"{"type":"private","from":"Ronald","to":"John","text":"between us"}"#]).await;
    ronald.sends(&ChatPacket::Who).await;
    ronald.hears(&[r#"{"type":"online","names":["John","Ronald"]}"#]).await;
    ronald.sends(&ChatPacket::Private { from: None, to: "Adam".into(), text: "?".into() }).await;
    ronald.hears(&[r#"{"type":"error","reason":"Adam is not here"}"#]).await;

    let enter = ChatPacket::Enter { room: "rust".into() };
    john.sends(&enter).await;
    john.hears(&["John entered rust."]).await;
    ronald.sends(&enter).await;
    ronald.hears(&[r#"{"type":"entered","room":"rust","name":"Ronald"}"#]).await;
    john.hears(&["Ronald entered rust."]).await;
    ronald.sends(&ChatPacket::Tell { from: None, room: "rust".into(), text: "hi".into() }).await;
    john.hears(&["Ronald says in rust: hi"]).await;
    ronald.hears(&[r#"{"type":"tell","from":"Ronald","room":"rust","text":"hi"}"#]).await;

    // A second device at another node joins for nobody but itself, and neither of the two leaves alone.
    let mut phone = one.plain("John").await;
    phone.hears(&["John joined.", "Welcome John."]).await;
    john.leaves().await;
    ronald.hears(&[r#"{"type":"exited","room":"rust","name":"John"}"#]).await;
    phone.says("still here").await;
    phone.hears(&["John says: still here"]).await;
    ronald.hears(&[r#"{"type":"say","from":"John","text":"still here"}"#]).await;
    phone.leaves().await;
    ronald.hears(&[r#"{"type":"left","name":"John"}"#]).await;
    ronald.leaves().await;
}

#[tokio::test]
async fn who_changes_the_node_of_a_cluster_is_not_announced() {
    let [one, two] = nodes(&MemoryBus::new()).await;
    let mut ronald = one.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    let john = one.plain("John").await;
    ronald.hears(&["John joined."]).await;
    let adam = one.plain("Adam").await;
    ronald.hears(&["Adam joined."]).await;
    john.client.disconnect().await;
    let mut john = two.plain("John").await;
    while john.next().await != "Welcome John." {}
    // Who goes after John is told, so John would have been.
    adam.client.disconnect().await;
    ronald.hears(&["Adam left."]).await;
    john.says("back").await;
    ronald.hears(&["John says: back"]).await;
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

#[tokio::test]
async fn a_guest_gets_a_visible_short_name_that_no_other_guest_has() {
    let server = guests().await;
    let addr = server.local_addr().unwrap();
    let long = "x".repeat(1000);
    let names = [
        (None, "Guest-1"),
        (Some(""), "Guest-2"),
        (Some(" \t\u{200b} "), "Guest-3"),
        (Some("Ronald"), "Ronald"),
        (Some("Ronald"), "Ronald-2"),
        (Some("rONALD"), "rONALD-3"),
        (Some("Mary Ann"), "Mary-Ann"),
        (Some("Jo\u{7}hn\r\n\u{1b}"), "John"),
        (Some("guest-4"), "guest-4"),
        (None, "Guest-5"),
        (Some(&long), &long[..32]),
    ];
    let mut devices = Vec::new();
    for (asked, given) in names {
        let params = asked.into_iter().fold(to(addr), |params, name| params.query("name", name));
        let mut device = Device::connect(params).await;
        device.hears(&[&format!("{given} joined."), &format!("Welcome {given}.")]).await;
        devices.push(device);
    }
}

#[tokio::test]
async fn a_name_is_free_again_when_its_guest_has_left() {
    let server = guests().await;
    let addr = server.local_addr().unwrap();
    let mut watcher = Device::connect(to(addr).query("name", "watcher")).await;
    watcher.hears(&["watcher joined.", "Welcome watcher."]).await;
    for _ in 0..2 {
        let mut ronald = Device::connect(to(addr).query("name", "Ronald")).await;
        ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
        ronald.leaves().await;
        watcher.hears(&["Ronald joined.", "Ronald left."]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_everything_in_the_same_order() {
    const GUESTS: usize = 4;
    const LINES: usize = 50;
    let server = guests().await;
    let addr = server.local_addr().unwrap();
    let mut devices = Vec::new();
    for _ in 0..GUESTS {
        devices.push(Device::connect(to(addr).subprotocol(SUBPROTOCOL)).await);
        let last = devices.len();
        for (place, device) in devices.iter_mut().enumerate() {
            // Joined, and for the newcomer Welcome.
            for _ in 0..1 + usize::from(place + 1 == last) {
                device.next().await;
            }
        }
    }
    let talking = devices.into_iter().map(|mut device| {
        tokio::spawn(async move {
            for line in 0..LINES {
                device.says(&line.to_string()).await;
            }
            let mut heard = Vec::new();
            for _ in 0..GUESTS * LINES {
                heard.push(Message::text(device.next().await).json::<ChatPacket>().unwrap());
            }
            // Kept to the end: the others do not want to hear who leaves.
            (heard, device)
        })
    });
    let talking: Vec<_> = talking.collect();
    let mut transcripts = Vec::new();
    for task in talking {
        transcripts.push(task.await.unwrap());
    }
    for (heard, _) in &transcripts {
        assert_eq!(*heard, transcripts[0].0);
    }
}
