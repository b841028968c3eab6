//! cargo bench -p websockets-simple-tests --all-features --bench flood_cost
//!
//! What a peer can make a server work with one connection at the default limits, 8 MiB/s and 1,000 frames/s: CPU time of
//! the server's thread over wall time, until it is cut off or for seven seconds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by a panic")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use websockets_simple_server::{DefaultPacket, Event, Limits, ServerParams, SignalDefault, WebsocketServer};
use websockets_simple_tests::raw::{masked, request};

/// A little below the default of [`Limits`], so that it is the frames that are judged.
const BYTES_PER_SECOND: usize = 15 << 19;

/// How long a flood lasts that is not cut off.
const FLOOD: Duration = Duration::from_secs(7);

/// A server on a thread of its own. Whoever asks gets the CPU time of that thread.
fn server(frames: bool) -> (SocketAddr, UnboundedSender<std::sync::mpsc::Sender<Duration>>) {
    let (ask, mut asked) = unbounded_channel::<std::sync::mpsc::Sender<Duration>>();
    let (listening, listens) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = if frames { Limits::default() } else { Limits::default().messages_per_second(None) };
            let server = WebsocketServer::new(
                ServerParams::local().signals(SignalDefault::Rebroadcast).limits(limits),
            );
            // Reads what comes, as an application would.
            server.on(|event| {
                if let Event::Message(event) = &event {
                    std::hint::black_box(event.message.packet::<DefaultPacket>().ok());
                }
                std::future::ready(())
            });
            server.start().await.unwrap();
            listening.send(server.local_addr().unwrap()).unwrap();
            while let Some(answer) = asked.recv().await {
                let now = clock_gettime(ClockId::ThreadCPUTime);
                answer.send(Duration::new(now.tv_sec as u64, now.tv_nsec as u32)).unwrap();
            }
        });
    });
    (listens.recv().unwrap(), ask)
}

fn main() {
    let nested = |size: usize| format!("[{}]", vec![r#"{"":0}"#; size / 7].join(",")).into_bytes();
    let signal = |size: usize| [br#"{"message":"#, &nested(size)[..], b"}"].concat();
    for (what, frames, begin, unit) in [
        ("empty fragments", true, masked(0x01, b""), masked(0x00, b"")),
        ("empty fragments, frames not limited", false, masked(0x01, b""), masked(0x00, b"")),
        ("nested JSON of 16 KiB", true, Vec::new(), masked(0x81, &nested(16 << 10))),
        ("a signal of nested JSON of 16 KiB", true, Vec::new(), masked(0x81, &signal(16 << 10))),
        ("texts of 16 KiB", true, Vec::new(), masked(0x81, &vec![b'x'; 16 << 10])),
    ] {
        let (addr, ask) = server(frames);
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(request("/", "").as_bytes()).unwrap();
        let mut head = [0; 1];
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut head).unwrap();
            seen.push(head[0]);
        }
        let cpu = || {
            let (answer, answered) = channel();
            ask.send(answer).unwrap();
            answered.recv().unwrap()
        };
        let before = cpu();
        let flood = unit.repeat((64 << 10) / unit.len() + 1);
        let begun = Instant::now();
        let mut sent = begin.len();
        let mut cut_off = stream.write_all(&begin).is_err();
        while !cut_off && begun.elapsed() < FLOOD {
            cut_off = stream.write_all(&flood).is_err();
            sent += flood.len();
            let due = begun + Duration::from_secs_f64(sent as f64 / BYTES_PER_SECOND as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let wall = begun.elapsed();
        let spent = cpu() - before;
        println!(
            "{what:<36} {:>6.2} % of a core over {:>5.2} s, {:>6} KiB sent{}",
            100.0 * spent.as_secs_f64() / wall.as_secs_f64(),
            wall.as_secs_f64(),
            sent >> 10,
            if cut_off { ", then cut off" } else { "" }
        );
    }
}
