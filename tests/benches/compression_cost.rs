//! cargo bench -p websockets-simple-tests --all-features --bench compression_cost
//!
//! What compression costs and saves: CPU time of the server's thread for a broadcast of 4 KiB of JSON to 1,000
//! receivers, plain and compressed, and for one message of several sizes to one receiver.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by a panic")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncReadExt;
use websockets_simple_server::{Compression, Message, OverflowPolicy, ServerParams, WebsocketServer};
use websockets_simple_tests::raw::RawPeer;

const RECEIVERS: usize = 1000;

/// CPU time of this thread.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// JSON of a chat, of this many bytes.
fn document(size: usize) -> String {
    let entry = |n: usize| {
        let text = ["hello", "who is there?", "see you at eight", "that was a good one"][n * 7 % 4];
        format!(
            r#"{{"id":{},"from":"user{}","text":"{text}","at":"2026-11-29T12:{:02}:{:02}Z"}},"#,
            n * 7919,
            n % 13,
            n % 60,
            n * 37 % 60
        )
    };
    let mut text = String::new();
    for n in 0.. {
        if text.len() >= size {
            break;
        }
        text += &entry(n);
    }
    text.truncate(size);
    text
}

/// Connects that many receivers on a thread of their own, which read and count.
fn receivers(addr: SocketAddr, count: usize, offer: &'static str) -> Arc<AtomicU64> {
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..count {
                let mut stream = RawPeer::open(addr, "/", offer).await.stream;
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let mut piece = vec![0; 16 << 10];
                    while let Ok(len @ 1..) = stream.read(&mut piece).await {
                        counter.fetch_add(len as u64, Ordering::Relaxed);
                    }
                });
            }
            std::future::pending::<()>().await;
        });
    });
    read
}

/// CPU time per broadcast, and the bytes that each receiver gets.
fn measure(compression: Option<Compression>, message: &str, count: usize, rounds: u32) -> (Duration, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let params = ServerParams::local().outbox(64 << 20).overflow(OverflowPolicy::DropNewest);
        let limits = websockets_simple_server::Limits::default().connections_per_ip(usize::MAX);
        let params = params.limits(limits);
        let params = match compression {
            Some(compression) => params.compression(compression),
            None => params,
        };
        let server = WebsocketServer::new(params);
        server.start().await.unwrap();
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let read = receivers(server.local_addr().unwrap(), count, offer);
        while server.connection_count() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let message = Message::text(message.to_owned());
        let mut spent = Duration::ZERO;
        let mut each = 0;
        for round in 0..=rounds {
            let (before, begun) = (read.load(Ordering::Relaxed), cpu());
            assert_eq!(server.broadcast(&message).unwrap().accepted, count);
            // The first says how much it is, and does not count.
            let pause = Duration::from_millis(if round == 0 { 200 } else { 1 });
            let mut last = 0;
            let bytes = loop {
                tokio::time::sleep(pause).await;
                let come = read.load(Ordering::Relaxed) - before;
                let is_all = if round == 0 { come > 0 && come == last } else { come == each * count as u64 };
                if is_all {
                    break come / count as u64;
                }
                last = come;
            };
            if round == 0 {
                each = bytes;
            } else {
                spent += cpu() - begun;
            }
        }
        server.stop().await;
        (spent / rounds, each)
    })
}

fn main() {
    let levels = [1, 6, 9].map(|level| Some(Compression::new().level(level)));
    let name = |compression: Option<Compression>| match compression {
        Some(compression) => format!("{compression:?}"),
        None => "plain".to_owned(),
    };
    let message = document(4 << 10);
    for compression in [None].into_iter().chain(levels) {
        let (spent, each) = measure(compression, &message, RECEIVERS, 200);
        println!(
            "4 KiB to {RECEIVERS} receivers, {:<42} {spent:>10.1?} {each:>8} bytes each",
            name(compression)
        );
    }
    for (size, rounds) in [(1 << 10, 500), (4 << 10, 500), (16 << 10, 200), (64 << 10, 100), (1 << 20, 20)] {
        let message = document(size);
        for compression in [None].into_iter().chain(levels) {
            let (spent, each) = measure(compression, &message, 1, rounds);
            println!(
                "{:>4} KiB to one, {:<42} {spent:>10.1?} {each:>8} bytes",
                size >> 10,
                name(compression)
            );
        }
    }
}
