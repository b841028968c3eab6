//! Start, stop, start again, and calling these from inside.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::Notify;
use websockets_simple_client::{ClientEvent, CloseCode, ConnectError, WebsocketClient};
use websockets_simple_server::{
    Authenticated, ConnectionEventKind, Credentials, EndedBy, Endpoint, ErrorStage, Event, HandshakeRequest,
    Revocation, Revocations, ServerEventKind, ServerParams, StartError, UserService, UserServiceError,
    WebsocketServer, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{connected, ended, message, next, params, raw::RawPeer, started, text, within};

#[tokio::test]
async fn a_server_starts_stops_and_starts_again_on_the_same_port_with_its_subscriptions() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    assert!(!server.is_running());
    assert_eq!(server.local_addr(), None);
    let first = started(&server).await;
    assert!(server.is_running());
    let client = connected(params(first)).await;
    let report = within(server.stop()).await;
    assert_eq!((report.clean, report.unclean, report.dropped), (1, 0, 0));
    assert!(!server.is_running());
    assert_eq!(started(&server).await, first);
    connected(params(first)).await;
    let mut starts = 0;
    next(&mut events, |event| {
        if let Event::Server(event) = &event
            && let ServerEventKind::Started(addrs) = &event.kind
        {
            assert_eq!(addrs[..], [first]);
            starts += 1;
        }
        (starts == 2).then_some(())
    })
    .await;
    let end = within(client.disconnect()).await;
    assert!(end.is_none(), "the stop had ended it: {end:?}");
    within(server.stop()).await;
}

#[tokio::test]
async fn a_failed_bind_is_an_error_of_start_and_the_server_does_not_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::tcp(taken.local_addr().unwrap());
    let server = WebsocketServer::new(ServerParams::local().endpoint(endpoint));
    let error = server.start().await.unwrap_err();
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
    assert!(!server.is_running());
    drop(taken);
    server.start().await.unwrap();
    assert!(matches!(server.start().await, Err(StartError::AlreadyRunning)));
    within(server.stop()).await;
}

#[tokio::test]
async fn a_stop_says_1001_to_everybody_and_flushes_what_is_queued() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut events = client.events();
    client.connect().await.unwrap();
    let mut seen = server.events();
    client.send("here").await.unwrap();
    next(&mut seen, |event| matches!(event, Event::Message(_)).then_some(())).await;
    for n in 0..100 {
        server.broadcast(websockets_simple_server::Message::text(format!("{n}"))).unwrap();
    }
    let report = within(server.stop()).await;
    assert_eq!(report.clean, 1);
    for n in 0..100 {
        assert_eq!(text(&mut events).await, format!("{n}"));
    }
    let end = within(async {
        loop {
            if let Some(ClientEvent::Connection(event)) = events.recv().await
                && let ConnectionEventKind::Disconnected(_, end) = event.kind
            {
                return end;
            }
        }
    })
    .await;
    assert_eq!((end.code, end.by, end.clean), (Some(1001), EndedBy::Peer, true));
    assert!(!client.is_running());
}

#[tokio::test]
async fn after_a_stop_nobody_is_connected_and_nobody_gets_in() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let _client = connected(params(addr)).await;
    within(server.stop()).await;
    assert_eq!(server.connection_count(), 0);
    let late = WebsocketClient::new(params(addr)).unwrap();
    assert!(matches!(late.connect().await, Err(ConnectError::Connect(_))));
}

#[tokio::test]
async fn a_handshake_on_its_way_is_refused_with_503_when_the_server_stops() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let _silent = RawPeer::connect(addr).await;
    let request = websockets_simple_tests::raw::request("/", "");
    let (first, rest) = request.as_bytes().split_at(30);
    peer.write(first).await;
    // The connection has been accepted once another one that came later is served.
    let other = connected(params(addr)).await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    within(async {
        while other.is_running() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    peer.write(rest).await;
    let answer = String::from_utf8_lossy(&peer.all().await).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.to_lowercase().contains("retry-after: "),
        "{answer}"
    );
    within(stopping).await.unwrap();
    // Nor has the other one, which was silent, taken too long.
    while let Some(event) = events.try_recv() {
        assert!(!matches!(event, Event::Error(_)), "{event:?}");
    }
}

