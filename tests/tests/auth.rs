//! Who gets in, and that their tokens stay secret.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use websockets_simple_client::{ClientEvent, ConnectError, Token, TokenPlacement, WebsocketClient};
use websockets_simple_server::{
    Authenticated, Compatibility, ConnectionEventKind, Credentials, ErrorStage, Event, HandshakeRequest,
    Limits, MemoryUsers, ServerParams, SubscribeOptions, UnauthorizedDelivery, User, UserService,
    UserServiceError, WebsocketServerAuth,
};
use websockets_simple_tests::{
    captured::Captured, failed, next, params, raw::RawPeer, started, text, within,
};

fn users() -> MemoryUsers<i64> {
    let users = MemoryUsers::new();
    users.add("good-token", 7);
    users
}

#[tokio::test]
async fn every_placement_of_the_token_gets_the_user_in() {
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users());
    let mut events = server.events();
    let addr = started(&server).await;
    for placement in
        [TokenPlacement::Header, TokenPlacement::Subprotocol, TokenPlacement::Query, TokenPlacement::Path]
    {
        let params = params(addr).token("good-token").token_placement(placement);
        let client = WebsocketClient::new(params).unwrap();
        client.connect().await.unwrap();
        let user = next(&mut events, |event| match &event {
            Event::Connection(inner) if matches!(inner.kind, ConnectionEventKind::Connected(_)) => {
                event.user_id().copied()
            }
            _ => None,
        })
        .await;
        assert_eq!(user, 7, "{placement:?}");
    }
}

