//! Stops that are awaited inside of what they stop, and what they wait for.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use websockets_simple_server::{
    Anonymous, Authenticated, ConnectionEventKind, Credentials, Endpoint, Event, HandshakeRequest,
    MemoryUsers, ProxyProtocol, Server, ServerParams, StopReport, UnauthorizedDelivery, UserService,
    UserServiceError, WebsocketServer, WebsocketServerAuth, async_trait,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    connected, params,
    raw::{RawPeer, request},
    started, within,
};

/// Longer than any test may take, so that a stop which waits for itself is noticed.
const FOR_EVER: Duration = Duration::from_secs(300);

/// Gives everything that can go on the time to do so.
async fn everything_rests() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_handler_that_stops_its_server_twice_still_lets_the_other_handlers_finish() {
    let server = WebsocketServer::new(ServerParams::local().stop_timeout(FOR_EVER));
    let (go_on, busy) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (finished, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    server.on({
        let (go_on, busy) = (Arc::clone(&go_on), Arc::clone(&busy));
        let (finished, stopped) = (Arc::clone(&finished), Arc::clone(&stopped));
        move |event| {
            let (go_on, busy) = (Arc::clone(&go_on), Arc::clone(&busy));
            let (finished, stopped) = (Arc::clone(&finished), Arc::clone(&stopped));
            async move {
                let Event::Message(event) = event else { return };
                if event.message.as_text() == Some("work") {
                    busy.notify_one();
                    go_on.notified().await;
                    finished.store(true, Ordering::SeqCst);
                } else {
                    let server = event.connection.server();
                    tokio::join!(server.stop(), server.stop(), server.stop());
                    assert!(finished.load(Ordering::SeqCst), "the stop has ended early");
                    stopped.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    let addr = started(&server).await;
    let (worker, stopper) = (connected(params(addr)).await, connected(params(addr)).await);
    worker.send(websockets_simple_client::Message::text("work")).await.unwrap();
    within(busy.notified()).await;
    stopper.send(websockets_simple_client::Message::text("stop")).await.unwrap();
    within(async {
        while server.is_running() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    everything_rests().await;
    assert!(!stopped.load(Ordering::SeqCst));
    go_on.notify_one();
    within(server.stop()).await;
    within(async {
        while !stopped.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_handler_of_a_handshake_may_stop_its_server_and_await_it() {
    type Kind = ConnectionEventKind<websockets_simple_server::Connection<Anonymous>>;
    let kinds: [fn(&Kind) -> bool; 2] = [
        |kind| matches!(kind, ConnectionEventKind::Connecting(_)),
        |kind| matches!(kind, ConnectionEventKind::Refused(..)),
    ];
    for is_it in kinds {
        let server = WebsocketServer::new(ServerParams::local().stop_timeout(FOR_EVER));
        let own: Arc<OnceLock<Server<Anonymous>>> = Arc::default();
        let done = Arc::new(Notify::new());
        let (to_stop, telling) = (Arc::clone(&own), Arc::clone(&done));
        let subscription = server.on(move |event| {
            let (server, done) = (Arc::clone(&to_stop), Arc::clone(&telling));
            async move {
                if let Event::Connection(event) = event
                    && is_it(&event.kind)
                {
                    server.get().unwrap().stop().await;
                    done.notify_one();
                }
            }
        });
        own.set(server.clone()).unwrap();
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        within(done.notified()).await;
        subscription.unsubscribe();
    }
}

/// Stops the server when it is asked.
struct Stops(Arc<OnceLock<WebsocketServerAuth<i64>>>);

#[async_trait]
impl UserService for Stops {
    type Id = i64;

    async fn authenticate(
        &self,
        _credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<i64>>, UserServiceError> {
        self.0.get().unwrap().stop().await;
        Ok(None)
    }
}

#[tokio::test]
async fn a_user_service_may_stop_the_server_that_asks_it_without_waiting_for_itself() {
    let own = Arc::new(OnceLock::new());
    let params = ServerParams::local().stop_timeout(FOR_EVER);
    let server = WebsocketServerAuth::new(params, Stops(Arc::clone(&own)));
    own.set(server.clone()).unwrap();
    let addr = started(&server).await;
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/?token=any", "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    within(server.stop()).await;
}

#[tokio::test]
async fn a_handler_that_stops_another_server_is_waited_for_by_its_own() {
    let (one, other) = (
        WebsocketServer::new(ServerParams::local().stop_timeout(FOR_EVER)),
        WebsocketServer::new(ServerParams::local().stop_timeout(FOR_EVER)),
    );
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let finished = Arc::new(AtomicBool::new(false));
    one.on({
        let (other, begun, go_on) = (other.clone(), Arc::clone(&begun), Arc::clone(&go_on));
        let finished = Arc::clone(&finished);
        move |event| {
            let (other, begun, go_on) = (other.clone(), Arc::clone(&begun), Arc::clone(&go_on));
            let finished = Arc::clone(&finished);
            async move {
                if let Event::Message(_) = event {
                    other.stop().await;
                    begun.notify_one();
                    go_on.notified().await;
                    finished.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    let addr = started(&one).await;
    started(&other).await;
    let client = connected(params(addr)).await;
    client.send("stop").await.unwrap();
    within(begun.notified()).await;
    let (_, ()) = within(async {
        tokio::join!(one.stop(), async {
            everything_rests().await;
            go_on.notify_one();
        })
    })
    .await;
    assert!(finished.load(Ordering::SeqCst));
}

/// Notes that it was dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_stop_drops_handlers_of_refusals_and_of_failed_handshakes_that_do_not_end() {
    let proxied = Endpoint::tcp(([127, 0, 0, 1], 0).into()).proxy_protocol(ProxyProtocol::Required);
    let upgraded = ServerParams::local().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let kinds = [
        (ServerParams::local(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (ServerParams::local(), "no request at all\r\n\r\n".to_owned()),
        (ServerParams::local(), request("/", "Authorization: Bearer wrong\r\n")),
        (upgraded, request("/wrong", "")),
        (ServerParams::mounted().endpoint(proxied), "neither proxy nor request\r\n\r\n".to_owned()),
    ];
    for (params, request) in kinds {
        let nobody = MemoryUsers::<i64>::new();
        let server = WebsocketServerAuth::new(params.stop_timeout(Duration::from_millis(50)), nobody);
        let (busy, dropped) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        server.on({
            let (busy, dropped) = (Arc::clone(&busy), Arc::clone(&dropped));
            move |event| {
                let (busy, dropped) = (Arc::clone(&busy), Arc::clone(&dropped));
                async move {
                    let hangs = match &event {
                        Event::Connection(event) => matches!(event.kind, ConnectionEventKind::Refused(..)),
                        Event::Error(_) => true,
                        _ => false,
                    };
                    if hangs {
                        let _dropped = Dropped(dropped);
                        busy.notify_one();
                        std::future::pending::<()>().await;
                    }
                }
            }
        });
        let addr = started(&server).await;
        let mut peer = RawPeer::connect(addr).await;
        peer.write(request.as_bytes()).await;
        within(busy.notified()).await;
        within(server.stop()).await;
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "{request}");
    }
}

#[tokio::test]
async fn a_stop_during_a_start_is_not_lost() {
    let server = WebsocketServer::new(secured(Authority::new().server()));
    let (started, report) = within(async { tokio::join!(biased; server.start(), server.stop()) }).await;
    started.unwrap();
    assert_eq!(report, StopReport::default());
    assert!(!server.is_running() && server.local_addr().is_none());
    // A start that fails, and one that is given up, leave nothing to wait for.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::tcp(taken.local_addr().unwrap()).tls(Authority::new().server());
    let server = WebsocketServer::new(ServerParams::mounted().endpoint(endpoint));
    let (started, _) = within(async { tokio::join!(biased; server.start(), server.stop()) }).await;
    started.unwrap_err();
    let starting = tokio::spawn({
        let server = server.clone();
        async move { server.start().await }
    });
    tokio::task::yield_now().await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    starting.abort();
    within(stopping).await.unwrap();
    drop(taken);
    within(server.start()).await.unwrap();
    within(server.stop()).await;
}
