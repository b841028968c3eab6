//! Credentials that expire, are renewed or revoked while their connection is open.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use websockets_simple_client::{
    ClientEvent, ClientParams, Message, Token, WebsocketClient, params::TokenReason,
};
use websockets_simple_core::wall_clock;
use websockets_simple_server::{
    Authenticated, Credentials, EndedBy, ErrorStage, Event, HandshakeRequest, MemoryUsers, Revocation,
    ServerParams, UserService, UserServiceError, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{
    connected, ended, message, opened, params, raw::RawPeer, received, started, within,
};

/// Tokens look like `user:milliseconds`: whose they are, and how long they are good from when they are shown.
#[derive(Default)]
struct Timed {
    asked: AtomicUsize,
    /// Whether the service is down.
    down: Mutex<bool>,
}

#[async_trait]
impl UserService for Timed {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if *self.down.lock().unwrap() {
            return Err(UserServiceError::new("down"));
        }
        let Some((user, millis)) = credentials.token().and_then(|token| token.expose().split_once(':'))
        else {
            return Ok(None);
        };
        let Ok(millis) = millis.parse() else { return Ok(None) };
        let until = wall_clock() + Duration::from_millis(millis);
        Ok(Some(Authenticated::new(user.to_owned()).expires_at(until).credential(format!("of {user}"))))
    }
}

fn server(users: &Arc<Timed>, notice: u64, grace: u64) -> WebsocketServerAuth<String> {
    let millis = Duration::from_millis;
    WebsocketServerAuth::new(ServerParams::local().expiry(millis(notice), millis(grace)), Arc::clone(users))
}

/// A provider whose tokens are of these users, each good for that long, the last one for ever after.
fn provider(tokens: &[&str]) -> (impl Fn(TokenReason) -> Ready + Send + Sync + 'static, Arc<AtomicUsize>) {
    let tokens: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
    let given = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given);
    let next = move |_| {
        let at = counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Token::new(tokens.get(at).unwrap_or(&tokens[tokens.len() - 1]).as_str())))
    };
    (next, given)
}

type Ready = std::future::Ready<Result<Token, Box<dyn std::error::Error + Send + Sync>>>;

fn left(expiry: Option<DateTime<Utc>>) -> chrono::TimeDelta {
    expiry.unwrap() - wall_clock()
}

