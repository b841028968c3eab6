//! Users and their connections.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use uuid::Uuid;
use websockets_simple_client::{ClientEvent, CloseCode, ConnectError, WebsocketClient};
use websockets_simple_server::{
    ConnectionEventKind, Event, Limits, MemoryUsers, ServerParams, UserId, WebsocketServerAuth,
};
use websockets_simple_tests::{connected, next, opened, params, started, text, within};

/// A user connects with two devices, is sent to on both, and disappears with the second.
async fn a_user_lives_as_long_as_its_last_connection<T: UserId>(id: T, nobody: T) {
    let users = MemoryUsers::new();
    users.add("token", id.clone());
    let server = WebsocketServerAuth::<T>::new(ServerParams::local(), users);
    let mut events = server.events();
    let addr = started(&server).await;
    assert!(!server.is_user_connected(&id) && server.identity(&id).is_none());
    let (mut clients, mut heard) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let client = WebsocketClient::new(params(addr).token("token")).unwrap();
        heard.push(client.events());
        client.connect().await.unwrap();
        clients.push(client);
    }
    for _ in 0..2 {
        let user = next(&mut events, |event| match &event {
            Event::Connection(inner) if matches!(inner.kind, ConnectionEventKind::Connected(_)) => {
                event.user_id().cloned()
            }
            _ => None,
        })
        .await;
        assert_eq!(user, id);
    }
    assert_eq!(server.identities().len(), 1);
    assert_eq!(server.identity(&id).unwrap().connections.len(), 2);
    assert_eq!(server.to_user(&id).send("hello").unwrap().accepted, 2);
    assert_eq!(server.to_user(&nobody).send("hello").unwrap().accepted, 0);
    for heard in &mut heard {
        assert!(text(heard).await.starts_with(r#"{"Data":"hello","Timestamp":""#));
    }
    within(clients[0].disconnect()).await;
    assert!(server.is_user_connected(&id));
    assert_eq!(server.disconnect_user(&id, CloseCode::POLICY, "out").await, 1);
    assert!(!server.is_user_connected(&id) && server.identities().is_empty());
    let end = within(async {
        loop {
            if let Some(ClientEvent::Connection(event)) = heard[1].recv().await
                && let ConnectionEventKind::Disconnected(_, end) = event.kind
            {
                return end;
            }
        }
    })
    .await;
    assert_eq!((end.code, end.reason.as_str()), (Some(1008), "out"));
    within(server.stop()).await;
}

#[tokio::test]
async fn ids_of_every_type_work_and_no_value_is_special() {
    a_user_lives_as_long_as_its_last_connection(0_i32, 1).await;
    a_user_lives_as_long_as_its_last_connection(i64::MIN, 0).await;
    a_user_lives_as_long_as_its_last_connection(String::new(), "somebody".to_owned()).await;
    a_user_lives_as_long_as_its_last_connection(Uuid::nil(), Uuid::new_v4()).await;
}

#[tokio::test]
async fn a_user_beyond_its_connections_is_refused_with_429_and_gets_in_when_one_has_gone() {
    let users = MemoryUsers::new();
    users.add("token", 7_i64);
    users.add("other", 8_i64);
    let limits = Limits::default().connections_per_user(2);
    let server_params = ServerParams::local().limits(limits).retry_after(Duration::from_secs(3));
    let server = WebsocketServerAuth::<i64>::new(server_params, users);
    let addr = started(&server).await;
    let first = connected(params(addr).token("token")).await;
    let _second = connected(params(addr).token("token")).await;
    let third = WebsocketClient::new(params(addr).token("token")).unwrap();
    match third.connect().await {
        Err(ConnectError::Rejected { status: 429, retry_after, .. }) => {
            let in_time = |wait: Duration| (3..=6).contains(&wait.as_secs());
            assert!(retry_after.is_some_and(in_time), "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
    connected(params(addr).token("other")).await;
    within(first.disconnect()).await;
    within(async {
        while third.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_disconnect_that_races_with_a_new_connect_leaves_the_user_as_it_should_be() {
    let users = MemoryUsers::new();
    users.add("token", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
    let addr = started(&server).await;
    let mut last = connected(params(addr).token("token")).await;
    for _ in 0..100 {
        let leaving = tokio::spawn(async move { last.disconnect().await });
        let coming = connected(params(addr).token("token")).await;
        within(leaving).await.unwrap();
        within(async {
            while server.identity(&7).is_none_or(|user| user.connections.len() != 1) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(server.is_user_connected(&7));
        assert_eq!(server.connection_count(), 1);
        last = coming;
    }
    within(last.disconnect()).await;
    within(async {
        while server.is_user_connected(&7) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(server.connections().is_empty() && server.identities().is_empty());
}

#[tokio::test]
async fn connections_of_the_authenticated_server_carry_what_the_request_said() {
    let users = MemoryUsers::new();
    users.add("token", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().subprotocols(["chat"]), users);
    let mut events = server.events();
    let addr = started(&server).await;
    let client = WebsocketClient::new(
        params(addr)
            .path("/a room")
            .query("name", "Jörg & co")
            .header("X-Colour", "blue")
            .subprotocol("chat")
            .token("token"),
    )
    .unwrap();
    assert_eq!(client.connect().await.unwrap().subprotocol(), Some("chat"));
    let connection = opened(&mut events).await;
    assert_eq!(connection.channel(), "/a room");
    assert_eq!(connection.query("name").unwrap(), "Jörg & co");
    assert_eq!(connection.header("x-colour"), Some("blue"));
    assert_eq!(connection.header("authorization"), None);
    assert_eq!((connection.subprotocol(), *connection.user_id()), (Some("chat"), 7));
    assert_eq!((connection.endpoint(), connection.client_addr()), (Some(addr), Some(addr.ip())));
    assert!(connection.insert(41_u32).is_none());
    assert_eq!(
        (connection.insert(42_u32), connection.get::<u32>(), connection.get::<u64>()),
        (Some(41), Some(42), None)
    );
    assert_eq!(server.connection(connection.id()).as_ref(), Some(&connection));
    assert_eq!(server.to_channel("/a room").send("x").unwrap().accepted, 1);
    assert_eq!(server.to_channel("/A room").send("x").unwrap().accepted, 0);
}

#[tokio::test]
async fn an_id_is_named_in_the_form_in_which_a_map_would_find_it() {
    let users = MemoryUsers::new();
    users.add("secret-of-bob", "bob".to_owned());
    let server = WebsocketServerAuth::<String>::new(ServerParams::bind("127.0.0.1:0"), users);
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).token("secret-of-bob")).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    let owned = "bob".to_owned();
    assert!(server.is_user_connected("bob") && server.is_user_connected(&owned));
    assert_eq!(server.identity("bob").unwrap().id, owned);
    assert!(server.identity("eve").is_none());
    let audience = server.to_user("bob");
    let twice = audience.clone();
    assert_eq!(twice.send_text("one").unwrap().accepted, 1);
    assert_eq!(audience.user("eve").send_text("two").unwrap().accepted, 1);
    assert_eq!(server.to_all().except_user("bob").send_text("for others").unwrap().accepted, 0);
    assert_eq!([text(&mut heard).await, text(&mut heard).await], ["one", "two"]);
    assert_eq!(server.disconnect_user("bob", CloseCode::new(4100).unwrap(), "out").await, 1);
    let report = server.stop().await;
    assert_eq!(report.to_string(), "0 ended cleanly, 0 without a Close, 0 at the stop timeout");
    assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"clean":0,"unclean":0,"dropped":0}"#);
}

#[test]
fn every_error_can_be_kept_and_passed_on() {
    fn can_be_kept<E: std::error::Error + Clone + Send + Sync + 'static>() {}
    can_be_kept::<ConnectError>();
    can_be_kept::<websockets_simple_client::GroupError>();
    can_be_kept::<websockets_simple_client::ParamsError>();
    can_be_kept::<websockets_simple_client::TlsFailure>();
    can_be_kept::<websockets_simple_server::BroadcastError>();
    can_be_kept::<websockets_simple_server::DecodeError>();
    can_be_kept::<websockets_simple_server::DuplicateEvent>();
    can_be_kept::<websockets_simple_server::EncodeError>();
    can_be_kept::<websockets_simple_server::EventError>();
    can_be_kept::<websockets_simple_server::InvalidClientId>();
    can_be_kept::<websockets_simple_server::InvalidCloseCode>();
    can_be_kept::<websockets_simple_server::InvalidNetwork>();
    can_be_kept::<websockets_simple_server::InvalidSignature>();
    can_be_kept::<websockets_simple_server::IssuerUrlError>();
    can_be_kept::<websockets_simple_server::JwtKeyError>();
    can_be_kept::<websockets_simple_server::ParamsError>();
    can_be_kept::<websockets_simple_server::RouteError>();
    can_be_kept::<websockets_simple_server::SendError>();
    can_be_kept::<websockets_simple_server::SignalError>();
    can_be_kept::<websockets_simple_server::SqlUsersError>();
    can_be_kept::<websockets_simple_server::StartError>();
    can_be_kept::<websockets_simple_server::TlsError>();
    can_be_kept::<websockets_simple_server::UserServiceError>();
}
