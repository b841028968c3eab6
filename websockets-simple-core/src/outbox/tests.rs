//! An outbox over a stream whose every write is scripted.

mod control;
mod joined;
mod nudge;
mod order;
mod overflow;
mod panics;
mod parts;
mod random;
mod reentry;
mod room;
mod throttle;

use std::{
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    dotnet::V6Loss,
    outbox::queue::{FRAMES_PER_WRITE, KEPT_FRAMES, QueuedFrame},
    protocol::{CloseCode, InternalFrame},
    transport::WriteNow,
};

/// A stream that takes as many bytes as a test allows, and remembers every write.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    room: usize,
    writes: Vec<Vec<u8>>,
    /// Kept back until a flush, as TLS does with ciphertext.
    holds_back: bool,
    flushes: usize,
    error: Option<io::ErrorKind>,
    flush_error: Option<io::ErrorKind>,
    aborted: bool,
    driver: Option<Waker>,
}

impl Wire {
    fn allow(&self, bytes: usize) {
        self.0.lock().unwrap().room += bytes;
    }

    fn writes(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().writes.clone()
    }

    fn bytes(&self) -> Vec<u8> {
        self.writes().concat()
    }

    fn texts(&self) -> Vec<String> {
        frames(&self.bytes()).into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
}

impl WriteNow for Wire {
    fn write_now(&mut self, driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut script = self.0.lock().unwrap();
        if let Some(error) = script.error {
            return Poll::Ready(Err(error.into()));
        }
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        bytes.truncate(script.room);
        if bytes.is_empty() {
            script.driver = Some(driver.clone());
            return Poll::Pending;
        }
        script.room -= bytes.len();
        let taken = bytes.len();
        script.writes.push(bytes);
        Poll::Ready(Ok(taken))
    }

    fn flush_now(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        let mut script = self.0.lock().unwrap();
        if script.holds_back {
            return Poll::Pending;
        }
        script.flushes += 1;
        Poll::Ready(script.flush_error.map_or(Ok(()), |error| Err(error.into())))
    }

    fn end(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        self.with(|script| script.aborted = true);
    }
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Woken {
    fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self::default());
        (Arc::clone(&woken), Waker::from(woken))
    }

    fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn config(capacity: usize, policy: OverflowPolicy) -> OutboxConfig {
    OutboxConfig::new(capacity, policy)
}

/// An outbox in the hands of a driver that has nothing to do, over a stream that takes nothing yet.
fn opened(config: OutboxConfig) -> (Outbox, Wire) {
    let outbox = Outbox::new(Side::Server, config);
    let wire = Wire::default();
    outbox.open(Writer::alone(wire.clone()));
    round(&outbox);
    (outbox, wire)
}

/// A round of the driver in which nothing happens but the write at its end.
fn round(outbox: &Outbox) -> FlushOutcome {
    outbox.begin_round(Waker::noop());
    outbox.end_round()
}

fn message(text: &str) -> Message {
    Message::text(text)
}

fn frame(text: &str) -> Frame {
    Frame::message(message(text), Side::Server)
}

fn part(text: &str, first: bool, last: bool) -> Option<Frame> {
    Some(Frame::part(text.as_bytes(), true, first, last, Side::Server))
}

fn pong(payload: &str) -> Frame {
    Frame::pong(payload.as_bytes(), Side::Server)
}

fn now(outbox: &Outbox, text: &str) -> Offer {
    outbox.offer(frame(text), FlushWhen::Now, None)
}

/// The wire form of short unmasked texts.
fn wire_of(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| [&[0x81, text.len() as u8], text.as_bytes()].concat()).collect()
}

/// Reads whole unmasked frames: first byte and payload. Panics when the bytes end inside a frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        let (len, rest) = match len {
            126 => (usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap())), &rest[2..]),
            len => (usize::from(*len), rest),
        };
        frames.push((*first, rest[..len].to_vec()));
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty(), "half a header: {bytes:?}");
    frames
}
