//! Tokens of renewals, and the word that makes control messages trustworthy, are traced at no level.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    net::SocketAddr,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use websockets_simple_client::{ClientEvent, WebsocketClient};
use websockets_simple_core::{Control, Controls, Message, SUBPROTOCOL};
use websockets_simple_server::{Connection, EndedBy, MemoryUsers, Token, User, WebsocketServerAuth};
use websockets_simple_tests::{
    captured::Captured,
    ended, opened,
    raw::{RawPeer, masked},
    started,
    way::{Plain, Tls, Way},
    within,
};

/// What all tests of this file trace.
static TRACED: LazyLock<Captured> = LazyLock::new(Captured::everything);

/// In how many pieces a token is sent.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Whole,
    /// In fragments of this many bytes.
    Fragments(usize),
    /// In writes of this many bytes.
    Writes(usize),
}

fn pieces(text: &str, manner: Manner) -> Vec<Vec<u8>> {
    let whole = masked(0x81, text.as_bytes());
    match manner {
        Manner::Whole => vec![whole],
        Manner::Writes(bytes) => whole.chunks(bytes).map(<[u8]>::to_vec).collect(),
        Manner::Fragments(bytes) => {
            let parts: Vec<_> = text.as_bytes().chunks(bytes).collect();
            let last = parts.len() - 1;
            let first = |at| if at == 0 { 0x01 } else { 0x00 } | if at == last { 0x80 } else { 0 };
            parts.iter().enumerate().map(|(at, part)| masked(first(at), part)).collect()
        }
    }
}

/// Fails if any of these is traced, as text or as numbers.
fn assert_untraced<'a>(secrets: impl IntoIterator<Item = &'a str>) {
    let traced = TRACED.text();
    assert!(traced.contains("websockets_simple_core"), "it captures: {traced}");
    for secret in secrets {
        let numbers = format!("{:?}", secret.as_bytes());
        for needle in [secret, numbers.trim_matches(['[', ']'])] {
            let found =
                traced.find(needle).map(|at| &traced[at.saturating_sub(300)..(at + 50).min(traced.len())]);
            assert!(found.is_none(), "{secret}: {found:?}");
        }
    }
}

/// A server whose users may renew the token `old`, which is good for that long, with `new`.
fn server(way: &impl Way, old: &str, good_for: Duration, new: &str) -> WebsocketServerAuth<i64> {
    let users = MemoryUsers::new();
    users.add_until(old, 7_i64, Utc::now() + good_for);
    users.add(new, 7);
    let params = way.server().expiry(Duration::ZERO, Duration::ZERO).close_timeout(Duration::from_secs(60));
    WebsocketServerAuth::new(params, users)
}