#[tokio::test]
async fn who_is_not_known_gets_401_with_the_text_and_the_challenge() {
    let server =
        WebsocketServerAuth::<i64>::new(ServerParams::local().unauthorized_text("Not authorized"), users());
    let addr = started(&server).await;
    for (target, headers) in
        [("/", "Authorization: Bearer wrong\r\n"), ("/", ""), ("/wrong", ""), ("/?token=wrong", "")]
    {
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request(target, headers).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert!(head.contains("Www-Authenticate: Bearer") && head.contains("Connection: close"), "{head}");
        assert_eq!(peer.all().await, b"Not authorized");
    }
    let client = WebsocketClient::new(params(addr).token("wrong")).unwrap();
    match client.connect().await {
        Err(ConnectError::Unauthorized { message, .. }) => assert_eq!(message, "Not authorized"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_different_tokens_are_refused_with_400() {
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users());
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/?token=other", "Authorization: Bearer good-token\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[tokio::test]
async fn a_browser_is_upgraded_told_so_and_closed_with_1008() {
    let server_params = ServerParams::local()
        .unauthorized_text("Not authorized")
        .unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let server = WebsocketServerAuth::<i64>::new(server_params, users());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::open(addr, "/", "Authorization: Bearer wrong\r\n").await;
    assert_eq!(peer.next().await.unwrap().as_text(), "Not authorized");
    assert_eq!(peer.next().await.unwrap().close_code(), Some(1008));
    peer.frame(0x88, &1008_u16.to_be_bytes()).await;
    assert!(peer.next().await.is_none());
    let client = WebsocketClient::new(params(addr).token("wrong")).unwrap();
    match client.connect().await {
        Err(ConnectError::Unauthorized { message, .. }) => assert_eq!(message, "Not authorized"),
        other => panic!("{other:?}"),
    }
    let mut refused = 0;
    next(&mut events, |event| match event {
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Connecting(_) => None,
            ConnectionEventKind::Refused(..) => {
                refused += 1;
                (refused == 2).then_some(())
            }
            other => panic!("{other:?}"),
        },
        _ => None,
    })
    .await;
    assert_eq!(server.connection_count(), 0);
}

/// Counts what it is asked, and does as the token says.
#[derive(Clone, Default)]
struct Scripted(Arc<AtomicUsize>);

#[async_trait]
impl UserService for Scripted {
    type Id = i64;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match credentials.token().map(Token::expose) {
            Some("slow") => std::future::pending().await,
            Some("panic") => panic!("panic over the token"),
            Some("fail") => Err(UserServiceError::new("down")),
            Some("good") => Ok(Some(Authenticated::new(1))),
            None => Ok(Some(Authenticated::new(0))),
            Some(_) => Ok(None),
        }
    }
}

#[tokio::test]
async fn nothing_ever_fails_open() {
    let limits = Limits::default().authentication(Duration::from_millis(100));
    let service = Scripted::default();
    let users: Arc<dyn UserService<Id = i64>> = Arc::new(service.clone());
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().limits(limits), users);
    let mut events = server.events();
    let addr = started(&server).await;
    for token in ["slow", "panic", "fail"] {
        let client = WebsocketClient::new(params(addr).token(token)).unwrap();
        match client.connect().await {
            Err(ConnectError::Rejected { status: 503, retry_after: Some(_), .. }) => {}
            other => panic!("{token}: {other:?}"),
        }
        let stage = failed(&mut events).await;
        assert_eq!(stage, ErrorStage::UserService, "{token}");
    }
    assert_eq!(service.0.load(Ordering::SeqCst), 3);
    let client = WebsocketClient::new(params(addr)).unwrap();
    assert!(matches!(client.connect().await, Err(ConnectError::Unauthorized { .. })));
    assert_eq!(service.0.load(Ordering::SeqCst), 3, "nobody is asked about no credentials");
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn a_handshake_that_runs_out_of_time_while_the_service_thinks_is_refused_once() {
    let limits =
        Limits::default().handshake(Duration::from_millis(100)).authentication(Duration::from_secs(60));
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().limits(limits), Scripted::default());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    assert_eq!(peer.request("/slow", "").await, "", "cut");
    let mut story = Vec::new();
    next(&mut events, |event| match event {
        Event::Connection(event) => {
            story.push(matches!(event.kind, ConnectionEventKind::Refused(..)));
            story.last().copied()?.then_some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(story, [false, true], "Connecting, then Refused");
}

#[tokio::test]
async fn a_service_can_be_asked_about_clients_without_credentials() {
    let server_params = ServerParams::local().ask_without_credentials(true);
    let server = WebsocketServerAuth::<i64>::new(server_params, Scripted::default());
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    client.connect().await.unwrap();
    within(async {
        while !server.is_user_connected(&0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn no_token_is_ever_traced_told_or_shown_whatever_carries_it() {
    let captured = Captured::everything();
    let mut shown = String::new();
    for (n, placement) in
        [TokenPlacement::Header, TokenPlacement::Subprotocol, TokenPlacement::Query, TokenPlacement::Path]
            .into_iter()
            .enumerate()
    {
        for compatibility in [Compatibility::None, Compatibility::DotNetV6] {
            for delivery in [UnauthorizedDelivery::Http401, UnauthorizedDelivery::UpgradeAndClose] {
                for (token, known) in [("t0p secret/é", true), ("n0b0dy's/é", false)] {
                    let token = if n == 0 { token.replace([' ', 'é'], "-") } else { token.to_owned() };
                    conversation(&token, known, placement, compatibility, delivery, &mut shown).await;
                }
            }
        }
    }
    for renewing in ["t0p-secret-2", "n0b0dy-2"] {
        renewal(renewing, &mut shown).await;
    }
    let traced = captured.text();
    assert!(traced.contains("websockets_simple_server"), "it captures: {traced}");
    for secret in ["t0p", "n0b0dy"] {
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(secret);
        for needle in [secret, &encoded[..4]] {
            for (where_, text) in [("a trace", &traced), ("an event or error", &shown)] {
                let found =
                    text.find(needle).map(|at| &text[at.saturating_sub(200)..(at + 50).min(text.len())]);
                assert!(found.is_none(), "{needle} in {where_}: {found:?}");
            }
        }
    }
}

/// A client that renews its credentials over the open connection, with a token that is good or not.
async fn renewal(renewing: &'static str, shown: &mut String) {
    let users = MemoryUsers::new();
    users.add_until("t0p-secret-1", 7_i64, Utc::now() + Duration::from_secs(30));
    users.add("t0p-secret-2", 7);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let mut told = server.events_with(SubscribeOptions::default().sent());
    let addr = started(&server).await;
    let asked = AtomicUsize::new(0);
    let provider = move |_| {
        let token = if asked.fetch_add(1, Ordering::Relaxed) == 0 { "t0p-secret-1" } else { renewing };
        std::future::ready(Ok(Token::new(token)))
    };
    let client = WebsocketClient::new(params(addr).token_provider(provider)).unwrap();
    let mut heard = client.events_with(SubscribeOptions::default().sent());
    shown.push_str(&format!("{:?} {client:?}\n", client.connect().await.unwrap()));
    // What comes of it: no expiry any more, or an error that the client tells.
    let serving = server.connections().remove(0);
    let told_of = within(async {
        loop {
            if serving.authenticated().expiry().is_none() {
                return String::new();
            }
            if let Some(ClientEvent::Error(failure)) = heard.try_recv() {
                return format!("{failure:?}");
            }
            tokio::task::yield_now().await;
        }
    });
    let told_of = told_of.await;
    assert_eq!(told_of.contains("not authorized"), renewing.starts_with("n0b0dy"), "{told_of}");
    shown.push_str(&told_of);
    within(client.disconnect()).await;
    within(server.stop()).await;
    while let Some(event) = told.try_recv() {
        shown.push_str(&format!("{event:?}\n"));
    }
    while let Some(event) = heard.try_recv() {
        shown.push_str(&format!("{event:?}\n"));
    }
}

async fn conversation(
    token: &str,
    known: bool,
    placement: TokenPlacement,
    compatibility: Compatibility,
    delivery: UnauthorizedDelivery,
    shown: &mut String,
) {
    let users = MemoryUsers::new();
    for known in ["t0p secret/é", "t0p-secret/-", "t0p%20secret/%C3%A9"] {
        users.add(known, 7_i64);
    }
    let server_params = ServerParams::local()
        .compatibility(compatibility)
        .unauthorized_delivery(delivery)
        .success_text("hello");
    let server = WebsocketServerAuth::<i64>::new(server_params, users);
    let mut told = server.events_with(SubscribeOptions::default().sent());
    let addr = started(&server).await;
    let client_params = params(addr).token(token).token_placement(placement);
    let mut remember = |text: String| {
        shown.push_str(&text);
        shown.push('\n');
    };
    remember(format!("{client_params:?}"));
    let client = WebsocketClient::new(client_params).unwrap();
    let mut heard = client.events_with(SubscribeOptions::default().sent());
    let answer = client.connect().await;
    remember(format!("{answer:?} {client:?} {server:?}"));
    if let Err(error) = &answer {
        remember(error.to_string());
    }
    assert_eq!(answer.is_ok(), known, "{placement:?} {answer:?}");
    if known {
        assert_eq!(text(&mut heard).await, "hello");
        client.send("something").await.unwrap();
        let connection = next(&mut told, |event: Event<User<i64>>| {
            remember(format!("{event:?}"));
            match event {
                Event::Message(event) if event.message.len() > 20 => Some(event.connection),
                _ => None,
            }
        })
        .await;
        remember(format!("{connection:?} {:?} {:?}", connection.request(), connection.authenticated()));
        remember(connection.request().headers().map(|(name, value)| format!("{name}: {value}\n")).collect());
        remember(
            connection.request().query_pairs().map(|(name, value)| format!("{name}={value}\n")).collect(),
        );
        remember(format!("{:?}", within(client.disconnect()).await));
    }
    within(server.stop()).await;
    while let Some(event) = told.try_recv() {
        remember(format!("{event:?}"));
    }
    while let Some(event) = heard.try_recv() {
        remember(format!("{event:?}"));
    }
}
