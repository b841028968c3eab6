//! A whole client and a whole server over a network in memory, hours of them in milliseconds.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, ConnectError, ConnectionEventKind, Offline, Reconnect,
    WebsocketClient,
};
use websockets_simple_server::{
    Anonymous, Authenticated, Event, Events, Heartbeat, HeartbeatMode, Identity, Server, ServerParams,
    WebsocketServerAuth,
    test_util::{Answer, Dialer, Expect, ScriptedUsers, ServeNetwork, Serving, Way, network, within},
};
use websockets_simple_tests::echo::{echoing, talk};

/// A server, the network that it serves, and its events.
struct Stage<I: Identity> {
    server: Server<I>,
    events: Events<Event<I>>,
    dialer: Dialer,
    _serving: Serving,
}

impl<I: Identity> Stage<I> {
    async fn of(server: Server<I>) -> Self {
        let events = server.events();
        server.start().await.unwrap();
        let (dialer, incoming) = network();
        let serving = server.serve_network(incoming);
        Self { server, events, dialer, _serving: serving }
    }

    fn params(&self) -> ClientParams {
        ClientParams::new("server", 80).connector(self.dialer.clone())
    }

    fn client(&self, params: ClientParams) -> (WebsocketClient, Events<ClientEvent>) {
        let client = WebsocketClient::new(params).unwrap();
        let events = client.events();
        (client, events)
    }
}

/// A server that says everything back.
async fn echo(params: ServerParams) -> Stage<Anonymous> {
    Stage::of(echoing(params)).await
}

#[tokio::test(start_paused = true)]
async fn a_client_and_a_server_talk_for_a_day_and_part() {
    let pings = Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping);
    let mut stage = echo(ServerParams::mounted().heartbeat(pings)).await;
    let (client, mut heard) = stage.client(stage.params());
    client.connect().await.unwrap();
    let connection = stage.events.expect_connected().await;
    assert_eq!((connection.peer_addr(), client.connection().unwrap().peer_addr()), (None, None));
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    client.send_text("still there?").await.unwrap();
    heard.expect_text("still there?").await;
    client.disconnect().await;
    heard.expect_closed(1000).await;
    stage.events.expect_closed(1000).await;
    assert_eq!(stage.dialer.dialed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_line_is_noticed_by_both_ends_and_replaced_by_the_client() {
    let pings = Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping);
    let mut stage = echo(ServerParams::mounted().heartbeat(pings)).await;
    let params = stage.params().heartbeat(pings).reconnect(Reconnect::new());
    let (client, mut heard) = stage.client(params);
    client.connect().await.unwrap();
    heard.expect_connected().await;
    stage.dialer.line().stall();
    // Two intervals and the close timeout, then at most half a second.
    tokio::time::sleep(Duration::from_secs(66)).await;
    heard.expect_disconnected().await;
    heard.expect_connected().await;
    stage.events.expect_disconnected().await;
    client.send_text("again").await.unwrap();
    heard.expect_text("again").await;
    assert_eq!((stage.dialer.dialed(), stage.server.connection_count()), (2, 1));
}

/// Bytes of each direction of the conversation without a fault.
async fn lengths() -> [u64; 2] {
    let stage = echo(ServerParams::mounted()).await;
    let (client, mut heard) = stage.client(stage.params());
    client.connect().await.unwrap();
    talk(&client, &mut heard, &TEXTS).await;
    client.disconnect().await;
    let line = stage.dialer.line();
    [line.passed(Way::ToServer), line.passed(Way::ToClient)]
}

const TOKEN: &str = "a-secret-of-at-least-128-bit";

const TEXTS: [&str; 3] = ["one", "two", "three"];

