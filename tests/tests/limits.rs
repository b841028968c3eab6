//! What peers may take, and that silent ones hold nothing.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{sync::Arc, time::Duration};

use websockets_simple_client::{ConnectError, WebsocketClient};
use websockets_simple_server::{
    CloseCode, ErrorStage, Event, Inbound, Limits, Message, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{
    connected, ended, failed, message, params,
    raw::{self, RawPeer},
    started, text, within,
};

async fn with(limits: Limits) -> (WebsocketServer, std::net::SocketAddr) {
    let server =
        WebsocketServer::new(ServerParams::local().limits(limits).retry_after(Duration::from_secs(7)));
    let addr = started(&server).await;
    (server, addr)
}

#[tokio::test]
async fn a_message_announced_as_too_large_is_refused_from_its_header() {
    let (_server, addr) = with(Limits::default().message_size(1000)).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    // The header of a masked frame of 1,001 bytes, and not one byte of its payload.
    peer.write(b"\x82\xfe\x03\xe9\x01\x02\x03\x04").await;
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1009));
}

#[tokio::test]
async fn fragments_that_add_up_to_too_much_are_refused() {
    let (_server, addr) = with(Limits::default().message_size(1000)).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    peer.frame(0x02, &[0; 600]).await;
    peer.frame(0x80, &[0; 600]).await;
    assert_eq!(peer.rest().await.last().unwrap().close_code(), Some(1009));
}

#[tokio::test]
async fn too_many_messages_and_too_many_bytes_per_second_close_with_1008() {
    for limits in [Limits::default().messages_per_second(10), Limits::default().bytes_per_second(100)] {
        let (server, addr) = with(limits).await;
        let mut events = server.events();
        let mut peer = RawPeer::open(addr, "/", "").await;
        for _ in 0..20 {
            peer.text("a message").await;
        }
        assert_eq!(peer.next().await.unwrap().close_code(), Some(1008));
        let stage = failed(&mut events).await;
        assert_eq!(stage, ErrorStage::Limit);
    }
}

#[tokio::test]
async fn pings_behind_more_than_is_read_ahead_of_a_busy_handler_wait_for_it() {
    for (read_ahead, is_answered) in [(64 * 1024, true), (1024, false)] {
        let (server, addr) = with(Limits::default().read_ahead(read_ahead)).await;
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let released = Arc::clone(&release);
        server.on(move |event| {
            let release = Arc::clone(&released);
            async move {
                if let Event::Message(event) = event {
                    release.acquire().await.unwrap().forget();
                    let _ = event.connection.send(event.message).await;
                }
            }
        });
        let mut peer = RawPeer::open(addr, "/", "").await;
        let message = "x".repeat(2000);
        // One is being handled, the other waits.
        peer.text(&message).await;
        peer.text(&message).await;
        peer.frame(0x89, b"").await;
        if !is_answered {
            let connection = within(async {
                loop {
                    if let Some(connection) = server.connections().pop()
                        && connection.statistics().messages_received == 2
                    {
                        return connection;
                    }
                    tokio::task::yield_now().await;
                }
            });
            connection.await;
            let early = tokio::time::timeout(Duration::from_millis(100), peer.next()).await;
            assert!(early.is_err(), "{early:?}");
            release.add_permits(2);
        }
        let pong = within(async { while peer.next().await.unwrap().first != 0x8A {} });
        pong.await;
        release.add_permits(2);
    }
}

