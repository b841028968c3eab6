//! The chat server as a service: started and watched by a service manager, stopped so that its clients hardly notice.

use std::{net::TcpListener, os::fd::OwnedFd, process::Stdio, time::Duration};

use tokio::{net::UnixDatagram, process::Command};
use websockets_simple_client::{ClientParams, WebsocketClient, test_util::RawPeer};

use crate::{chat::SERVER, program::Program};

const PATIENCE: Duration = Duration::from_secs(30);

/// As systemd does it: the listener is descriptor 3, and the variables are those of this process.
const ACTIVATED: &str = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@""#;

fn activated(listener: &TcpListener) -> Program {
    let given = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    let mut command = Command::new("sh");
    command.args(["-c", ACTIVATED, SERVER, "--anonymous", "--listen", "127.0.0.1:1"]);
    Program::spawn_with(&mut command, given)
}

/// What the service manager is told next.
async fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 1024];
    let received = tokio::time::timeout(PATIENCE, manager.recv(&mut message)).await;
    let length = received.expect("it is told in time").unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn the_service_manager_is_told_when_the_server_listens_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    let mut command = Command::new(SERVER);
    command.args(["--listen", "127.0.0.1:0", "--anonymous"]);
    command.env("NOTIFY_SOCKET", folder.path().join("notify"));
    let mut server = Program::spawn(&mut command);
    let address = server.address().await;
    assert_eq!(told(&manager).await, format!("READY=1\nSTATUS=listening on {address}\n"));
    server.terminate();
    assert_eq!(told(&manager).await, "STOPPING=1\n");
    assert!(server.end().await.success);
}

#[tokio::test]
async fn a_stop_takes_its_time_says_how_far_it_is_and_is_over_at_once_if_asked_again() {
    for asks_again in [false, true] {
        let args = ["--listen", "127.0.0.1:0", "--anonymous", "--drain"];
        let drain = if asks_again { "3600" } else { "2" };
        let mut server = Program::start(SERVER, &[&args[..], &[drain]].concat());
        let url = format!("ws://{}", server.address().await);
        let mut clients = Vec::new();
        // Of these, ten are closed in every tenth of a second, as there are few.
        for n in 0..150 {
            let params = ClientParams::url(&format!("{url}/?name=guest{n}")).unwrap();
            let client = WebsocketClient::new(params).unwrap();
            client.connect().await.unwrap();
            clients.push(client);
        }
        server.terminate();
        let progress = loop {
            let line = server.line().await;
            if line.starts_with("stopping: ") {
                break line;
            }
        };
        let left: u32 = progress.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(progress.ends_with(" of 150 connections are left") && (1..150).contains(&left), "{progress}");
        if asks_again {
            server.interrupt();
        }
        let server = server.end().await;
        assert!(server.success);
        let last = server.lines.last().unwrap();
        assert_eq!(last, "stopped: 150 ended in order, 0 without a goodbye, 0 at the deadline");
    }
}

#[tokio::test]
async fn a_load_balancer_notices_before_anybody_is_turned_away() {
    let args = ["--listen", "127.0.0.1:0", "--anonymous", "--notice", "3600"];
    let mut server = Program::start(SERVER, &args);
    let addr = server.address().await.parse().unwrap();
    server.terminate();
    while server.line().await != "stopping: withdrawn, 3600 s until the first connection is closed" {}
    let mut balancer = RawPeer::connect(addr).await;
    balancer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let ready = balancer.head().await;
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    let mut guest = RawPeer::open(addr, "/?name=guest", "").await;
    server.terminate();
    guest.rest().await;
    assert!(server.end().await.success);
}

#[tokio::test]
async fn nobody_is_turned_away_while_one_server_takes_the_place_of_another() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut first = activated(&listener);
    assert_eq!(first.address().await, addr.to_string());
    let mut guest = RawPeer::open(addr, "/?name=guest", "").await;
    first.terminate();
    guest.rest().await;
    assert!(first.end().await.success);
    // There is no server now, and the client waits.
    let mut waiting = RawPeer::connect(addr).await;
    let mut second = activated(&listener);
    second.address().await;
    let head = waiting.request("/?name=guest", "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    second.terminate();
    waiting.rest().await;
    assert!(second.end().await.success);
}

#[tokio::test]
async fn what_is_no_listener_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("no-listener")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", ACTIVATED, SERVER, "--anonymous"]);
    let ended = Program::spawn_with(&mut command, Stdio::from(OwnedFd::from(file))).end().await;
    assert!(!ended.success);
    let said = "chat-server: what the service manager gives is no TCP listener: ";
    assert!(ended.stderr.starts_with(said), "{}", ended.stderr);
}
