//! Floods of the smallest items: what they fill is bounded in number and in memory.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, DuplexStream},
    sync::{Mutex, Semaphore},
};
use websockets_simple_server::{
    Anonymous, CloseCode, Connection, Direction, ErrorStage, Event, Limits, Message, OverflowPolicy,
    SendError, SendStatus, ServerParams, SubscribeOptions, WebsocketServer,
};
use websockets_simple_tests::{
    opened,
    raw::{RawFrame, RawPeer, masked},
    started, within,
};

/// Counts the live bytes of this process.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Each test measures the heap alone.
static ALONE: Mutex<()> = Mutex::const_new(());

const MIB: usize = 1 << 20;

/// Fails if the heap has ever been that much larger than it was.
fn assert_grew_by_less(bytes: usize, before: usize) {
    let grown = HEAP.peak_usage().saturating_sub(before);
    assert!(grown < bytes, "the heap grew by {grown} bytes");
}

/// A connection to a server without a socket, over a pipe.
async fn over_a_pipe(server: &WebsocketServer) -> (RawPeer<DuplexStream>, Connection<Anonymous>) {
    let mut events = server.events();
    let (theirs, ours) = tokio::io::duplex(64 * 1024);
    let application = server.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let upgrade = application.upgrade(request);
        async move { Ok::<Response<Full<Bytes>>, Infallible>(upgrade.await) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(ours), service);
    tokio::spawn(serving.with_upgrades());
    let mut peer = RawPeer::new(theirs);
    assert!(peer.request("/", "").await.starts_with("HTTP/1.1 101 "));
    (peer, opened(&mut events).await)
}

