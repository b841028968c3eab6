//! Code of others that panics: what else was due is done, and the outbox goes on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Context,
};

use super::*;

/// Panics when it is woken, and when it is dropped if it says so.
struct Panics {
    dropped: bool,
}

impl std::task::Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("woken");
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(!self.dropped, "dropped");
    }
}

/// A payload whose drop panics.
fn panics(len: usize) -> Message {
    struct Payload(Vec<u8>, #[expect(dead_code, reason = "used by its drop")] Panics);
    impl AsRef<[u8]> for Payload {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Message::binary(bytes::Bytes::from_owner(Payload(vec![7; len], Panics { dropped: true })))
}

/// A payload, and what shows that it was dropped.
fn harmless(len: usize) -> (Message, std::sync::Weak<Vec<u8>>) {
    struct Payload(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Payload {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let bytes = Arc::new(vec![7; len]);
    let alive = Arc::downgrade(&bytes);
    (Message::binary(bytes::Bytes::from_owner(Payload(bytes))), alive)
}

/// Large enough that the frame refers to it.
const LEN: usize = 100_000;

fn is_usable(outbox: &Outbox, wire: &Wire) {
    assert!(!outbox.state.is_poisoned());
    wire.allow(1 << 30);
    assert_eq!(round(outbox), FlushOutcome::Nothing);
    let written = wire.bytes().len();
    assert!(matches!(now(outbox, "after it"), Offer::Sent));
    assert_eq!(wire.bytes()[written..], wire_of(&["after it"]));
}

#[test]
fn payloads_whose_drop_panics_end_nothing_and_what_is_due_behind_them_is_done() {
    let acts: [fn(&Outbox, &Wire); 3] = [
        |outbox, _| outbox.discard(),
        |outbox, wire| {
            wire.allow(1 << 30);
            round(outbox);
        },
        |outbox, _| {
            let fits = Frame::message(Message::binary(vec![7; 3 * LEN]), Side::Server);
            assert!(matches!(outbox.offer(fits, FlushWhen::Now, None), Offer::Queued));
        },
    ];
    for act in acts {
        let (outbox, wire) = opened(config(3 * LEN + 100, OverflowPolicy::DropOldest));
        let (message, alive) = harmless(LEN);
        for message in [panics(LEN), panics(LEN), message] {
            assert!(matches!(outbox.try_send(message, false), Ok(SendStatus::Queued)));
        }
        act(&outbox, &wire);
        assert!(alive.upgrade().is_none(), "one behind two that panic is dropped");
        is_usable(&outbox, &wire);
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_that_panic_end_nothing_and_those_behind_them_are_woken() {
    let closes: [fn(&Outbox); 2] = [|outbox| outbox.stop_accepting(), |outbox| outbox.shut(true)];
    for close in closes {
        let (outbox, _wire) = opened(config(3, OverflowPolicy::Wait(Duration::from_secs(10))));
        now(&outbox, "0");
        let mut senders: Vec<_> = (0..3).map(|_| Box::pin(outbox.send(message("1"), false))).collect();
        let (woken, last) = Woken::new();
        let panics = Waker::from(Arc::new(Panics { dropped: false }));
        for (sender, waker) in senders.iter_mut().zip([&panics, &panics, &last]) {
            assert!(sender.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        close(&outbox);
        assert_eq!(woken.times(), 1);
        assert!(!outbox.state.is_poisoned());
        for mut sender in senders {
            let ended = sender.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(ended, Poll::Ready(Err(SendError::Closed))));
        }
    }
}

#[test]
fn a_waker_of_the_driver_that_panics_does_not_reach_who_sends_or_closes() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(1000);
    outbox.begin_round(&Waker::from(Arc::new(Panics { dropped: true })));
    outbox.end_round();
    assert!(matches!(outbox.try_send(message("1"), true), Ok(SendStatus::Sent)));
    // Its drop panics as well.
    outbox.begin_round(Waker::noop());
    outbox.end_round();
    is_usable(&outbox, &wire);
    outbox.begin_round(&Waker::from(Arc::new(Panics { dropped: false })));
    outbox.end_round();
    let mut closed = pin!(outbox.closed());
    let (woken, waker) = Woken::new();
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(outbox.close(EndCause::Idle));
    assert_eq!(outbox.begin_round(Waker::noop()).close, Some(EndCause::Idle));
    outbox.shut(false);
    assert_eq!(woken.times(), 1);
}

/// A stream that takes nothing once, and panics then.
struct PanickingStream(bool);

impl WriteNow for PanickingStream {
    fn write_now(&mut self, _driver: &Waker, _bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        assert!(!std::mem::replace(&mut self.0, true), "the stream");
        Poll::Pending
    }

    fn flush_now(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_payload_that_panics_while_a_panic_of_the_stream_goes_through_does_not_end_the_process() {
    let outbox = Outbox::new(Side::Server, config(LEN, OverflowPolicy::Disconnect));
    outbox.open(Writer::alone(PanickingStream(false)));
    assert!(outbox.try_send(panics(LEN), false).is_ok());
    assert_eq!(round(&outbox), FlushOutcome::Refused);
    // Replaced under the lock, and due when it is released: by the panic of the write.
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut state = outbox.lock();
        after_lock::discard(panics(1));
        state.flush(true, None);
    }));
    assert!(panicked.is_err());
    assert!(outbox.is_open(), "the lock is free");
    assert!(outbox.close(EndCause::Idle));
    outbox.shut(true);
    assert_eq!(outbox.statistics().dropped, 1);
}
