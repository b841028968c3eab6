//! What a peer sends to a busy handler takes little memory, whatever it is.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{sync::Arc, time::Duration};

use flate2::{Compress, FlushCompress};
use peak_alloc::PeakAlloc;
use tokio::{
    io::AsyncWriteExt,
    sync::{Notify, watch},
};
use websockets_simple_server::{
    Compression, ConnectionEventKind, Event, Limits, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{
    raw::{RawPeer, masked},
    started, within,
};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const KIB: usize = 1 << 10;

/// What is sent in each flood, as far as it is taken.
const FLOOD: usize = 8 << 20;

/// What one connection may take: what is read ahead of its handler (256 KiB, counted by what it takes), the buffer of its
/// thread, and the handshake. A message under way has its own bound, the message size.
const MOST: usize = 400 * KIB;

/// A frame with its length in two bytes or eight, whatever it is, and a mask of zeros.
fn with_long_length(first: u8, payload: &[u8], bytes: usize) -> Vec<u8> {
    let len = (payload.len() as u64).to_be_bytes();
    [&[first, 0x80 | if bytes == 2 { 126 } else { 127 }], &len[8 - bytes..], &[0; 4], payload].concat()
}

/// A compressed message as it is on the wire.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(message.len() + 100);
    let mut compress = Compress::new(flate2::Compression::best(), false);
    compress.compress_vec(message, &mut deflated, FlushCompress::Sync).unwrap();
    deflated.strip_suffix(&[0, 0, 0xFF, 0xFF]).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_takes_more_memory_than_is_read_ahead() {
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None);
    let params = ServerParams::local().limits(limits).compression(Compression::new());
    let server = WebsocketServer::new(params.stop_timeout(Duration::from_millis(50)));
    let busy = Arc::new(Notify::new());
    let ended = Arc::new(Notify::new());
    // Closed while a flood lasts: the handler waits for it.
    let (gate, closed) = watch::channel(false);
    server.on({
        let (busy, ended) = (Arc::clone(&busy), Arc::clone(&ended));
        move |event| {
            let (busy, ended, mut gate) = (Arc::clone(&busy), Arc::clone(&ended), closed.clone());
            async move {
                match event {
                    Event::Message(_) => {
                        if !*gate.borrow() {
                            busy.notify_one();
                        }
                        let _ = gate.wait_for(|is_open| *is_open).await;
                    }
                    Event::Connection(event) => {
                        if let ConnectionEventKind::Disconnected(..) = event.kind {
                            ended.notify_one();
                        }
                    }
                    _ => {}
                }
            }
        }
    });
    let addr = started(&server).await;
    let fragments = |middle: usize, payload: &[u8]| {
        let mut frames = masked(0x01, payload);
        for _ in 0..middle {
            frames.extend(masked(0x00, payload));
        }
        frames.extend(masked(0x80, payload));
        frames
    };
    for (what, begin, unit) in [
        ("empty texts", Vec::new(), masked(0x81, b"")),
        ("empty binary messages", Vec::new(), masked(0x82, b"")),
        ("texts of one byte", Vec::new(), masked(0x81, b"x")),
        ("texts of 32 bytes", Vec::new(), masked(0x81, &[b'x'; 32])),
        ("texts of 1 KiB", Vec::new(), masked(0x81, &[b'x'; KIB])),
        ("empty texts in two fragments", Vec::new(), fragments(0, b"")),
        ("texts of four bytes in four fragments", Vec::new(), fragments(2, b"x")),
        ("empty fragments without end", masked(0x01, b""), masked(0x00, b"")),
        ("fragments of one byte without end", masked(0x01, b"x"), masked(0x00, b"x")),
        ("empty pings", Vec::new(), masked(0x89, b"")),
        ("pings of 125 bytes", Vec::new(), masked(0x89, &[b'x'; 125])),
        ("empty pongs", Vec::new(), masked(0x8a, b"")),
        ("text pings", Vec::new(), masked(0x81, b"ping")),
        ("pings between empty texts", Vec::new(), [masked(0x89, b""), masked(0x81, b"")].concat()),
        ("lengths in two bytes", Vec::new(), with_long_length(0x81, b"", 2)),
        ("lengths in eight bytes", Vec::new(), with_long_length(0x81, b"x", 8)),
        ("empty objects", Vec::new(), masked(0x81, b"[{\"\":0}]")),
        ("compressed texts of one byte", Vec::new(), masked(0xC1, &deflated(b"x"))),
        ("compressed empty messages", Vec::new(), masked(0xC2, &[0])),
        ("compressed texts of 1,025 bytes", Vec::new(), masked(0xC1, &deflated(&[b'x'; KIB + 1]))),
        ("compressed messages of 1 MiB", Vec::new(), masked(0xC2, &deflated(&vec![0; 1 << 20]))),
        (
            "compressed messages of 1 MiB and a byte",
            Vec::new(),
            masked(0xC2, &deflated(&vec![0; (1 << 20) + 1])),
        ),
        ("compressed fragments of one byte without end", masked(0x41, b"x"), masked(0x00, b"x")),
    ] {
        let mut peer = RawPeer::open(addr, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n").await;
        peer.text("keeps the handler busy").await;
        within(busy.notified()).await;
        let flood = unit.repeat(64 * KIB / unit.len() + 1);
        peer.write(&begin).await;
        let (mut stream, _) = peer.into_parts();
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let mut sent = 0;
        // Until it is not read any more, as nothing tells when that begins, or is cut off.
        while sent < FLOOD
            && let Ok(Ok(())) =
                tokio::time::timeout(Duration::from_millis(300), stream.write_all(&flood)).await
        {
            sent += flood.len();
        }
        let held = HEAP.peak_usage() - before;
        // Fragments are kept until the message is complete, or larger than one may be. A message is decompressed as a
        // whole, into memory that doubles.
        let is_large = what.contains("fragments of one byte") || what.contains("of 1 MiB");
        let message = if is_large { 2 << 20 } else { 0 };
        assert!(held <= MOST + message, "{what}: {held} bytes for {sent} on the wire");
        // It is over before the next begins, also what is left in the socket of a server that had no time for it.
        gate.send_replace(true);
        stream.set_zero_linger().unwrap();
        drop(stream);
        within(ended.notified()).await;
        gate.send_replace(false);
    }
    within(server.stop()).await;
}
