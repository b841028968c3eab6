//! Nothing that a peer sends is traced, at any level: tokens of renewals and payloads alike.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use chrono::Utc;
use tokio::net::TcpListener;
use websockets_simple_client::WebsocketClient;
use websockets_simple_core::{CloseCode, Control, Controls, Message, SUBPROTOCOL};
use websockets_simple_server::{MemoryUsers, ServerParams, Token, WebsocketServerAuth};
use websockets_simple_tests::{
    captured::Captured, ended, opened, params, raw, raw::RawPeer, started, within,
};

/// How a peer sends a message.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Whole,
    /// One byte in each frame.
    Fragments,
    /// One byte in each write.
    Bytes,
    /// After the other end's Close.
    AfterClose,
    /// With a reserved bit.
    Broken,
}

const MANNERS: [Manner; 5] =
    [Manner::Whole, Manner::Fragments, Manner::Bytes, Manner::AfterClose, Manner::Broken];

async fn say(peer: &mut RawPeer, text: &str, manner: Manner) {
    match manner {
        Manner::Whole => peer.text(text).await,
        Manner::Fragments => {
            let last = text.len() - 1;
            for (at, byte) in text.bytes().enumerate() {
                let first = if at == 0 { 0x01 } else { 0x00 } | if at == last { 0x80 } else { 0 };
                peer.frame(first, &[byte]).await;
            }
        }
        Manner::Bytes => {
            for byte in raw::masked(0x81, text.as_bytes()) {
                peer.write(&[byte]).await;
            }
        }
        Manner::AfterClose => {
            while peer.next().await.expect("a Close").close_code().is_none() {}
            // The server may have hung up.
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &raw::masked(0x81, text.as_bytes()))
                    .await;
        }
        Manner::Broken => peer.frame(0xC1, text.as_bytes()).await,
    }
}

/// A raw client that renews its credentials, and sends pings and a Close with secrets.
async fn renew(token: &str, manner: Manner) {
    let users = MemoryUsers::new();
    users.add_until("s3cret-old", 7_i64, Utc::now() + Duration::from_secs(60));
    users.add("s3cret-new", 7);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    let headers = format!("Authorization: Bearer s3cret-old\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n");
    let mut peer = RawPeer::open(addr, "/", &headers).await;
    let hello = Message::text(peer.next().await.expect("a hello").as_text());
    let controls = Controls::of_hello(&hello).expect("it begins control messages");
    let connection = opened(&mut events).await;
    let renewal = controls.message(&Control::Token(Token::new(token)));
    if matches!(manner, Manner::AfterClose) {
        connection.close(CloseCode::NORMAL, "");
    }
    peer.frame(0x89, b"s3cret-ping").await;
    say(&mut peer, renewal.as_text().expect("a text"), manner).await;
    if !matches!(manner, Manner::AfterClose | Manner::Broken) {
        peer.frame(0x88, b"\x03\xe8s3cret-reason").await;
    }
    drop(peer);
    ended(&mut events).await;
    within(server.stop()).await;
}

/// A client of ours, whose server says secrets.
async fn listen(manner: Manner) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut peer = RawPeer::new(listener.accept().await.unwrap().0);
        let head = peer.head().await;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let controls = Controls::new();
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        )
        .into_bytes();
        let mut say = |first: u8, payload: &[u8]| {
            answer.extend([first, u8::try_from(payload.len()).expect("short")]);
            answer.extend(payload);
        };
        let hello = controls.message(&Control::Hello);
        say(0x81, hello.as_bytes());
        match manner {
            Manner::Fragments | Manner::Bytes => {
                say(0x01, b"s3cret-");
                say(0x89, b"s3cret-ping");
                say(0x80, b"message");
            }
            Manner::Broken => say(0xC1, b"s3cret-message"),
            Manner::Whole | Manner::AfterClose => say(0x81, b"s3cret-message"),
        }
        say(0x88, b"\x03\xf0s3cret-reason");
        say(0x81, b"s3cret-late");
        if matches!(manner, Manner::Bytes) {
            for byte in answer {
                peer.write(&[byte]).await;
            }
        } else {
            peer.write(&answer).await;
        }
        peer.rest().await;
        hello
            .as_text()
            .expect("a text")
            .split('"')
            .map(str::to_owned)
            .max_by_key(String::len)
            .expect("a word")
    });
    let client = WebsocketClient::new(params(addr).token("s3cret-token")).unwrap();
    let _ = within(client.connect()).await;
    within(client.disconnect()).await;
    let word = within(serving).await.unwrap();
    WORDS.lock().unwrap().push(word);
}

/// The words of control messages, with which they could be forged.
static WORDS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

#[tokio::test]
async fn nothing_that_a_peer_sends_is_traced_however_it_is_sent() {
    let captured = Captured::everything();
    for manner in MANNERS {
        for token in ["s3cret-new", "s3cret-unknown"] {
            renew(token, manner).await;
        }
        listen(manner).await;
    }
    let traced = captured.text();
    assert!(traced.contains("websockets_simple_core"), "it captures: {traced}");
    let words = WORDS.lock().unwrap().clone();
    assert_eq!(words.len(), MANNERS.len());
    for secret in words.iter().map(String::as_str).chain(["s3cret"]) {
        let found =
            traced.find(secret).map(|at| &traced[at.saturating_sub(300)..(at + 50).min(traced.len())]);
        assert!(found.is_none(), "{secret}: {found:?}");
    }
}