#[tokio::test]
async fn connections_beyond_the_total_are_told_503_and_when_to_come_back() {
    let (_server, addr) = with(Limits::default().connections(1)).await;
    let first = connected(params(addr)).await;
    let second = WebsocketClient::new(params(addr)).unwrap();
    match second.connect().await {
        Err(ConnectError::Rejected { status: 503, retry_after, .. }) => {
            let in_time = |wait: Duration| (7..=14).contains(&wait.as_secs());
            assert!(retry_after.is_some_and(in_time), "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
    within(first.disconnect()).await;
    within(async {
        while second.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_those_of_an_address_are_told_429() {
    let (_server, addr) = with(Limits::default().connections_per_ip(1)).await;
    let _first = connected(params(addr)).await;
    let mut second = RawPeer::connect(addr).await;
    let head = second.request("/", "").await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert!(raw::retry_after(&head).is_some_and(|wait| (7..=14).contains(&wait)), "{head}");
}

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_headers_gets_431() {
    let (_server, addr) = with(Limits::default()).await;
    for headers in [format!("X-Long: {}\r\n", "x".repeat(17_000)), "X-Many: x\r\n".repeat(100)] {
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request("/", &headers).await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    }
    let mut peer = RawPeer::connect(addr).await;
    assert!(peer.request("/", &"X-Some: x\r\n".repeat(90)).await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn silent_and_dripping_peers_hold_nothing_past_the_deadline_and_delay_nobody() {
    let limits = Limits::default().handshake(Duration::from_millis(300)).connections_per_ip(101);
    let (server, addr) = with(limits).await;
    let mut silent = Vec::new();
    for n in 0..100 {
        let mut peer = RawPeer::connect(addr).await;
        if n % 2 == 0 {
            peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n").await;
        }
        silent.push(peer);
    }
    let client = connected(params(addr)).await;
    for peer in &mut silent {
        peer.all().await;
    }
    assert_eq!(server.connection_count(), 1);
    // Their places are free again.
    for _ in 0..100 {
        silent.push(RawPeer::open(addr, "/", "").await);
    }
    assert!(client.is_running());
}

#[tokio::test]
async fn only_allowed_origins_get_in_and_clients_without_one_too() {
    let server = WebsocketServer::new(ServerParams::local().origins(["https://good.example"]));
    let addr = started(&server).await;
    for (origin, status) in [
        ("Origin: https://good.example\r\n", "101"),
        ("Origin: HTTPS://GOOD.example\r\n", "101"),
        ("", "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: https://good.example.evil\r\n", "403"),
        ("Origin: null\r\n", "403"),
    ] {
        let head = RawPeer::connect(addr).await.request("/", origin).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {head}");
    }
}

#[tokio::test]
async fn a_peer_that_sends_nothing_for_the_idle_limit_is_closed_with_4002() {
    let (_server, addr) = with(Limits::default().idle(Duration::from_millis(100))).await;
    let mut peer = RawPeer::open(addr, "/", "").await;
    assert_eq!(peer.next().await.unwrap().close_code(), Some(4002));
}

#[tokio::test]
async fn plain_requests_get_a_real_answer() {
    let (_server, addr) = with(Limits::default()).await;
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "405"),
        ("GET / HTTP/1.0\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut peer = RawPeer::connect(addr).await;
        peer.write(request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&peer.all().await).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} "))
                || answer.starts_with(&format!("HTTP/1.0 {status} ")),
            "{request}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_connection_header_in_two_lines_is_one_list() {
    let (_server, addr) = with(Limits::default()).await;
    let request =
        raw::request("/", "").replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade");
    let mut peer = RawPeer::connect(addr).await;
    peer.write(request.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
}

#[tokio::test]
async fn the_inbound_hook_lets_through_changes_drops_and_refuses() {
    let server =
        WebsocketServer::new(ServerParams::local()).with_inbound(|_connection, message| {
            match message.as_text() {
                Some("drop") => Inbound::Drop,
                Some("change") => Inbound::Deliver(Message::text("changed")),
                Some("refuse") => Inbound::Refuse(CloseCode::POLICY, "not that".to_owned()),
                _ => Inbound::Deliver(message),
            }
        });
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let _ = event.connection.send(event.message).await;
        }
    });
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    for said in ["through", "drop", "change", "refuse"] {
        client.send(Message::text(said)).await.unwrap();
    }
    assert_eq!(text(&mut heard).await, "through");
    assert_eq!(message(&mut heard).await.as_text(), Some("changed"));
    let end = ended(&mut events).await;
    assert_eq!((end.code, end.reason.as_str()), (Some(1008), "not that"));
}

/// Too many open files: `accept` fails, the server says so, waits, and recovers. In a process of its own, as the
/// limit is the process's.
#[tokio::test]
async fn accept_recovers_when_files_run_out() {
    const CHILD: &str = "WEBSOCKETS_SIMPLE_FEW_FILES";
    if std::env::var_os(CHILD).is_none() {
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 40; exec \"$0\" --exact accept_recovers_when_files_run_out"])
            .arg(program)
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let server =
        Arc::new(WebsocketServer::new(ServerParams::local().limits(Limits::default().connections(1000))));
    let mut events = server.events();
    let addr = started(&server).await;
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect(addr) {
        held.push(stream);
    }
    let stage = failed(&mut events).await;
    assert_eq!(stage, ErrorStage::Accept);
    held.clear();
    connected(params(addr)).await;
    assert!(server.is_running());
}
