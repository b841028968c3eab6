//! Secrets of a client that connects again are in no log, event or error, at any level.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;
use websockets_simple_client::{
    ClientParams, ClientState, IssuedToken, LossCause, NoAttempt, Reconnect, Remembered, WebsocketClient,
    params::{NotAuthorized, Offline, TokenPlacement, TokenReason},
};
use websockets_simple_tests::{
    captured::Captured,
    params,
    raw::{RawPeer, unmasked},
    within,
};

/// The beginning of all secrets here.
const SECRET: &str = "s3cr3t";

/// Answers a request with a status, quoting the whole request as careless servers do.
async fn refuse(listener: &TcpListener, status: &str) -> String {
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut peer = RawPeer::new(stream);
    let head = peer.head().await;
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{head}", head.len());
    peer.write(answer.as_bytes()).await;
    head
}

/// Connects, is lost, refused in three ways and out of tokens. Returns all that the application was told, as text.
async fn life(placement: TokenPlacement) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::new(Mutex::new(String::new()));
    let note = {
        let told = Arc::clone(&told);
        move |what: &dyn std::fmt::Debug| told.lock().unwrap().push_str(&format!("{what:?}\n"))
    };
    let asked = AtomicUsize::new(0);
    let seen = Arc::clone(&reasons);
    let provider = Remembered::new(move |reason| {
        seen.lock().unwrap().push(reason);
        let number = asked.fetch_add(1, Ordering::SeqCst);
        std::future::ready(match number {
            3 => Err(NotAuthorized.into()),
            2 => Err("the issuer is down".into()),
            // Not kept for long: another one is asked for before each attempt.
            _ => Ok(IssuedToken::new(format!("{SECRET}-token-{number}")).expires_in(Duration::from_secs(1))),
        })
    });
    let judged = note.clone();
    let reconnect =
        Reconnect::new().delays(Duration::from_millis(1), Duration::from_millis(2)).judge(move |loss| {
            judged(&(loss, loss.to_string()));
            websockets_simple_client::Verdict::AsUsual
        });
    let hooked = note.clone();
    let signed = AtomicUsize::new(0);
    let hook = move |info, params: ClientParams| {
        hooked(&(info, &params));
        std::future::ready(match signed.fetch_add(1, Ordering::SeqCst) {
            1 => Err(NoAttempt::again("the signer is down")),
            _ => Ok(params
                .query("signature", format!("{SECRET}-query"))
                .header("x-signature", format!("{SECRET}-header"))),
        })
    };
    let params = params(listener.local_addr().unwrap())
        .token_provider(provider)
        .token_placement(placement)
        .before_attempt(hook)
        .offline(Offline::Keep { bytes: 1000, age: Duration::from_secs(60) })
        .reconnect(reconnect);
    let client = WebsocketClient::new(params).unwrap();
    let mut events = client.events();
    client.start();
    let subprotocol = "Sec-WebSocket-Protocol: websockets-simple\r\n";
    let (head, mut peer) = RawPeer::accept_with(&listener, subprotocol).await;
    assert!(
        head.contains(&format!("{SECRET}-query")) && head.contains(&format!("{SECRET}-header")),
        "{head}"
    );
    note(&within(client.connected()).await.unwrap());
    client.reconnect_now();
    peer.write(&unmasked(0x88, &1012_u16.to_be_bytes())).await;
    drop(peer);
    refuse(&listener, "401 Unauthorized").await;
    let mut states = client.states();
    let loss = within(async {
        loop {
            let state = states.recv().await.unwrap();
            note(&state);
            if let ClientState::GivenUp(loss) = state {
                return loss;
            }
        }
    })
    .await;
    let LossCause::Refused(error) = &loss.cause else { panic!("{loss:?}") };
    note(&(error, std::error::Error::source(&**error), &client));
    while let Some(event) = events.try_recv() {
        note(&event);
    }
    use TokenReason::{Again, First, Refused};
    assert_eq!(*reasons.lock().unwrap(), [First, Again, Refused, Again]);
    told.lock().unwrap().clone()
}

/// Is told its token by a server that closes, and connects again.
async fn quoted_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reconnect = Reconnect::new().delays(Duration::from_millis(1), Duration::from_millis(2));
    let token = format!("{SECRET}-token");
    let params = params(listener.local_addr().unwrap()).token(token.clone()).reconnect(reconnect);
    let client = WebsocketClient::new(params).unwrap();
    client.start();
    let mut peer = RawPeer::accept(&listener).await;
    peer.write(&unmasked(0x88, &[&1012_u16.to_be_bytes()[..], token.as_bytes()].concat())).await;
    let mut peer = RawPeer::accept(&listener).await;
    peer.write(&unmasked(0x88, &[&1008_u16.to_be_bytes()[..], token.as_bytes()].concat())).await;
    let mut states = client.states();
    while !matches!(within(states.recv()).await.unwrap(), ClientState::GivenUp(_)) {}
}

#[tokio::test]
async fn secrets_of_provider_query_and_header_are_told_nowhere() {
    let traced = Captured::everything();
    for placement in
        [TokenPlacement::Header, TokenPlacement::Query, TokenPlacement::Subprotocol, TokenPlacement::Path]
    {
        let told = life(placement).await;
        assert!(told.contains("Refused") && told.contains("Disconnected"), "it is told something: {told}");
        // Also where the server quotes them.
        let found = told.lines().find(|line| line.contains(SECRET));
        assert!(found.is_none() && told.contains("***"), "{placement:?}: {found:?}");
    }
    quoted_at_the_end().await;
    let traced = traced.text();
    assert!(traced.contains("not authorized: ***"), "it captures: {traced}");
    assert!(traced.contains("the client connects again after a pause"), "it captures: {traced}");
    let found = traced.find(SECRET).map(|at| &traced[at.saturating_sub(300)..(at + 50).min(traced.len())]);
    assert!(found.is_none(), "{found:?}");
    let numbers = format!("{:?}", SECRET.as_bytes());
    assert!(!traced.contains(numbers.trim_matches(['[', ']'])));
}
