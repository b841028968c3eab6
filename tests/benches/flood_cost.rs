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

use flate2::{Compress, FlushCompress};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use websockets_simple_server::{
    Compression, DefaultPacket, Event, Limits, ServerParams, SignalDefault, WebsocketServer,
};
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
            let params = ServerParams::local().signals(SignalDefault::Rebroadcast).limits(limits);
            let server = WebsocketServer::new(params.compression(Compression::new()));
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

/// Bits as deflate has them, the lowest first (RFC 1951 section 3.1.1).
#[derive(Default)]
struct Bits(Vec<u8>, usize);

impl Bits {
    fn put(&mut self, value: u32, bits: usize) {
        for bit in 0..bits {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            self.0[self.1 / 8] |= ((value >> bit & 1) as u8) << (self.1 % 8);
            self.1 += 1;
        }
    }

    /// Huffman codes have their highest bit first.
    fn put_code(&mut self, (code, bits): (u32, usize)) {
        self.put(code.reverse_bits() >> (32 - bits), bits);
    }
}

/// A compressed message of blocks that hold nothing, but each tables of codes of its own, to be built for nothing.
fn empty_blocks_with_tables(size: usize) -> Vec<u8> {
    // The code of the lengths of codes: six symbols in three bits, four in four.
    let code = |symbol: usize| match symbol {
        1..=5 => (symbol as u32 - 1, 3),
        18 => (5, 3),
        _ => (symbol as u32 + 6, 4),
    };
    let mut bits = Bits::default();
    while bits.0.len() < size {
        bits.put(0, 1);
        bits.put(2, 2);
        // 257 literals, one distance, and the lengths of 18 codes in the order of RFC 1951 section 3.2.7.
        bits.put(0, 10);
        bits.put(14, 4);
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
            bits.put(if matches!(symbol, 1..=9 | 18) { code(symbol).1 as u32 } else { 0 }, 3);
        }
        for len in [2, 3, 4, 5, 6, 7, 8, 9, 9] {
            bits.put_code(code(len));
        }
        for zeros in [138, 109] {
            bits.put_code(code(18));
            bits.put(zeros - 11, 7);
        }
        // The end of a block, and the distance.
        bits.put_code(code(1));
        bits.put_code(code(1));
        bits.put(0, 1);
    }
    bits.put(0, 3);
    bits.0
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(message.len() + 100);
    let mut compress = Compress::new(flate2::Compression::best(), false);
    compress.compress_vec(message, &mut deflated, FlushCompress::Sync).unwrap();
    deflated.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().to_vec()
}

fn main() {
    let nested = |size: usize| format!("[{}]", vec![r#"{"":0}"#; size / 7].join(",")).into_bytes();
    let signal = |size: usize| [br#"{"message":"#, &nested(size)[..], b"}"].concat();
    let compressed = |payload: &[u8]| (true, Vec::new(), masked(0xC2, payload));
    let blocks = |block: &[u8], size: usize| [block.repeat(size / block.len()), vec![0]].concat();
    let compressed_floods = [
        ("compressed, 1 MiB of zeros", compressed(&deflated(&vec![0; 1 << 20]))),
        ("compressed, 16 KiB of zeros", compressed(&deflated(&vec![0; 16 << 10]))),
        ("compressed, empty blocks", compressed(&blocks(&[0, 0, 0, 0xFF, 0xFF], 16 << 10))),
        ("compressed, empty blocks with tables", compressed(&empty_blocks_with_tables(16 << 10))),
        ("compressed, the same in 1 MiB", compressed(&empty_blocks_with_tables((1 << 20) - 100))),
        ("compressed, 63 final blocks", compressed(&blocks(&[3, 0], 126))),
    ];
    for (what, frames, begin, unit) in [
        ("empty fragments", true, masked(0x01, b""), masked(0x00, b"")),
        ("empty fragments, frames not limited", false, masked(0x01, b""), masked(0x00, b"")),
        ("nested JSON of 16 KiB", true, Vec::new(), masked(0x81, &nested(16 << 10))),
        ("a signal of nested JSON of 16 KiB", true, Vec::new(), masked(0x81, &signal(16 << 10))),
        ("texts of 16 KiB", true, Vec::new(), masked(0x81, &vec![b'x'; 16 << 10])),
    ]
    .into_iter()
    .chain(compressed_floods.map(|(what, (frames, begin, unit))| (what, frames, begin, unit)))
    {
        let (addr, ask) = server(frames);
        let mut stream = TcpStream::connect(addr).unwrap();
        stream
            .write_all(request("/", "Sec-WebSocket-Extensions: permessage-deflate\r\n").as_bytes())
            .unwrap();
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
