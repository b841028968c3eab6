//! Which connections a revocation closes, and when.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use chrono::Utc;
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming};
use tokio::sync::Notify;
use websockets_simple_client::{Message, Token, WebsocketClient};
use websockets_simple_server::{
    Authenticated, Credentials, EndedBy, Event, HandshakeRequest, MemoryUsers, Revocation, Revocations,
    ServerParams, UserService, UserServiceError, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{connected, ended, opened, params, raw::RawPeer, received, started, within};

async fn page(_: Request<Incoming>) -> Response<Full<Bytes>> {
    Response::new(Full::from("a page"))
}

#[tokio::test]
async fn who_logs_in_anew_after_a_revocation_stays_connected_also_on_a_kept_alive_connection() {
    let users = MemoryUsers::new();
    let old = users.issue(7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().fallback(page), users.clone());
    let mut events = server.events();
    let addr = started(&server).await;
    for with_page in [true, false] {
        let mut peer = RawPeer::connect(addr).await;
        if with_page {
            peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
            assert_eq!(peer.take(6).await, b"a page");
        }
        users.revoke_user(&7);
        assert_eq!(server.revoke(&Revocation::User(7)), 0);
        let token = users.issue(7);
        let head = peer.request(&format!("/?token={}", token.expose()), "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let connection = opened(&mut events).await;
        peer.text("still here").await;
        assert_eq!(received(&mut events).await.as_text(), Some("still here"));
        assert!(connection.is_open());
        drop(peer);
        ended(&mut events).await;
    }
    assert_eq!(websockets_simple_tests::raw::status(addr, old.expose()).await, 401);
}

/// Tokens are `CREDENTIAL:MILLISECONDS`: their ids, and how long they are good from when they are shown. All are of user
/// 7.
#[derive(Default)]
struct Named(Mutex<Vec<String>>);

#[async_trait]
impl UserService for Named {
    type Id = i64;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        let (credential, millis) = credentials.token().unwrap().expose().split_once(':').unwrap();
        self.0.lock().unwrap().push(credential.to_owned());
        let until = Utc::now() + Duration::from_millis(millis.parse().unwrap());
        Ok(Some(Authenticated::new(7).credential(credential).expires_at(until)))
    }
}

#[tokio::test]
async fn a_renewed_connection_is_that_of_its_new_credentials_and_no_longer_of_its_old_ones() {
    let users = Arc::new(Named::default());
    let expiring = ServerParams::local().expiry(Duration::from_secs(60), Duration::from_secs(60));
    let server = WebsocketServerAuth::<i64>::new(expiring, Arc::clone(&users));
    let mut events = server.events();
    let addr = started(&server).await;
    let shown = AtomicUsize::new(0);
    let provider = move |_| {
        let tokens = ["old:1000", "new:3600000"];
        let next = shown.fetch_add(1, Ordering::Relaxed).min(1);
        std::future::ready(Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Token::new(tokens[next])))
    };
    let client = WebsocketClient::new(params(addr).token_provider(provider)).unwrap();
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;
    within(async {
        while connection.authenticated().credential_id() != Some("new") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.revoke(&Revocation::Credential("old".to_owned())), 0);
    client.send(Message::text("still here")).await.unwrap();
    assert_eq!(received(&mut events).await.as_text(), Some("still here"));
    assert_eq!(server.revoke(&Revocation::Credential("new".to_owned())), 1);
    assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
    assert_eq!(server.revoke(&Revocation::Credential("new".to_owned())), 0, "it is gone");
}

#[tokio::test]
async fn one_credential_of_many_connections_is_revoked_alone_and_a_user_with_all_of_them() {
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), Arc::new(Named::default()));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut clients = Vec::new();
    for credential in ["a", "b", "a", "c"] {
        clients.push(connected(params(addr).token(format!("{credential}:3600000"))).await);
        opened(&mut events).await;
    }
    assert_eq!(server.revoke(&Revocation::Credential("a".to_owned())), 2);
    for _ in 0..2 {
        assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
    }
    assert_eq!(server.connection_count(), 2);
    assert_eq!(server.revoke(&Revocation::User(8)), 0);
    assert_eq!(server.revoke(&Revocation::User(7)), 2);
}

#[tokio::test]
async fn after_a_revocation_no_message_is_handled_that_was_received_before() {
    let users = MemoryUsers::new();
    let (token, local) = (users.issue(7_i64), users.issue(8));
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users.clone());
    let (busy, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handled = Arc::new(Mutex::new(Vec::new()));
    server.on({
        let (busy, go_on, handled) = (Arc::clone(&busy), Arc::clone(&go_on), Arc::clone(&handled));
        move |event| {
            let (busy, go_on, handled) = (Arc::clone(&busy), Arc::clone(&go_on), Arc::clone(&handled));
            async move {
                if let Event::Message(event) = event {
                    handled.lock().unwrap().push(event.message.as_text().unwrap().to_owned());
                    busy.notify_one();
                    go_on.notified().await;
                }
            }
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    for (token, by_user) in [(token, true), (local, false)] {
        let client = connected(params(addr).token(token.expose())).await;
        let connection = opened(&mut events).await;
        for n in 0..5 {
            client.send(Message::text(format!("{n}"))).await.unwrap();
        }
        within(busy.notified()).await;
        within(async {
            while connection.statistics().messages_received < 5 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        if by_user {
            assert_eq!(users.revoke_user(&7), 1);
        } else {
            assert!(users.revoke(&token));
        }
        within(async {
            while connection.is_open() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        go_on.notify_one();
        assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
        assert_eq!(std::mem::take(&mut *handled.lock().unwrap()), ["0"]);
    }
}

/// Knows everybody, and revokes without end.
struct Revoking(Arc<Notify>);

#[async_trait]
impl UserService for Revoking {
    type Id = i64;

    async fn authenticate(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        Ok(Some(Authenticated::new(7).credential("good")))
    }

    fn revocations(&self) -> Option<Revocations<i64>> {
        struct Endless(Arc<Notify>);

        impl futures_core::Stream for Endless {
            type Item = Revocation<i64>;

            fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Revocation<i64>>> {
                self.0.notify_one();
                Poll::Ready(Some(Revocation::Credential("bad".to_owned())))
            }
        }

        Some(Box::pin(Endless(Arc::clone(&self.0))))
    }
}

#[tokio::test]
async fn a_stream_of_revocations_that_is_always_ready_leaves_the_thread_to_others() {
    let begun = Arc::new(Notify::new());
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), Revoking(Arc::clone(&begun)));
    let addr = started(&server).await;
    within(begun.notified()).await;
    let client = connected(params(addr).token("any")).await;
    assert!(client.is_running());
    within(server.stop()).await;
}
