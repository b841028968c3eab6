//! Who gets an id, or a place of a user, that another connection has: in paused time, but for the last test.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use websockets_simple_server::{
    Authenticated, ClientId, CloseCode, Compatibility, Connection, ConnectionEventKind, EndedBy, Event,
    Events, Heartbeat, HeartbeatMode, Identity, Limits, MemoryUsers, Placement, ServeError, Server,
    ServerParams, User, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    opened,
    raw::{RawPeer, request},
    started, within,
};

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const SECOND: Duration = Duration::from_secs(1);

type Peer = RawPeer<DuplexStream>;

/// An attempt to connect, and what comes of it.
type Attempt<I> = (Peer, JoinHandle<Result<Connection<I>, ServeError>>);

fn id() -> ClientId {
    ClientId::new("terminal-7").unwrap()
}

async fn anonymous(params: ServerParams) -> WebsocketServer {
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    server
}

/// A server on which each user may have so many connections.
async fn with_users(most: usize) -> WebsocketServerAuth<i64> {
    let limits = Limits::default().connections_per_user(most);
    let server = WebsocketServerAuth::new(ServerParams::mounted().limits(limits), MemoryUsers::new());
    server.start().await.unwrap();
    server
}

/// A peer that asks for this placement.
async fn asking<I: Identity>(server: &Server<I>, placement: Placement) -> Attempt<I> {
    let (near, far) = duplex(64 * 1024);
    let mut peer = RawPeer::new(near);
    peer.write(request("/", "").as_bytes()).await;
    (peer, tokio::spawn(server.serve(far).placement(placement).into_future()))
}

/// The same as user 7.
async fn asking_as_7(server: &WebsocketServerAuth<i64>, placement: Placement) -> Attempt<User<i64>> {
    let (near, far) = duplex(64 * 1024);
    let mut peer = RawPeer::new(near);
    peer.write(request("/", "").as_bytes()).await;
    let serve = server.serve(far).placement(placement).identified(Authenticated::new(7));
    (peer, tokio::spawn(serve.into_future()))
}

async fn admitted<I: Identity>((mut peer, opening): Attempt<I>) -> (Peer, Connection<I>) {
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (peer, opening.await.unwrap().unwrap())
}

async fn status<I: Identity>((mut peer, opening): Attempt<I>) -> u16 {
    let head = peer.head().await;
    match opening.await.unwrap() {
        Err(ServeError::Refused { status, .. }) => {
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            status
        }
        other => panic!("{other:?} {head}"),
    }
}

/// Answers pings and counts them, until the peer is dropped.
fn lively(mut peer: Peer) -> tokio::sync::watch::Receiver<usize> {
    let (sender, pings) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Some(frame) = peer.next().await {
            if frame.first == PING {
                sender.send_modify(|pings| *pings += 1);
                peer.frame(PONG, &frame.payload).await;
            }
        }
    });
    pings
}

