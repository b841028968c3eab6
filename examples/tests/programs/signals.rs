//! The signals example, without a browser.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use websockets_simple_client::{ClientEvent, ClientParams, Events, Message, WebsocketClient};

use crate::program::Program;

const PATIENCE: Duration = Duration::from_secs(20);

struct Peer {
    client: WebsocketClient,
    events: Events<ClientEvent>,
}

impl Peer {
    async fn connect(addr: &str, path: &str) -> Self {
        let client = WebsocketClient::new(ClientParams::url(&format!("ws://{addr}{path}")).unwrap()).unwrap();
        let events = client.events();
        client.connect().await.unwrap();
        Self { client, events }
    }

    /// Two peers of which the second is listed, and the first once it has said something.
    async fn pair(addr: &str, path: &str) -> [Self; 2] {
        let [ann, mut ben] = [Self::connect(addr, path).await, Self::connect(addr, path).await];
        // Nobody is told when the server has listed a connection, but whoever hears an answer is.
        ben.says("[DATE]").await;
        ben.hears().await;
        [ann, ben]
    }

    async fn says(&self, message: &str) {
        self.client.send(Message::text(json!({ "message": message }).to_string())).await.unwrap();
    }

    async fn hears(&mut self) -> String {
        let heard = async {
            loop {
                match self.events.recv().await.unwrap() {
                    ClientEvent::Message(event) => return event.message.as_text().unwrap().to_owned(),
                    ClientEvent::Error(event) => panic!("{:?}", event.error),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("a message in time")
    }

    async fn hears_json(&mut self) -> Value {
        serde_json::from_str(&self.hears().await).unwrap()
    }

    /// The next message that is no date.
    async fn hears_words(&mut self) -> Value {
        loop {
            let heard = self.hears_json().await;
            if !is_date(heard["message"].as_str().unwrap_or_default()) {
                return heard;
            }
        }
    }
}

fn is_date(text: &str) -> bool {
    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").is_ok()
}

async fn server(args: &[&str]) -> (Program, String) {
    let args: Vec<_> = ["--listen", "127.0.0.1:0"].into_iter().chain(args.iter().copied()).collect();
    let mut server = Program::start(env!("CARGO_BIN_EXE_signals"), &args);
    let addr = server.address().await;
    (server, addr)
}

/// Head and body of an answer.
async fn fetched(addr: &str, line: &str, host: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer));
    reading.await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn a_signal_on_msg_is_told_to_all_of_it_and_the_date_is_told_to_who_asks() {
    let (_server, addr) = server(&[]).await;
    let [mut ann, mut ben] = Peer::pair(&addr, "/msg").await;
    let mut other = Peer::connect(&addr, "/date").await;
    other.says("[date]").await;
    other.hears().await;
    ann.says("hello").await;
    for peer in [&mut ann, &mut ben] {
        assert_eq!(peer.hears_words().await, json!({ "message": "hello" }));
    }
    ben.says("[Date]").await;
    let told = ben.hears_json().await;
    assert!(is_date(told["message"].as_str().unwrap()), "{told}");
    // Only what was said on its own path came to it.
    other.says("[date]").await;
    let told = other.hears().await;
    assert!(is_date(&told), "{told}");
}

#[tokio::test]
async fn the_date_path_tells_the_date_to_all_of_it_and_nothing_else() {
    let (_server, addr) = server(&[]).await;
    let [mut ann, mut ben] = Peer::pair(&addr, "/date").await;
    ann.says("what day is it?").await;
    ann.says("[date]").await;
    for peer in [&mut ann, &mut ben] {
        let told = peer.hears().await;
        assert!(is_date(&told), "{told}");
    }
}

#[tokio::test]
async fn response_times_come_on_the_timer_to_all_of_their_path() {
    let (_server, addr) = server(&["--every", "0.05"]).await;
    let mut peers =
        [Peer::connect(&addr, "/response-times").await, Peer::connect(&addr, "/response-times").await];
    // Ignored, as there is no route.
    peers[0].says("[date]").await;
    for peer in &mut peers {
        for _ in 0..3 {
            assert_eq!(peer.hears_json().await, json!({ "Durations": [123, 101, 104] }));
        }
    }
}

#[tokio::test]
async fn what_is_no_signal_does_not_end_the_connection() {
    let (_server, addr) = server(&[]).await;
    let mut peer = Peer::connect(&addr, "/msg").await;
    for bad in ["", "hello", "{", "[]", r#"{"Message""#, r#"{"path":"/date"}"#] {
        peer.client.send(Message::text(bad)).await.unwrap();
    }
    peer.client.send(Message::binary(vec![0xff; 3])).await.unwrap();
    peer.says("still here").await;
    assert_eq!(peer.hears_json().await, json!({ "message": "still here" }));
}

#[tokio::test]
async fn the_page_is_that_of_the_document_but_for_another_port_and_another_jquery() {
    const INDEX: &str = include_str!("../../signals/index.html");
    const SCRIPT: &str = include_str!("../../signals/script.js");
    let (_server, addr) = server(&[]).await;
    let (head, index) = fetched(&addr, "GET /", "localhost:8091").await;
    assert!(
        head.starts_with("http/1.1 200 ") && head.contains("connect-src ws://localhost:8091/;"),
        "{head}"
    );
    assert_eq!(index, INDEX);
    assert_eq!(fetched(&addr, "GET /script.js", "localhost:8091").await.1, SCRIPT);
    let elsewhere = fetched(&addr, "GET /script.js", "localhost:1234").await.1;
    assert_eq!(elsewhere, SCRIPT.replace("8091", "1234"));
    assert_ne!(elsewhere, SCRIPT);
    assert!(fetched(&addr, "GET /jquery.min.js", "localhost:8091").await.0.starts_with("http/1.1 404 "));
    assert!(fetched(&addr, "POST /", "localhost:8091").await.0.starts_with("http/1.1 405 "));

    let folder = tempfile::tempdir().unwrap();
    let jquery = folder.path().join("jquery.js");
    std::fs::write(&jquery, "// a copy").unwrap();
    let (_server, addr) = server(&["--jquery", jquery.to_str().unwrap()]).await;
    let index = fetched(&addr, "GET /", "localhost:8091").await.1;
    assert!(index.contains("<script src=\"/jquery.min.js\">") && !index.contains("googleapis"), "{index}");
    assert_eq!(fetched(&addr, "GET /jquery.min.js", "localhost:8091").await.1, "// a copy");
}

#[tokio::test]
async fn an_interval_of_nothing_and_a_missing_jquery_are_told_and_end_the_program() {
    for (args, why) in [
        (["--every", "0"], "must not be zero"),
        (["--every", "soon"], "not a number"),
        (["--jquery", "/no/such/file"], "cannot read /no/such/file"),
    ] {
        let ended = Program::start(env!("CARGO_BIN_EXE_signals"), &args).end().await;
        assert!(!ended.success && ended.stderr.contains(why), "{}", ended.stderr);
    }
}
