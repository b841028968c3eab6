//! Connections over streams that the application brings, without any socket, in paused time.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use websockets_simple_server::{
    Anonymous, Authenticated, ClientId, Connection, ConnectionEventKind, EndedBy, Event, Heartbeat,
    HeartbeatMode, Identity, Limits, MemoryUsers, Placement, ServeError, Server, ServerParams,
    UnauthorizedDelivery, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    ended, opened,
    raw::{RawPeer, request},
    received, within,
};

type Opening<I> = JoinHandle<Result<Connection<I>, ServeError>>;

async fn running(params: ServerParams) -> WebsocketServer {
    let server = WebsocketServer::new(params);
    server.start().await.unwrap();
    server
}

/// The near end of a pipe whose far end the server serves.
fn piped<I: Identity>(server: &Server<I>) -> (RawPeer<DuplexStream>, Opening<I>) {
    let (near, far) = duplex(64 * 1024);
    (RawPeer::new(near), tokio::spawn(server.serve(far).into_future()))
}

/// A peer that is admitted, and its connection.
async fn joined<I: Identity>(server: &Server<I>) -> (RawPeer<DuplexStream>, Connection<I>) {
    let (mut peer, opening) = piped(server);
    let head = peer.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (peer, opening.await.unwrap().unwrap())
}

