//! What a peer does over HTTP/2 takes little memory, whatever it is.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::{Notify, mpsc},
};
use websockets_simple_server::{Endpoint, Event, Limits, Message, ServerParams, WebsocketServer};
use websockets_simple_tests::{raw::masked, within};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const KIB: usize = 1 << 10;

/// What is sent in each flood, as far as it is taken.
const FLOOD: usize = 8 << 20;

/// What one stream may take: 400 KiB as over TCP, its window, and what h2 and hyper keep for a connection.
const MOST: usize = 800 * KIB;

/// The same with small frames that wait in h2.
const SMALL: usize = MOST + 1536 * KIB;

/// What may wait in the outbox of a connection.
const OUTBOX: usize = 256 * KIB;

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a request for a WebSocket, of literals that are not indexed (RFC 7541 section 6.2.2).
fn head(addr: SocketAddr) -> Vec<u8> {
    let authority = addr.to_string();
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", authority.as_str()),
        ("sec-websocket-version", "13"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The first bytes of a connection with as large windows as there are, and one WebSocket.
fn begin(addr: SocketAddr) -> Vec<u8> {
    let largest = (i32::MAX as u32).to_be_bytes();
    let more = (i32::MAX as u32 - 65_535).to_be_bytes();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[&[0, 4][..], &largest].concat()),
        frame(WINDOW_UPDATE, 0, 0, &more),
        frame(HEADERS, END_HEADERS, 1, &head(addr)),
    ]
    .concat()
}

/// Each byte of a message in a frame of its own.
fn bytewise(message: &[u8]) -> Vec<u8> {
    message.iter().flat_map(|byte| frame(0, 0, 1, &[*byte])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_takes_more_memory_than_its_connection_has() {
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None);
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).http2_prior_knowledge();
    let params = ServerParams::mounted().endpoint(endpoint).limits(limits).outbox(OUTBOX);
    let server = WebsocketServer::new(params.stop_timeout(Duration::from_millis(50)));
    let busy = Arc::new(Notify::new());
    server.on({
        let busy = Arc::clone(&busy);
        move |event| {
            let busy = Arc::clone(&busy);
            async move {
                if let Event::Message(_) = event {
                    busy.notify_one();
                    std::future::pending::<()>().await;
                }
            }
        }
    });
    server.start().await.unwrap();
    let addr = server.local_addr().unwrap();
    let data = |payload: &[u8]| frame(0, 0, 1, payload);
    let text = masked(0x81, &[b'x'; 16_000]);
    for (what, begun, unit, most) in [
        ("texts of 16 KB", Vec::new(), data(&text), MOST),
        // h2 counts what it keeps of small frames, and ends the connection at half of its window.
        ("texts of 16 KB in frames of one byte", Vec::new(), bytewise(&text), SMALL),
        ("empty texts", Vec::new(), data(&masked(0x81, b"")), SMALL),
        ("empty frames", Vec::new(), data(b""), MOST),
        ("padding", Vec::new(), frame(0, 8, 1, &[255; 256]), MOST),
        ("settings", Vec::new(), frame(SETTINGS, 0, 0, b""), MOST),
        ("pings", Vec::new(), frame(PING, 0, 0, &[0; 8]), MOST),
        ("updates of windows", Vec::new(), frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()), MOST),
        (
            "a head without end",
            frame(HEADERS, 0, 3, &head(addr)),
            frame(CONTINUATION, 0, 3, &[0; 16 * KIB]),
            MOST,
        ),
    ] {
        let socket = TcpSocket::new_v4().unwrap();
        let mut stream = socket.connect(addr).await.unwrap();
        stream.write_all(&begin(addr)).await.unwrap();
        stream.write_all(&data(&masked(0x81, b"keeps the handler busy"))).await.unwrap();
        within(busy.notified()).await;
        let flood = unit.repeat(64 * KIB / unit.len() + 1);
        stream.write_all(&begun).await.unwrap();
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let mut sent = 0;
        // As much as the windows allow, or more than that in the end.
        let _ = stream.write_all(&flood[..60 * KIB / unit.len() * unit.len()]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        while sent < FLOOD
            && let Ok(Ok(())) =
                tokio::time::timeout(Duration::from_millis(300), stream.write_all(&flood)).await
        {
            sent += flood.len();
        }
        let held = HEAP.peak_usage() - before;
        assert!(held <= most, "{what}: {held} bytes for {sent} on the wire");
    }
    // What is sent to a peer that takes nothing more from its socket, however large it says that its windows are.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let before = HEAP.current_usage();
    // Those of the floods may still be ending, so that their number says nothing.
    let (opened, mut connections) = mpsc::unbounded_channel();
    server.on_connect(move |connection| {
        opened.send(connection).unwrap();
        async {}
    });
    stream.write_all(&begin(addr)).await.unwrap();
    let slow = within(connections.recv()).await.unwrap();
    HEAP.reset_peak_usage();
    let mut sent = 0;
    while slow.send(Message::binary(vec![0; 16 * KIB])).await.is_ok() {
        sent += 16 * KIB;
    }
    let held = HEAP.peak_usage() - before;
    assert!(held <= OUTBOX + MOST, "{held} bytes for {sent}");
    let _ = stream.read(&mut [0; 1]).await;
    within(server.stop()).await;
}
