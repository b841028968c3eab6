//! Users by what an issuer says about their tokens.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use websockets_simple_server::{
    ClientAuthentication, ConnectionEventKind, Event, IntrospectedUsers, IssuerUrlError, ServerParams,
    WebsocketServerAuth,
};
use websockets_simple_tests::{
    captured::Captured,
    issuer::{Answer, Issuer, now},
    next,
    raw::{RawPeer, status},
    started, within,
};

fn says(answer: &Value) -> Answer {
    Answer::Body(answer.to_string())
}

fn active() -> Answer {
    says(&json!({"active": true, "sub": "7"}))
}

fn inactive() -> Answer {
    says(&json!({"active": false}))
}

fn users(issuer: &Issuer) -> IntrospectedUsers<i64> {
    let chat = ClientAuthentication::basic("chat", "s3cr3t:é");
    IntrospectedUsers::danger_without_tls(&issuer.url("/introspect"), chat).unwrap()
}

async fn server(users: IntrospectedUsers<i64>) -> (WebsocketServerAuth<i64>, SocketAddr) {
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let addr = started(&server).await;
    (server, addr)
}

#[tokio::test]
async fn an_active_token_opens_a_connection_of_its_user_and_an_inactive_one_does_not() {
    let issuer = Issuer::start(active()).await;
    let (server, addr) = server(users(&issuer)).await;
    let mut events = server.events();
    let _peer = RawPeer::open(addr, "/", "Authorization: Bearer good/+=&token\r\n").await;
    let user = next(&mut events, |event| match &event {
        Event::Connection(inner) if matches!(inner.kind, ConnectionEventKind::Connected(_)) => {
            event.user_id().copied()
        }
        _ => None,
    });
    assert_eq!(user.await, 7);
    issuer.answers(inactive());
    assert_eq!(status(addr, "other").await, 401);
}

#[tokio::test]
async fn the_issuer_is_asked_as_the_rfc_says() {
    let issuer = Issuer::start(active()).await;
    let (_server, addr) = server(users(&issuer)).await;
    assert_eq!(status(addr, "good/+=&token").await, 101);
    let asked = issuer.asked().remove(0);
    assert_eq!(asked.line, "POST /introspect");
    assert_eq!(asked.body, "token=good%2F%2B%3D%26token&token_type_hint=access_token");
    // Base64 of `chat:s3cr3t%3A%C3%A9`.
    let basic = "authorization: Basic Y2hhdDpzM2NyM3QlM0ElQzMlQTk=";
    for header in [basic, "accept: application/json", "content-type: application/x-www-form-urlencoded"] {
        assert!(asked.headers.lines().any(|line| line == header), "{header} in {}", asked.headers);
    }
    let url = issuer.url("/introspect");
    let users = IntrospectedUsers::danger_without_tls(&url, ClientAuthentication::bearer("ours"));
    let (_server, addr) = server(users.unwrap()).await;
    assert_eq!(status(addr, "good").await, 101);
    let asked = issuer.asked().remove(1);
    assert!(asked.headers.contains("authorization: Bearer ours"), "{}", asked.headers);
}

