//! A client that reconnects, over real sockets that fail.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use websockets_simple_client::{
    ClientEvent, ClientParams, ConnectionEventKind, Events, Offline, Reconnect, WebsocketClient,
};
use websockets_simple_server::{
    Heartbeat, HeartbeatMode, ServerParams,
    test_util::{Expect, Faults, PATIENCE, Way},
};
#[cfg(unix)]
use websockets_simple_tests::server_process::ServerProcess;
use websockets_simple_tests::{
    echo::{echoing, talk},
    params,
    relay::{Ending, Relay},
    started, within,
};

const TEXTS: [&str; 2] = ["one", "two"];

/// Comes back within a millisecond.
fn at_once() -> Reconnect {
    Reconnect::new().first(true).delays(Duration::from_millis(1), Duration::from_millis(5))
}

fn client(params: ClientParams) -> (WebsocketClient, Events<ClientEvent>) {
    let client = WebsocketClient::new(params.offline(Offline::Wait(PATIENCE))).unwrap();
    let events = client.events();
    (client, events)
}

#[tokio::test]
async fn wherever_a_socket_ends_the_client_is_back_and_the_server_keeps_nothing() {
    let server = echoing(ServerParams::local());
    let mut events = server.events();
    let addr = started(&server).await;
    let whole = Relay::to(addr, Ending::Fin, |_, _| {}).await;
    let (one, mut heard) = client(params(whole.addr()));
    one.connect().await.unwrap();
    talk(&one, &mut heard, &TEXTS).await;
    one.disconnect().await;
    let line = whole.line();
    let lengths = [(Way::ToServer, line.passed(Way::ToServer)), (Way::ToClient, line.passed(Way::ToClient))];
    events.expect_disconnected().await;

    for (way, length) in lengths {
        for cut in 0..length {
            let ending = if cut % 2 == 0 { Ending::Fin } else { Ending::Reset };
            let plan = move |number, line: &Faults| {
                if number == 0 {
                    line.cut_after(way, cut);
                }
            };
            let relay = Relay::to(addr, ending, plan).await;
            let (client, mut heard) = client(params(relay.addr()).reconnect(at_once()));
            within(client.connect()).await.unwrap();
            talk(&client, &mut heard, &TEXTS).await;
            client.disconnect().await;
            assert!(relay.lines() <= 2, "{way:?} {cut}: {} lines", relay.lines());
        }
    }
    // What comes last: all have told of their end.
    server.stop().await;
    let (mut opened, mut ended) = (0_i32, 0_i32);
    while let Some(event) = events.try_recv() {
        if let websockets_simple_server::Event::Connection(event) = event {
            opened += i32::from(matches!(event.kind, ConnectionEventKind::Connected(_)));
            ended += i32::from(matches!(event.kind, ConnectionEventKind::Disconnected(..)));
        }
    }
    assert_eq!(opened, ended);
    assert!(opened > 100, "{opened}");
}

#[tokio::test]
async fn a_socket_that_says_nothing_any_more_is_noticed_and_replaced() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let relay = Relay::to(addr, Ending::Fin, |_, _| {}).await;
    let heartbeat = Heartbeat::new(Duration::from_millis(200), HeartbeatMode::Ping);
    let params = params(relay.addr()).heartbeat(heartbeat).close_timeout(Duration::from_millis(200));
    let (client, mut heard) = client(params.reconnect(at_once()));
    client.connect().await.unwrap();
    heard.expect_connected().await;
    for lines in 1..=3 {
        assert_eq!(relay.lines(), lines);
        relay.line().stall();
        heard.expect_disconnected().await;
        heard.expect_connected().await;
        talk(&client, &mut heard, &TEXTS).await;
    }
    client.disconnect().await;
}

#[tokio::test]
async fn a_server_that_has_half_closed_its_socket_is_left() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    for way in [Way::ToServer, Way::ToClient] {
        let relay = Relay::to(addr, Ending::Fin, |_, _| {}).await;
        let (client, mut heard) = client(params(relay.addr()).reconnect(at_once()));
        client.connect().await.unwrap();
        heard.expect_connected().await;
        relay.line().half_close(way);
        heard.expect_disconnected().await;
        heard.expect_connected().await;
        talk(&client, &mut heard, &TEXTS).await;
        client.disconnect().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_that_is_suspended_is_left_and_found_again_when_it_goes_on() {
    let server = ServerProcess::start(env!("CARGO_BIN_EXE_fleet-server"), ([127, 0, 0, 1], 0).into()).await;
    let heartbeat = Heartbeat::new(Duration::from_millis(200), HeartbeatMode::Ping);
    let params = params(server.addr)
        .heartbeat(heartbeat)
        .close_timeout(Duration::from_millis(200))
        .connect_timeout(Duration::from_secs(2));
    let (client, mut heard) = client(params.reconnect(at_once()));
    client.connect().await.unwrap();
    heard.expect_text(&server.number.to_string()).await;
    server.suspend(true);
    heard.expect_disconnected().await;
    // The system accepts the connection, and nobody answers.
    heard
        .expect_next("an attempt in vain", |event| match event {
            ClientEvent::Connection(event) => {
                matches!(event.kind, ConnectionEventKind::Refused(..)).then_some(())
            }
            _ => None,
        })
        .await;
    server.suspend(false);
    heard.expect_connected().await;
    heard.expect_text(&server.number.to_string()).await;
    client.disconnect().await;
}