fn refused<I: Identity>(result: Result<Connection<I>, ServeError>) -> (u16, String) {
    match result {
        Err(ServeError::Refused { status, reason }) => (status, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_without_endpoints_serves_streams_on_a_runtime_that_has_no_driver_for_sockets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let server = running(ServerParams::mounted()).await;
        let mut events = server.events();
        let (mut peer, opening) = piped(&server);
        let head = peer.request("/news?x=1", "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let connection = opening.await.unwrap().unwrap();
        assert!(connection.is_open() && connection.channel() == "/news" && connection.peer_addr().is_none());
        assert_eq!(opened(&mut events).await, connection);
        peer.text("hello").await;
        assert_eq!(received(&mut events).await.as_text(), Some("hello"));
        server.to_channel("/news").send_text("to all").unwrap();
        assert_eq!(peer.next().await.unwrap().as_text(), "to all");
        drop(peer);
        let end = ended(&mut events).await;
        assert_eq!((end.by, end.code), (EndedBy::Transport, None));
    });
}

#[tokio::test(start_paused = true)]
async fn what_the_application_knows_of_the_peer_is_what_its_connection_tells() {
    let users = MemoryUsers::new();
    let server = WebsocketServerAuth::<i64>::new(ServerParams::mounted(), users);
    server.start().await.unwrap();
    let (near, far) = duplex(4096);
    let (addr, local): (SocketAddr, SocketAddr) =
        (([192, 0, 2, 7], 1234).into(), ([192, 0, 2, 1], 80).into());
    let placement = Placement::new().channel("room").group("a").client_id(ClientId::new("seven").unwrap());
    let serve = server.serve(far).peer_addr(addr).endpoint(local).placement(placement);
    let opening = tokio::spawn(serve.identified(Authenticated::new(7)).into_future());
    let mut peer = RawPeer::new(near);
    assert!(peer.request("/a-path", "").await.starts_with("HTTP/1.1 101 "));
    let connection = opening.await.unwrap().unwrap();
    assert_eq!((connection.peer_addr(), connection.endpoint()), (Some(addr), Some(local)));
    assert_eq!((connection.channel(), connection.id().to_string()), ("room", "seven".to_owned()));
    assert!(connection.is_in("a") && *connection.user_id() == 7 && server.is_user_connected(&7));
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_has_its_answer_and_the_caller_the_status() {
    let users = MemoryUsers::new();
    let server = WebsocketServerAuth::<i64>::new(ServerParams::mounted(), users);
    server.start().await.unwrap();
    let (mut peer, opening) = piped(&server);
    let head = peer.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(refused(opening.await.unwrap()).0, 401);
    for (sent, status) in [
        (request("/", "Sec-WebSocket-Protocol: unknown\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 426),
        ("no HTTP at all\r\n\r\n".to_owned(), 400),
    ] {
        let (mut peer, opening) = piped(&server);
        peer.write(sent.as_bytes()).await;
        let head = peer.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let (told, reason) = refused(opening.await.unwrap());
        assert!(told == status && reason.starts_with(&format!("{status}: ")), "{told} {reason}");
    }
    server.stop().await;
    let told = ServerParams::mounted().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let server = WebsocketServerAuth::<i64>::new(told, MemoryUsers::new());
    server.start().await.unwrap();
    let (mut peer, opening) = piped(&server);
    assert!(peer.request("/", "").await.starts_with("HTTP/1.1 101 "));
    assert!(matches!(opening.await.unwrap(), Err(ServeError::Unauthorized)));
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1008));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_or_hangs_up_early_is_no_connection() {
    let server =
        running(ServerParams::mounted().limits(Limits::default().handshake(Duration::from_secs(7)))).await;
    let begun = Instant::now();
    let (_peer, opening) = piped(&server);
    assert!(matches!(opening.await.unwrap(), Err(ServeError::TimedOut)));
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
    let (mut peer, opening) = piped(&server);
    peer.write(b"GET / HT").await;
    assert!(matches!(opening.await.unwrap(), Err(ServeError::TimedOut)));
    let (peer, opening) = piped(&server);
    drop(peer);
    assert!(matches!(opening.await.unwrap(), Err(ServeError::Lost)));
    let (mut peer, opening) = piped(&server);
    peer.write(b"GET / HTTP/1.1\r\n").await;
    drop(peer);
    assert!(matches!(opening.await.unwrap(), Err(ServeError::Failed(_) | ServeError::Lost)));
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_served_connections_and_refuses_those_that_come_then() {
    let server = running(ServerParams::mounted()).await;
    let (mut peer, connection) = joined(&server).await;
    let (mut late, opening) = piped(&server);
    late.write(b"GET / HTTP/1.1\r\n").await;
    // Both tasks have begun.
    tokio::task::yield_now().await;
    let stop = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    let close = peer.next().await.unwrap();
    assert_eq!(close.close_code(), Some(1001));
    let (near, far) = duplex(4096);
    let mut refused_peer = RawPeer::new(near);
    let (answer, result) = tokio::join!(refused_peer.request("/", ""), server.serve(far));
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
    assert!(matches!(result, Err(ServeError::NotRunning)));
    late.write(&request("/", "").as_bytes()["GET / HTTP/1.1\r\n".len()..]).await;
    let answer = late.head().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(refused(opening.await.unwrap()).0, 503);
    peer.frame(0x88, &close.payload).await;
    let report = stop.await.unwrap();
    assert_eq!((report.clean, report.unclean, report.dropped), (1, 0, 0));
    assert!(!connection.is_open());
    let (near, far) = duplex(4096);
    let mut refused_peer = RawPeer::new(near);
    let (answer, result) = tokio::join!(refused_peer.request("/", ""), server.serve(far));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(matches!(result, Err(ServeError::NotRunning)));
}

#[tokio::test(start_paused = true)]
async fn served_connections_count_in_total_and_for_their_address() {
    let limits = Limits::default().connections(3).connections_per_ip(1);
    let server = running(ServerParams::mounted().limits(limits)).await;
    let mut events = server.events();
    let addr: SocketAddr = ([192, 0, 2, 7], 1234).into();
    let from = |addr: SocketAddr| {
        let (near, far) = duplex(4096);
        (RawPeer::new(near), tokio::spawn(server.serve(far).peer_addr(addr).into_future()))
    };
    let (mut first, opening) = from(addr);
    assert!(first.request("/", "").await.starts_with("HTTP/1.1 101 "));
    opening.await.unwrap().unwrap();
    let (mut same, opening) = from(addr);
    assert!(same.request("/", "").await.starts_with("HTTP/1.1 429 "));
    assert_eq!(refused(opening.await.unwrap()).0, 429);
    let _unknown = [joined(&server).await, joined(&server).await];
    let (mut fourth, opening) = piped(&server);
    assert!(fourth.request("/", "").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(refused(opening.await.unwrap()).0, 503);
    drop(first);
    ended(&mut events).await;
    let (mut again, opening) = from(addr);
    assert!(again.request("/", "").await.starts_with("HTTP/1.1 101 "));
    opening.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_served_peer_that_goes_silent_is_given_up_by_the_heartbeat() {
    let heartbeat = Heartbeat::new(Duration::from_secs(10), HeartbeatMode::Ping);
    let server = running(ServerParams::mounted().heartbeat(heartbeat)).await;
    let mut events = server.events();
    let begun = Instant::now();
    let (_peer, _connection) = joined(&server).await;
    let end = loop {
        if let Some(Event::Connection(event)) = events.recv().await
            && let ConnectionEventKind::Disconnected(_, end) = event.kind
        {
            break end;
        }
    };
    assert_eq!((end.by, end.code), (EndedBy::Heartbeat, Some(4000)));
    assert!((20..22).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_no_longer_waits_for_the_handshake_has_a_connection_all_the_same() {
    let server = running(ServerParams::mounted()).await;
    let mut events = server.events();
    let (near, far) = duplex(4096);
    let mut serving = server.serve(far).into_future();
    tokio::select! {
        biased;
        _ = &mut serving => panic!("nothing was sent"),
        () = tokio::task::yield_now() => {}
    }
    drop(serving);
    let mut peer = RawPeer::new(near);
    assert!(peer.request("/", "").await.starts_with("HTTP/1.1 101 "));
    let connection: Connection<Anonymous> = opened(&mut events).await;
    connection.send_text("still here").await.unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "still here");
}

#[tokio::test]
async fn a_socket_of_a_listener_of_the_application_is_served_as_well() {
    let server = running(ServerParams::mounted()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, addr) = listener.accept().await.unwrap();
    let mut peer = RawPeer::new(near);
    let (head, connection) =
        within(async { tokio::join!(peer.request("/", ""), server.serve(stream).peer_addr(addr)) }).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let connection = connection.unwrap();
    assert_eq!(connection.client_addr(), Some(addr.ip()));
    connection.send_text("over a socket").await.unwrap();
    assert_eq!(peer.next().await.unwrap().as_text(), "over a socket");
}
