//! The servers of a bus that other tests talk to: killed, suspended and started again.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    within,
};

async fn subscribed(server: &BusServer, subscribe: &str, confirmed: &str) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    client.write_all(subscribe.as_bytes()).await.unwrap();
    let mut said = String::new();
    while !said.contains(confirmed) {
        let mut part = [0; 4096];
        let length = within(client.read(&mut part)).await.unwrap();
        assert_ne!(length, 0, "{said}");
        said.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    client
}

async fn is_killed_and_back(kind: BusServerKind, subscribe: &str, confirmed: &str) {
    let mut server = BusServer::start(kind).await;
    assert_eq!([server.connections().await, server.subscriptions().await], [0, 0]);
    let mut client = subscribed(&server, subscribe, confirmed).await;
    let url = server.url();
    assert_eq!([server.connections().await, server.subscriptions().await], [1, 2]);
    server.kill().await;
    assert!(matches!(within(client.read(&mut [0; 10])).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(("127.0.0.1", server.port())).await.is_err());
    server.restart().await;
    assert_eq!(server.url(), url);
    let _client = subscribed(&server, subscribe, confirmed).await;
    server.stop().await;
    // The system accepts for it, and nobody answers.
    let mut unanswered = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    unanswered.write_all(subscribe.as_bytes()).await.unwrap();
    let answer = timeout(Duration::from_millis(200), unanswered.read(&mut [0; 10])).await;
    assert!(answer.is_err(), "it is suspended: {answer:?}");
    server.cont();
    assert_ne!(within(unanswered.read(&mut [0; 10])).await.unwrap(), 0);
}

#[tokio::test]
async fn nats_is_killed_and_back_at_the_same_port() {
    for kind in BusServerKind::NATS {
        is_killed_and_back(kind, "CONNECT {}\r\nSUB a 1\r\nSUB b 2\r\nPING\r\n", "PONG").await;
    }
}

#[tokio::test]
async fn redis_is_killed_and_back_at_the_same_port() {
    for kind in BusServerKind::REDIS {
        is_killed_and_back(kind, "SUBSCRIBE a b\r\n", "b\r\n:2\r\n").await;
    }
}

#[tokio::test]
async fn a_redis_with_a_password_is_asked_with_it() {
    let server = BusServer::start_with(BusServerKind::Redis7, &["--requirepass", "secret"]).await;
    let _client = subscribed(&server, "AUTH secret\r\nSUBSCRIBE a b\r\n", "b\r\n:2\r\n").await;
    assert_eq!(server.subscriptions().await, 2);
}
