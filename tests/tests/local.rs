//! Connections that last as long as a future of the application.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Notify};
use websockets_simple_client::{GroupError, WebsocketClient};
use websockets_simple_server::{
    Authenticated, ClientId, EndedBy, ErrorStage, Heartbeat, HeartbeatMode, Limits, LocalConnection,
    MemoryUsers, Message, Placement, Revocation, Scope, ServerParams, Upgrade, User, WebsocketServerAuth,
};
use websockets_simple_tests::{ended, failed, message, opened, params, raw::RawPeer, received, within};

type Server = WebsocketServerAuth<i64>;

/// An application whose only route makes local connections of user 7.
async fn with<F>(params: ServerParams, local: F) -> (Server, SocketAddr)
where
    F: Fn(Upgrade<User<i64>>) -> Upgrade<User<i64>> + Clone + Send + Sync + 'static,
{
    let server = Server::new(params, MemoryUsers::new());
    server.start().await.unwrap();
    let application = server.clone();
    let enter = move |request: Request| {
        let user = Authenticated::new(7).credential("c1");
        let upgrade = local(application.upgrade(request).identified(user));
        async move { upgrade.await.into_response() as Response }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/response-times", get(enter));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (server, addr)
}

/// As long as the peer or the server wants.
async fn for_ever(_connection: LocalConnection<User<i64>>) {
    pending().await
}

/// Notifies when it is dropped.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn two_messages_are_sent_before_the_connection_is_closed() {
    let go_on = Arc::new(Notify::new());
    let pause = Arc::clone(&go_on);
    let (server, addr) = with(ServerParams::mounted(), move |upgrade| {
        let pause = Arc::clone(&pause);
        upgrade.placement(Placement::new().channel("ResponseTimes")).local(|connection| async move {
            connection.send(Message::text(r#"{"Durations":[123,101,104]}"#)).await.unwrap();
            pause.notified().await;
            connection.send(Message::text(r#"{"Durations":[234,202,205]}"#)).await.unwrap();
        })
    })
    .await;
    let mut events = server.events();
    let client = WebsocketClient::new(params(addr).path("/response-times")).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(opened(&mut events).await.channel(), "ResponseTimes");
    assert_eq!(message(&mut heard).await.as_text(), Some(r#"{"Durations":[123,101,104]}"#));
    go_on.notify_one();
    assert_eq!(message(&mut heard).await.as_text(), Some(r#"{"Durations":[234,202,205]}"#));
    let end = ended(&mut events).await;
    assert_eq!((end.by, end.clean, end.code), (EndedBy::Local, true, Some(1000)));
}

#[tokio::test]
async fn nobody_reaches_a_local_connection_but_through_its_own_handle() {
    let id = ClientId::new("the-local-one").unwrap();
    let said = id.clone();
    let (server, addr) = with(ServerParams::mounted(), move |upgrade| {
        let place = Placement::new().channel("ResponseTimes").group("team").client_id(said.clone());
        upgrade.placement(place).local(for_ever)
    })
    .await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/response-times", "").await;
    let connection = opened(&mut events).await;
    for audience in [
        server.to_all(),
        server.to_channel("ResponseTimes"),
        server.to_group("ResponseTimes", "team"),
        server.to_user(&7),
        server.to_client(&id),
    ] {
        assert_eq!(audience.send(Message::text("for others")).unwrap().accepted, 0);
    }
    assert_eq!(server.broadcast(Message::text("for others")).unwrap().accepted, 0);
    assert!(server.connection(&id).is_none() && server.connections().is_empty());
    assert!(!server.is_user_connected(&7) && !connection.join("another"));
    connection.send(Message::text("by hand")).await.unwrap();
    assert_eq!(within(peer.next()).await.unwrap().as_text(), "by hand");
    // What it says is told as ever.
    peer.text("hello").await;
    assert_eq!(received(&mut events).await.as_text(), Some("hello"));
}

#[tokio::test]
async fn its_work_is_dropped_when_the_peer_has_gone() {
    let dropped = Arc::new(Notify::new());
    let work = Arc::clone(&dropped);
    let (server, addr) = with(ServerParams::mounted(), move |upgrade| {
        let on_drop = OnDrop(Arc::clone(&work));
        upgrade.local(move |_| async move {
            let _on_drop = on_drop;
            pending().await
        })
    })
    .await;
    let mut events = server.events();
    let peer = RawPeer::open(addr, "/response-times", "").await;
    let _ = opened(&mut events).await;
    drop(peer);
    within(dropped.notified()).await;
    assert_eq!(ended(&mut events).await.by, EndedBy::Transport);
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_and_is_told() {
    let (server, addr) =
        with(ServerParams::mounted(), |upgrade| upgrade.local(|_| async { panic!("the work is at fault") }))
            .await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/response-times", "").await;
    assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1011));
    assert_eq!(failed(&mut events).await, ErrorStage::HandlerPanic);
    peer.frame(0x88, &1011_u16.to_be_bytes()).await;
    assert_eq!(ended(&mut events).await.by, EndedBy::HandlerPanic);
    assert!(server.is_running());
}

#[tokio::test]
async fn a_stop_and_a_revocation_reach_it() {
    let (server, addr) = with(ServerParams::mounted(), |upgrade| upgrade.local(for_ever)).await;
    let mut events = server.events();
    for revocation in [Revocation::User(7), Revocation::Credential("c1".to_owned())] {
        let mut peer = RawPeer::open(addr, "/response-times", "").await;
        let _ = opened(&mut events).await;
        assert_eq!(server.revoke(&revocation), 1);
        assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(4004));
        drop(peer);
        assert_eq!(ended(&mut events).await.by, EndedBy::Revoked);
    }
    let mut peer = RawPeer::open(addr, "/response-times", "").await;
    let _ = opened(&mut events).await;
    let stopping = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
    peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    let report = within(stopping).await.unwrap();
    assert_eq!((report.clean, report.unclean, report.dropped), (1, 0, 0));
}

#[tokio::test]
async fn work_that_stops_the_server_does_not_wait_for_itself() {
    let (server, addr) = with(ServerParams::mounted(), |upgrade| {
        upgrade.local(|connection| async move {
            connection.server().stop().await;
        })
    })
    .await;
    let mut peer = RawPeer::open(addr, "/response-times", "").await;
    assert_eq!(within(peer.next()).await.unwrap().close_code(), Some(1001));
    peer.frame(0x88, &1001_u16.to_be_bytes()).await;
    within(async {
        while server.is_running() {
            tokio::task::yield_now().await;
        }
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn limits_and_the_heartbeat_hold_for_it() {
    let limits = Limits::default().connections(1).messages_per_second(5);
    let heartbeat = Heartbeat::new(Duration::from_millis(100), HeartbeatMode::Ping);
    let params =
        ServerParams::mounted().limits(limits).heartbeat(heartbeat).close_timeout(Duration::from_millis(200));
    let (server, addr) = with(params, |upgrade| upgrade.local(for_ever)).await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/response-times", "").await;
    let head = RawPeer::connect(addr).await.request("/response-times", "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(within(peer.next()).await.unwrap().first, 0x89);
    // Nobody answers it.
    let _ = peer.rest().await;
    assert_eq!(ended(&mut events).await.by, EndedBy::Heartbeat);
    let mut peer = within(async {
        loop {
            let mut peer = RawPeer::connect(addr).await;
            if peer.request("/response-times", "").await.starts_with("HTTP/1.1 101 ") {
                break peer;
            }
        }
    })
    .await;
    for _ in 0..10 {
        peer.text("much").await;
    }
    assert_eq!(ended(&mut events).await.by, EndedBy::Limit);
}

#[tokio::test]
async fn the_default_scope_is_the_applications_to_choose_and_an_upgrade_may_choose_another() {
    let local = || ServerParams::mounted().default_scope(Scope::Local).success_text("welcome");
    let (server, addr) = with(local(), |upgrade| upgrade).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/response-times", "").await.starts_with("HTTP/1.1 101 "));
    assert_eq!(opened(&mut events).await.scope(), Scope::Local);
    assert_eq!(peer.next().await.unwrap().as_text(), "welcome");
    assert_eq!(peer.next().await.unwrap().close_code(), Some(1000), "nothing keeps it open");

    let (server, addr) = with(local(), Upgrade::global).await;
    let mut events = server.events();
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/response-times", "").await.starts_with("HTTP/1.1 101 "));
    let connection = opened(&mut events).await;
    assert_eq!((connection.scope(), server.connection_count()), (Scope::Global, 1));
    assert_eq!(peer.next().await.unwrap().as_text(), "welcome");
    server.to_user(&7).send(Message::text("hello")).unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "hello");
}

#[tokio::test]
async fn the_id_of_a_local_connection_is_nobody_elses_while_it_lasts() {
    let id = ClientId::new("one").unwrap();
    let placement = Placement::new().client_id(id.clone());
    let (server, addr) =
        with(ServerParams::mounted(), move |upgrade| upgrade.placement(placement.clone()).local(for_ever))
            .await;
    let mut events = server.events();
    let mut first = RawPeer::connect(addr).await;
    assert!(first.request("/response-times", "").await.starts_with("HTTP/1.1 101 "));
    opened(&mut events).await;
    assert!(!server.has_client(&id), "nobody can look it up");
    let mut second = RawPeer::connect(addr).await;
    let (head, ()) = tokio::join!(second.request("/response-times", ""), async {
        // It is asked for a sign of life.
        while first.next().await.unwrap().first != 0x89 {}
        first.frame(0x8A, b"").await;
    });
    assert!(head.starts_with("HTTP/1.1 409 "), "{head}");
    drop(first);
    ended(&mut events).await;
    let mut third = RawPeer::connect(addr).await;
    within(async {
        // Its id is free a moment after its end was told.
        while !third.request("/response-times", "").await.starts_with("HTTP/1.1 101 ") {
            third = RawPeer::connect(addr).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_local_connection_is_told_that_it_joins_no_group() {
    let (server, addr) = with(ServerParams::mounted(), |upgrade| upgrade.local(for_ever)).await;
    let _ = server.clone().with_group_rule(|_, _| true);
    let params = params(addr).path("/response-times").subprotocol("websockets-simple");
    let client = WebsocketClient::new(params).unwrap();
    client.connect().await.unwrap();
    let refused = within(client.join("red")).await;
    assert!(matches!(&refused, Err(GroupError::Refused { .. })), "{refused:?}");
}
