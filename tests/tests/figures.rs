//! What a server says of itself in numbers.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use websockets_simple_client::{ClientParams, ConnectError, WebsocketClient};
use websockets_simple_server::{
    Authenticated, AuthenticationResult, Chain, CloseCode, CloseKind, ClusterParams, Compression,
    CompressionFigures, EndedBy, Heartbeat, HeartbeatMode, HeartbeatVerdict, Identity, Limits, MemoryBus,
    MemoryUsers, OverflowPolicy, RefusalReason, Server, ServerFigures, ServerParams, Ticketed, Tickets,
    WebsocketServer, WebsocketServerAuth,
    test_util::{ServeNetwork, network},
};
use websockets_simple_tests::{connected, echo::echoing, ended, params, raw::RawPeer, started, text, within};

/// The figures, once they are as expected.
async fn figures<I: Identity>(
    server: &Server<I>,
    are_there: impl Fn(&ServerFigures) -> bool,
) -> ServerFigures {
    within(async {
        loop {
            let figures = server.figures();
            if are_there(&figures) {
                return figures;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// How many connections ended in this way.
fn closes(figures: &ServerFigures, code: CloseKind, by: EndedBy) -> u64 {
    let of = |close: &&websockets_simple_server::CloseFigure| (close.code, close.by) == (code, by);
    figures.closes.iter().find(of).map_or(0, |close| close.count)
}

#[tokio::test]
async fn what_went_through_a_connection_is_counted_while_it_is_open_and_when_it_has_ended() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let client = connected(params(addr)).await;
    let mut events = client.events();
    for _ in 0..3 {
        client.send_text("hello").await.unwrap();
        text(&mut events).await;
    }
    let open = figures(&server, |figures| figures.traffic.messages_sent == 3).await;
    assert_eq!((open.connections.open, open.connections.ending, open.handshakes.opened), (1, 0, 1));
    assert_eq!((open.traffic.messages_received, open.traffic.bytes_received), (3, 15));
    assert_eq!(open.channels, 1);
    client.disconnect().await;
    let over = figures(&server, |figures| figures.connections.open + figures.connections.ending == 0).await;
    assert_eq!((over.traffic.messages_received, over.traffic.messages_sent), (3, 3));
    assert!(over.traffic.bytes_sent > open.traffic.bytes_sent, "the Close as well");
    assert_eq!(closes(&over, CloseKind::Known(1000), EndedBy::Peer), 1);
    assert_eq!((over.channels, over.queued_bytes), (0, 0));
    let own = client.figures();
    assert_eq!((own.attempts, own.connections, own.messages_sent, own.messages_received), (1, 1, 3, 3));
}

#[tokio::test]
async fn counters_never_go_back_while_connections_come_and_go() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let coming_and_going = tokio::spawn(async move {
        for _ in 0..60 {
            let client = connected(params(addr)).await;
            let mut events = client.events();
            client.send_text("hello").await.unwrap();
            text(&mut events).await;
            client.disconnect().await;
        }
    });
    let mut before = server.figures();
    while !coming_and_going.is_finished() {
        let now = server.figures();
        assert!(now.traffic.messages_received >= before.traffic.messages_received);
        assert!(now.traffic.bytes_sent >= before.traffic.bytes_sent);
        assert!(now.handshakes.opened >= before.handshakes.opened);
        before = now;
        tokio::task::yield_now().await;
    }
    coming_and_going.await.unwrap();
    let over = figures(&server, |figures| figures.connections.open + figures.connections.ending == 0).await;
    assert_eq!((over.traffic.messages_received, over.handshakes.opened), (60, 60));
    assert_eq!(closes(&over, CloseKind::Known(1000), EndedBy::Peer), 60);
}

#[tokio::test]
async fn who_is_refused_is_counted_by_the_reason() {
    let users = MemoryUsers::new();
    let token = users.issue("ann".to_owned());
    let limits = Limits::default().connections_per_user(1);
    let server = WebsocketServerAuth::<String>::new(
        ServerParams::local().limits(limits).subprotocols(["chat"]).origins(["https://own.example"]),
        users,
    );
    let addr = started(&server).await;
    let known = params(addr).token(token);
    let ann = connected(known.clone()).await;
    for (params, refused) in [
        (params(addr), "nobody"),
        (params(addr).token("guessed"), "a wrong token"),
        (known.clone().subprotocol("other"), "another subprotocol"),
        (known.clone().header("Origin", "https://other.example"), "another origin"),
        (known, "one connection too many"),
    ] {
        let client = WebsocketClient::new(params).unwrap();
        assert!(client.connect().await.is_err(), "{refused}");
    }
    let mut visitor = RawPeer::connect(addr).await;
    visitor.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 426 "));
    // Who is refused is given time to read the answer.
    let are_over =
        |figures: &ServerFigures| figures.handshakes.refused == 6 && figures.connections.handshaking == 0;
    drop(visitor);
    let figures = figures(&server, are_over).await;
    let counted = |reason| figures.refusals[&reason];
    assert_eq!(counted(RefusalReason::Unauthorized), 2);
    assert_eq!(counted(RefusalReason::Subprotocol), 1);
    assert_eq!(counted(RefusalReason::Origin), 1);
    assert_eq!(counted(RefusalReason::FullUser), 1);
    assert_eq!(counted(RefusalReason::NoWebsocket), 1);
    assert_eq!(figures.refusals.values().sum::<u64>(), 6);
    assert_eq!(figures.handshakes.opened, 1);
    let asked = |result| figures.authentications[&result].count;
    assert_eq!(asked(AuthenticationResult::Authenticated), 2, "Ann, and Ann again");
    assert_eq!(asked(AuthenticationResult::Unauthorized), 1, "it is not asked about nobody");
    ann.disconnect().await;
}

#[tokio::test]
async fn each_end_is_counted_by_its_code_and_by_who_chose_it() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let mut events = server.events();
    for (code, kind) in
        [(CloseCode::POLICY, CloseKind::Known(1008)), (CloseCode::new(4321).unwrap(), CloseKind::Application)]
    {
        let mut peer = RawPeer::open(addr, "/", "").await;
        within(async {
            while server.connections().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server.connections()[0].close(code, "enough");
        peer.rest().await;
        ended(&mut events).await;
        let figures = figures(&server, |figures| closes(figures, kind, EndedBy::Local) == 1).await;
        assert_eq!(figures.connections.open, 0);
    }
    drop(RawPeer::open(addr, "/", "").await);
    figures(&server, |figures| closes(figures, CloseKind::None, EndedBy::Transport) == 1).await;
}

#[tokio::test]
async fn a_peer_that_waits_or_hangs_up_before_its_request_is_seen() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let silent = tokio::net::TcpStream::connect(addr).await.unwrap();
    figures(&server, |figures| figures.connections.handshaking == 1).await;
    drop(silent);
    let figures = figures(&server, |figures| figures.handshakes.idle == 1).await;
    assert_eq!((figures.connections.handshaking, figures.handshakes.refused), (0, 0));
}

#[tokio::test]
async fn what_waits_for_a_peer_that_does_not_read_is_seen_and_what_is_dropped_for_it() {
    let params = ServerParams::local().outbox(100_000).overflow(OverflowPolicy::DropNewest);
    let server = WebsocketServer::new(params);
    let addr = started(&server).await;
    let _deaf = RawPeer::open(addr, "/", "").await;
    within(async {
        while server.connection_count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let message = "x".repeat(50_000);
    while server.broadcast(message.as_str()).unwrap().dropped == 0 {
        tokio::task::yield_now().await;
    }
    let figures = server.figures();
    assert!(figures.largest_queue > 0 && figures.queued_bytes == figures.largest_queue, "{figures:?}");
    assert_eq!(figures.traffic.dropped, 1);
    let policy = "ws_dropped_messages_total{policy=\"drop_newest\"} 1\n";
    assert!(figures.prometheus().contains(policy), "{}", figures.prometheus());
}

/// A server that has all figures.
fn of_all() -> (WebsocketServerAuth<i64>, Tickets<i64>) {
    let tickets = Tickets::new(Duration::from_secs(60));
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), tickets.clone());
    (server.with_cluster(ClusterParams::new("figures", MemoryBus::new())), tickets)
}

#[tokio::test]
async fn tickets_are_counted_wherever_in_the_user_service_they_are() {
    let tickets = Tickets::new(Duration::from_secs(60));
    let users = Ticketed::new(MemoryUsers::<i64>::new(), Duration::from_secs(60));
    let service = Chain::new(Arc::new(tickets.clone())).or(users);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), service);
    let addr = started(&server).await;
    let issued: Vec<_> = (0..3).map(|user| tickets.issue(Authenticated::new(user))).collect();
    let _client = connected(params(addr).token(issued[0].clone())).await;
    let again = WebsocketClient::new(params(addr).token(issued[0].clone())).unwrap();
    assert!(matches!(again.connect().await, Err(ConnectError::Unauthorized { .. })));
    let counted = server.figures().tickets.expect("there are some");
    assert_eq!((counted.issued, counted.redeemed, counted.unused), (3, 1, 2));
    let text = server.figures().prometheus();
    assert!(text.contains("ws_tickets_total{result=\"redeemed\"} 1\n"), "{text}");
    let none = WebsocketServer::new(ServerParams::local());
    assert!(none.figures().tickets.is_none() && !none.figures().prometheus().contains("ws_tickets"));
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_a_loss_of_the_heartbeat() {
    let heartbeat = Heartbeat::new(Duration::from_millis(20), HeartbeatMode::Ping);
    let server = WebsocketServer::new(ServerParams::local().heartbeat(heartbeat));
    let addr = started(&server).await;
    let _silent = RawPeer::open(addr, "/", "").await;
    let lost = |figures: &ServerFigures| figures.heartbeats[&HeartbeatVerdict::PingUnanswered] == 1;
    let figures = figures(&server, lost).await;
    assert_eq!(figures.heartbeats[&HeartbeatVerdict::PingsStopped], 0);
}

#[tokio::test]
async fn what_compression_saves_is_counted_in_both_directions() {
    let server = echoing(ServerParams::local().compression(Compression::new()));
    let addr = started(&server).await;
    let client = connected(params(addr).compression(Compression::new())).await;
    let mut events = client.events();
    let message = "the same again ".repeat(1000);
    client.send_text(message.as_str()).await.unwrap();
    assert_eq!(text(&mut events).await, message);
    // Both ends are of this process, and no other test of it compresses.
    let CompressionFigures { sent, received, .. } = server.figures().compression;
    assert_eq!((sent.plain, received.plain), (2 * message.len() as u64, 2 * message.len() as u64));
    assert_eq!(sent.compressed, received.compressed);
    assert!(sent.compressed > 0 && sent.compressed < sent.plain / 10, "{sent:?}");
}

/// The names and labels of all values, without the values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn ten_thousand_users_in_as_many_channels_and_groups_have_as_many_series_as_one() {
    let users = MemoryUsers::new();
    let limits = Limits::default().connections_per_ip(usize::MAX);
    let server = WebsocketServerAuth::<u32>::new(ServerParams::mounted().limits(limits), users.clone());
    server.start().await.unwrap();
    let (dialer, incoming) = network();
    let _serving = server.serve_network(incoming);
    let mut first = BTreeSet::new();
    let mut clients = Vec::new();
    for user in 0..10_000 {
        let params = ClientParams::url(&format!("ws://server/channel-{user}")).unwrap();
        let client = connected(params.connector(dialer.clone()).token(users.issue(user))).await;
        let connection = within(async {
            loop {
                if let Some(connection) = server.to_user(&user).connections().pop() {
                    return connection;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        connection.join(&format!("group-{user}"));
        // Half of them are gone at the end.
        if user % 2 == 0 {
            clients.push(client);
        } else {
            client.disconnect().await;
        }
        if user == 1 {
            figures(&server, |figures| !figures.closes.is_empty()).await;
            first = series(&server.figures().prometheus());
        }
    }
    let figures = figures(&server, |figures| figures.connections.open == 5_000).await;
    assert_eq!((figures.channels, figures.groups, figures.handshakes.opened), (5_000, 5_000, 10_000));
    let text = figures.prometheus();
    assert_eq!(series(&text), first);
    assert!(!text.contains("channel-") && !text.contains("group-"));
}

#[tokio::test]
async fn the_figures_are_written_as_json() {
    let server = WebsocketServer::new(ServerParams::local().overflow(OverflowPolicy::Wait(Duration::MAX)));
    let json = serde_json::to_value(server.figures()).unwrap();
    assert_eq!(json["connections"]["open"], 0);
    assert_eq!(json["refusals"]["unauthorized"], 0);
    assert_eq!(json["traffic"]["policy"], "wait");
    assert_eq!(json["authentications"]["failed"]["seconds"], 0.0);
    let client = WebsocketClient::new(ClientParams::new("127.0.0.1", 1)).unwrap();
    assert!(matches!(client.connect().await, Err(ConnectError::Connect(_))));
    let json = serde_json::to_value(client.figures()).unwrap();
    assert_eq!((&json["attempts"], &json["connections"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn every_figure_is_in_the_guide_for_operators_and_every_alert_asks_for_figures_that_there_are() {
    let guide = include_str!("../../docs/operations.md");
    let (server, _tickets) = of_all();
    let client = WebsocketClient::new(ClientParams::new("127.0.0.1", 1)).unwrap();
    let text = server.figures().prometheus() + &client.figures().prometheus();
    let names: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let told: BTreeSet<_> =
        guide.split(|letter| !is_of_name(letter)).filter(|word| word.starts_with("ws_")).collect();
    assert_eq!(told, names);
}

#[tokio::test]
async fn every_query_of_the_dashboard_is_of_figures_and_labels_that_there_are() {
    let (server, tickets) = of_all();
    let addr = started(&server).await;
    let ticket = tickets.issue(Authenticated::new(7));
    connected(params(addr).token(ticket)).await.disconnect().await;
    let text = figures(&server, |figures| !figures.closes.is_empty()).await.prometheus();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut labels = BTreeMap::<_, BTreeSet<_>>::new();
    for line in lines {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let of = rest.trim_start_matches('{').split(',').filter_map(|label| Some(label.split_once('=')?.0));
        labels.entry(name).or_default().extend(of);
    }
    let dashboard = include_str!("../../docs/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            for (place, _) in query.match_indices("ws_") {
                let query = &query[place..];
                let end = query.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap();
                let name = &query[..end];
                let known = labels.get(name).unwrap_or_else(|| panic!("nobody counts {name}"));
                if let Some(selected) = query[end..].strip_prefix('{') {
                    let label = selected.split('=').next().unwrap();
                    assert!(known.contains(label), "{name} has no {label}");
                }
                asked.insert(name.split("_bucket").next().unwrap());
            }
            for by in query.split("by (").skip(1) {
                let by = by.split(')').next().unwrap().split(',').map(str::trim);
                let known: BTreeSet<_> = labels.values().flatten().copied().collect();
                assert!(by.clone().all(|label| known.contains(label)), "{query}");
            }
        }
    }
    let missing: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| !asked.contains(name))
        .collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
}

#[tokio::test]
async fn a_recorder_of_the_crate_metrics_is_given_the_same_figures() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let _client = connected(params(addr)).await;
    figures(&server, |figures| figures.connections.open == 1).await;
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || server.record_figures());
    let recorded: BTreeSet<_> = recorder
        .snapshotter()
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels: Vec<_> =
                key.key().labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let value = match value {
                DebugValue::Counter(value) => value as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(_) => panic!("none is recorded as one"),
            };
            format!("{}{labels} {value}", key.key().name())
        })
        .collect();
    let text = server.figures().prometheus();
    let expected: BTreeSet<_> =
        text.lines().filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect();
    assert_eq!(recorded, expected);
    assert!(recorded.contains("ws_connections{state=\"open\"} 1"));
}
