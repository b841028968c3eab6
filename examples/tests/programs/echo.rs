//! The echo server.

use std::time::Duration;

use websockets_simple_client::{
    ClientEvent, ClientParams, ConnectionEventKind, Events, Message, WebsocketClient,
};

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

struct Peer {
    client: WebsocketClient,
    events: Events<ClientEvent>,
}

impl Peer {
    async fn connect(addr: &str, path: &str) -> Self {
        let params = ClientParams::url(&format!("ws://{addr}{path}")).unwrap().message_size(32 << 20);
        let client = WebsocketClient::new(params.outbox(32 << 20)).unwrap();
        let events = client.events();
        client.connect().await.unwrap();
        Self { client, events }
    }

    async fn hears(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.hears_at_last()).await.expect("a message in time")
    }

    async fn hears_at_last(&mut self) -> Message {
        loop {
            match self.events.recv().await.unwrap() {
                ClientEvent::Message(event) => return event.message,
                ClientEvent::Error(event) => panic!("{:?}", event.error),
                _ => {}
            }
        }
    }

    async fn says(&self, message: &Message) {
        self.client.send(message).await.unwrap();
    }
}

async fn server(args: &[&str]) -> (Program, String) {
    let args: Vec<_> = ["--listen", "127.0.0.1:0"].into_iter().chain(args.iter().copied()).collect();
    let mut server = Program::start(env!("CARGO_BIN_EXE_echo-server"), &args);
    let addr = server.address().await;
    (server, addr)
}

#[tokio::test]
async fn every_message_comes_back_with_its_type_and_nothing_else_comes() {
    for threads in ["1", "2"] {
        let (_server, addr) = server(&["--threads", threads]).await;
        let mut peer = Peer::connect(&addr, "/some/path?x=1").await;
        let messages = [
            Message::text("text"),
            Message::binary(&b"\0binary\xff"[..]),
            Message::text(""),
            Message::binary(&b""[..]),
            Message::text("pong"),
            Message::binary(vec![7; 16 << 20]),
            Message::text("é".repeat(70_000)),
        ];
        for message in &messages {
            peer.says(message).await;
        }
        for message in &messages {
            assert_eq!(peer.hears().await, *message);
        }
    }
}

#[tokio::test]
async fn more_messages_than_the_usual_rate_come_back() {
    const COUNT: u32 = 5000;
    let (_server, addr) = server(&[]).await;
    let mut peer = Peer::connect(&addr, "/").await;
    for number in 0..COUNT {
        peer.says(&Message::text(number.to_string())).await;
    }
    for number in 0..COUNT {
        assert_eq!(peer.hears().await, Message::text(number.to_string()));
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_with_1009() {
    let (_server, addr) = server(&["--max-message", "1000"]).await;
    let mut peer = Peer::connect(&addr, "/").await;
    let fits = Message::binary(vec![1; 1000]);
    peer.says(&fits).await;
    assert_eq!(peer.hears().await, fits);
    peer.says(&Message::binary(vec![1; 1001])).await;
    let ended = async {
        loop {
            let event = peer.events.recv().await.unwrap();
            if let ClientEvent::Connection(event) = event
                && let ConnectionEventKind::Disconnected(_, end) = event.kind
            {
                break end;
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(end.code, Some(1009));
}

#[tokio::test]
async fn on_the_broadcast_path_everybody_hears_the_others_and_not_themselves() {
    let (_server, addr) = server(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::connect(&addr, "/bcast").await);
    }
    let mut outsider = Peer::connect(&addr, "/").await;
    let [a, b, c] = &mut peers[..] else { unreachable!("there are three") };
    // Nobody is told when the server has listed a connection, so each calls until it was heard.
    // Whoever is heard, and whoever hears, is listed.
    call(b, a).await;
    call(c, a).await;

    a.says(&Message::text("from a")).await;
    assert_eq!(next_but_calls(b).await, Message::text("from a"));
    assert_eq!(next_but_calls(c).await, Message::text("from a"));
    b.says(&Message::binary(&b"from b"[..])).await;
    assert_eq!(next_but_calls(a).await, Message::binary(&b"from b"[..]));
    assert_eq!(next_but_calls(c).await, Message::binary(&b"from b"[..]));
    c.says(&Message::text("from c")).await;
    assert_eq!(next_but_calls(a).await, Message::text("from c"));
    assert_eq!(next_but_calls(b).await, Message::text("from c"));

    outsider.says(&Message::text("alone")).await;
    assert_eq!(outsider.hears().await, Message::text("alone"));
}

const CALL: &str = "are you there?";

async fn call(caller: &Peer, listener: &mut Peer) {
    let heard = async {
        loop {
            caller.says(&Message::text(CALL)).await;
            let patience = Duration::from_millis(100);
            if let Ok(message) = tokio::time::timeout(patience, listener.hears_at_last()).await {
                assert_eq!(message, Message::text(CALL));
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the caller is heard in time");
}

async fn next_but_calls(peer: &mut Peer) -> Message {
    loop {
        let message = peer.hears().await;
        if message != Message::text(CALL) {
            return message;
        }
    }
}