#[tokio::test]
async fn an_issuer_that_cannot_tell_is_a_503_and_nothing_of_it_is_remembered() {
    for answer in [
        Answer::Body(String::new()),
        Answer::Body("<html>".to_owned()),
        Answer::Body("[true]".to_owned()),
        says(&json!({})),
        says(&json!({"active": "true", "sub": "7"})),
        says(&json!({"active": true, "sub": "7", "exp": "soon"})),
        says(&json!({"active": true, "sub": "7", "padding": "x".repeat(64 * 1024)})),
        Answer::Endless,
        Answer::Hangup,
        Answer::Oversized,
        Answer::Redirect("/elsewhere"),
        Answer::Silence,
        Answer::Status(401),
        Answer::Status(404),
        Answer::Status(500),
        Answer::Status(204),
    ] {
        let issuer = Issuer::start(answer.clone()).await;
        let patience = if matches!(answer, Answer::Silence) { 100 } else { 4000 };
        let (_server, addr) = server(users(&issuer).timeout(Duration::from_millis(patience))).await;
        assert_eq!((status(addr, "token").await, issuer.requests()), (503, 1), "{answer:?}");
        issuer.answers(active());
        let after = within(async {
            // What is slow may be slow again.
            loop {
                match status(addr, "token").await {
                    503 if matches!(answer, Answer::Silence) => {}
                    status => break status,
                }
            }
        });
        assert_eq!(after.await, 101, "{answer:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_a_503() {
    let issuer = Issuer::start(active()).await;
    let users = users(&issuer);
    drop(issuer);
    let (_server, addr) = server(users).await;
    assert_eq!(status(addr, "token").await, 503);
}

#[tokio::test]
async fn twenty_handshakes_at_once_ask_once_and_the_answer_is_remembered() {
    for (answer, expected) in [(active(), 101), (inactive(), 401)] {
        let issuer = Issuer::start(answer).await;
        issuer.hold(true);
        let (server, addr) = server(users(&issuer).unknown_for(Duration::from_secs(600))).await;
        let mut events = server.events();
        let mut clients = JoinSet::new();
        for _ in 0..20 {
            clients.spawn(async move { status(addr, "token").await });
        }
        for _ in 0..20 {
            next(&mut events, |event| match event {
                Event::Connection(event) => {
                    matches!(event.kind, ConnectionEventKind::Connecting(_)).then_some(())
                }
                _ => None,
            })
            .await;
        }
        issuer.hold(false);
        assert_eq!(within(clients.join_all()).await, [expected; 20]);
        assert_eq!((status(addr, "token").await, issuer.requests()), (expected, 1));
        status(addr, "another token").await;
        assert_eq!(issuer.requests(), 2, "which is another question");
    }
}

#[tokio::test]
async fn a_user_is_forgotten_when_the_token_expires_however_long_users_are_remembered() {
    let issuer = Issuer::start(says(&json!({"active": true, "sub": "7", "exp": now() + 2}))).await;
    let (_server, addr) = server(users(&issuer).known_for(Duration::from_secs(3600))).await;
    assert_eq!(status(addr, "token").await, 101);
    issuer.answers(inactive());
    within(async { while status(addr, "token").await != 401 {} }).await;
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn what_the_issuer_takes_back_works_only_for_as_long_as_users_are_remembered() {
    let issuer = Issuer::start(active()).await;
    let (_server, addr) = server(users(&issuer).known_for(Duration::from_millis(50))).await;
    assert_eq!(status(addr, "token").await, 101);
    issuer.answers(inactive());
    within(async { while status(addr, "token").await != 401 {} }).await;
}

#[tokio::test]
async fn a_huge_token_is_refused_with_401_and_the_issuer_is_not_asked() {
    let issuer = Issuer::start(active()).await;
    let (_server, addr) = server(users(&issuer)).await;
    assert_eq!((status(addr, &"x".repeat(8 * 1024 + 1)).await, issuer.requests()), (401, 0));
    assert_eq!((status(addr, &"x".repeat(8 * 1024)).await, issuer.requests()), (101, 1));
}

#[test]
fn tokens_are_not_sent_without_tls_unless_told_so() {
    let chat = || ClientAuthentication::basic("chat", "secret");
    let said = IntrospectedUsers::<i64>::new("http://127.0.0.1/introspect", chat());
    assert!(matches!(said, Err(IssuerUrlError::NotHttps)));
    assert!(IntrospectedUsers::<i64>::new("https://127.0.0.1/introspect", chat()).is_ok());
}

#[tokio::test]
async fn neither_tokens_nor_the_secret_of_the_client_are_traced_or_told() {
    let captured = Captured::everything();
    let mut told = String::new();
    for answer in [
        active(),
        inactive(),
        says(&json!({"active": "t0p-t0ken", "token": "t0p-t0ken"})),
        Answer::Body("t0p-t0ken".to_owned()),
        Answer::Hangup,
        Answer::Silence,
        Answer::Status(400),
    ] {
        let issuer = Issuer::start(answer).await;
        let (server, addr) = server(users(&issuer).timeout(Duration::from_secs(1))).await;
        let mut events = server.events();
        status(addr, "t0p-t0ken").await;
        server.stop().await;
        within(async {
            while let Some(event) = events.recv().await {
                told.push_str(&format!("{event:?}"));
                if let Event::Error(event) = &event {
                    let mut error: Option<&dyn std::error::Error> = Some(&event.error);
                    while let Some(level) = error {
                        told.push_str(&format!("{level} {level:?}"));
                        error = level.source();
                    }
                }
                if matches!(event, Event::Server(_)) {
                    break;
                }
            }
        })
        .await;
    }
    let traced = captured.text();
    assert!(traced.contains("websockets_simple_server") && traced.contains("hyper"), "it captures");
    assert!(told.contains("UserService"), "{told}");
    for secret in ["t0p-t0ken", "s3cr3t", "Y2hhdDpzM2NyM3Q"] {
        for (where_, text) in [("a trace", &traced), ("an event or error", &told)] {
            let found = text.find(secret).map(|at| &text[at.saturating_sub(300)..(at + 30).min(text.len())]);
            assert!(found.is_none(), "{secret} in {where_}: {found:?}");
        }
    }
}
