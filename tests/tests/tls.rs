//! The same over TLS.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_client::{
    ClientEvent, ClientParams, CloseCode, ConnectError, Message, TlsFailure, TlsVersions, WebsocketClient,
};
use websockets_simple_server::{
    Anonymous, ConnectionEventKind, Disconnect, EndedBy, ErrorStage, Event, Events, Limits, MemoryUsers,
    TlsHandshakeError, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    authority::{Authority, secured},
    connected, failed, message, next, opened, openssl,
    raw::{RawPeer, masked},
    started, text,
    way::{Plain, Tls, Way},
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

#[tokio::test]
async fn what_keeps_a_server_and_a_client_of_another_kind_apart_is_told_in_words() {
    let (root, other) = (Authority::new(), Authority::new());
    let server = WebsocketServer::new(secured(root.server()));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut told = async || {
        next(&mut events, |event| match event {
            Event::Error(event) => Some(event.error.downcast_ref::<TlsHandshakeError>().unwrap().clone()),
            _ => None,
        })
        .await
    };
    let plain = WebsocketClient::new(websockets_simple_tests::params(addr)).unwrap().connect().await;
    assert!(matches!(plain, Err(ConnectError::Tls(TlsFailure::Required))), "{plain:?}");
    assert_eq!(told().await, TlsHandshakeError::NotTls);
    for hello in
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), b"\x80\x2e\x01\0\x02", b"\x16\x03\x01\xff\xff"]
    {
        RawPeer::connect(addr).await.write(hello).await;
        assert!(matches!(told().await, TlsHandshakeError::NotTls), "{hello:?}");
    }
    for hello in [b"".as_slice(), b"\x16\x03\x01"] {
        RawPeer::connect(addr).await.write(hello).await;
        assert_eq!(told().await, TlsHandshakeError::HungUp);
    }
    let distrusts = WebsocketClient::new(other.trusted(addr.port())).unwrap().connect().await;
    assert!(matches!(distrusts, Err(ConnectError::Tls(TlsFailure::UnknownIssuer))), "{distrusts:?}");
    assert_eq!(told().await, TlsHandshakeError::CertificateRefused("its issuer is not trusted"));
    openssl::s_client(addr, &root.pem(), &["-alpn", "h2"]).await;
    assert_eq!(told().await, TlsHandshakeError::NoHttp);
    openssl::s_client(addr, &root.pem(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).await;
    assert_eq!(told().await, TlsHandshakeError::Version);
    openssl::s_client(addr, &root.pem(), &["-tls1_2", "-cipher", "AES128-SHA"]).await;
    assert_eq!(told().await, TlsHandshakeError::Parameters);
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

/// What a server raises from the Connected of its next connection to its Disconnected.
async fn told_of_an_end(events: &mut Events<Event<Anonymous>>) -> (usize, Disconnect) {
    let mut errors = 0;
    let end = next(events, |event| match event {
        Event::Error(event) => {
            errors += 1;
            assert!(!event.error.to_string().contains("http"), "{}", event.error);
            None
        }
        Event::Connection(event) => match event.kind {
            ConnectionEventKind::Disconnected(_, end) => Some(end),
            _ => None,
        },
        _ => None,
    })
    .await;
    (errors, end)
}

#[tokio::test]
async fn a_peer_that_hangs_up_without_close_notify_has_hung_up_as_over_tcp() {
    let way = Tls::default();
    for half_a_message in [false, true] {
        let (plain, secured) = (WebsocketServer::new(Plain.server()), WebsocketServer::new(way.server()));
        let mut events = (plain.events(), secured.events());
        let (plain_addr, secured_addr) = (started(&plain).await, started(&secured).await);
        let mut over_tcp = Plain.peer(plain_addr, "/", None).await;
        let mut over_tls = way.peer(secured_addr, "/", None).await;
        if half_a_message {
            // So large that it is read into memory of its own.
            let begin = &masked(0x82, &[7; 100_000])[..50_000];
            over_tcp.write(begin).await;
            over_tls.write(begin).await;
            over_tls.stream.flush().await.unwrap();
        }
        drop(over_tcp);
        drop(over_tls.stream.into_inner().0);
        let expected = told_of_an_end(&mut events.0).await;
        assert_eq!((expected.0, expected.1.by), (0, EndedBy::Transport));
        assert_eq!(told_of_an_end(&mut events.1).await, expected);
    }
}

/// Answers a client over TLS with these bytes and hangs up without `close_notify`.
async fn answers_and_hangs_up(root: &Authority, listener: &TcpListener, answer: impl Fn(&str) -> Vec<u8>) {
    let issued = root.issue(&["localhost"], |_| ());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut peer = RawPeer::new(TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap());
    let head = peer.head().await;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    peer.write(&answer(&derive_accept_key(key.as_bytes()))).await;
    peer.stream.flush().await.unwrap();
    drop(peer.stream.into_inner().0);
}

#[tokio::test]
async fn a_server_that_hangs_up_without_close_notify_has_hung_up_at_every_stage() {
    let root = Authority::new();
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let client = WebsocketClient::new(root.trusted(listener.local_addr().unwrap().port())).unwrap();
    let mut events = client.events();
    let switching = |accept: &str| {
        format!(
            "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes()
    };
    let ((), connected) = tokio::join!(answers_and_hangs_up(&root, &listener, switching), client.connect());
    connected.unwrap();
    let end = within(async {
        loop {
            match events.recv().await.unwrap() {
                ClientEvent::Error(event) => panic!("{event:?}"),
                ClientEvent::Connection(event) => {
                    if let ConnectionEventKind::Disconnected(_, end) = event.kind {
                        return end;
                    }
                }
                _ => {}
            }
        }
    })
    .await;
    let expected = Disconnect::new(EndedBy::Transport, None, "the peer hung up without Close", false);
    assert_eq!(end, expected);
    for (answer, expected) in [
        ("", "invalid handshake response: the server closed the connection"),
        ("HTTP/1.1 101 X\r\n", "invalid handshake response: the response is incomplete"),
        ("HTTP/1.1 503 X\r\n\r\nbusy", "the server refused the handshake with HTTP status 503"),
    ] {
        let answering = answers_and_hangs_up(&root, &listener, |_| answer.as_bytes().to_vec());
        let ((), refused) = tokio::join!(answering, client.connect());
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
}

/// The errors that a server with room for one connection raises until it has room for the next one.
async fn errors_until_the_place_is_free(
    events: &mut Events<Event<Anonymous>>,
    params: ClientParams,
) -> Vec<String> {
    let client = WebsocketClient::new(params).unwrap();
    within(async {
        while client.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(client.disconnect()).await;
    let mut errors = Vec::new();
    while let Some(event) = events.try_recv() {
        if let Event::Error(event) = event {
            let source = std::error::Error::source(&event.error).map(ToString::to_string);
            errors.push(format!("{:?} {} {source:?}", event.stage, event.error));
        }
    }
    errors
}

#[tokio::test]
async fn a_peer_that_hangs_up_without_close_notify_before_its_request_is_no_more_of_an_error_than_over_tcp() {
    let way = Tls::default();
    let one = || Limits::default().connections(1);
    for begin in ["", "GET / HT"] {
        let plain = WebsocketServer::new(Plain.server().limits(one()));
        let secured = WebsocketServer::new(way.server().limits(one()));
        let mut events = (plain.events(), secured.events());
        let (plain_addr, secured_addr) = (started(&plain).await, started(&secured).await);
        let mut over_tcp = TcpStream::connect(plain_addr).await.unwrap();
        over_tcp.write_all(begin.as_bytes()).await.unwrap();
        drop(over_tcp);
        let expected = errors_until_the_place_is_free(&mut events.0, Plain.client(plain_addr)).await;
        let mut over_tls = way.over(TcpStream::connect(secured_addr).await.unwrap()).await;
        over_tls.write_all(begin.as_bytes()).await.unwrap();
        over_tls.flush().await.unwrap();
        drop(over_tls.into_inner().0);
        let errors = errors_until_the_place_is_free(&mut events.1, way.client(secured_addr)).await;
        assert_eq!(errors, expected, "{begin}");
    }
}
