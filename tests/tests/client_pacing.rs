//! How far apart the frames of a client leave, and how far ahead of its handlers it reads.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpListener, sync::Semaphore, time::Instant};
use websockets_simple_client::{ClientEvent, ClientParams, Heartbeat, WebsocketClient};
use websockets_simple_tests::{
    params,
    raw::{RawFrame, RawPeer, unmasked},
    within,
};

/// A client that is connected to a raw server.
async fn pair(change: impl FnOnce(ClientParams) -> ClientParams) -> (WebsocketClient, RawPeer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = WebsocketClient::new(change(params(listener.local_addr().unwrap()))).unwrap();
    let (peer, connected) = tokio::join!(RawPeer::accept(&listener), client.connect());
    connected.unwrap();
    (client, peer)
}

/// When, in milliseconds since they were sent, each of six texts of one byte comes, by a clock that stands still while
/// anything is left to do.
async fn arrivals(pause: Duration) -> Vec<u128> {
    const MASKED: usize = 2 + 4 + 1;
    // Nothing else in this test has a timer.
    let (client, peer) = pair(|params| params.frame_pause(pause).heartbeat(Heartbeat::off())).await;
    let (mut stream, read) = peer.into_parts();
    assert_eq!(read, b"");
    tokio::time::pause();
    let sent = Instant::now();
    for _ in 0..6 {
        client.send_text("x").await.unwrap();
    }
    let mut arrivals = Vec::new();
    for _ in 0..6 {
        stream.read_exact(&mut [0; MASKED]).await.unwrap();
        arrivals.push(sent.elapsed().as_millis());
    }
    arrivals
}

#[tokio::test]
async fn frames_of_a_client_are_as_far_apart_as_it_was_told_and_the_first_three_pauses_are_longer() {
    let arrivals = arrivals(Duration::from_secs(1)).await;
    for (arrival, least) in arrivals.iter().zip([0, 10_000, 20_000, 30_000, 31_000, 32_000]) {
        assert!(*arrival >= least, "{arrivals:?}");
    }
}

#[tokio::test]
async fn without_a_pause_the_frames_of_a_client_leave_at_once() {
    assert_eq!(arrivals(Duration::ZERO).await, [0; 6]);
}

#[tokio::test]
async fn a_client_answers_pings_behind_as_much_as_it_reads_ahead_of_a_busy_handler_and_not_beyond() {
    // Room for four messages of 2,000 bytes and their places in the queue, and not for five.
    let (client, mut peer) = pair(|params| params.read_ahead(10_000)).await;
    let release = Arc::new(Semaphore::new(0));
    client.on({
        let release = Arc::clone(&release);
        move |event| {
            let release = Arc::clone(&release);
            async move {
                if let ClientEvent::Message(_) = event {
                    release.acquire().await.unwrap().forget();
                }
            }
        }
    });
    let message = unmasked(0x81, "x".repeat(2000).as_bytes());
    let pong = |payload: &[u8]| Some(RawFrame { first: 0x8A, payload: payload.to_vec() });
    // The first one is being handled.
    for n in 0..5_u8 {
        peer.write(&message).await;
        peer.write(&unmasked(0x89, &[n])).await;
        assert_eq!(peer.next().await, pong(&[n]));
    }
    peer.write(&message).await;
    peer.write(&unmasked(0x89, b"last")).await;
    within(async {
        while client.statistics().unwrap().messages_received < 6 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let early = tokio::time::timeout(Duration::from_millis(100), peer.next()).await;
    assert!(early.is_err(), "{early:?}");
    // As soon as the handler has taken one, as much waits as may.
    release.add_permits(1);
    assert_eq!(peer.next().await, pong(b"last"));
}
