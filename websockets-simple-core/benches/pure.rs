//! The cost of what needs no socket: packets, frames, outboxes.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may say so")]

use std::{
    future::Future,
    hint::black_box,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use chrono::{DateTime, Utc};
use criterion::{BenchmarkId, Criterion, Throughput};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use websockets_simple_core::{
    BroadcastReport, ConnectionConfig, ConnectionDriver, ConnectionObserver, ConnectionShared, Control,
    ControlOutcome, DefaultPacket, Disconnect, Encoding, ErrorStage, EventError, Flusher, HandlerFuture,
    Heartbeat, IntoMessage, Message, MessagePart, Moment, Outbox, OutboxConfig, OverflowPolicy, Packet,
    SendStatus, Side, Transport,
    dotnet::{self, NumericEnum},
};

const RECEIVERS: usize = 1000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    packet_encode(&mut criterion);
    packet_decode(&mut criterion);
    frame_encode(&mut criterion);
    send(&mut criterion);
    broadcast(&mut criterion);
    criterion.final_summary();
}

fn packet_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet encode");
    let packet = DefaultPacket::new("what one person says to another in a chat");
    group.throughput(bytes((&packet).into_message().unwrap().len()));
    group.bench_function("default", |bencher| bencher.iter(|| black_box(&packet).into_message().unwrap()));
    let packet = Extended::from_text("what one person says to another in a chat");
    group.throughput(bytes((&packet).into_message().unwrap().len()));
    group.bench_function("extended", |bencher| bencher.iter(|| black_box(&packet).into_message().unwrap()));
    group.finish();
}

fn packet_decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet decode");
    let default = r#"{"Data":"what one person says to another","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#;
    let extended = r#"{"Data":"what one person says to another","Timestamp":"2022-03-05T19:42:01.6305503Z","PacketExtendedType":1,"Username":null,"FirstName":"Jane","LastName":"Doe"}"#;
    let message = Message::text(default);
    assert_eq!(message.packet::<DefaultPacket>().unwrap().data(), "what one person says to another");
    group.throughput(bytes(message.len()));
    group.bench_function("default", |bencher| {
        bencher.iter(|| black_box(&message).packet::<DefaultPacket>().unwrap());
    });
    let message = Message::text(extended);
    assert_eq!(message.packet::<Extended>().unwrap().last_name, "Doe");
    group.throughput(bytes(message.len()));
    group.bench_function("extended", |bencher| {
        bencher.iter(|| black_box(&message).packet::<Extended>().unwrap());
    });
    let message = Message::text("what one person says to another, and no packet at all");
    group.throughput(bytes(message.len()));
    group.bench_function("bare text", |bencher| {
        bencher.iter(|| black_box(&message).packet::<DefaultPacket>().unwrap());
    });
    group.finish();
}

fn frame_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame encode");
    for size in [64, 128, 4 * 1024, 16 * 1024] {
        let message = Message::text("x".repeat(size));
        group.throughput(bytes(size));
        group.bench_with_input(BenchmarkId::from_parameter(size), &message, |bencher, message| {
            bencher.iter(|| Encoding::new(black_box(message), false).unwrap());
        });
    }
    group.finish();
}

/// One message to one connection whose stream takes everything: encoded, queued, written, counted.
fn send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("try_send");
    for size in [64, 128, 4 * 1024, 16 * 1024] {
        let connection = Open::new();
        let message = Message::text("x".repeat(size));
        group.throughput(bytes(size));
        group.bench_with_input(BenchmarkId::from_parameter(size), &message, |bencher, message| {
            bencher.iter(|| {
                let status =
                    connection.connection.outbox.try_send(black_box(message).clone(), false).unwrap();
                assert_eq!(status, SendStatus::Sent);
            });
        });
    }
    group.finish();
}

/// Broadcasts of one scheduler round to many connections, and the one write per connection that they leave in.
fn broadcast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broadcast to 1000");
    let open: Vec<Open> = (0..RECEIVERS).map(|_| Open::new()).collect();
    let connections: Vec<Arc<Connection>> = open.iter().map(|open| Arc::clone(&open.connection)).collect();
    let flusher = Flusher::new();
    let mut run = pin!(flusher.run());
    let message = Message::text("x".repeat(128));
    for messages in [1, 16] {
        group.throughput(Throughput::Elements((RECEIVERS * messages) as u64));
        group.bench_function(BenchmarkId::new("messages in one round", messages), |bencher| {
            bencher.iter(|| {
                let mut listed = Vec::new();
                for _ in 0..messages {
                    let encoding = Encoding::new(black_box(&message), false).unwrap();
                    let mut report = BroadcastReport::default();
                    for connection in &connections {
                        if connection.0.outbox.broadcast(&encoding, &mut report) {
                            listed.push(Arc::clone(connection));
                        }
                    }
                    assert_eq!(report.accepted, RECEIVERS);
                    flusher.list(&mut listed);
                }
                until_idle(run.as_mut());
            });
        });
        assert!(connections.iter().all(|connection| connection.statistics().queued_bytes == 0));
    }
    group.finish();
}

