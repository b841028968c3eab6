//! cargo bench -p websockets-simple-tests --all-features --bench http2_cost
//!
//! What a WebSocket takes of a server over HTTP/1.1, and as one of so many streams of HTTP/2 connections: live heap while
//! it is idle, CPU time of the server's thread for an echo of 64 bytes, and for each receiver of a broadcast of 64 bytes.
//! Without TLS; the clients are another process.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by a panic")]

use std::{net::SocketAddr, process::Stdio, time::Duration};

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use websockets_simple_server::{Endpoint, Limits, ServerParams, WebsocketServer};
use websockets_simple_tests::{http2::Http2Client, raw::RawPeer};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const SOCKETS: usize = 1000;
const ECHOES: usize = 20_000;
const BROADCASTS: usize = 50;
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// Streams of each HTTP/2 connection; 0 is HTTP/1.1.
const WAYS: [usize; 3] = [0, 1, 100];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = std::env::args().collect::<Vec<_>>();
    if let [_, addr, streams] = arguments.as_slice()
        && let Ok(addr) = addr.parse()
    {
        return clients(addr, streams.parse().unwrap()).await;
    }
    if let Some(streams) = arguments.get(1).and_then(|streams| streams.parse().ok()) {
        return measure(streams).await;
    }
    println!("{:<40} {:>12} {:>12} {:>14}", "", "idle, bytes", "echo, us", "broadcast, us");
    for streams in WAYS {
        // Each in a process of its own, whose heap nothing else has used.
        let mut command = Command::new(std::env::current_exe().unwrap());
        assert!(command.arg(streams.to_string()).status().await.unwrap().success());
    }
}

async fn measure(streams: usize) {
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).http2_prior_knowledge();
    let limits =
        Limits::default().connections_per_ip(usize::MAX).messages_per_second(None).bytes_per_second(None);
    let server = WebsocketServer::new(ServerParams::mounted().endpoint(endpoint).limits(limits));
    server.on_message(|connection, message| async move {
        let _ = connection.send(message).await;
    });
    server.start().await.unwrap();
    let before = HEAP.current_usage();
    let mut clients = Clients::start(server.local_addr().unwrap(), streams);
    clients.say("open").await;
    // Until what the handshakes took is given back.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = (HEAP.current_usage() - before) / SOCKETS;
    let cpu = cpu_time();
    clients.say("echo").await;
    let echo = (cpu_time() - cpu).as_secs_f64() * 1e6 / ECHOES as f64;
    let cpu = cpu_time();
    for _ in 0..BROADCASTS {
        server.broadcast_text(std::str::from_utf8(&PAYLOAD).unwrap()).unwrap();
        clients.say("read").await;
    }
    let broadcast = (cpu_time() - cpu).as_secs_f64() * 1e6 / (BROADCASTS * SOCKETS) as f64;
    let way = match streams {
        0 => "HTTP/1.1".to_owned(),
        streams => format!("HTTP/2, streams of a connection: {streams}"),
    };
    println!("{way:<40} {idle:>12} {echo:>12.2} {broadcast:>14.2}");
    drop(clients);
    server.stop().await;
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The process of the clients.
struct Clients {
    _process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    fn start(addr: SocketAddr, streams: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([addr.to_string(), streams.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { orders: process.stdin.take().unwrap(), answers, _process: process }
    }

    /// Waits until an order is carried out.
    async fn say(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        assert_eq!(self.answers.next_line().await.unwrap().as_deref(), Some(order));
    }
}

/// What the process of the clients does.
async fn clients(addr: SocketAddr, streams: usize) {
    if streams == 0 {
        let mut peers = Vec::new();
        for _ in 0..SOCKETS {
            peers.push(RawPeer::open(addr, "/", "").await);
        }
        return obey(peers).await;
    }
    let (mut connections, mut peers) = (Vec::new(), Vec::new());
    for number in 0..SOCKETS {
        if number % streams == 0 {
            connections.push(Http2Client::connect(addr).await);
        }
        peers.push(connections[number / streams].open(addr, "/", &[]).await.0);
    }
    obey(peers).await;
}

async fn obey<S: AsyncRead + AsyncWrite + Unpin>(mut peers: Vec<RawPeer<S>>) {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await.unwrap() {
        if order == "echo" {
            for number in 0..ECHOES {
                let peer = &mut peers[number % SOCKETS];
                peer.frame(0x82, &PAYLOAD).await;
                assert_eq!(peer.next().await.unwrap().payload, PAYLOAD);
            }
        }
        if order == "read" {
            for peer in &mut peers {
                assert_eq!(peer.next().await.unwrap().payload, PAYLOAD);
            }
        }
        println!("{order}");
    }
}
