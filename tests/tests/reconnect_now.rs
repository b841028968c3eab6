//! A client that is told to connect at once, while it waits, and while it is connected. The clock is paused.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};
use websockets_simple_client::{
    ClientState, Compatibility, Disconnect, EndedBy, Heartbeat, LossCause, Reconnect, Verdict,
    WebsocketClient,
};
use websockets_simple_server::{ServerParams, WebsocketServer};
use websockets_simple_tests::{
    params,
    raw::{RawPeer, unmasked},
    started, within,
};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(3600);

/// How connections have ended.
type Ends = Arc<Mutex<Vec<Disconnect>>>;

async fn client() -> (TcpListener, WebsocketClient, Ends) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = params(listener.local_addr().unwrap()).heartbeat(Heartbeat::off());
    let ends = Ends::default();
    let seen = Arc::clone(&ends);
    // Of a pause of an hour a random part would hardly pass as none.
    let reconnect = Reconnect::new().delays(LONG, LONG).judge(move |loss| {
        if let LossCause::Ended(end) = &loss.cause {
            seen.lock().unwrap().push(end.clone());
        }
        Verdict::AsUsual
    });
    (listener, WebsocketClient::new(params.reconnect(reconnect)).unwrap(), ends)
}

/// A client that is connected, and the raw end of its connection.
async fn opened() -> (TcpListener, WebsocketClient, RawPeer, Ends) {
    let (listener, client, ends) = client().await;
    client.start();
    let peer = RawPeer::accept(&listener).await;
    within(client.connected()).await.unwrap();
    (listener, client, peer, ends)
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_sign_of_life_is_replaced_after_5_s_at_once() {
    let (listener, client, mut peer, ends) = opened().await;
    let at = Instant::now();
    assert!(client.reconnect_now());
    assert_eq!(within(peer.next()).await.unwrap().first, 0x89, "a ping");
    let _next = RawPeer::accept(&listener).await;
    let took = at.elapsed();
    assert!((5..6).contains(&took.as_secs()), "{took:?}");
    within(client.connected()).await.unwrap();
    let figures = client.figures();
    assert_eq!((figures.connections, figures.lost, figures.attempts), (2, 1, 2));
    let end = ends.lock().unwrap().remove(0);
    assert_eq!((end.by, end.code), (EndedBy::Heartbeat, Some(4000)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_stays() {
    let (_listener, client, mut peer, _) = opened().await;
    let before = client.connection().unwrap();
    for answer in [unmasked(0x8A, b""), unmasked(0x81, b"hello")] {
        assert!(client.reconnect_now());
        assert_eq!(within(peer.next()).await.unwrap().first, 0x89, "a ping");
        peer.write(&answer).await;
        tokio::time::sleep(LONG).await;
        assert!(client.is_running() && client.connection().unwrap() == before);
    }
    assert_eq!(client.figures().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_turns_out_to_be_broken_is_replaced_at_once_and_a_closed_one_is_not() {
    let (listener, client, peer, _) = opened().await;
    let at = Instant::now();
    assert!(client.reconnect_now());
    drop(peer);
    let mut peer = RawPeer::accept(&listener).await;
    assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
    within(client.connected()).await.unwrap();
    assert!(client.reconnect_now());
    peer.write(&unmasked(0x88, &1012_u16.to_be_bytes())).await;
    let mut states = client.states();
    let pause = within(async {
        loop {
            if let ClientState::Waiting { pause, .. } = states.recv().await.unwrap() {
                return pause;
            }
        }
    })
    .await;
    assert!(pause > Duration::ZERO, "the server has asked for it");
    assert!(client.reconnect_now(), "it ends the pause");
    let _peer = RawPeer::accept(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_judge_still_decides_about_a_connection_without_a_sign_of_life() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = params(listener.local_addr().unwrap()).reconnect(Reconnect::new().judge(|_| Verdict::Stop));
    let client = WebsocketClient::new(params).unwrap();
    client.start();
    let _peer = RawPeer::accept(&listener).await;
    within(client.connected()).await.unwrap();
    assert!(client.reconnect_now());
    let mut states = client.states();
    within(async { while !matches!(states.recv().await.unwrap(), ClientState::GivenUp(_)) {} }).await;
    assert_eq!(client.figures().given_up, 1);
}

#[tokio::test]
async fn our_own_server_answers_and_counts_no_message() {
    let server = WebsocketServer::new(ServerParams::local());
    let addr = started(&server).await;
    let params = params(addr).subprotocol("websockets-simple").reconnect(Reconnect::new());
    let client = WebsocketClient::new(params).unwrap();
    within(client.connect()).await.unwrap();
    let sent = || server.connections()[0].statistics().bytes_sent;
    within(async {
        // Its hello is there.
        while !client.connection().unwrap().has_controls() || client.join("x").await.is_ok() {}
        let before = sent();
        assert!(client.reconnect_now());
        while sent() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.connections()[0].statistics().messages_received, 0);
    assert_eq!(client.statistics().unwrap().messages_received, 0);
}

#[tokio::test]
async fn a_client_that_cannot_ask_says_so() {
    let (_listener, idle, _) = client().await;
    assert!(!idle.reconnect_now());
    let (listener, _, _) = client().await;
    let plain = WebsocketClient::new(params(listener.local_addr().unwrap())).unwrap();
    let v6 = params(listener.local_addr().unwrap()).compatibility(Compatibility::DotNetV6);
    let v6 = WebsocketClient::new(v6.reconnect(Reconnect::new())).unwrap();
    for client in [plain, v6] {
        let connecting = tokio::spawn({
            let client = client.clone();
            async move { client.connect().await }
        });
        let mut peer = RawPeer::accept(&listener).await;
        // For which a client of .NET v6 waits.
        peer.write(&unmasked(0x81, b"Connected Successfully.")).await;
        within(connecting).await.unwrap().unwrap();
        assert!(!client.reconnect_now());
    }
}