/// The ends so far, in order: id, code, by.
fn ends<I: Identity>(events: &mut Events<Event<I>>) -> Vec<(Connection<I>, Option<u16>, EndedBy)> {
    let mut ends = Vec::new();
    while let Some(event) = events.try_recv() {
        if let Event::Connection(event) = event
            && let ConnectionEventKind::Disconnected(connection, end) = event.kind
        {
            ends.push((connection, end.code, end.by));
        }
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_an_id_has_it_at_once_and_the_other_one_is_told_to_stay_away() {
    let server = anonymous(ServerParams::mounted()).await;
    let mut events = server.events();
    let taking = || Placement::new().client_id(id()).takes_over(true);
    let begun = Instant::now();
    // Nothing is read of the first one, and nothing comes of it.
    let (mut dead, first) = admitted(asking(&server, taking()).await).await;
    let (mut lively, second) = admitted(asking(&server, taking()).await).await;
    assert!(!first.is_open() && !first.join("a group"));
    assert_eq!(server.connection(&id()), Some(second.clone()));
    let close = lively_close(&mut dead).await;
    assert_eq!(close, Some(4005));
    let (_third_peer, third) = admitted(asking(&server, taking()).await).await;
    assert_eq!(server.connection(&id()), Some(third.clone()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let close = lively.next().await.unwrap();
    assert_eq!(close.close_code(), Some(CloseCode::REPLACED.get()));
    lively.frame(0x88, &close.payload).await;
    let end = second.closed().await;
    assert!((end.clean, end.should_reconnect()) == (true, false), "{end:?}");
    first.closed().await;
    tokio::task::yield_now().await;
    assert_eq!(
        ends(&mut events),
        [(second, Some(4005), EndedBy::Local), (first, Some(4005), EndedBy::Local)],
        "one end each"
    );
    assert!(server.connection_count() == 1 && third.is_open() && third.join("a group"));
    assert_eq!(server.connection(&id()), Some(third), "the end of the others leaves the id alone");
}

async fn lively_close(peer: &mut Peer) -> Option<u16> {
    peer.next().await.unwrap().close_code()
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_an_id_of_the_same_user_needs_no_second_place() {
    let server = with_users(1).await;
    let taking = || Placement::new().client_id(id()).takes_over(true);
    let (_dead, first) = admitted(asking_as_7(&server, taking()).await).await;
    let (peer, second) = admitted(asking_as_7(&server, taking()).await).await;
    assert_eq!(server.connection(&id()), Some(second));
    let _pings = lively(peer);
    // The place of the first one is not free before it has ended, and nobody else gets it twice.
    let begun = Instant::now();
    assert_eq!(status(asking_as_7(&server, Placement::new()).await).await, 429);
    assert!(begun.elapsed() <= 3 * SECOND, "{:?}", begun.elapsed());
    first.closed().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_of_a_connection_that_gives_no_sign_of_life_is_free_after_two_seconds() {
    let server = anonymous(ServerParams::mounted()).await;
    let mut events = server.events();
    let wanted = || Placement::new().client_id(id());
    let (mut dead, first) = admitted(asking(&server, wanted()).await).await;
    let begun = Instant::now();
    let (_peer, second) = admitted(asking(&server, wanted()).await).await;
    assert_eq!(begun.elapsed(), 2 * SECOND);
    assert_eq!(server.connection(&id()), Some(second));
    let end = first.closed().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Heartbeat, Some(4000), false));
    assert_eq!(begun.elapsed(), 2 * SECOND, "nothing is waited for");
    tokio::task::yield_now().await;
    assert_eq!(ends(&mut events), [(first, Some(4000), EndedBy::Heartbeat)]);
    assert_eq!(dead.next().await.unwrap().as_text(), "ping");
    assert_eq!(dead.next().await.unwrap().first, PING);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_answers_keeps_its_id_and_is_not_asked_by_everyone() {
    let server = anonymous(ServerParams::mounted()).await;
    let wanted = || Placement::new().client_id(id());
    let (peer, first) = admitted(asking(&server, wanted()).await).await;
    let pings = lively(peer);
    let begun = Instant::now();
    let mut attempts = Vec::new();
    for _ in 0..20 {
        attempts.push(asking(&server, wanted()).await);
    }
    for attempt in attempts {
        assert_eq!(status(attempt).await, 409);
    }
    for _ in 0..20 {
        assert_eq!(status(asking(&server, wanted()).await).await, 409);
    }
    assert_eq!((*pings.borrow(), begun.elapsed()), (1, Duration::ZERO), "refused at once, for one ping");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(status(asking(&server, wanted()).await).await, 409);
    assert_eq!(*pings.borrow(), 2);
    assert!(first.is_open());
}

#[tokio::test(start_paused = true)]
async fn of_the_connections_of_a_user_the_oldest_that_is_dead_makes_room() {
    for most in [1, 2, 3] {
        let server = with_users(most).await;
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for n in 1..=most {
            let (peer, connection) = admitted(asking_as_7(&server, Placement::new()).await).await;
            // One lives, if there are more: the first of two, the second of three.
            if n == most - 1 {
                kept.push((lively(peer), connection));
            } else {
                lost.push((peer, connection));
            }
        }
        let begun = Instant::now();
        let (_peer, newcomer) = admitted(asking_as_7(&server, Placement::new()).await).await;
        assert_eq!(begun.elapsed(), 2 * SECOND);
        let is_open: Vec<_> = lost.iter().map(|(_, connection)| connection.is_open()).collect();
        assert!(!is_open[0] && is_open[1..].iter().all(|open| *open), "{is_open:?} of {most}");
        assert!(newcomer.is_open() && kept.iter().all(|(_, connection)| connection.is_open()));
        assert_eq!(server.to_user(&7).connections().len(), most);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_of_a_user_that_answer_keep_their_places() {
    let server = with_users(2).await;
    let mut pings = Vec::new();
    for _ in 0..2 {
        let (peer, _) = admitted(asking_as_7(&server, Placement::new()).await).await;
        pings.push(lively(peer));
    }
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(status(asking_as_7(&server, Placement::new()).await).await, 429);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(pings.iter().all(|pings| *pings.borrow() == 1));
    assert_eq!(server.connection_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dotnet_v6_peer_is_asked_by_text_only_and_kept_where_it_cannot_be_asked() {
    let server = |heartbeat| {
        let params = ServerParams::mounted().compatibility(Compatibility::DotNetV6);
        anonymous(params.heartbeat(heartbeat))
    };
    let wanted = || Placement::new().client_id(id());
    let by_text = server(Heartbeat::default()).await;
    let (mut peer, first) = admitted(asking(&by_text, wanted()).await).await;
    let attempt = asking(&by_text, wanted()).await;
    assert_eq!(peer.next().await.unwrap().as_text(), "Ping");
    peer.text("pong").await;
    assert_eq!(status(attempt).await, 409);
    assert!(first.is_open());
    let by_frame = server(Heartbeat::new(120 * SECOND, HeartbeatMode::Ping)).await;
    for server in [by_frame, server(Heartbeat::off()).await] {
        let (_silent, first) = admitted(asking(&server, wanted()).await).await;
        let begun = Instant::now();
        assert_eq!(status(asking(&server, wanted()).await).await, 409);
        assert!(first.is_open() && begun.elapsed() == Duration::ZERO);
        tokio::time::sleep(60 * SECOND).await;
        assert!(first.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_gives_up_or_is_cut_short_costs_the_holder_nothing() {
    let limits = Limits::default().handshake(SECOND);
    let server = anonymous(ServerParams::mounted().limits(limits)).await;
    let wanted = || Placement::new().client_id(id());
    let (_silent, first) = admitted(asking(&server, wanted()).await).await;
    let (_peer, opening) = asking(&server, wanted()).await;
    assert!(matches!(opening.await.unwrap(), Err(ServeError::TimedOut)));
    let (peer, opening) = asking(&server, wanted()).await;
    tokio::task::yield_now().await;
    drop(peer);
    assert!(matches!(opening.await.unwrap(), Err(ServeError::Lost)));
    tokio::time::sleep(60 * SECOND).await;
    assert!(first.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_who_waits_for_a_place() {
    let server = anonymous(ServerParams::mounted()).await;
    let wanted = || Placement::new().client_id(id());
    let (mut holder, _first) = admitted(asking(&server, wanted()).await).await;
    let attempt = asking(&server, wanted()).await;
    assert_eq!(holder.next().await.unwrap().as_text(), "ping", "it is asked");
    let begun = Instant::now();
    let stop = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    assert_eq!(status(attempt).await, 503);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(holder);
    stop.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_who_come_for_one_dead_holder_do_not_both_get_its_id() {
    let server = anonymous(ServerParams::mounted()).await;
    let wanted = || Placement::new().client_id(id());
    let (_dead, first) = admitted(asking(&server, wanted()).await).await;
    let begun = Instant::now();
    let (one, other) = (asking(&server, wanted()).await, asking(&server, wanted()).await);
    let heads = {
        let ((mut one, _first), (mut other, _second)) = (one, other);
        let both = tokio::join!(one.head(), other.head());
        [both.0, both.1]
    };
    let admitted = heads.iter().filter(|head| head.starts_with("HTTP/1.1 101 ")).count();
    let refused = heads.iter().filter(|head| head.starts_with("HTTP/1.1 409 ")).count();
    assert_eq!((admitted, refused), (1, 1), "{heads:?}");
    assert!(!first.is_open() && begun.elapsed() <= 3 * SECOND);
}

#[tokio::test]
async fn over_tcp_a_silent_peer_keeps_nobody_out_for_longer_than_three_seconds() {
    let users = MemoryUsers::new();
    users.add("a secret of at least 128 bit", 7_i64);
    let limits = Limits::default().connections_per_user(1);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().limits(limits), users)
        .with_placement(|_, _| Placement::new().client_id(id()));
    let mut events = server.events();
    let addr = started(&server).await;
    let token = "Authorization: Bearer a secret of at least 128 bit\r\n";
    // It neither reads nor writes from here on.
    let _silent = RawPeer::open(addr, "/", token).await;
    let first = opened(&mut events).await;
    let begun = std::time::Instant::now();
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/", token).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(begun.elapsed() < 3 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(within(first.closed()).await.code, Some(4000));
}
