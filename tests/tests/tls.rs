//! The same over TLS.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use tokio::{io::AsyncReadExt, net::TcpStream};
use websockets_simple_client::{CloseCode, Message, TlsVersions, WebsocketClient};
use websockets_simple_server::{
    ErrorStage, Event, Limits, MemoryUsers, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    connected, failed, message, next, opened,
    raw::RawPeer,
    started, text,
    way::{Tls, Way},
    within,
};

#[tokio::test]
async fn a_user_talks_over_tls_and_both_ends_close_cleanly() {
    let root = Authority::new();
    let users = MemoryUsers::new();
    users.add("token", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(secured(root.server()).success_text("hello"), users);
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let _ = event.connection.send(event.message).await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    for (versions, expected) in [(TlsVersions::Tls13, "TLSv1_3"), (TlsVersions::Tls12, "TLSv1_2")] {
        let client =
            WebsocketClient::new(root.trusted(addr.port()).token("token").tls_versions(versions)).unwrap();
        let mut heard = client.events();
        let connection = client.connect().await.unwrap();
        assert_eq!(connection.tls().unwrap().version, expected);
        assert_eq!(text(&mut heard).await, "hello");
        let big = Message::binary((0..900_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        client.send(big.clone()).await.unwrap();
        assert_eq!(message(&mut heard).await, big);
        let end = within(client.disconnect()).await.unwrap();
        assert!(end.clean, "{end:?}");
        let end = next(&mut events, |event| {
            use websockets_simple_server::ConnectionEventKind::Disconnected;
            match event {
                Event::Connection(event) => match event.kind {
                    Disconnected(_, end) => Some(end),
                    _ => None,
                },
                Event::Error(event) => panic!("{event:?}"),
                _ => None,
            }
        })
        .await;
        assert!(end.clean, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_over_tls_keep_their_order() {
    let root = Authority::new();
    let server = WebsocketServer::new(secured(root.server()).outbox(16 << 20));
    let addr = started(&server).await;
    let mut heard = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = WebsocketClient::new(root.trusted(addr.port())).unwrap();
        heard.push(client.events());
        client.connect().await.unwrap();
        clients.push(client);
    }
    within(async {
        while server.connection_count() < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for n in 0..200 {
        assert_eq!(
            server.broadcast(Message::text(format!("{n} {}", "x".repeat(2000)))).unwrap().accepted,
            20
        );
    }
    for heard in &mut heard {
        for n in 0..200 {
            assert!(text(heard).await.starts_with(&format!("{n} ")));
        }
    }
}

#[tokio::test]
async fn silent_tls_peers_and_failed_handshakes_stop_nobody_else() {
    let root = Authority::new();
    let limits = Limits::default().connections_per_ip(2000);
    let server = WebsocketServer::new(secured(root.server()).limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(RawPeer::connect(addr).await);
    }
    let mut failing = RawPeer::connect(addr).await;
    failing.write(b"this is no TLS at all\r\n\r\n").await;
    failing.all().await;
    let stage = failed(&mut events).await;
    assert_eq!(stage, ErrorStage::Tls);
    let client =
        tokio::time::timeout(std::time::Duration::from_secs(5), connected(root.trusted(addr.port()))).await;
    assert!(client.expect("500 silent peers delay nobody").is_running());
}

/// Reads to the end, which has to be said (RFC 8446 section 6.1): without `close_notify` it could be anybody's.
async fn reads_to_a_said_end(peer: &mut RawPeer<<Tls as Way>::Stream>) {
    let mut rest = Vec::new();
    let read = within(peer.stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "{read:?}");
}

#[tokio::test]
async fn every_clean_end_says_close_notify_whoever_began_it() {
    let way = Tls::default();
    let server = WebsocketServer::new(way.server());
    let mut events = server.events();
    let addr = started(&server).await;

    let mut peer = way.peer(addr, "/", None).await;
    peer.frame(0x88, &1000_u16.to_be_bytes()).await;
    reads_to_a_said_end(&mut peer).await;

    let mut peer = way.peer(addr, "/", None).await;
    opened(&mut events).await;
    opened(&mut events).await.close(CloseCode::NORMAL, "");
    assert_eq!(peer.next().await.unwrap().close_code(), Some(1000));
    peer.frame(0x88, &1000_u16.to_be_bytes()).await;
    reads_to_a_said_end(&mut peer).await;

    let mut refused = RawPeer::new(way.over(TcpStream::connect(addr).await.unwrap()).await);
    refused.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(refused.head().await.starts_with("HTTP/1.1 426 "));
    reads_to_a_said_end(&mut refused).await;

    let mut peer = way.peer(addr, "/", None).await;
    let answering = async {
        assert_eq!(peer.next().await.unwrap().close_code(), Some(1001));
        peer.frame(0x88, &1001_u16.to_be_bytes()).await;
        reads_to_a_said_end(&mut peer).await;
    };
    let (report, ()) = within(async { tokio::join!(server.stop(), answering) }).await;
    assert_eq!((report.clean, report.unclean), (1, 0));
}