#[tokio::test(start_paused = true)]
async fn wherever_the_line_is_cut_each_connected_has_one_disconnected_and_the_client_comes_back() {
    let lengths = lengths().await;
    for (way, length) in [(Way::ToServer, lengths[0]), (Way::ToClient, lengths[1])] {
        for cut in 0..length {
            let mut stage = echo(ServerParams::mounted()).await;
            stage.dialer.on_dial(move |dialed, line| {
                if dialed == 0 {
                    line.cut_after(way, cut);
                }
            });
            let reconnect = Reconnect::new().first(true);
            let params = stage.params().reconnect(reconnect).offline(Offline::Wait(Duration::from_secs(60)));
            let (client, mut heard) = stage.client(params);
            within(client.connect()).await.unwrap();
            talk(&client, &mut heard, &TEXTS).await;
            client.disconnect().await;
            stage.server.stop().await;
            // At both ends as many ends as beginnings.
            let mut kinds = Vec::new();
            while let Some(event) = stage.events.try_recv() {
                if let Event::Connection(event) = event {
                    kinds.push(event.kind);
                }
            }
            let opened = kinds.iter().filter(|kind| matches!(kind, ConnectionEventKind::Connected(_)));
            let ended = kinds.iter().filter(|kind| matches!(kind, ConnectionEventKind::Disconnected(..)));
            assert_eq!(opened.count(), ended.count(), "{way:?} {cut}: {kinds:?}");
            assert!(stage.dialer.dialed() <= 2, "{way:?} {cut}: {} lines", stage.dialer.dialed());
            assert_eq!(stage.server.connection_count(), 0);
            assert!(matches!(client.state(), ClientState::Idle));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_chaos_every_message_arrives_once_and_in_order() {
    for seed in 0..20 {
        let stage = echo(ServerParams::mounted()).await;
        stage.dialer.on_dial(move |_, line| line.chaos(seed));
        let (client, mut heard) = stage.client(stage.params());
        client.connect().await.unwrap();
        for number in 0..50_usize {
            client.send_text(format!("{number} {}", "x".repeat(number * 97))).await.unwrap();
        }
        for number in 0..50_usize {
            heard.expect_text(&format!("{number} {}", "x".repeat(number * 97))).await;
        }
        client.disconnect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_service_does_what_the_test_plans() {
    let users = ScriptedUsers::new();
    users.users().add(TOKEN, "Ronald".to_owned());
    let late = Duration::from_secs(2);
    users.plan([
        Answer::Fail,
        Answer::TurnAway,
        Answer::Late(late),
        Answer::Admit(Authenticated::new("John".to_owned())),
        Answer::Never,
        Answer::Panic,
    ]);
    let server = WebsocketServerAuth::<String>::new(ServerParams::mounted(), users.clone());
    let mut stage = Stage::of(server).await;
    let (client, _) = stage.client(stage.params().token(TOKEN));
    let mut statuses = Vec::new();
    let mut names = Vec::new();
    for _ in 0..7 {
        match client.connect().await {
            Ok(_) => {
                statuses.push(101);
                let connection = stage.events.expect_connected().await;
                names.push(connection.user_id().clone());
                users.users().revoke_user(&connection.user_id().clone());
                client.disconnect().await;
                stage.events.expect_disconnected().await;
            }
            Err(ConnectError::Unauthorized { .. }) => statuses.push(401),
            Err(ConnectError::Rejected { status, .. }) => statuses.push(status),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(statuses, [503, 401, 101, 101, 503, 503, 401], "the token was revoked with its user");
    assert_eq!((names, users.asked()), (vec!["Ronald".to_owned(), "John".to_owned()], 7));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_down_refuses_until_it_is_up() {
    let stage = echo(ServerParams::mounted()).await;
    let (client, _heard) = stage.client(stage.params().reconnect(Reconnect::new().first(true)));
    stage.dialer.set_down(true);
    client.start();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(matches!(client.state(), ClientState::Waiting { .. } | ClientState::Connecting { .. }));
    assert_eq!(stage.dialer.dialed(), 0);
    stage.dialer.set_down(false);
    // Pauses are of at most 30 s.
    tokio::time::timeout(Duration::from_secs(31), client.connected()).await.unwrap().unwrap();
    stage.dialer.line().reset();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(client.is_running());
    assert_eq!(stage.dialer.dialed(), 2);
}