#[tokio::test]
async fn dropping_the_last_handle_stops_the_server() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut events = client.events();
    client.connect().await.unwrap();
    drop(server.clone());
    assert!(client.is_running());
    drop(server);
    within(async {
        while let Some(event) = events.recv().await {
            if let ClientEvent::Connection(event) = event
                && let ConnectionEventKind::Disconnected(_, end) = event.kind
            {
                assert_eq!(end.code, Some(1001));
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_handler_may_stop_its_own_server_and_await_it() {
    let server = WebsocketServer::new(ServerParams::local().stop_timeout(Duration::from_secs(15)));
    let done = Arc::new(Notify::new());
    server.on({
        let done = Arc::clone(&done);
        move |event| {
            let done = Arc::clone(&done);
            async move {
                if let Event::Message(event) = event {
                    event.connection.server().stop().await;
                    done.notify_one();
                }
            }
        }
    });
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    client.send("stop").await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), done.notified()).await.expect("no deadlock");
}

#[tokio::test]
async fn an_event_consumer_may_stop_its_own_server_and_await_it() {
    let server = WebsocketServer::new(ServerParams::local().stop_timeout(Duration::from_secs(15)));
    let mut events = server.events_with(websockets_simple_server::SubscribeOptions::default().capacity(1000));
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    for _ in 0..20 {
        client.send("filling the small stream of events").await.unwrap();
    }
    next(&mut events, |event| matches!(event, Event::Message(_)).then_some(())).await;
    let report = tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("no deadlock");
    assert_eq!(report.dropped, 0);
    let mut messages = 1;
    next(&mut events, |event| {
        messages += usize::from(matches!(event, Event::Message(_)));
        matches!(&event, Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Disconnected(..)))
            .then_some(())
    })
    .await;
    assert!(messages >= 2, "what was parked is not lost");
}

#[tokio::test]
async fn a_handler_may_disconnect_its_own_connection_and_await_it() {
    let server = WebsocketServer::new(ServerParams::local());
    let went_on = Arc::new(AtomicBool::new(false));
    server.on({
        let went_on = Arc::clone(&went_on);
        move |event| {
            let went_on = Arc::clone(&went_on);
            async move {
                if let Event::Message(event) = event {
                    event.connection.disconnect(CloseCode::try_from(4321).unwrap(), "enough").await;
                    went_on.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    client.send("x").await.unwrap();
    let end = ended(&mut events).await;
    assert_eq!(
        (end.code, end.reason.as_str(), end.by, end.clean),
        (Some(4321), "enough", EndedBy::Local, true)
    );
    assert!(went_on.load(Ordering::SeqCst), "Disconnected comes after the handler is done");
}

#[tokio::test]
async fn a_client_handler_may_disconnect_and_a_client_consumer_too() {
    let server = WebsocketServer::new(ServerParams::local().success_text("hello"));
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let subscription = client.on({
        let client = client.clone();
        move |event| {
            let (client, sender) = (client.clone(), sender.clone());
            async move {
                if let ClientEvent::Message(_) = event {
                    let _ = sender.send(client.disconnect().await);
                }
            }
        }
    });
    client.connect().await.unwrap();
    let end = within(ended.recv()).await.unwrap().unwrap();
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
    subscription.unsubscribe();
    let mut events = client.events_with(websockets_simple_client::SubscribeOptions::default().capacity(1));
    within(async {
        while client.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..50 {
        server.broadcast("more than the stream holds").unwrap();
    }
    message(&mut events).await;
    let end = tokio::time::timeout(Duration::from_secs(4), client.disconnect()).await.expect("no deadlock");
    assert!(end.unwrap().clean);
}

#[tokio::test]
async fn a_client_connects_disconnects_and_connects_again() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut seen = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    for _ in 0..3 {
        assert!(!client.is_running() && client.connection().is_none());
        let connection = client.connect().await.unwrap();
        assert!(client.is_running() && connection.is_open());
        assert_eq!(connection.peer_addr(), Some(addr));
        assert!(matches!(client.connect().await, Err(ConnectError::AlreadyConnected)));
        client.send("x").await.unwrap();
        next(&mut seen, |event| matches!(event, Event::Message(_)).then_some(())).await;
        assert_eq!(client.statistics().unwrap().messages_sent, 1);
        let end = within(client.disconnect()).await.unwrap();
        assert_eq!((end.code, end.by, end.clean), (Some(1000), EndedBy::Local, true));
        assert_eq!(connection.end(), Some(&end));
    }
    assert!(client.disconnect().await.is_none());
    assert!(client.send("x").await.is_err());
}

#[tokio::test]
async fn dropping_the_last_client_handle_closes_with_1001() {
    let server = WebsocketServer::new(ServerParams::local());
    let mut seen = server.events();
    let addr = started(&server).await;
    drop(connected(params(addr)).await);
    let end = ended(&mut seen).await;
    assert_eq!((end.code, end.by, end.clean), (Some(1001), EndedBy::Peer, true));
}

#[tokio::test]
async fn a_stop_drops_a_handler_that_does_not_end_and_still_tells_disconnected() {
    let server = WebsocketServer::new(ServerParams::local().stop_timeout(Duration::from_millis(200)));
    server.on(|event| async move {
        if let Event::Message(_) = event {
            std::future::pending::<()>().await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    client.send("x").await.unwrap();
    within(async {
        while server.connections().first().is_none_or(|c| c.statistics().messages_received == 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let report = within(server.stop()).await;
    assert_eq!(report.dropped, 1);
    next(&mut events, |event| {
        matches!(&event, Event::Connection(event) if matches!(event.kind, ConnectionEventKind::Disconnected(..)))
            .then_some(())
    })
    .await;
}

#[test]
fn a_server_whose_runtime_is_gone_does_not_run_and_starts_in_another() {
    let server = WebsocketServer::new(ServerParams::local());
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let before = first.block_on(started(&server));
    assert!(server.is_running());
    drop(first);
    assert!(!server.is_running() && server.local_addr().is_none());
    let second = runtime();
    second.block_on(async {
        assert_eq!(started(&server).await, before, "the port is kept");
        let client = connected(params(before)).await;
        client.disconnect().await;
        server.stop().await;
    });
}

/// Knows one user. Its first stream of revocations panics, its second one revokes the user.
struct FailsOnce {
    streams: AtomicUsize,
    go_on: Arc<Notify>,
}

#[async_trait]
impl UserService for FailsOnce {
    type Id = i64;

    async fn authenticate(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        Ok(Some(Authenticated::new(7)))
    }

    fn revocations(&self) -> Option<Revocations<i64>> {
        struct Stream(usize, Pin<Box<dyn Future<Output = ()> + Send>>);

        impl futures_core::Stream for Stream {
            type Item = Revocation<i64>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Revocation<i64>>> {
                std::task::ready!(self.1.as_mut().poll(cx));
                assert!(self.0 > 0, "a secret");
                self.1 = Box::pin(std::future::pending());
                Poll::Ready(Some(Revocation::User(7)))
            }
        }

        let go_on = Arc::clone(&self.go_on);
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        Some(Box::pin(Stream(number, Box::pin(async move { go_on.notified().await }))))
    }
}

#[tokio::test]
async fn a_stream_of_revocations_that_panics_is_an_error_event_and_is_asked_for_again() {
    let go_on = Arc::new(Notify::new());
    let users = FailsOnce { streams: AtomicUsize::new(0), go_on: Arc::clone(&go_on) };
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let addr = started(&server).await;
    let mut events = server.events();
    go_on.notify_one();
    let error = next(&mut events, |event| match event {
        Event::Error(event) => Some(event),
        _ => None,
    })
    .await;
    assert_eq!(error.stage, ErrorStage::Task);
    assert_eq!(error.error.to_string(), "the revocation watcher failed and is restarted");
    assert!(server.is_running());
    let _client = connected(params(addr).token("any")).await;
    go_on.notify_one();
    assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
}