#[tokio::test]
async fn a_million_sent_events_that_a_slow_handler_does_not_take_are_counted_and_not_kept() {
    const FLOOD: usize = 1_000_000;
    let _alone = ALONE.lock().await;
    let policy = OverflowPolicy::Wait(Duration::from_secs(60));
    let server = WebsocketServer::new(ServerParams::mounted().outbox(64 * 1024).overflow(policy));
    let (go_on, told) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let missed = Arc::new(std::sync::Mutex::new(Vec::new()));
    server.on_with(SubscribeOptions::default().sent(), {
        let (go_on, told, missed) = (Arc::clone(&go_on), Arc::clone(&told), Arc::clone(&missed));
        move |event| {
            let (go_on, told, missed) = (Arc::clone(&go_on), Arc::clone(&told), Arc::clone(&missed));
            async move {
                if let Event::Message(event) = event
                    && event.direction == Direction::Sent
                {
                    told.fetch_add(1, Ordering::Relaxed);
                    if event.missed > 0 {
                        missed.lock().unwrap().push(event.missed);
                    }
                    let _ = go_on.acquire().await;
                }
            }
        }
    });
    server.start().await.unwrap();
    let (peer, connection) = over_a_pipe(&server).await;
    let reading = tokio::spawn(async move {
        let mut stream = peer.into_parts().0;
        let (mut read, mut piece) = (0, vec![0; 32 * 1024]);
        while read < 2 * FLOOD {
            read += stream.read(&mut piece).await.unwrap();
        }
        stream
    });
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    for _ in 0..FLOOD {
        connection.send(Message::text("")).await.unwrap();
    }
    let _stream = reading.await.unwrap();
    assert_grew_by_less(MIB, before);
    assert_eq!(told.load(Ordering::Relaxed), 1, "the handler has the first one");
    // The handler catches up, and then the next event says how many it did not get.
    go_on.close();
    let mut sent = FLOOD as u64;
    let counted = || told.load(Ordering::Relaxed) + missed.lock().unwrap().iter().sum::<u64>();
    within(async {
        while counted() < sent {
            connection.send(Message::text("")).await.unwrap();
            sent += 1;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    assert_eq!(counted(), sent, "each was told or counted");
    assert!(told.load(Ordering::Relaxed) < 2_000, "{told:?}");
}

#[tokio::test]
async fn a_stream_that_is_not_read_stops_the_reading_after_4096_empty_messages_and_loses_none() {
    const FLOOD: usize = 20_000;
    let _alone = ALONE.lock().await;
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None).read_ahead(1024);
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    let addr = started(&server).await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/", "").await;
    let connection = within(async {
        loop {
            match server.connections().pop() {
                Some(connection) => return connection,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let flood: Vec<u8> = (0..FLOOD).flat_map(|_| masked(0x81, b"")).collect();
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let flooding = tokio::spawn(async move {
        peer.write(&flood).await;
        peer.frame(0x89, b"").await;
        peer
    });
    let received = async |least: u64| {
        while connection.statistics().messages_received < least {
            tokio::task::yield_now().await;
        }
    };
    within(received(4_090)).await;
    let more = tokio::time::timeout(Duration::from_millis(100), received(4_200)).await;
    assert!(more.is_err(), "{:?}", connection.statistics());
    assert_grew_by_less(4 * MIB, before);
    let mut taken = 0;
    within(async {
        while taken < FLOOD {
            taken += usize::from(matches!(events.recv().await.unwrap(), Event::Message(_)));
        }
        let mut peer = flooding.await.unwrap();
        assert_eq!(peer.next().await, Some(RawFrame { first: 0x8A, payload: Vec::new() }));
    })
    .await;
}

#[tokio::test]
async fn empty_messages_behind_a_message_in_parts_are_bounded_in_number_as_the_policy_says() {
    const FLOOD: usize = 10_000;
    /// A 64th of the outbox in bytes.
    const ROOM: usize = 1000;
    let _alone = ALONE.lock().await;
    for policy in [
        OverflowPolicy::DropNewest,
        OverflowPolicy::DropOldest,
        OverflowPolicy::Wait(Duration::from_secs(60)),
        OverflowPolicy::Disconnect,
    ] {
        let server = WebsocketServer::new(ServerParams::local().outbox(64 * ROOM).overflow(policy));
        let mut events = server.events();
        let addr = started(&server).await;
        let mut peer = RawPeer::open(addr, "/", "").await;
        let connection = opened(&mut events).await;
        let mut parts = connection.send_parts::<str>().await.unwrap();
        parts.write("part").await.unwrap();
        assert_eq!(peer.next().await.unwrap(), RawFrame { first: 0x01, payload: b"part".to_vec() });
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        for _ in 0..FLOOD {
            // No frame at all, as it would end nothing.
            parts.write("").await.unwrap();
        }
        let (mut queued, mut dropped, mut failed) = (0, 0, Vec::new());
        for _ in 0..FLOOD {
            match connection.try_send(Message::text("")) {
                Ok(SendStatus::Queued) => queued += 1,
                Ok(SendStatus::Dropped) => dropped += 1,
                Err(error) => failed.push(error),
                other => panic!("{other:?}"),
            }
        }
        assert_grew_by_less(MIB, before);
        let lost = connection.statistics().dropped;
        match policy {
            OverflowPolicy::DropNewest => assert_eq!((queued, dropped), (ROOM, FLOOD - ROOM)),
            OverflowPolicy::DropOldest => assert_eq!((queued, lost as usize), (FLOOD, FLOOD - ROOM)),
            OverflowPolicy::Wait(_) => {
                assert_eq!((queued, failed.len()), (ROOM, FLOOD - ROOM));
                assert!(failed.iter().all(|error| matches!(error, SendError::Full)), "{:?}", failed[0]);
            }
            _ => {
                assert_eq!((queued, failed.len()), (ROOM, FLOOD - ROOM));
                assert!(matches!(failed[0], SendError::Overflow), "{:?}", failed[0]);
                assert!(matches!(parts.write("x").await, Err(SendError::Closed)));
                drop(parts);
                assert_eq!(peer.next().await.unwrap().close_code(), Some(4001));
                continue;
            }
        }
        parts.finish().await.unwrap();
        close_behind(&connection, &mut peer, ROOM).await;
    }
}

/// Closes a connection whose peer gets the end of a message in parts and this many empty messages before.
async fn close_behind(connection: &Connection<Anonymous>, peer: &mut RawPeer, empty: usize) {
    let reading = async {
        assert_eq!(peer.next().await.unwrap(), RawFrame { first: 0x80, payload: Vec::new() });
        for _ in 0..empty {
            assert_eq!(peer.next().await.unwrap(), RawFrame::text(""));
        }
        assert_eq!(peer.next().await.unwrap().close_code(), Some(1000));
        peer.frame(0x88, &1000_u16.to_be_bytes()).await;
    };
    within(async { tokio::join!(connection.disconnect(CloseCode::NORMAL, ""), reading) }).await;
}

/// Panics when it is dropped, if it is the last.
#[derive(Clone)]
#[expect(dead_code, reason = "it is held")]
struct Panics(Arc<Bomb>);

struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a secret");
    }
}

#[tokio::test]
async fn errors_of_a_server_that_slow_handlers_do_not_take_are_64_at_once_and_the_next_counts_the_others() {
    const AT_ONCE: usize = 64;
    const FLOOD: usize = 80;
    let _alone = ALONE.lock().await;
    let server = WebsocketServer::new(ServerParams::local());
    let go_on = Arc::new(Semaphore::new(0));
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    server.on({
        let (go_on, told) = (Arc::clone(&go_on), Arc::clone(&told));
        move |event| {
            let (go_on, told) = (Arc::clone(&go_on), Arc::clone(&told));
            async move {
                if let Event::Error(event) = event {
                    assert_eq!(event.stage, ErrorStage::HandlerPanic);
                    told.lock().unwrap().push(event.missed);
                    let _ = go_on.acquire().await;
                }
            }
        }
    });
    let addr = started(&server).await;
    let gone = Arc::new(AtomicUsize::new(0));
    let connect = async |number: usize| {
        let mut events = server.events();
        let mut peers = Vec::new();
        for _ in 0..number {
            peers.push(RawPeer::open(addr, "/", "").await);
            opened(&mut events).await.insert(Panics(Arc::new(Bomb(Arc::clone(&gone)))));
        }
        peers
    };
    let until_gone = async |number: usize| {
        while gone.load(Ordering::Relaxed) < number {
            tokio::task::yield_now().await;
        }
    };
    let until_told = async |number: usize| {
        while told.lock().unwrap().len() < number {
            tokio::task::yield_now().await;
        }
    };
    let peers = within(connect(FLOOD)).await;
    drop(peers);
    within(until_gone(FLOOD)).await;
    within(until_told(AT_ONCE)).await;
    go_on.close();
    let last = within(connect(1)).await;
    drop(last);
    within(until_gone(FLOOD + 1)).await;
    within(until_told(AT_ONCE + 1)).await;
    within(server.stop()).await;
    let told = told.lock().unwrap();
    assert_eq!(told.len(), AT_ONCE + 1);
    assert!(told[..AT_ONCE].iter().all(|missed| *missed == 0), "{told:?}");
    assert_eq!(told[AT_ONCE], (FLOOD - AT_ONCE) as u64);
}
