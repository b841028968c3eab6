//! Channels with a connection each.

use std::{net::SocketAddr, time::Duration};

use tokio::time::sleep;
use websockets_simple_server::{ClusterParams, Limits, NatsBus, ServerParams, WebsocketServer};
use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    cluster::eventually,
    raw::RawPeer,
};

use crate::{HEAP, helper::Helper};

const CHANNELS: usize = 10_000;

/// Prints what a cluster adds. Each server is a process, whose heap nothing else has used.
pub(crate) async fn measure() {
    let bus = BusServer::start(BusServerKind::Nats29).await;
    let mut taken = [0, 0];
    for (url, taken) in ["none", &bus.url()].into_iter().zip(&mut taken) {
        let mut server = Helper::start(&["server", url]);
        let mut clients = Helper::start(&["clients", &server.line().await]);
        clients.line().await;
        let answer = server.say("").await;
        let (bytes, subscriptions) = answer.split_once(' ').unwrap();
        *taken = bytes.parse().unwrap();
        println!(
            "{CHANNELS} connections, each in a channel, bus {url}: {:.2} MiB of heap, {subscriptions} subscriptions, {} at the bus",
            mebi(*taken),
            bus.subscriptions().await
        );
    }
    println!("a cluster takes {:.2} MiB of it", mebi(taken[1] - taken[0]));
}

/// The process of the server.
pub(crate) async fn server(bus: &str) {
    let limits = Limits::default().connections(2 * CHANNELS).connections_per_ip(2 * CHANNELS);
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    let server = match bus {
        "none" => server,
        url => server.with_cluster(ClusterParams::new("bench", NatsBus::new(url).unwrap())),
    };
    server.start().await.unwrap();
    eventually(|| server.cluster().ready()).await;
    sleep(Duration::from_secs(2)).await;
    let before = HEAP.current_usage();
    println!("{}", server.local_addr().unwrap());
    crate::helper::orders().next_line().await.unwrap();
    assert_eq!(server.to_all().here().connections().len(), CHANNELS);
    // Until what the handshakes took, and what was said of them, is given back.
    sleep(Duration::from_secs(3)).await;
    let taken = HEAP.current_usage() - before;
    println!("{taken} {}", server.cluster().figures().subscriptions);
    std::future::pending().await
}

/// The process of the clients.
pub(crate) async fn clients(addr: SocketAddr) {
    let mut peers = Vec::new();
    for number in 0..CHANNELS {
        peers.push(RawPeer::open(addr, &format!("/room/{number}"), "").await);
    }
    println!("there");
    std::future::pending().await
}

pub(crate) fn mebi(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
