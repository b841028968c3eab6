//! Clients that get to a server in other ways than by TCP alone.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, copy_bidirectional, duplex},
    net::TcpStream,
};
use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, ConnectError, Reconnect, Target, WebsocketClient,
};
use websockets_simple_server::{ConnectionEventKind, Endpoint, ServerParams};
use websockets_simple_tests::{
    authority::Authority,
    connected,
    echo::{assert_echo, echoing},
    opened, params, started,
    way::{Plain, Tls, Way},
    within,
};

/// Streams in memory, whose bytes go to a server and come from it.
async fn in_memory(to: SocketAddr) -> io::Result<DuplexStream> {
    let (near, mut far) = duplex(1024);
    let mut stream = TcpStream::connect(to).await?;
    tokio::spawn(async move { copy_bidirectional(&mut far, &mut stream).await });
    Ok(near)
}

async fn on_streams_of_the_application(way: impl Way) {
    let server = echoing(way.server());
    let addr = started(&server).await;
    let client = connected(way.client(addr).connector(move |_: Target| in_memory(addr))).await;
    let connection = client.connection().unwrap();
    assert_eq!((connection.peer_addr(), connection.local_addr()), (None, None));
    assert_echo(&client).await;
    within(client.disconnect()).await;
    within(server.stop()).await;
}

#[tokio::test]
async fn a_client_connects_on_streams_of_the_application() {
    on_streams_of_the_application(Plain).await;
}

#[tokio::test]
async fn a_client_does_tls_on_streams_of_the_application() {
    on_streams_of_the_application(Tls::default()).await;
}

/// The events of a client that tell how attempts begin and end, in words.
fn attempts(client: &WebsocketClient) -> impl FnMut() -> Vec<&'static str> + use<> {
    let mut events = client.events();
    move || {
        let mut told = Vec::new();
        while let Some(event) = events.try_recv() {
            if let ClientEvent::Connection(event) = event {
                told.push(match event.kind {
                    ConnectionEventKind::Connecting(_) => "connecting",
                    ConnectionEventKind::Connected(_) => "connected",
                    ConnectionEventKind::Refused(..) => "refused",
                    _ => "disconnected",
                });
            }
        }
        told
    }
}

#[tokio::test]
async fn an_attempt_whose_connector_panics_has_one_end() {
    let panics = async |_: Target| -> io::Result<DuplexStream> { panic!("on purpose") };
    let client = WebsocketClient::new(ClientParams::new("localhost", 80).connector(panics)).unwrap();
    let mut told = attempts(&client);
    let error = within(client.connect()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
    assert_eq!(told(), ["connecting", "refused"]);
    assert!(!client.is_running(), "it may connect again");
    within(client.connect()).await.unwrap_err();
    assert_eq!(told(), ["connecting", "refused"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_connector_stays_silent_ends_at_the_connect_timeout() {
    let silent = async |_: Target| std::future::pending::<io::Result<DuplexStream>>().await;
    let params = ClientParams::new("localhost", 80).connector(silent);
    let client = WebsocketClient::new(params.connect_timeout(Duration::from_secs(3))).unwrap();
    let mut told = attempts(&client);
    let begun = tokio::time::Instant::now();
    let error = client.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout), "{error:?}");
    assert_eq!((begun.elapsed(), told()), (Duration::from_secs(3), vec!["connecting", "refused"]));
}

#[tokio::test]
async fn a_client_that_reconnects_outlives_a_connector_that_panics() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let mut tries = 0;
    let tries = std::sync::Mutex::new(move || {
        tries += 1;
        tries
    });
    let connector = move |_: Target| {
        let number = tries.lock().unwrap()();
        async move {
            assert!(number > 2, "on purpose");
            in_memory(addr).await
        }
    };
    let reconnect = Reconnect::new().first(true).delays(Duration::from_millis(1), Duration::from_millis(2));
    let client = WebsocketClient::new(params(addr).connector(connector).reconnect(reconnect)).unwrap();
    let mut told = attempts(&client);
    within(client.connect()).await.unwrap();
    assert!(matches!(client.state(), ClientState::Open(_)));
    assert_echo(&client).await;
    assert_eq!(told(), ["connecting", "refused", "connecting", "refused", "connecting", "connected"]);
    within(client.disconnect()).await;
    within(server.stop()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_connects_over_a_unix_domain_socket_with_and_without_tls() {
    let authority = Authority::default();
    let dir = tempfile::tempdir().unwrap();
    for secured in [false, true] {
        let path = dir.path().join(format!("{secured}.sock"));
        let mut endpoint = Endpoint::unix(path.clone());
        let mut params = ClientParams::new("localhost", 1);
        if secured {
            endpoint = endpoint.tls(authority.server());
            params = authority.trusted(1);
        }
        let server = echoing(ServerParams::local().endpoint(endpoint));
        let mut events = server.events();
        server.start().await.unwrap();
        let client = connected(params.path("/room").unix(&path)).await;
        let connection = client.connection().unwrap();
        assert_eq!((connection.peer_addr(), connection.local_addr()), (None, None));
        assert_eq!(connection.tls().is_some(), secured);
        assert_eq!(opened(&mut events).await.channel(), "/room");
        assert_echo(&client).await;
        within(client.disconnect()).await;
        within(server.stop()).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_domain_socket_that_is_not_there_or_that_nothing_listens_on_cannot_be_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    for (path, kind) in [
        (path, io::ErrorKind::ConnectionRefused),
        (dir.path().join("none.sock"), io::ErrorKind::NotFound),
        (dir.path().join("x".repeat(200)), io::ErrorKind::InvalidInput),
    ] {
        let client = WebsocketClient::new(ClientParams::new("localhost", 80).unix(path)).unwrap();
        let error = within(client.connect()).await.unwrap_err();
        let ConnectError::Connect(source) = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), kind, "{source}");
    }
}

/// A stream that panics when it is read from, once it is told to.
struct Trapped(DuplexStream, Arc<AtomicBool>);

impl AsyncRead for Trapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.1.load(Ordering::SeqCst), "on purpose");
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Trapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_connection_whose_stream_panics_has_one_end_and_another_one_can_be_opened() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let trap = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&trap);
    let params = params(addr).connector(move |_: Target| {
        let set = Arc::clone(&set);
        async move { Ok(Trapped(in_memory(addr).await?, set)) }
    });
    let client = WebsocketClient::new(params).unwrap();
    let mut told = attempts(&client);
    within(client.connect()).await.unwrap();
    assert_echo(&client).await;
    let connection = client.connection().unwrap();
    trap.store(true, Ordering::SeqCst);
    // Its echo wakes the reader.
    let _ = client.send_text("x").await;
    within(connection.closed()).await;
    trap.store(false, Ordering::SeqCst);
    within(client.connect()).await.unwrap();
    assert_echo(&client).await;
    assert_eq!(told(), ["connecting", "connected", "disconnected", "connecting", "connected"]);
    within(client.disconnect()).await;
    within(server.stop()).await;
}
