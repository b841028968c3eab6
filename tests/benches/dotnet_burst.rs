//! cargo bench -p websockets-simple-tests --all-features --bench dotnet_burst
//!
//! How long 2,000 messages in a row take to a .NET peer, beside the same without a .NET mode. The modes take turns, so
//! that the speed of the machine changes for all of them alike. Each message is verified.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by a panic")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::net::TcpListener;
use websockets_simple_client::{ClientParams, WebsocketClient};
use websockets_simple_server::{Compatibility, ServerParams, WebsocketServer};
use websockets_simple_tests::{
    dotnet_v7_peer::DotNetV7Peer,
    raw::{RawFrame, RawPeer},
    started,
};

const MESSAGES: usize = 2_000;
const ROUNDS: usize = 21;
const SIZES: [usize; 2] = [100, 1_000];
const MODES: [Compatibility; 3] = [Compatibility::None, Compatibility::DotNetV6, Compatibility::DotNetV7];

/// A peer that reads as the mode has it: v7 only when bytes arrive, the others whatever is there.
enum Peer {
    Raw(RawPeer),
    V7(DotNetV7Peer),
}

impl Peer {
    fn new(peer: RawPeer, mode: Compatibility, is_client: bool) -> Self {
        match mode {
            Compatibility::DotNetV7 => {
                let (stream, held) = peer.into_parts();
                Self::V7(DotNetV7Peer::new(stream, held, is_client))
            }
            _ => Self::Raw(peer),
        }
    }

    async fn next(&mut self) -> RawFrame {
        loop {
            let frame = match self {
                Self::Raw(peer) => peer.next().await.unwrap(),
                Self::V7(peer) => peer.next().await.unwrap(),
            };
            // A ping that makes a v7 peer read on also comes last.
            if frame.first == 0x81 {
                return frame;
            }
        }
    }

    /// Takes all messages; answers how long that took since `begun`.
    async fn take(&mut self, size: usize, begun: Instant) -> Duration {
        for n in 0..MESSAGES {
            assert_eq!(self.next().await.as_text(), text(n, size));
        }
        begun.elapsed()
    }
}

fn text(n: usize, size: usize) -> String {
    format!("{n:0size$}")
}

/// A server sends to a client.
async fn from_server(mode: Compatibility, size: usize) -> Duration {
    let server = WebsocketServer::new(ServerParams::local().outbox(16 << 20).compatibility(mode));
    let addr = started(&server).await;
    let mut peer = Peer::new(RawPeer::open(addr, "/", "").await, mode, true);
    let connection = server.connections().remove(0);
    // Past the pause before the first frame, which is no part of a burst.
    connection.send_text("first").await.unwrap();
    assert_eq!(peer.next().await.as_text(), "first");
    let begun = Instant::now();
    for n in 0..MESSAGES {
        connection.send_text(text(n, size)).await.unwrap();
    }
    peer.take(size, begun).await
}

/// A client sends to a server. What v6 servers are sent has a pace of its own, as they lose what comes faster.
async fn from_client(mode: Compatibility, size: usize) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let params = ClientParams::new("127.0.0.1", addr.port()).outbox(16 << 20).compatibility(mode);
    let client = WebsocketClient::new(params).unwrap();
    let (connected, peer) = tokio::join!(client.connect(), RawPeer::accept(&listener));
    connected.unwrap();
    let mut peer = Peer::new(peer, mode, false);
    client.send_text("first").await.unwrap();
    assert_eq!(peer.next().await.as_text(), "first");
    let begun = Instant::now();
    for n in 0..MESSAGES {
        client.send_text(text(n, size)).await.unwrap();
    }
    peer.take(size, begun).await
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn report(what: &str, size: usize, mode: Compatibility, times: &mut [Duration], none: &mut Option<f64>) {
    let median = median(times);
    let ratio = median / *none.get_or_insert(median);
    println!("{what:<12} {size:>5} B  {mode:<8?}  median {median:>7.2} ms  {ratio:>5.2} times None");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for size in SIZES {
            let mut served: [Vec<Duration>; 3] = Default::default();
            let mut sent: [Vec<Duration>; 3] = Default::default();
            for round in 0..ROUNDS {
                for (n, mode) in MODES.into_iter().enumerate() {
                    let times = (
                        from_server(mode, size).await,
                        match mode {
                            Compatibility::DotNetV6 => None,
                            _ => Some(from_client(mode, size).await),
                        },
                    );
                    // The first one warms up.
                    if round > 0 {
                        served[n].push(times.0);
                        sent[n].extend(times.1);
                    }
                }
            }
            let (mut none_served, mut none_sent) = (None, None);
            for (n, mode) in MODES.into_iter().enumerate() {
                report("from server", size, mode, &mut served[n], &mut none_served);
                if !sent[n].is_empty() {
                    report("from client", size, mode, &mut sent[n], &mut none_sent);
                }
            }
        }
    });
}
