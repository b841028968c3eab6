//! A model check: senders, broadcasts, messages in parts, the driver, the flusher, a close and a dropped wait in any
//! order of their steps. A wake that is lost is a deadlock, which the checker finds.
//!
//! Of tokio's `Notify`, by which the flusher is woken, each call is one step: what is inside of it is tokio's to check.
//!
//! ```sh
//! RUSTFLAGS='--cfg shuttle' cargo test --release -p websockets-simple-core --lib outbox::model
//! ```

mod flusher;
mod parts;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    sync::Mutex,
    thread,
};

use super::*;
use crate::{
    protocol::{CloseCode, InternalFrame, Side},
    transport::WriteNow,
};

/// Schedules of each model.
const SCHEDULES: usize = 20_000;

/// A stream that takes a few bytes at a time, and those only as its reader makes room.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Pipe>>);

#[derive(Default)]
struct Pipe {
    room: usize,
    written: Vec<u8>,
    driver: Option<Waker>,
    reader: Option<Waker>,
    is_gone: bool,
}

impl WriteNow for Wire {
    fn write_now(&mut self, driver: &Waker, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock().unwrap();
        if pipe.is_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.room == 0 {
            pipe.driver = Some(driver.clone());
            return Poll::Pending;
        }
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).take(pipe.room).collect();
        pipe.room -= bytes.len();
        pipe.written.extend(&bytes);
        let reader = pipe.reader.take();
        drop(pipe);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn flush_now(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    /// Makes room; `None` is the end of the stream.
    fn allow(&self, room: Option<usize>) {
        let mut pipe = self.0.lock().unwrap();
        match room {
            Some(room) => pipe.room += room,
            None => pipe.is_gone = true,
        }
        let driver = pipe.driver.take();
        drop(pipe);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// The texts that were written whole, and whether a Close followed them.
    fn heard(&self) -> (Vec<String>, bool) {
        read(&self.0.lock().unwrap().written)
    }

    /// Resolves when this many texts were written whole.
    async fn has_heard(&self, texts: usize) {
        poll_fn(|cx| {
            let mut pipe = self.0.lock().unwrap();
            if read(&pipe.written).0.len() >= texts {
                return Poll::Ready(());
            }
            pipe.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Reads whole frames: texts, also in parts, between which nothing else comes, and whether a Close followed them.
fn read(written: &[u8]) -> (Vec<String>, bool) {
    let (mut texts, mut rest, mut open) = (Vec::new(), written, None::<String>);
    while let [first, len, payload @ ..] = rest {
        let len = usize::from(*len);
        if payload.len() < len {
            break;
        }
        if *first == 0x88 {
            assert!(payload.len() == len, "something follows the Close");
            return (texts, true);
        }
        let text = String::from_utf8(payload[..len].to_vec()).unwrap();
        let begun = open.take();
        assert_eq!(begun.is_some(), first & 0x0F == 0, "a message between the parts of another");
        let whole = begun.unwrap_or_default() + &text;
        if first & 0x80 != 0 {
            texts.push(whole);
        } else {
            open = Some(whole);
        }
        rest = &payload[len..];
    }
    (texts, false)
}

struct Connection(Outbox);

impl AsRef<Outbox> for Connection {
    fn as_ref(&self) -> &Outbox {
        &self.0
    }
}

fn opened(capacity: usize, policy: OverflowPolicy) -> (Arc<Connection>, Wire) {
    let outbox = Outbox::new(Side::Server, OutboxConfig::new(capacity, policy));
    let wire = Wire::default();
    outbox.open(Writer::alone(wire.clone()));
    (Arc::new(Connection(outbox)), wire)
}

/// What a driver does: rounds, in which it may send itself, until it was asked to close and all is written.
async fn drive(outbox: &Outbox, own: &str) {
    let mut to_send = Some(own.to_owned());
    let mut closing = false;
    poll_fn(|cx| {
        let commands = outbox.begin_round(cx.waker());
        if let Some(own) = to_send.take() {
            let _ = outbox.try_send(Message::text(own), false);
        }
        if commands.close.is_some() {
            closing = true;
            outbox.push_internal(Frame::close(1000, "", Side::Server), InternalFrame::Close);
        }
        let rest = outbox.end_round();
        if rest == FlushOutcome::More {
            cx.waker().wake_by_ref();
        }
        let is_over = commands.failed.is_some() || (closing && rest == FlushOutcome::Nothing);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outbox.shut(false);
}

/// Every message is numbered by its sender; those of one sender leave in order.
fn is_in_order(heard: &[String], sender: char) -> bool {
    let mut of_sender = heard.iter().filter(|text| text.starts_with(sender));
    of_sender.clone().is_sorted() && of_sender.all(|text| text.len() == 2)
}

fn read_slowly(wire: &Wire, mut left: usize) {
    while left > 0 {
        let room = thread_rng().gen_range(1..=left.min(9));
        wire.allow(Some(room));
        left -= room;
        thread::yield_now();
    }
}

#[test]
fn whatever_is_accepted_is_written_whole_and_in_order_before_the_close() {
    shuttle::check_random(
        || {
            let (connection, wire) = opened(1 << 20, OverflowPolicy::Disconnect);
            let flusher = Arc::new(Flusher::new());
            let driver = thread::spawn({
                let connection = Arc::clone(&connection);
                move || block_on(drive(&connection.0, "d0"))
            });
            let sender = thread::spawn({
                let connection = Arc::clone(&connection);
                move || {
                    let sent = ["s0", "s1"].map(|text| connection.0.try_send(Message::text(text), false));
                    sent.iter().filter(|sent| sent.is_ok()).count()
                }
            });
            let broadcaster = thread::spawn({
                let (connection, flusher) = (Arc::clone(&connection), Arc::clone(&flusher));
                move || {
                    let mut report = BroadcastReport::default();
                    for text in ["b0", "b1"] {
                        let encoding = Encoding::new(Message::text(text), false).unwrap();
                        if connection.0.broadcast(&encoding, &mut report) {
                            flusher.list(&mut vec![Arc::clone(&connection)]);
                        }
                    }
                    report.accepted
                }
            });
            let writer = thread::spawn({
                let flusher = Arc::clone(&flusher);
                // Twice is enough for two broadcasts that are listed one after the other.
                move || {
                    for _ in 0..2 {
                        flusher.write_listed(&mut Coalesced::default());
                        thread::yield_now();
                    }
                }
            });
            let reader = thread::spawn({
                let wire = wire.clone();
                move || read_slowly(&wire, 64)
            });
            let accepted = sender.join().unwrap() + broadcaster.join().unwrap();
            writer.join().unwrap();
            flusher.write_listed(&mut Coalesced::default());
            assert!(connection.0.close(EndCause::closed(CloseCode::NORMAL, "")));
            reader.join().unwrap();
            driver.join().unwrap();
            let (heard, closed) = wire.heard();
            assert!(closed && accepted == 4);
            assert_eq!(heard.iter().filter(|text| !text.starts_with('d')).count(), 4, "{heard:?}");
            assert!(['s', 'b', 'd'].into_iter().all(|sender| is_in_order(&heard, sender)), "{heard:?}");
            let statistics = connection.0.statistics();
            // The driver's own message comes too late if its first round follows the close.
            let expected = (heard.len() as u64, 0, 0);
            assert_eq!((statistics.messages, statistics.dropped, statistics.queued), expected);
        },
        SCHEDULES,
    );
}

#[test]
fn a_close_in_the_middle_loses_nothing_that_was_accepted_and_ends_every_wait() {
    shuttle::check_random(
        || {
            let (connection, wire) = opened(4, OverflowPolicy::Wait(Duration::from_secs(1000)));
            let driver = thread::spawn({
                let connection = Arc::clone(&connection);
                move || block_on(drive(&connection.0, "d0"))
            });
            let senders = ["a", "c"].map(|name| {
                let connection = Arc::clone(&connection);
                thread::spawn(move || {
                    let mut accepted = 0;
                    for n in 0..2 {
                        let message = Message::text(format!("{name}{n}"));
                        let sent = block_on(async {
                            let frame = Frame::message(message, Side::Server);
                            match connection.0.offer(frame, FlushWhen::Now, None) {
                                Offer::Full(frame) => {
                                    waiters::BlockedSend::new(&connection.0, frame, None).await
                                }
                                offered => offered.into_result(),
                            }
                        });
                        accepted += usize::from(sent.is_ok());
                    }
                    accepted
                })
            });
            let impatient = thread::spawn({
                let connection = Arc::clone(&connection);
                move || {
                    // A wait that is given up in the middle, and the wait for the end.
                    let frame = Frame::message(Message::text("i0"), Side::Server);
                    if let Offer::Full(frame) = connection.0.offer(frame, FlushWhen::Now, None) {
                        let blocked = pin!(waiters::BlockedSend::new(&connection.0, frame, None));
                        let mut blocked = Some(blocked);
                        block_on(poll_fn(|cx| {
                            let _ = blocked.take().map(|blocked| blocked.poll(cx));
                            Poll::Ready(())
                        }));
                    }
                    block_on(connection.0.closed());
                }
            });
            let closer = thread::spawn({
                let connection = Arc::clone(&connection);
                move || connection.0.close(EndCause::closed(CloseCode::NORMAL, ""))
            });
            let reader = thread::spawn({
                let wire = wire.clone();
                move || read_slowly(&wire, 64)
            });
            let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
            assert!(closer.join().unwrap());
            reader.join().unwrap();
            driver.join().unwrap();
            impatient.join().unwrap();
            let (heard, closed) = wire.heard();
            assert!(closed);
            let of_senders = heard.iter().filter(|text| !text.starts_with(['d', 'i'])).count();
            assert_eq!(of_senders, accepted, "{heard:?}");
            assert!(['a', 'c'].into_iter().all(|sender| is_in_order(&heard, sender)), "{heard:?}");
        },
        SCHEDULES,
    );
}

#[test]
fn a_stream_that_breaks_ends_the_driver_and_every_wait_and_counts_what_was_lost() {
    shuttle::check_random(
        || {
            let (connection, wire) = opened(1 << 20, OverflowPolicy::DropOldest);
            let driver = thread::spawn({
                let connection = Arc::clone(&connection);
                move || block_on(drive(&connection.0, "d0"))
            });
            let sender = thread::spawn({
                let connection = Arc::clone(&connection);
                move || {
                    for n in 0..3 {
                        let _ = connection.0.try_send(Message::text(format!("s{n}")), false);
                    }
                    block_on(connection.0.closed());
                }
            });
            let reader = thread::spawn({
                let wire = wire.clone();
                move || {
                    read_slowly(&wire, 6);
                    wire.allow(None);
                }
            });
            reader.join().unwrap();
            // Whoever has nothing to write does not see that the stream is gone.
            connection.0.close(EndCause::Idle);
            driver.join().unwrap();
            sender.join().unwrap();
            let (heard, _) = wire.heard();
            let statistics = connection.0.statistics();
            assert!(is_in_order(&heard, 's'), "{heard:?}");
            // A message of which a part has left counts as lost.
            assert_eq!(statistics.messages, statistics.dropped + heard.len() as u64, "{heard:?}");
        },
        SCHEDULES,
    );
}
