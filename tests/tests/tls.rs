//! The same over TLS.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use websockets_simple_client::{
    ClientParams, ConnectError, Message, ParamsError, TlsVersions, WebsocketClient,
};
use websockets_simple_server::{
    Endpoint, ErrorStage, Event, Limits, MemoryUsers, ServerParams, ServerTls, WebsocketServer,
    WebsocketServerAuth,
};
use websockets_simple_tests::{connected, failed, message, next, raw::RawPeer, started, text, within};

/// A certificate authority and a server certificate of its own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> ServerTls {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ServerTls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}

fn secured(tls: ServerTls) -> ServerParams {
    ServerParams::local().endpoint(Endpoint::tcp("127.0.0.1:0".parse().unwrap()).tls(tls))
}

fn params(addr: SocketAddr, root: &Authority) -> ClientParams {
    ClientParams::new("localhost", addr.port()).secured(true).root_pem(root.pem()).only_given_roots()
}

#[tokio::test]
async fn a_user_talks_over_tls_and_both_ends_close_cleanly() {
    let root = Authority::new();
    let users = MemoryUsers::new();
    users.add("token", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(secured(root.server(|_| ())).success_text("hello"), users);
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let _ = event.connection.send(event.message).await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    for (versions, expected) in [(TlsVersions::Tls13, "TLSv1_3"), (TlsVersions::Tls12, "TLSv1_2")] {
        let client = WebsocketClient::new(params(addr, &root).token("token").tls_versions(versions)).unwrap();
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
    let server = WebsocketServer::new(secured(root.server(|_| ())).outbox(16 << 20));
    let addr = started(&server).await;
    let mut heard = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = WebsocketClient::new(params(addr, &root)).unwrap();
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
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let (root, other) = (Authority::new(), Authority::new());
    let expired = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let early = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2100, 1, 1);
    let elsewhere = |params: &mut CertificateParams| {
        *params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap()
    };
    for (tls, words) in [
        (root.server(expired), "expired"),
        (root.server(early), "not valid yet"),
        (root.server(elsewhere), "another name"),
        (other.server(|_| ()), "nobody who is trusted here"),
    ] {
        let server = WebsocketServer::new(secured(tls));
        let addr = started(&server).await;
        let client = WebsocketClient::new(params(addr, &root)).unwrap();
        match client.connect().await {
            Err(ConnectError::Tls(text)) => assert!(text.contains(words), "{text}"),
            other => panic!("{words}: {other:?}"),
        }
        within(server.stop()).await;
    }
    let damaged = ClientParams::new("localhost", 1).secured(true).root_pem("nothing");
    assert!(matches!(WebsocketClient::new(damaged), Err(ParamsError::Tls(_))));
}

#[tokio::test]
async fn silent_tls_peers_and_failed_handshakes_stop_nobody_else() {
    let root = Authority::new();
    let limits = Limits::default().connections_per_ip(2000);
    let server = WebsocketServer::new(secured(root.server(|_| ())).limits(limits));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(RawPeer::connect(addr).await);
    }
    let mut failing = RawPeer::connect(addr).await;
    failing.write(b"this is no TLS at all\r\n\r\n").await;
    failing.all().await;
    let stage = failed(&mut events).await;
    assert_eq!(stage, ErrorStage::Tls);
    let client =
        tokio::time::timeout(std::time::Duration::from_secs(5), connected(params(addr, &root))).await;
    assert!(client.expect("200 silent peers delay nobody").is_running());
}