fn bytes(len: usize) -> Throughput {
    Throughput::Bytes(len as u64)
}

/// Polls an endless loop until it is no longer woken.
fn until_idle(mut run: Pin<&mut impl Future<Output = ()>>) {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    while woken.0.swap(false, Ordering::Relaxed) {
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The extended packet of the .NET library's manual.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Extended {
    data: String,
    #[serde(default, with = "dotnet::timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<DateTime<Utc>>,
    #[serde(with = "dotnet::numeric_enum")]
    packet_extended_type: Kind,
    username: Option<String>,
    first_name: String,
    last_name: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    First,
    Second,
}

impl NumericEnum for Kind {
    const ALL: &'static [Self] = &[Self::First, Self::Second];

    fn number(self) -> i64 {
        self as i64
    }
}

impl Packet for Extended {
    fn data(&self) -> &str {
        &self.data
    }

    fn timestamp(&self) -> Option<DateTime<Utc>> {
        self.timestamp
    }

    fn from_text(text: &str) -> Self {
        Self {
            data: text.to_owned(),
            timestamp: Some(dotnet::timestamp::now()),
            packet_extended_type: Kind::Second,
            username: None,
            first_name: "Jane".to_owned(),
            last_name: "Doe".to_owned(),
        }
    }
}

/// An open connection over a stream that takes everything.
struct Open {
    connection: Arc<Connection>,
    /// Holds the connection open.
    _run: Pin<Box<dyn Future<Output = Disconnect>>>,
}

struct Connection(ConnectionShared);

impl std::ops::Deref for Connection {
    type Target = ConnectionShared;

    fn deref(&self) -> &ConnectionShared {
        &self.0
    }
}

impl AsRef<Outbox> for Connection {
    fn as_ref(&self) -> &Outbox {
        &self.0.outbox
    }
}

impl AsRef<ConnectionShared> for Connection {
    fn as_ref(&self) -> &ConnectionShared {
        &self.0
    }
}

impl Open {
    fn new() -> Self {
        let config = OutboxConfig::new(1024 * 1024, OverflowPolicy::Disconnect);
        let connection = Arc::new(Connection(ConnectionShared::new(Side::Server, config)));
        let driver = ConnectionDriver::new(
            Transport::shared(TakesAll),
            &[],
            Arc::clone(&connection),
            Arc::new(ConnectionConfig::new(Side::Server)),
            Heartbeat::off(),
            Nobody,
        );
        let mut run: Pin<Box<dyn Future<Output = Disconnect>>> = Box::pin(driver);
        assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Self { connection, _run: run }
    }
}

/// A stream that takes everything and brings nothing.
struct TakesAll;

impl AsyncRead for TakesAll {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for TakesAll {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An observer that ignores what happens on the connection.
struct Nobody;

impl ConnectionObserver for Nobody {
    type Connection = Connection;
    type Held = ();

    fn owner(&self) -> u64 {
        0
    }

    fn connected(&mut self, _: Moment) -> Option<HandlerFuture> {
        None
    }

    fn received(&mut self, _: Message, _: Moment, _: &mut ()) -> Option<HandlerFuture> {
        None
    }

    fn received_part(&mut self, _: MessagePart, _: Moment) -> Option<HandlerFuture> {
        None
    }

    fn sent(&mut self, _: Message, _: u64, _: Moment) -> Option<HandlerFuture> {
        None
    }

    fn control(&mut self, _control: Control, _at: Moment) -> ControlOutcome {
        ControlOutcome::Done
    }

    fn failed(&mut self, _: ErrorStage, _: EventError, _: Moment) -> Option<HandlerFuture> {
        None
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        None
    }

    fn released(&mut self) {}

    fn disconnected(&mut self, _: Disconnect, _: Moment) -> Option<HandlerFuture> {
        None
    }
}