/// A raw peer that shows a token, and how it sends control messages.
async fn peer<W: Way>(way: &W, addr: SocketAddr, token: &str) -> (RawPeer<W::Stream>, Controls) {
    let stream = within(tokio::net::TcpStream::connect(addr)).await.unwrap();
    let mut peer = RawPeer::new(way.over(stream).await);
    let headers = format!("Authorization: Bearer {token}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n");
    let head = peer.request("/", &headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let hello = Message::text(peer.next().await.expect("a hello").as_text());
    (peer, Controls::of_hello(&hello).expect("it begins control messages"))
}

fn renewal(controls: &Controls, token: &str) -> String {
    controls.message(&Control::Token(Token::new(token))).as_text().expect("a text").to_owned()
}

async fn after_our_close(way: impl Way) {
    LazyLock::force(&TRACED);
    for manner in [Manner::Whole, Manner::Fragments(1), Manner::Writes(1)] {
        for token in ["l4te-new", "l4te-unknown"] {
            let server = server(&way, "l4te-old", Duration::from_millis(300), "l4te-new");
            let mut events = server.events();
            let addr = started(&server).await;
            let (mut peer, controls) = peer(&way, addr, "l4te-old").await;
            while peer.next().await.expect("a Close").close_code() != Some(4003) {}
            for piece in pieces(&renewal(&controls, token), manner) {
                peer.write(&piece).await;
            }
            // The server has read all of it when it sees this.
            peer.frame(0x88, &4003_u16.to_be_bytes()).await;
            let end = ended(&mut events).await;
            assert_eq!((end.by, end.clean), (EndedBy::Expired, true), "{manner:?}");
            within(server.stop()).await;
        }
    }
    assert_untraced(["l4te"]);
}

#[tokio::test]
async fn a_token_that_comes_after_the_server_has_closed_for_the_expiry_is_not_traced() {
    after_our_close(Plain).await;
}

#[tokio::test]
async fn over_tls_a_token_that_comes_after_the_server_has_closed_for_the_expiry_is_not_traced() {
    after_our_close(Tls::default()).await;
}

async fn longer_than_a_read(way: impl Way) {
    LazyLock::force(&TRACED);
    let token = "l0ng-".repeat(70 * 1024 / 5);
    for manner in [Manner::Whole, Manner::Fragments(1000), Manner::Fragments(40_000), Manner::Writes(3000)] {
        let server = server(&way, "l0ng-old", Duration::from_secs(60), "l0ng-new");
        let mut events = server.events();
        let addr = started(&server).await;
        let (mut peer, controls) = peer(&way, addr, "l0ng-old").await;
        opened(&mut events).await;
        for piece in pieces(&renewal(&controls, &token), manner) {
            peer.write(&piece).await;
        }
        let close = peer.next().await.expect("a Close");
        assert_eq!(close.close_code(), Some(1008), "{manner:?}");
        assert!(!close.as_text().contains("l0ng"), "nor is it sent back");
        peer.frame(0x88, &1008_u16.to_be_bytes()).await;
        let end = ended(&mut events).await;
        assert!(!format!("{end:?}").contains("l0ng"), "{end:?}");
        within(server.stop()).await;
    }
    assert_untraced(["l0ng"]);
}

#[tokio::test]
async fn a_token_that_is_longer_than_one_read_is_refused_and_not_traced() {
    longer_than_a_read(Plain).await;
}

#[tokio::test]
async fn over_tls_a_token_that_is_longer_than_one_read_is_refused_and_not_traced() {
    longer_than_a_read(Tls::default()).await;
}

async fn in_pieces(way: impl Way) {
    LazyLock::force(&TRACED);
    for manner in [Manner::Fragments(1), Manner::Fragments(7), Manner::Writes(1)] {
        for (token, answer) in [("p4rt-new", "renewed"), ("p4rt-unknown", "refused")] {
            let server = server(&way, "p4rt-old", Duration::from_secs(60), "p4rt-new");
            let mut events = server.events();
            let addr = started(&server).await;
            let (mut peer, controls) = peer(&way, addr, "p4rt-old").await;
            opened(&mut events).await;
            for piece in pieces(&renewal(&controls, token), manner) {
                peer.write(&piece).await;
            }
            let answered = peer.next().await.expect("an answer").as_text();
            assert!(answered.contains(answer), "{manner:?}");
            peer.frame(0x88, &1000_u16.to_be_bytes()).await;
            ended(&mut events).await;
            within(server.stop()).await;
        }
    }
    assert_untraced(["p4rt"]);
}

#[tokio::test]
async fn a_token_in_fragments_is_taken_and_not_traced() {
    in_pieces(Plain).await;
}

#[tokio::test]
async fn over_tls_a_token_in_fragments_is_taken_and_not_traced() {
    in_pieces(Tls::default()).await;
}

/// Passes on what two ends say, and notes what the second one says.
async fn pass_on(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    note: &mut Vec<u8>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut piece = vec![0; 4096];
        while let Ok(read @ 1..) = from_server.read(&mut piece).await {
            note.extend_from_slice(&piece[..read]);
            if to_client.write_all(&piece[..read]).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

/// The word of a connection, from all that its server has said.
fn word(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let (_, word) = said.split_once("{\"websockets-simple\":\"").expect("a hello");
    word.split('"').next().expect("a word").to_owned()
}

/// A client and a server that use all of their control messages, with a proxy between them that learns the word. The new
/// token is accepted or not.
async fn between_our_ends(way: &impl Way, new: &'static str) {
    LazyLock::force(&TRACED);
    let users = MemoryUsers::new();
    users.add_until("w0rd-old", 7_i64, Utc::now() + Duration::from_millis(300));
    users.add("w0rd-new", 7);
    let params = way.server().expiry(Duration::ZERO, Duration::from_secs(60));
    let server = WebsocketServerAuth::<i64>::new(params, users)
        .with_group_rule(|_: &Connection<User<i64>>, group| group == "red");
    let addr = started(&server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asked = AtomicUsize::new(0);
    let provider = move |_| {
        let token = if asked.fetch_add(1, Ordering::Relaxed) == 0 { "w0rd-old" } else { new };
        std::future::ready(Ok(Token::new(token)))
    };
    let params = way.client(listener.local_addr().unwrap()).subprotocol(SUBPROTOCOL).token_provider(provider);
    let client = WebsocketClient::new(params).unwrap();
    let mut heard = client.events();
    let mut said = Vec::new();
    let passing = async {
        let (near, _) = listener.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(addr).await.unwrap();
        pass_on(way.accept(near).await, way.over(far).await, &mut said).await;
    };
    let talking = async {
        client.connect().await.unwrap();
        client.join("red").await.unwrap();
        client.leave("red").await.unwrap();
        client.join("blue").await.unwrap_err();
        let serving = server.connections().remove(0);
        if new == "w0rd-new" {
            while serving.authenticated().expiry().is_some() {
                tokio::task::yield_now().await;
            }
        } else {
            while !matches!(heard.recv().await.unwrap(), ClientEvent::Error(_)) {}
        }
        client.send("a message").await.unwrap();
        client.disconnect().await.unwrap();
    };
    within(async { tokio::join!(passing, talking) }).await;
    within(server.stop()).await;
    let word = word(&said);
    assert_eq!(word.len(), 22, "{word}");
    let answers = said.windows(word.len()).filter(|window| *window == word.as_bytes()).count();
    assert_eq!(answers, 6, "hello, joined, left, refused, expiring, and the answer to the token");
    assert_untraced([word.as_str(), "w0rd"]);
}

#[tokio::test]
async fn the_word_of_control_messages_is_not_traced_by_our_own_ends() {
    for new in ["w0rd-new", "w0rd-unknown"] {
        between_our_ends(&Plain, new).await;
    }
}

#[tokio::test]
async fn over_tls_the_word_of_control_messages_is_not_traced_by_our_own_ends() {
    let way = Tls::default();
    for new in ["w0rd-new", "w0rd-unknown"] {
        between_our_ends(&way, new).await;
    }
}
