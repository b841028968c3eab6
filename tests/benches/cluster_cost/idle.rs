//! What nodes take that have nothing to do, and those at which clients come and go.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, sleep},
};
use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    raw::RawPeer,
};

use crate::helper::{Helper, cpu_of};

/// How long each measurement lasts.
const WINDOW: Duration = Duration::from_secs(10);

/// Clients that come, and go one second later, in each second.
const CHURN: usize = 100;

/// Prints what one node, another one and the bus take, of ever more nodes.
pub(crate) async fn measure() {
    let bus = BusServer::start(BusServerKind::Nats29).await;
    let (mut nodes, mut addrs) = (Vec::new(), Vec::new());
    println!(
        "\n{:<28} {:>10} {:>12} {:>10} {:>14} {:>14}",
        "CPU, ms per second", "a node", "the others", "the bus", "published/s", "bytes/s"
    );
    for count in [1, 2, 4, 8] {
        while nodes.len() < count {
            let mut node = Helper::start(&["node", &format!("n{}", nodes.len()), &bus.url()]);
            addrs.push(node.line().await.parse().unwrap());
            nodes.push(node);
        }
        for node in &mut nodes {
            node.say(&format!("nodes {count}")).await;
        }
        sleep(Duration::from_secs(2)).await;
        window(&bus, &nodes, "idle", None).await;
        if count > 1 {
            window(&bus, &nodes, "100 clients/s", Some(addrs[0])).await;
        }
    }
}

async fn window(bus: &BusServer, nodes: &[Helper], what: &str, churn: Option<SocketAddr>) {
    let churning = async {
        match churn {
            Some(addr) => come_and_go(addr).await,
            None => std::future::pending().await,
        }
    };
    let measuring = async {
        sleep(Duration::from_secs(2)).await;
        let cpu = || (nodes.iter().map(Helper::cpu).collect::<Vec<_>>(), cpu_of(bus.process()));
        let (before, begun) = (cpu(), Instant::now());
        sleep(WINDOW).await;
        let (after, wall) = (cpu(), begun.elapsed());
        // In a window of its own, as it takes CPU of the bus.
        let (messages, bytes) = published(&bus.url()).await;
        let share =
            |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e3 / wall.as_secs_f64();
        let of: Vec<_> =
            after.0.iter().zip(&before.0).map(|(after, before)| share(*after, *before)).collect();
        let others = of[1..].iter().sum::<f64>() / (of.len() - 1).max(1) as f64;
        println!(
            "{:<28} {:>10.2} {others:>12.2} {:>10.2} {messages:>14.1} {bytes:>14.0}",
            format!("{} nodes, {what}", nodes.len()),
            of[0],
            share(after.1, before.1)
        );
    };
    tokio::select! {
        () = churning => {}
        () = measuring => {}
    }
}

/// Clients of other users come to a node, and go a second later.
async fn come_and_go(addr: SocketAddr) {
    let (mut pace, mut there) = (interval(Duration::from_secs(1) / CHURN as u32), Vec::new());
    for number in 0_usize.. {
        pace.tick().await;
        let user = format!("Authorization: Bearer user-{number:08}\r\n");
        there.push(RawPeer::open(addr, &format!("/room/{}", number % 1000), &user).await);
        if there.len() > CHURN {
            there.remove(0);
        }
    }
}

/// Messages and bytes that are published in each second.
async fn published(url: &str) -> (f64, f64) {
    let mut connection = TcpStream::connect(url.strip_prefix("nats://").unwrap()).await.unwrap();
    connection.write_all(b"CONNECT {\"verbose\":false}\r\nSUB ws.> 1\r\n").await.unwrap();
    let until = Instant::now() + WINDOW / 2;
    let (mut all, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read) = tokio::time::timeout_at(until, connection.read(&mut part)).await {
        all.extend_from_slice(&part[..read.unwrap()]);
    }
    let messages = all.windows(8).filter(|at| at == b"\r\nMSG ws").count();
    let seconds = (WINDOW / 2).as_secs_f64();
    (messages as f64 / seconds, all.len() as f64 / seconds)
}
