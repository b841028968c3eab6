//! What a server says in its log about each connection. Alone in this file, as it captures the log of its process.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use websockets_simple_server::{
    CloseCode, Event, Events, MemoryUsers, ServerParams, User, WebsocketServerAuth,
};
use websockets_simple_tests::{captured::Captured, ended, opened, raw::RawPeer, started, within};

/// The lines of connections that begin or end, without the time and whatever else is before the first field.
fn lines(captured: &Captured) -> Vec<String> {
    let text = captured.text();
    let lines = text.lines().filter(|line| line.contains(" INFO ")).filter_map(|line| {
        let (_, said) = line.split_once("::log: ")?;
        Some(said.to_owned())
    });
    lines.collect()
}

async fn connection(
    addr: SocketAddr,
    events: &mut Events<Event<User<String>>>,
    end: impl AsyncFnOnce(&mut RawPeer, &websockets_simple_server::Connection<User<String>>),
) -> String {
    let mut peer = RawPeer::open(addr, "/a%22%20room?token=secret-7", "").await;
    let connection = opened(events).await;
    end(&mut peer, &connection).await;
    drop(peer);
    ended(events).await;
    connection.id().to_string()
}

#[tokio::test]
async fn each_connection_has_a_line_when_it_begins_and_one_when_it_ends() {
    let captured = Captured::everything();
    let users = MemoryUsers::new();
    users.add("secret-7", "ronald".to_owned());
    for names_users in [false, true] {
        let params = ServerParams::local().log_users(names_users);
        let server = WebsocketServerAuth::<String>::new(params, users.clone());
        let mut events = server.events();
        let addr = started(&server).await;
        let user = if names_users { " user=\"ronald\"" } else { "" };
        let before = lines(&captured).len();
        let first = connection(addr, &mut events, async |peer, _| {
            peer.frame(0x88, b"\x03\xe8the peer's words").await;
            within(peer.next()).await.unwrap();
        })
        .await;
        let second = connection(addr, &mut events, async |peer, connection| {
            connection.close(CloseCode::POLICY, "not\nthat");
            within(peer.next()).await.unwrap();
            peer.frame(0x88, b"\x03\xf0").await;
        })
        .await;
        let of = |id: &str| format!("id={id} channel=\"/a\\\" room\" client=127.0.0.1{user}");
        assert_eq!(
            lines(&captured)[before..],
            [
                format!("connected {}", of(&first)),
                format!("disconnected {} by=Peer code=1000 clean=true", of(&first)),
                format!("connected {}", of(&second)),
                format!("disconnected {} by=Local code=1008 reason=\"not\\nthat\" clean=true", of(&second)),
            ]
        );
        within(server.stop()).await;
    }
    // A long path is cut.
    let params = ServerParams::local().close_timeout(Duration::from_millis(50));
    let server = WebsocketServerAuth::<String>::new(params, users);
    let addr = started(&server).await;
    let path = "\u{e9}".repeat(1000);
    let peer = RawPeer::open(addr, &format!("/{}?token=secret-7", "%c3%a9".repeat(1000)), "").await;
    within(server.stop()).await;
    drop(peer);
    let cut = format!("channel=\"/{}\"", &path[..198]);
    assert!(lines(&captured).iter().filter(|line| line.contains(&cut)).count() == 2, "{cut}");
    let said = lines(&captured).join("\n");
    assert!(!said.contains("secret-7") && !said.contains("the peer's words"), "{said}");
}
