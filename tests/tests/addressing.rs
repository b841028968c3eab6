//! Channels, groups, users and ids: who is meant, who is told, what a send has to name.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{collections::BTreeSet, net::SocketAddr};

use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
use websockets_simple_server::{
    Anonymous, BroadcastError, BroadcastLevel, ClientId, CloseCode, Connection, IdSigning, MemoryUsers,
    Message, Placement, Server, ServerParams, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{connected, ended, opened, params, raw::RawPeer, started, text};

/// The query says which groups and which id a client gets.
fn placed(params: ServerParams) -> WebsocketServer {
    WebsocketServer::new(params).with_placement(|request, _user| {
        let head = request.head();
        let mut placement = Placement::new();
        if let Some(channel) = head.query("channel") {
            placement = placement.channel(&channel);
        }
        if let Some(groups) = head.query("groups") {
            placement = groups.split(',').fold(placement, Placement::group);
        }
        match head.query("id").and_then(|id| ClientId::new(&id).ok()) {
            Some(id) => placement.client_id(id),
            None => placement,
        }
    })
}

/// A client, what it hears, and its connection at the server.
struct Device {
    _client: WebsocketClient,
    heard: Events<ClientEvent>,
    connection: Connection<Anonymous>,
}

async fn device(server: &Server<Anonymous>, addr: SocketAddr, path: &str) -> Device {
    let mut events = server.events();
    let client = WebsocketClient::new(ClientParams::url(&format!("ws://{addr}{path}")).unwrap()).unwrap();
    let heard = client.events();
    client.connect().await.unwrap();
    Device { _client: client, heard, connection: opened(&mut events).await }
}

/// Sends something to everybody, so that what came before it is all there is.
async fn heard(server: &Server<Anonymous>, devices: &mut [(&'static str, Device)]) -> BTreeSet<&'static str> {
    for (_, device) in &*devices {
        device.connection.try_send(Message::text("end")).unwrap();
    }
    let mut heard = BTreeSet::new();
    for (name, device) in devices {
        while text(&mut device.heard).await != "end" {
            assert!(heard.insert(*name), "{name} heard it twice");
        }
    }
    assert_eq!(server.connection_count(), 6);
    heard
}

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

#[tokio::test]
async fn each_audience_reaches_exactly_whom_it_names() {
    let server = placed(ServerParams::local());
    let addr = started(&server).await;
    let mut devices = Vec::new();
    for (name, path) in [
        ("ann", "/a?id=ann&groups=red"),
        ("ben", "/a?id=ben&groups=red,blue"),
        ("cat", "/a?id=cat"),
        ("dan", "/b?id=dan&groups=red"),
        ("eve", "/b?id=eve"),
        ("fay", "/x?id=fay&channel=c"),
    ] {
        devices.push((name, device(&server, addr, path).await));
    }
    let cat = devices[2].1.connection.clone();
    for (what, audience, expected) in [
        ("all", server.to_all(), "ann ben cat dan eve fay"),
        ("all except a channel", server.to_all().except_channel("/a"), "dan eve fay"),
        ("a channel", server.to_channel("/a"), "ann ben cat"),
        ("a channel of another name than its path", server.to_channel("c"), "fay"),
        ("the path of a channel of another name", server.to_channel("/x"), ""),
        ("two channels", server.to_channel("/b").channel("c"), "dan eve fay"),
        ("a channel twice", server.to_channel("/b").channel("/b"), "dan eve"),
        ("a group", server.to_group("/a", "red"), "ann ben"),
        ("a group of the same name elsewhere", server.to_group("/b", "red"), "dan"),
        ("a group in all channels", server.to_all().group("red"), "ann ben dan"),
        ("two groups that share a member", server.to_group("/a", "red").group("blue"), "ann ben"),
        ("a group of two channels", server.to_group("/a", "red").channel("/b"), "ann ben dan"),
        ("a group that is not", server.to_group("c", "red"), ""),
        ("a group except another", server.to_group("/a", "red").except_group("blue"), "ann"),
        ("a client", server.to_client(&id("cat")), "cat"),
        ("a client of another channel", server.to_channel("/b").client(&id("cat")), ""),
        ("two clients", server.to_client(&id("cat")).client(&id("eve")), "cat eve"),
        ("a group and a client", server.to_group("/a", "blue").client(&id("cat")), "ben cat"),
        ("all except a client", server.to_channel("/a").except_client(&id("ben")), "ann cat"),
        ("all except a connection", server.to_channel("/a").except(&cat), "ann ben"),
        (
            "all except several kinds",
            server.to_all().except_channel("/b").except_group("blue").except_client(&id("fay")),
            "ann cat",
        ),
        ("a client that is not", server.to_client(&id("nobody")), ""),
    ] {
        let expected = expected.split_terminator(' ').collect::<BTreeSet<_>>();
        let delivery = audience.send(Message::text("hello")).unwrap();
        assert_eq!(heard(&server, &mut devices).await, expected, "{what}");
        assert_eq!(delivery.accepted, expected.len(), "{what}");
        let meant = audience.client_ids().iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(meant, expected.iter().map(|name| (*name).to_owned()).collect(), "{what}");
    }
}

#[tokio::test]
async fn users_are_part_of_an_audience_too() {
    let users = MemoryUsers::new();
    let tokens = [users.issue(7_i64), users.issue(8), users.issue(9)];
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let addr = started(&server).await;
    let mut events = server.events();
    let mut clients = Vec::new();
    for (token, path) in [(0, "/a"), (0, "/b"), (1, "/a"), (2, "/b")] {
        clients.push(connected(params(addr).path(path).token(tokens[token].expose())).await);
        opened(&mut events).await;
    }
    let count = |audience: websockets_simple_server::Audience<_>| audience.connections().len();
    assert_eq!(count(server.to_user(&7)), 2);
    assert_eq!(count(server.to_user(&7).channel("/a")), 1);
    assert_eq!(count(server.to_user(&7).user(&8)), 3);
    assert_eq!(count(server.to_user(&7).except_user(&7)), 0);
    assert_eq!(count(server.to_channel("/a").user(&8)), 1);
    assert_eq!(count(server.to_all().except_user(&7)), 2);
    assert_eq!(count(server.to_channel("/b").except_user(&9)), 1);
}

#[tokio::test]
async fn groups_are_joined_and_left_and_forgotten_with_their_last_member() {
    let server = placed(ServerParams::local());
    let addr = started(&server).await;
    let mut events = server.events();
    let one = device(&server, addr, "/a?id=one&groups=red,red").await;
    let two = device(&server, addr, "/a?id=two").await;
    assert_eq!(one.connection.groups().len(), 1, "named twice, in it once");
    assert!(one.connection.is_in("red") && !two.connection.is_in("red"));
    assert!(two.connection.join("red") && !two.connection.join("red"));
    assert!(two.connection.join("blue"));
    assert_eq!(sorted(server.groups("/a")), ["blue", "red"]);
    assert!(server.groups("/b").is_empty());
    assert!(server.has_group("/a", "blue") && !server.has_group("/b", "blue"));
    assert!(two.connection.leave("blue") && !two.connection.leave("blue"));
    assert!(!server.has_group("/a", "blue"));
    assert_eq!(server.to_client(&id("one")).close(CloseCode::NORMAL, "bye"), 1);
    ended(&mut events).await;
    let rest = server.to_group("/a", "red").connections();
    assert!(rest.len() == 1 && rest[0] == two.connection);
    assert!(!one.connection.join("green") && !one.connection.leave("red"), "it has ended");
    assert_eq!(server.to_group("/a", "red").close(CloseCode::NORMAL, "bye"), 1);
    ended(&mut events).await;
    assert!(server.channels().is_empty() && server.groups("/a").is_empty());
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn names_groups_and_ids_are_listed_and_looked_up() {
    let server = placed(ServerParams::local());
    let addr = started(&server).await;
    let one = device(&server, addr, "/a?id=one&groups=red").await;
    let two = device(&server, addr, "/b").await;
    assert_eq!(sorted(server.channels()), ["/a", "/b"]);
    assert!(server.has_channel("/a") && !server.has_channel("/c"));
    assert!(server.has_client(&id("one")) && !server.has_client(&id("two")));
    assert_eq!(server.connection(&id("one")), Some(one.connection.clone()));
    assert_eq!(server.connection(two.connection.id()), Some(two.connection.clone()));
    assert_eq!(two.connection.id().to_string().len(), 36, "a UUID");
    assert_eq!(server.to_channel("/a").connections(), [one.connection]);
}

#[tokio::test]
async fn an_id_that_is_taken_is_refused_with_409_until_it_is_free() {
    let server = placed(ServerParams::local());
    let addr = started(&server).await;
    let mut events = server.events();
    let one = device(&server, addr, "/a?id=one").await;
    let refused = RawPeer::connect(addr).await.request("/b?id=one", "").await;
    assert!(refused.starts_with("HTTP/1.1 409 "), "{refused}");
    // What was random once may be asked for when it is free.
    let random = device(&server, addr, "/c").await.connection.id().clone();
    ended(&mut events).await;
    let again = device(&server, addr, &format!("/b?id={random}")).await;
    assert_eq!(*again.connection.id(), random);
    one.connection.close(CloseCode::NORMAL, "bye");
    ended(&mut events).await;
    assert_eq!(*device(&server, addr, "/b?id=one").await.connection.id(), id("one"));
}

#[tokio::test]
async fn a_send_that_names_too_little_is_an_error_and_nothing_leaves() {
    let levels = ServerParams::local()
        .broadcast_level_of("/a", BroadcastLevel::Group)
        .broadcast_level_of("/b", BroadcastLevel::ClientId);
    let server = placed(levels);
    let addr = started(&server).await;
    let mut devices = Vec::new();
    for (name, path) in [
        ("a1", "/a?id=a1&groups=red"),
        ("a2", "/a?id=a2"),
        ("b1", "/b?id=b1&groups=red"),
        ("b2", "/b?id=b2"),
        ("c1", "/c?id=c1&groups=red"),
        ("c2", "/c?id=c2"),
    ] {
        devices.push((name, device(&server, addr, path).await));
    }
    for (audience, channel) in [
        (server.to_all(), "/a"),
        (server.to_channel("/a"), "/a"),
        (server.to_channel("/c").channel("/a"), "/a"),
        (server.to_group("/b", "red"), "/b"),
        (server.to_group("/a", "red").channel("/b"), "/b"),
        (server.to_all().group("red"), "/b"),
        (server.to_group("/b", "red").client(&id("b1")), "/b"),
    ] {
        match audience.send(Message::text("oops")) {
            Err(BroadcastError::Level { channel: refused, .. }) => {
                assert_eq!(refused, channel, "{audience:?}")
            }
            other => panic!("{audience:?}: {other:?}"),
        }
    }
    assert!(server.broadcast(Message::text("oops")).is_err());
    assert!(heard(&server, &mut devices).await.is_empty());
    for (audience, expected) in [
        (server.to_channel("/c"), vec!["c1", "c2"]),
        (server.to_group("/a", "red"), vec!["a1"]),
        (server.to_channel("/b").client(&id("b2")), vec!["b2"]),
        (server.to_client(&id("b2")).client(&id("a2")), vec!["a2", "b2"]),
    ] {
        audience.send(Message::text("hello")).unwrap();
        assert_eq!(heard(&server, &mut devices).await, expected.into_iter().collect(), "{audience:?}");
    }
    let server_wide = placed(ServerParams::local().broadcast_level(BroadcastLevel::Group));
    assert!(matches!(server_wide.broadcast("oops"), Err(BroadcastError::LevelOfAll { .. })));
}

#[tokio::test]
async fn a_send_to_a_user_satisfies_every_level() {
    let users = MemoryUsers::new();
    let token = users.issue(7_i64);
    let params_of = ServerParams::local().broadcast_level(BroadcastLevel::ClientId);
    let server = WebsocketServerAuth::<i64>::new(params_of, users);
    let addr = started(&server).await;
    let mut events = server.events();
    let client = connected(params(addr).path("/a").token(token.expose())).await;
    let mut heard = client.events();
    let connection = opened(&mut events).await;
    assert!(server.to_channel("/a").send("oops").is_err());
    assert_eq!(server.to_user(&7).send(Message::text("one")).unwrap().accepted, 1);
    connection.send(Message::text("two")).await.unwrap();
    assert_eq!([text(&mut heard).await, text(&mut heard).await], ["one", "two"]);
}

#[tokio::test]
async fn clients_are_told_their_place_in_headers_and_ids_are_signed() {
    let signing = IdSigning::new("super-secret").strict(true);
    let server = placed(ServerParams::local().identity_headers("X-PODE-SIGNAL").id_signing(signing.clone()));
    let addr = started(&server).await;
    let mut events = server.events();
    for path in ["/a?groups=red,blue", "/a?id=a.b"] {
        let mut peer = RawPeer::connect(addr).await;
        let head = peer.request(path, "User-Agent: test\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let connection = opened(&mut events).await;
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let lines = lines.filter(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            lines.collect::<Vec<_>>()
        };
        assert_eq!(header("X-PODE-SIGNAL-NAME"), ["/a"]);
        assert_eq!(header("X-PODE-SIGNAL-GROUP").len(), connection.groups().len());
        let signed = header("X-PODE-SIGNAL-CLIENT-ID")[0].to_owned();
        assert_eq!(signed, connection.signed_id());
        assert_eq!(signing.verify(&signed, Some(addr.ip()), Some("test")).as_ref(), Ok(connection.id()));
        assert!(signing.verify(&signed, Some(addr.ip()), Some("other")).is_err());
        assert!(!format!("{connection:?}").contains("s:"), "applications see it unsigned");
    }
}

#[tokio::test]
async fn a_connection_selects_its_own_channel_and_the_groups_in_it() {
    let server = placed(ServerParams::local());
    let addr = started(&server).await;
    let red = device(&server, addr, "/a?groups=red").await;
    let other = device(&server, addr, "/a").await;
    let elsewhere = device(&server, addr, "/b?channel=b&groups=red").await;
    let [red, other, elsewhere] = [&red, &other, &elsewhere].map(|device| device.connection.clone());
    assert_eq!(red.to_channel().connections().len(), 2);
    for (audience, only) in [
        (red.to_channel().except(&red), &other),
        // Not that of the other channel.
        (other.to_group("red"), &red),
        (elsewhere.to_channel().group("red"), &elsewhere),
    ] {
        assert_eq!(audience.connections(), std::slice::from_ref(only));
    }
    assert_eq!(other.to_group("blue").send_text("nobody").unwrap().accepted, 0);
}
