//! A message of any size takes no more memory than its parts, in both directions.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use peak_alloc::PeakAlloc;
use tokio::sync::Notify;
use websockets_simple_client::{MessageWriter, WebsocketClient};
use websockets_simple_server::{
    Limits, MessagePart, MessageParts, OverflowPolicy, ServerParams, WebsocketServer,
};
use websockets_simple_tests::{opened, params, raw::RawPeer, started};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const MESSAGE: usize = 100 * MIB;
const PART: usize = 64 * 1024;

/// What both ends may take at once: an outbox of 256 KiB, what is read ahead of a handler (256 KiB), two parts, and the
/// buffers of the threads.
const MOST: usize = MIB;

/// Counts the bytes of a message, and checks the order of its parts.
#[derive(Default)]
struct Meter {
    come: AtomicUsize,
    done: Notify,
}

impl Meter {
    fn take(&self, part: &MessagePart) {
        let before = self.come.fetch_add(part.len(), Ordering::Relaxed);
        assert_eq!(part.first, before == 0);
        assert!(part.payload.as_bytes().iter().all(|byte| *byte == b'x'));
        if part.last {
            assert_eq!(self.come.swap(0, Ordering::Relaxed), MESSAGE);
            self.done.notify_one();
        }
    }
}

/// The most that the heap holds more than now, until `work` is done.
async fn peak(work: impl Future<Output = ()>) -> usize {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    work.await;
    HEAP.peak_usage() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_100_mib_takes_the_memory_of_some_parts() {
    let limits = Limits::default().bytes_per_second(None).messages_per_second(None);
    let parts = MessageParts::new(PART, MESSAGE as u64);
    let server_params = ServerParams::local().limits(limits).outbox(256 * 1024);
    let server_params = server_params.overflow(OverflowPolicy::Wait(std::time::Duration::from_secs(60)));
    let server = WebsocketServer::new(server_params.message_parts(parts));
    let mut events = server.events();
    let (at_server, at_client) = (Arc::new(Meter::default()), Arc::new(Meter::default()));
    server
        .with_state(Arc::clone(&at_server))
        .on_message_part(|meter, _, part| async move { meter.take(&part) });
    let addr = started(&server).await;
    let client = WebsocketClient::new(params(addr).outbox(256 * 1024).message_parts(parts)).unwrap();
    client
        .with_state(Arc::clone(&at_client))
        .on_message_part(|meter, _, part| async move { meter.take(&part) });
    client.connect().await.unwrap();
    let connection = opened(&mut events).await;
    drop(events);
    // Frames that are not as large as parts.
    let piece = "x".repeat(50_000);
    let up = peak(async {
        let write = async |parts: &mut MessageWriter<'_, str>| {
            let mut left = MESSAGE;
            while left > 0 {
                let len = left.min(piece.len());
                parts.write(&piece[..len]).await?;
                left -= len;
            }
            Ok(())
        };
        client.send_parts(write).await.unwrap();
        at_server.done.notified().await;
    });
    let up = up.await;
    assert!(up <= MOST, "{up} bytes for a text in fragments to the server");
    let down = peak(async {
        let mut writer = connection.send_parts::<[u8]>().await.unwrap();
        let mut left = MESSAGE;
        while left > 0 {
            let len = left.min(piece.len());
            writer.write(&piece.as_bytes()[..len]).await.unwrap();
            left -= len;
        }
        writer.finish().await.unwrap();
        at_client.done.notified().await;
    });
    let down = down.await;
    assert!(down <= MOST, "{down} bytes for bytes in fragments to the client");
    let mut peer = RawPeer::open(addr, "/", "").await;
    for opcode in [0x81, 0x82] {
        let one_frame = peak(async {
            peer.write(&[&[opcode, 0xFF][..], &(MESSAGE as u64).to_be_bytes(), &[0; 4]].concat()).await;
            for _ in 0..MESSAGE / MIB {
                peer.write(&[b'x'; MIB]).await;
            }
            at_server.done.notified().await;
        });
        let one_frame = one_frame.await;
        assert!(one_frame <= MOST, "{one_frame} bytes for one frame");
    }
}
