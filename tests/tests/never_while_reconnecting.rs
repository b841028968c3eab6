//! What must not happen while a client connects again. The clock is paused: hours pass at once.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};
use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, ErrorStage, NoAttempt, Reconnect, Token, Verdict,
    WebsocketClient, messages::SendStatus, params::Offline,
};
use websockets_simple_tests::{
    params,
    raw::{RawPeer, unmasked},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    /// A number below `sides` (Marsaglia's xorshift64).
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

async fn listener() -> (TcpListener, ClientParams) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = params(listener.local_addr().unwrap());
    (listener, params)
}

/// A client whose attempts are counted, and what its hook answers.
fn counting(
    params: ClientParams,
    reconnect: Reconnect,
    answer: fn(ClientParams) -> Result<ClientParams, NoAttempt>,
) -> (WebsocketClient, Arc<AtomicUsize>) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let params = params.reconnect(reconnect.first(true)).before_attempt(move |_, params| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(answer(params))
    });
    (WebsocketClient::new(params).unwrap(), attempts)
}

async fn until(client: &WebsocketClient, wanted: fn(&ClientState) -> bool) {
    let mut states = client.states();
    while !wanted(&states.recv().await.expect("the client lives")) {}
}

/// Lets the client go in one of its states, and a day pass.
async fn nothing_follows(client: WebsocketClient, attempts: &AtomicUsize, disconnects: bool) {
    // The handle that is dropped is not the last one if it was disconnected.
    let kept = disconnects.then(|| client.clone());
    if disconnects {
        client.disconnect().await;
    }
    drop(client);
    let before = attempts.load(Ordering::SeqCst);
    tokio::time::sleep(DAY).await;
    assert_eq!(attempts.load(Ordering::SeqCst), before);
    if let Some(client) = kept {
        assert!(matches!(client.state(), ClientState::Idle) && client.connection().is_none());
        assert!(!client.reconnect_now(), "nobody wants a connection");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_made_in_a_day_after_disconnect_or_the_drop_of_the_last_handle_in_any_state() {
    for disconnects in [true, false] {
        let (listener, params) = listener().await;
        let (waiting, attempts) =
            counting(params.clone(), Reconnect::new(), |_| Err(NoAttempt::again("not today")));
        waiting.start();
        until(&waiting, |state| matches!(state, ClientState::Waiting { attempt: 3, .. })).await;
        nothing_follows(waiting, &attempts, disconnects).await;

        // The attempt gets no answer.
        let (connecting, attempts) = counting(params.clone(), Reconnect::new(), Ok);
        connecting.start();
        let (_silent, _) = listener.accept().await.unwrap();
        nothing_follows(connecting, &attempts, disconnects).await;

        let (open, attempts) = counting(params, Reconnect::new(), Ok);
        open.start();
        let _peer = RawPeer::accept(&listener).await;
        until(&open, |state| matches!(state, ClientState::Open(_))).await;
        nothing_follows(open, &attempts, disconnects).await;
    }
}

/// The attempts of a client in 10 minutes.
async fn in_ten_minutes(client: &WebsocketClient, attempts: &AtomicUsize) -> usize {
    client.start();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!matches!(client.state(), ClientState::GivenUp(_)), "{:?}", client.state());
    attempts.load(Ordering::SeqCst)
}

/// With pauses of 15 s on average there are about 45. A hundred do not happen by chance.
fn is_patient(attempts: usize) {
    assert!((15..100).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_at_once_is_not_tried_in_a_loop_without_pauses() {
    let (listener, params) = listener().await;
    let (hook, attempts) = counting(params.clone(), Reconnect::new(), |_| Err(NoAttempt::again("not today")));
    is_patient(in_ten_minutes(&hook, &attempts).await);
    drop(hook);

    let failing = async |_| Err::<Token, _>("the issuer is down".into());
    let (provider, attempts) = counting(params.token_provider(failing), Reconnect::new(), Ok);
    is_patient(in_ten_minutes(&provider, &attempts).await);
    drop((provider, listener));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_or_closes_at_once_is_not_asked_in_a_loop_without_pauses() {
    for accepts in [false, true] {
        let (listener, params) = listener().await;
        let server = tokio::spawn(async move {
            loop {
                let mut peer = RawPeer::new(listener.accept().await.unwrap().0);
                if accepts {
                    let mut peer = accepted(peer).await;
                    // 1012: the client may come back at once.
                    peer.write(&unmasked(0x88, &1012_u16.to_be_bytes())).await;
                    peer.rest().await;
                } else {
                    peer.head().await;
                    peer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
                }
            }
        });
        let (client, attempts) = counting(params, Reconnect::new(), Ok);
        is_patient(in_ten_minutes(&client, &attempts).await);
        let figures = client.figures();
        assert_eq!(figures.attempts, attempts.load(Ordering::SeqCst) as u64);
        let connections = if accepts { figures.attempts } else { 0 };
        // One may be open, or under way.
        assert!(connections - figures.connections <= 1 && connections - figures.lost <= 1, "{figures:?}");
        server.abort();
    }
}

#[tokio::test]
async fn a_client_never_has_two_connections_whatever_its_server_does() {
    let (listener, params) = listener().await;
    let reconnect = Reconnect::new().delays(Duration::from_micros(10), Duration::from_micros(100));
    // Whatever happens, it comes back.
    let reconnect = reconnect.judge(|_| Verdict::Again);
    let (client, attempts) = counting(params, reconnect, Ok);
    client.start();
    let mut dice = Dice(0x5EED);
    for round in 0..1000 {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = RawPeer::new(stream);
        match dice.roll(8) {
            // It hangs up before the handshake, in it, or answers nonsense.
            0 => drop(peer),
            1 => {
                peer.head().await;
            }
            2 => {
                peer.head().await;
                peer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
            }
            3 => peer.write(b"SSH-2.0-OpenSSH_9.9\r\n").await,
            fault => {
                let mut peer = accepted(peer).await;
                client.connected().await.unwrap();
                let another = std::pin::pin!(listener.accept());
                let polled = another.poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Pending), "two connections in round {round}");
                match fault {
                    4 => peer.write(&unmasked(0x88, &1001_u16.to_be_bytes())).await,
                    5 => peer.write(&unmasked(0x88, &1008_u16.to_be_bytes())).await,
                    // A reserved opcode.
                    6 => peer.write(&unmasked(0x83, b"")).await,
                    _ => {}
                }
                drop(peer);
                // Until this end is known.
                while client.connection().is_some_and(|connection| connection.is_open()) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    let figures = client.figures();
    assert!(attempts.load(Ordering::SeqCst) >= 1000 && figures.lost <= figures.connections, "{figures:?}");
}

/// Answers the handshake of a peer.
async fn accepted(mut peer: RawPeer) -> RawPeer {
    let head = peer.head().await;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    peer.write(answer.as_bytes()).await;
    peer
}

/// What is sent while there is no connection, at random times, against a model of what has to arrive.
#[tokio::test(start_paused = true)]
async fn of_kept_messages_those_that_are_young_enough_arrive_in_order_and_no_other_ones() {
    const AGE: Duration = Duration::from_secs(10);
    let (listener, params) = listener().await;
    let reconnect = Reconnect::new().judge(|_| Verdict::AgainAfter(DAY));
    let params = params.reconnect(reconnect.first(true)).offline(Offline::Keep { bytes: 1 << 20, age: AGE });
    let client = WebsocketClient::new(params).unwrap();
    let mut dice = Dice(0xD1CE);
    let (mut number, mut kept, mut dropped) = (0, 0, 0);
    client.start();
    drop(listener.accept().await.unwrap());
    for _ in 0..100 {
        until(&client, |state| matches!(state, ClientState::Waiting { .. })).await;
        let mut sent = Vec::new();
        for _ in 0..dice.roll(8) {
            number += 1;
            let text = format!("message {number}");
            if dice.roll(4) == 0 {
                // It is never awaited.
                drop(client.send_text(text));
            } else {
                assert!(matches!(client.send_text(text.clone()).await, Ok(SendStatus::Kept)));
                sent.push((text, Instant::now()));
                kept += 1;
            }
            tokio::time::sleep(Duration::from_millis(1 + 700 * dice.roll(10))).await;
        }
        assert!(client.reconnect_now());
        let mut peer = RawPeer::accept(&listener).await;
        let young = sent.iter().filter(|(_, since)| since.elapsed() <= AGE);
        let mut expected: Vec<_> = young.map(|(text, _)| text.clone()).collect();
        dropped += (sent.len() - expected.len()) as u64;
        expected.push("the last".to_owned());
        // After all that were kept.
        while !matches!(client.send_text("the last").await, Ok(SendStatus::Sent | SendStatus::Queued)) {
            tokio::task::yield_now().await;
            expected.push("the last".to_owned());
        }
        for text in expected {
            assert_eq!(peer.next().await.unwrap().as_text(), text);
        }
    }
    let figures = client.figures();
    assert!(figures.kept >= kept && kept > 100, "{figures:?}");
    assert!(figures.dropped == dropped && dropped > 10, "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_kept_messages_is_told_also_if_the_next_connection_is_lost_meanwhile() {
    let (listener, params) = listener().await;
    let offline = Offline::Keep { bytes: 1 << 30, age: Duration::from_secs(1) };
    let reconnect = Reconnect::new().judge(|_| Verdict::AgainAfter(DAY)).first(true);
    let client = WebsocketClient::new(params.reconnect(reconnect).offline(offline)).unwrap();
    let mut events = client.events();
    client.start();
    drop(listener.accept().await.unwrap());
    until(&client, |state| matches!(state, ClientState::Waiting { .. })).await;
    client.send_text("old").await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    // More than the socket and the outbox hold: the second one waits for room.
    for _ in 0..2 {
        client.send(vec![0; 32 << 20]).await.unwrap();
    }
    client.reconnect_now();
    let peer = RawPeer::accept(&listener).await;
    let connection = client.connected().await.unwrap();
    while connection.statistics().queued_bytes == 0 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    let said = loop {
        match events.recv().await.unwrap() {
            ClientEvent::Error(event) if event.stage == ErrorStage::Send && event.missed == 0 => {
                let said = event.error.to_string();
                if said.contains("kept") {
                    break said;
                }
            }
            _ => {}
        }
    };
    assert_eq!(said, "1 kept messages were not sent: they are too old");
    let figures = client.figures();
    // What was in the outbox is lost with its connection.
    assert_eq!((figures.kept, figures.dropped), (3, 2), "{figures:?}");
}

#[tokio::test(start_paused = true)]
async fn figures_add_all_connections_up() {
    let (listener, params) = listener().await;
    let client = WebsocketClient::new(params.reconnect(Reconnect::new())).unwrap();
    let mut events = client.events();
    client.start();
    for text in ["hello", "again!"] {
        let mut peer = RawPeer::accept(&listener).await;
        let connection = client.connected().await.unwrap();
        connection.send_text(text).await.unwrap();
        peer.write(&unmasked(0x81, text.as_bytes())).await;
        while !matches!(events.recv().await.unwrap(), ClientEvent::Message(_)) {}
        let figures = client.figures();
        let expected = if text == "hello" { (1, 1, 5) } else { (2, 2, 11) };
        assert_eq!((figures.messages_sent, figures.messages_received, figures.bytes_received), expected);
    }
    client.disconnect().await;
    let figures = client.figures();
    assert_eq!((figures.attempts, figures.connections, figures.lost, figures.given_up), (2, 2, 1, 0));
    assert_eq!((figures.messages_received, figures.bytes_received, figures.kept), (2, 11, 0));
    assert!(figures.bytes_sent > 11, "{figures:?}");
}
