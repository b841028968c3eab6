//! Groups that clients join and leave by themselves.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use websockets_simple_client::{ClientEvent, ClientParams, GroupError, WebsocketClient};
use websockets_simple_server::{
    Anonymous, CloseCode, Connection, ConnectionEventKind, EndedBy, Event, Events, GroupEventKind, Limits,
    MemoryUsers, Message, Placement, Server, ServerParams, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    connected, ended, next, opened, params,
    raw::{RawPeer, unmasked},
    received, started, text, within,
};

/// Clients may be in groups of a colour: whose name begins with it.
fn colours(params: ServerParams) -> WebsocketServer {
    WebsocketServer::new(params).with_group_rule(|_, group| group.starts_with("red") || group == "blue")
}

fn asking(addr: SocketAddr) -> ClientParams {
    params(addr).subprotocol("websockets-simple")
}

fn refused(reason: &str) -> Result<(), GroupError> {
    Err(GroupError::Refused { reason: reason.to_owned() })
}

/// A client, and its connection at the server.
async fn pair(server: &Server<Anonymous>, addr: SocketAddr) -> (WebsocketClient, Connection<Anonymous>) {
    let mut events = server.events();
    let client = connected(asking(addr)).await;
    (client, opened(&mut events).await)
}

#[tokio::test]
async fn a_client_joins_a_group_is_sent_to_and_leaves_it_and_no_message_tells_of_it() {
    let server = colours(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(asking(addr)).unwrap();
    let mut heard = client.events();
    // At once, before the server can have said hello.
    let connection = client.connect().await.unwrap();
    within(client.join("red")).await.unwrap();
    let serving = opened(&mut events).await;
    assert!(serving.is_in("red") && server.groups("/") == ["red"]);
    // Twice is once.
    within(client.join("red")).await.unwrap();
    assert_eq!(server.to_group("/", "red").send(Message::text("to red")).unwrap().accepted, 1);
    assert_eq!(text(&mut heard).await, "to red");

    within(client.leave("red")).await.unwrap();
    assert!(serving.groups().is_empty() && server.groups("/").is_empty());
    within(client.leave("red")).await.unwrap();
    assert_eq!(server.to_group("/", "red").send(Message::text("to nobody")).unwrap().accepted, 0);
    serving.try_send(Message::text("end")).unwrap();
    assert_eq!(text(&mut heard).await, "end", "the first message since");
    client.try_send(Message::text("end")).unwrap();
    assert_eq!(received(&mut events).await, Message::text("end"), "the first message of all");
    assert_eq!(connection.statistics().messages_received, 2);
    assert_eq!(serving.statistics().messages_received, 1);
}

/// The next change of groups.
async fn changed(events: &mut Events<Event<Anonymous>>) -> (String, GroupEventKind) {
    next(events, |event| match event {
        Event::Group(event) => Some((event.group.to_string(), event.kind)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn what_clients_do_with_groups_is_told_once_between_their_messages() {
    let server = colours(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = connected(asking(addr)).await;
    for _ in 0..2 {
        within(client.join("red")).await.unwrap();
    }
    assert_eq!(within(client.join("green")).await, refused("not allowed here"));
    client.send_text("in red").await.unwrap();
    for _ in 0..2 {
        within(client.leave("red")).await.unwrap();
    }
    let serving = opened(&mut events).await;
    assert_eq!(changed(&mut events).await, ("red".to_owned(), GroupEventKind::Joined));
    assert!(
        matches!(within(events.recv()).await, Some(Event::Message(_))),
        "after it has joined, before it left"
    );
    assert_eq!(changed(&mut events).await, ("red".to_owned(), GroupEventKind::Left));

    // What the server does is no news to it, and the end of the connection tells of all its groups.
    assert!(serving.join("red 2") && serving.leave("red 2"));
    within(client.join("blue")).await.unwrap();
    client.disconnect().await;
    assert_eq!(changed(&mut events).await, ("blue".to_owned(), GroupEventKind::Joined));
    let last = within(events.recv()).await;
    assert!(matches!(&last, Some(Event::Connection(_))), "{last:?}");
}

#[tokio::test]
async fn groups_end_with_the_connection() {
    let server = colours(ServerParams::local());
    let addr = started(&server).await;
    let mut events = server.events();
    let (client, _) = pair(&server, addr).await;
    within(client.join("red")).await.unwrap();
    client.disconnect().await;
    ended(&mut events).await;
    assert!(server.groups("/").is_empty());
    assert_eq!(client.join("red").await, Err(GroupError::NotConnected));
    client.connect().await.unwrap();
    assert!(!opened(&mut events).await.is_in("red"));
    within(client.join("red")).await.unwrap();
    assert_eq!(server.groups("/"), ["red"]);
}

#[tokio::test]
async fn without_a_rule_clients_join_and_leave_nothing() {
    let server = WebsocketServer::new(ServerParams::local())
        .with_placement(|_, _| Placement::new().group("put into by the server"));
    let addr = started(&server).await;
    let (client, serving) = pair(&server, addr).await;
    assert_eq!(within(client.join("red")).await, refused("not allowed here"));
    assert_eq!(within(client.leave("put into by the server")).await, refused("not allowed here"));
    assert!(serving.is_in("put into by the server") && !serving.is_in("red"));
}

#[tokio::test]
async fn a_rule_decides_by_who_asks_and_for_which_group() {
    let users = MemoryUsers::new();
    let (ann, ben) = (users.issue("ann".to_owned()), users.issue("ben".to_owned()));
    let server = WebsocketServerAuth::<String>::new(ServerParams::local(), users)
        .with_group_rule(|connection, group| *connection.user_id() == *group);
    let addr = started(&server).await;
    let ann = connected(asking(addr).token(ann.expose())).await;
    let ben = connected(asking(addr).token(ben.expose())).await;
    assert_eq!(within(ann.join("ann")).await, Ok(()));
    assert_eq!(within(ben.join("ann")).await, refused("not allowed here"));
    assert_eq!(within(ben.leave("ann")).await, refused("not allowed here"));
    assert_eq!(within(ben.join("ben")).await, Ok(()));
    assert_eq!(server.to_group("/", "ann").connections().len(), 1);
}

#[tokio::test]
async fn a_client_is_told_when_it_is_in_too_many_groups() {
    let limits = Limits::default().groups_per_connection(2);
    let server = colours(ServerParams::local().limits(limits));
    let addr = started(&server).await;
    let (client, serving) = pair(&server, addr).await;
    for group in ["red", "blue"] {
        within(client.join(group)).await.unwrap();
    }
    assert_eq!(within(client.join("red 3")).await, refused("too many groups"));
    // It is in that one already.
    within(client.join("red")).await.unwrap();
    // The server itself does as it likes.
    assert!(serving.join("green"));
    within(client.leave("red")).await.unwrap();
    assert_eq!(within(client.join("red 3")).await, refused("too many groups"));
    within(client.leave("blue")).await.unwrap();
    within(client.join("red 3")).await.unwrap();
    assert_eq!(serving.groups().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_a_name_is_not_asked_for_and_ends_the_connection_of_who_does() {
    let server = WebsocketServer::new(ServerParams::local()).with_group_rule(|_, _| true);
    let mut events = server.events();
    let addr = started(&server).await;
    let (client, serving) = pair(&server, addr).await;
    let (long, too_long) = ("ä".repeat(64), "x".repeat(129));
    within(client.join(&long)).await.unwrap();
    assert!(serving.is_in(&long));
    for name in ["", "a\nb", &too_long] {
        assert_eq!(client.join(name).await, Err(GroupError::Name), "{name:?}");
        assert_eq!(client.leave(name).await, Err(GroupError::Name), "{name:?}");
        let (mut peer, hello) = raw(addr).await;
        let name = name.replace('\n', "\\n");
        peer.text(&said(&hello, &format!("\"type\":\"join\",\"group\":\"{name}\""))).await;
        let close = peer.next().await.unwrap();
        assert_eq!(close.close_code(), Some(1008), "{name:?}");
        assert_eq!(&close.payload[2..], b"malformed control message");
        drop(peer);
        assert_eq!(ended(&mut events).await.by, EndedBy::Protocol);
    }
    assert_eq!(serving.groups().len(), 1);
}

#[tokio::test]
async fn hundreds_of_requests_at_once_get_their_own_answers() {
    let limits = Limits::default().groups_per_connection(1000);
    let server = colours(ServerParams::local().limits(limits));
    let addr = started(&server).await;
    let (client, serving) = pair(&server, addr).await;
    let mut asked = JoinSet::new();
    for number in 0..300 {
        let colour = ["red", "green"][number % 2];
        let (client, group) = (client.clone(), format!("{colour} {number}"));
        asked.spawn(async move { (colour, client.join(&group).await) });
    }
    let answers = within(asked.join_all()).await;
    for (colour, answer) in answers {
        assert_eq!(answer, if colour == "red" { Ok(()) } else { refused("not allowed here") });
    }
    assert_eq!(serving.groups().len(), 150);
    let both = async { tokio::join!(client.leave("red 0"), client.join("blue"), client.join("red 0")) };
    assert_eq!(within(both).await, (Ok(()), Ok(()), Ok(())));
    assert!(serving.is_in("red 0"), "the last request counts");
}

#[tokio::test]
async fn a_peer_without_the_subprotocol_cannot_ask() {
    let server = colours(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr)).unwrap();
    assert_eq!(client.join("red").await, Err(GroupError::NotConnected));
    assert_eq!(client.leave("red").await, Err(GroupError::NotConnected));
    client.connect().await.unwrap();
    for refused in [client.join("red").await, client.leave("red").await] {
        assert_eq!(refused, Err(GroupError::NoControls));
        assert!(refused.unwrap_err().to_string().contains("`websockets-simple`"));
    }
    assert!(opened(&mut events).await.groups().is_empty());
    // What would be a request elsewhere is a message here.
    let said = "{\"websockets-simple\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"type\":\"join\",\"group\":\"red\"}";
    client.try_send(Message::text(said)).unwrap();
    assert_eq!(received(&mut events).await, Message::text(said));
    assert!(server.groups("/").is_empty());
}

#[tokio::test]
async fn what_only_looks_like_a_control_message_is_a_message() {
    let server = colours(ServerParams::local());
    server.on(|event| async move {
        if let Event::Message(event) = event {
            let everybody = event.connection.server().to_all();
            let _ = everybody.except(&event.connection).send(event.message);
        }
    });
    let addr = started(&server).await;
    let mut events = server.events();
    let (client, _) = pair(&server, addr).await;
    let mut heard = client.events();
    opened(&mut events).await;
    let (mut stranger, hello) = raw(addr).await;
    let serving = opened(&mut events).await;
    let word = &hello[22..44];
    for kind in ["join", "joined", "left", "group_refused"] {
        let text_of = |word: &str| {
            let begin = format!("{{\"websockets-simple\":\"{word}\",\"type\":\"{kind}\"");
            format!("{begin},\"group\":\"red\",\"reason\":\"\"}}")
        };
        // Somebody else's word, or another form.
        let forged = text_of("AAAAAAAAAAAAAAAAAAAAAA");
        let formed_otherwise = format!(" {}", text_of(word));
        for said in [forged, formed_otherwise] {
            stranger.text(&said).await;
            assert_eq!(text(&mut heard).await, said);
        }
    }
    // Of the server's own words none comes true because a client says it.
    stranger.text(&said(&hello, "\"type\":\"joined\",\"group\":\"red\"")).await;
    stranger.text("end").await;
    assert_eq!(text(&mut heard).await, "end");
    assert!(serving.groups().is_empty() && server.groups("/").is_empty());
}

#[tokio::test]
async fn the_answers_have_the_form_that_is_documented() {
    let server = colours(ServerParams::local());
    let addr = started(&server).await;
    let (mut peer, hello) = raw(addr).await;
    for (asked, answer) in [
        ("\"type\":\"join\",\"group\":\"red\"", "\"type\":\"joined\",\"group\":\"red\""),
        ("\"type\":\"leave\",\"group\":\"red\"", "\"type\":\"left\",\"group\":\"red\""),
        (
            "\"type\":\"join\",\"group\":\"green\"",
            "\"type\":\"group_refused\",\"group\":\"green\",\"reason\":\"not allowed here\"",
        ),
        (
            "\"type\":\"leave\",\"group\":\"green\"",
            "\"type\":\"group_refused\",\"group\":\"green\",\"reason\":\"not allowed here\"",
        ),
    ] {
        peer.text(&said(&hello, asked)).await;
        assert_eq!(peer.next().await.unwrap().as_text(), said(&hello, answer));
    }
}

#[tokio::test]
async fn a_handler_can_join_and_wait_for_the_answer() {
    let server = colours(ServerParams::local());
    server.on(|event| async move {
        if let Event::Connection(event) = event
            && let ConnectionEventKind::Connected(connection) = event.kind
        {
            let _ = connection.send(Message::text("welcome")).await;
        }
    });
    let addr = started(&server).await;
    let client = WebsocketClient::new(asking(addr)).unwrap();
    let (joined, mut results) = mpsc::unbounded_channel();
    client.on(move |event| {
        let joined = joined.clone();
        async move {
            let (connection, group) = match event {
                ClientEvent::Connection(event) => match event.kind {
                    ConnectionEventKind::Connected(connection) => (connection, "red"),
                    _ => return,
                },
                ClientEvent::Message(event) => (event.connection, "blue"),
                _ => return,
            };
            let _ = joined.send(connection.join(group).await);
        }
    });
    client.connect().await.unwrap();
    for _ in 0..2 {
        assert_eq!(within(results.recv()).await, Some(Ok(())));
    }
    let mut groups = server.groups("/");
    groups.sort();
    assert_eq!(groups, ["blue", "red"]);
}

#[tokio::test]
async fn a_connection_that_ends_answers_nothing_any_more() {
    let server = WebsocketServer::new(ServerParams::local()).with_group_rule(|connection, group| {
        assert_ne!(group, "panic", "as it was asked for");
        connection.close(CloseCode::NORMAL, "enough")
    });
    let mut events = server.events();
    let addr = started(&server).await;
    for (group, by) in [("close", EndedBy::Local), ("panic", EndedBy::HandlerPanic)] {
        let client = connected(asking(addr)).await;
        let connection = client.connection().unwrap();
        // Nor is the second one answered.
        let both = async { tokio::join!(client.join(group), client.leave(group)) };
        assert_eq!(within(both).await, (Err(GroupError::Ended), Err(GroupError::Ended)));
        assert_eq!(ended(&mut events).await.by, by);
        assert_eq!(within(connection.join("late")).await, Err(GroupError::Ended));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_may_answer_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = WebsocketClient::new(asking(addr).connect_timeout(Duration::from_millis(500))).unwrap();
    let mut heard = client.events();
    let (connection, mut peer) = tokio::join!(client.connect(), async {
        RawPeer::accept_with(&listener, "Sec-WebSocket-Protocol: websockets-simple\r\n").await.1
    });
    let connection = connection.unwrap();
    // Before the hello it is not even asked.
    assert_eq!(within(connection.join("forgotten")).await, Err(GroupError::Timeout));
    let hello = "{\"websockets-simple\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"type\":\"hello\"}";
    let control = |rest: &str| frame(&said(hello, rest));
    peer.write(&frame(hello)).await;
    assert_eq!(within(connection.join("red")).await, Err(GroupError::Timeout));
    assert_eq!(peer.next().await.unwrap().as_text(), said(hello, "\"type\":\"join\",\"group\":\"red\""));
    let (again, ()) = tokio::join!(connection.join("red"), async {
        peer.next().await.unwrap();
        // The first answer is of the first request, the others are for nobody.
        for answer in ["group_refused", "joined", "left", "joined"] {
            let rest = format!("\"type\":\"{answer}\",\"group\":\"red\",\"reason\":\"\"");
            peer.write(&control(&rest)).await;
        }
    });
    assert_eq!(again, Ok(()));
    peer.write(&frame("end")).await;
    assert_eq!(text(&mut heard).await, "end");
}

/// A peer that speaks raw bytes, and what the server said first.
async fn raw(addr: SocketAddr) -> (RawPeer, String) {
    let mut peer = RawPeer::open(addr, "/", "Sec-WebSocket-Protocol: websockets-simple\r\n").await;
    let hello = peer.next().await.unwrap().as_text();
    (peer, hello)
}

/// A control message with the word of this hello.
fn said(hello: &str, rest: &str) -> String {
    let (word, _) = hello.split_once(",\"type\":\"hello\"").unwrap();
    format!("{word},{rest}}}")
}

/// A text of a server.
fn frame(text: &str) -> Vec<u8> {
    unmasked(0x81, text.as_bytes())
}