#[tokio::test]
async fn a_client_with_a_provider_renews_its_credentials_and_nobody_notices() {
    let users = Arc::new(Timed::default());
    let server = server(&users, 60_000, 10_000);
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let _ = event.connection.send(event.message).await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let (provider, given) = provider(&["ronald:1000", "ronald:3600000"]);
    let client = WebsocketClient::new(params(addr).token_provider(provider)).unwrap();
    let mut heard = client.events();
    let connection = client.connect().await.unwrap();
    assert_eq!(connection.subprotocol(), Some("websockets-simple"));
    let serving = opened(&mut events).await;
    within(async {
        while left(serving.authenticated().expiry()) < chrono::TimeDelta::minutes(30) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(given.load(Ordering::Relaxed), 2);
    client.send(Message::text("still here")).await.unwrap();
    // Neither side has seen anything of it.
    assert_eq!(received(&mut events).await, Message::text("still here"));
    assert_eq!(message(&mut heard).await, Message::text("still here"));
    assert_eq!(serving.statistics().messages_received, 1);
    assert_eq!(connection.statistics().messages_received, 1);
}

#[tokio::test]
async fn who_cannot_renew_is_closed_after_the_grace_and_who_cannot_be_asked_at_once() {
    let users = Arc::new(Timed::default());
    let server = server(&users, 0, 300);
    let mut events = server.events();
    let addr = started(&server).await;
    for (subprotocol, least) in [(true, 600), (false, 300)] {
        let mut params = params(addr).token("ronald:300");
        if subprotocol {
            params = params.subprotocol("websockets-simple");
        }
        let begun = tokio::time::Instant::now();
        let _client = connected(params).await;
        let end = ended(&mut events).await;
        assert_eq!((end.by, end.code), (EndedBy::Expired, Some(4003)));
        assert_eq!(end.reason, "the credentials have expired");
        assert!(begun.elapsed() >= Duration::from_millis(least), "{:?}", begun.elapsed());
    }
}

/// What the server says to a peer that shows this token for renewal: the control message, or the Close.
async fn answer_to(addr: std::net::SocketAddr, tokens: &[&str]) -> String {
    let mut peer =
        RawPeer::open(addr, "/?token=ronald:3600000", "Sec-WebSocket-Protocol: websockets-simple\r\n").await;
    let hello = peer.next().await.unwrap().as_text();
    let (word, _) = hello.split_once("\"type\":\"hello\"").unwrap();
    let mut answer = String::new();
    for token in tokens {
        peer.text(&format!("{word}\"type\":\"token\",\"token\":\"{token}\"}}")).await;
        let frame = peer.next().await.unwrap();
        answer = match frame.close_code() {
            Some(code) => format!("{code} {}", String::from_utf8_lossy(&frame.payload[2..])),
            None => frame.as_text()[word.len()..].to_owned(),
        };
    }
    answer
}

#[tokio::test]
async fn each_token_that_does_not_renew_gets_its_own_answer() {
    let users = Arc::new(Timed::default());
    let server = server(&users, 0, 0);
    let addr = started(&server).await;
    let refused = "\"type\":\"refused\",\"reason\":\"not authorized\"}";
    assert!(
        answer_to(addr, &["ronald:7200000"]).await.starts_with("\"type\":\"renewed\",\"expires_at\":\"2")
    );
    assert_eq!(answer_to(addr, &["unknown"]).await, refused);
    assert_eq!(answer_to(addr, &["unknown", "unknown"]).await, refused);
    let third = answer_to(addr, &["unknown", "unknown", "unknown"]).await;
    assert_eq!(third, "1008 too many tokens that are not accepted");
    assert_eq!(answer_to(addr, &["mallory:7200000"]).await, "1008 the new token is of another user");
}

#[tokio::test]
async fn a_service_that_is_down_does_not_end_a_connection_before_its_time() {
    let users = Arc::new(Timed::default());
    let server = server(&users, 60_000, 60_000);
    let mut events = server.events();
    let addr = started(&server).await;
    let down = Arc::clone(&users);
    let (next, _) = provider(&["ronald:3000"]);
    let provider = move |reason| {
        // Up for the handshake, down from then on.
        *down.down.lock().unwrap() = down.asked.load(Ordering::Relaxed) > 0;
        next(reason)
    };
    let client = WebsocketClient::new(params(addr).token_provider(provider)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let failure = within(async {
        loop {
            if let ClientEvent::Error(failure) = heard.recv().await.unwrap() {
                return failure;
            }
        }
    });
    let failure = failure.await;
    assert_eq!(failure.stage, ErrorStage::TokenProvider);
    assert_eq!(failure.error.to_string(), "the server refused the new token: the server cannot tell now");
    assert_eq!(websockets_simple_tests::failed(&mut events).await, ErrorStage::UserService);
    assert!(client.is_running());
}

#[tokio::test]
async fn a_provider_that_panics_at_a_renewal_is_one_that_fails_and_the_connection_goes_on() {
    let users = Arc::new(Timed::default());
    let server = server(&users, 60_000, 300);
    let mut events = server.events();
    let addr = started(&server).await;
    let given = AtomicUsize::new(0);
    let provider = move |_| {
        assert_eq!(given.fetch_add(1, Ordering::Relaxed), 0, "the secret was lost");
        std::future::ready(Ok(Token::new("ronald:500")))
    };
    let client = WebsocketClient::new(params(addr).token_provider(provider)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let failed = within(async {
        loop {
            if let ClientEvent::Error(event) = heard.recv().await.unwrap() {
                return event;
            }
        }
    })
    .await;
    assert_eq!(
        (failed.stage, failed.error.to_string().as_str()),
        (ErrorStage::TokenProvider, "the token provider panicked")
    );
    assert!(client.is_running());
    assert_eq!(ended(&mut events).await.by, EndedBy::Expired);
}

#[tokio::test]
async fn a_provider_without_a_token_is_an_error_of_connect_that_keeps_its_secret() {
    let provider = |_| std::future::ready(Err::<Token, _>("the vault is sealed".into()));
    let client = WebsocketClient::new(ClientParams::new("localhost", 1).token_provider(provider)).unwrap();
    let error = client.connect().await.unwrap_err();
    assert_eq!(error.to_string(), "the token provider returned no usable token");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the vault is sealed");
    let provider = |_| std::future::ready(Ok(Token::new("two words")));
    let client = WebsocketClient::new(ClientParams::new("localhost", 1).token_provider(provider)).unwrap();
    let error = client.connect().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the token is empty or contains characters that are not allowed in a header");
}

#[tokio::test]
async fn revoking_a_token_closes_the_connections_that_were_opened_with_it_and_no_others() {
    let users = MemoryUsers::new();
    let (phone, laptop) = (users.issue("ronald".to_owned()), users.issue("ronald".to_owned()));
    let server = WebsocketServerAuth::<String>::new(ServerParams::local(), users.clone());
    let mut events = server.events();
    let addr = started(&server).await;
    let first = connected(params(addr).token(phone.expose())).await;
    let second = connected(params(addr).token(laptop.expose())).await;
    for _ in 0..2 {
        opened(&mut events).await;
    }
    assert!(users.revoke(&phone));
    let end = ended(&mut events).await;
    assert_eq!((end.by, end.code), (EndedBy::Revoked, Some(4004)));
    within(async {
        while first.is_running() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(second.is_running());
    assert_eq!(users.revoke_user(&"ronald".to_owned()), 1);
    assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
    assert_eq!(server.connection_count(), 0);
}

/// Says yes, but only once it is told to.
struct Slow {
    asked: Arc<Notify>,
    answer: Arc<Notify>,
}

#[async_trait]
impl UserService for Slow {
    type Id = i64;

    async fn authenticate(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        self.asked.notify_one();
        self.answer.notified().await;
        Ok(Some(Authenticated::new(7)))
    }
}

#[tokio::test]
async fn a_handshake_on_its_way_does_not_slip_past_a_revocation() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = Slow { asked: Arc::clone(&asked), answer: Arc::clone(&answer) };
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), slow);
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).token("any")).unwrap();
    let connecting = async {
        let _ = client.connect().await;
    };
    let revoking = async {
        within(asked.notified()).await;
        assert_eq!(server.revoke(&Revocation::User(7)), 0, "it is no connection yet");
        answer.notify_one();
    };
    tokio::join!(connecting, revoking);
    assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
}

#[tokio::test(start_paused = true)]
async fn credentials_expire_in_paused_time_as_timers_do() {
    let users = Arc::new(Timed::default());
    let server = server(&users, 60_000, 30_000);
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).token("bob:3600000").connect_timeout(A_DAY)).unwrap();
    let connection = client.connect().await.unwrap();
    let at = tokio::time::Instant::now();
    let end = tokio::time::timeout(A_DAY, connection.closed()).await.expect("an hour is less than a day");
    assert_eq!((end.code, end.should_reconnect()), (Some(4003), true));
    let took = at.elapsed();
    assert!((3590..=3602).contains(&took.as_secs()), "{took:?}");
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
