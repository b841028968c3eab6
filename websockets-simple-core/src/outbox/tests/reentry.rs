//! Code of others, which may use the outbox again: it runs when the lock is released.

use std::{pin::pin, task::Context};

use super::*;

/// Uses the outbox when it is woken and when it is dropped.
struct Reenters(Arc<Outbox>);

impl std::task::Wake for Reenters {
    fn wake(self: Arc<Self>) {
        self.0.statistics();
    }
}

impl Drop for Reenters {
    fn drop(&mut self) {
        self.0.statistics();
    }
}

fn waker(outbox: &Arc<Outbox>) -> Waker {
    Waker::from(Arc::new(Reenters(Arc::clone(outbox))))
}

/// A payload that uses the outbox when it is dropped.
fn payload(outbox: &Arc<Outbox>, len: usize) -> Message {
    struct Payload(Vec<u8>, #[expect(dead_code, reason = "used by its drop")] Reenters);
    impl AsRef<[u8]> for Payload {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Message::binary(bytes::Bytes::from_owner(Payload(vec![7; len], Reenters(Arc::clone(outbox)))))
}

/// Runs it on a thread of its own, so that a lock which is taken twice fails the test instead of hanging it.
fn within_a_minute(f: impl FnOnce() + Send + 'static) {
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    end.recv_timeout(Duration::from_secs(60)).expect("the lock was taken twice");
}

/// A full outbox, and the waker of its driver. The stream has a clone of that, so it is not dropped by the outbox last.
fn full(policy: OverflowPolicy) -> (Arc<Outbox>, Wire, Waker) {
    let (outbox, wire) = opened(config(100, policy));
    let outbox = Arc::new(outbox);
    let driver = waker(&outbox);
    outbox.begin_round(&driver);
    outbox.end_round();
    assert!(outbox.try_send(payload(&outbox, 90), true).is_ok());
    (outbox, wire, driver)
}

#[test]
fn wakers_and_payloads_may_use_the_outbox_when_they_are_woken_and_dropped() {
    within_a_minute(|| {
        let (outbox, wire, driver) = full(OverflowPolicy::DropOldest);
        // Dropped for a later one, then written, then given up.
        assert!(outbox.try_send(payload(&outbox, 90), false).is_ok());
        wire.allow(1000);
        outbox.begin_round(&driver);
        outbox.end_round();
        assert!(outbox.try_send(payload(&outbox, 90), false).is_ok());
        wire.with(|script| script.room = 0);
        assert!(outbox.try_send(payload(&outbox, 90), false).is_ok());
        outbox.discard();
        assert!(outbox.try_send(payload(&outbox, 90), false).is_ok());
        outbox.abort_handlers();
        outbox.close(EndCause::Idle);
        outbox.shut(false);
        while let Some((message, ..)) = outbox.take_sent_event() {
            drop(message);
        }
    });
}

#[test]
fn payloads_that_were_joined_for_others_may_use_the_outbox_that_is_written_next() {
    within_a_minute(|| {
        let outboxes: Vec<_> = (0..3).map(|_| opened(config(1000, OverflowPolicy::Disconnect))).collect();
        let outboxes: Vec<_> = outboxes.into_iter().map(|(outbox, wire)| (Arc::new(outbox), wire)).collect();
        let third = &outboxes[2].0;
        let frames: Vec<_> = (0..2).map(|_| Frame::message(payload(third, 10), Side::Server)).collect();
        for (outbox, wire) in &outboxes {
            wire.allow(1000);
            for shared in &frames {
                let frame = if Arc::ptr_eq(outbox, third) { frame("x") } else { shared.clone() };
                assert!(!matches!(outbox.offer(frame, FlushWhen::Round, None), Offer::Closed));
            }
        }
        drop(frames);
        let mut coalesced = Coalesced::default();
        outboxes.iter().for_each(|(outbox, _)| outbox.flush_round(&mut coalesced));
        assert!(outboxes.iter().all(|(outbox, _)| outbox.statistics().queued == 0));
    });
}

#[tokio::test]
async fn those_who_wait_may_use_the_outbox_when_they_are_woken_and_dropped() {
    let handle = tokio::runtime::Handle::current();
    within_a_minute(move || {
        let _runtime = handle.enter();
        let (outbox, wire, driver) = full(OverflowPolicy::Wait(Duration::from_secs(1000)));
        let mut sends: Vec<_> = (0..3).map(|_| Box::pin(outbox.send(payload(&outbox, 90), false))).collect();
        // Each poll with another waker replaces the one before.
        for _ in 0..2 {
            for send in &mut sends {
                assert!(send.as_mut().poll(&mut Context::from_waker(&waker(&outbox))).is_pending());
            }
        }
        drop(sends.remove(0));
        wire.allow(1000);
        outbox.begin_round(&driver);
        outbox.end_round();
        let mut closed = pin!(outbox.closed());
        for _ in 0..2 {
            assert!(closed.as_mut().poll(&mut Context::from_waker(&waker(&outbox))).is_pending());
        }
        outbox.shut(false);
        assert!(closed.poll(&mut Context::from_waker(&waker(&outbox))).is_ready());
    });
}

#[test]
fn waits_that_are_given_up_leave_nothing_behind() {
    /// A waker that equals no other.
    fn other() -> Waker {
        Waker::from(Arc::new(Woken::default()))
    }
    let (outbox, _wire) = opened(config(100, OverflowPolicy::Disconnect));
    assert!(outbox.begin_parts().unwrap());
    for _ in 0..100_000 {
        assert!(pin!(outbox.parts_ended()).poll(&mut Context::from_waker(&other())).is_pending());
        assert!(pin!(outbox.closed()).poll(&mut Context::from_waker(&other())).is_pending());
    }
    let mut waiting = pin!(outbox.parts_ended());
    for _ in 0..100_000 {
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&other())).is_pending());
    }
    let mut state = outbox.lock();
    let cold = state.cold();
    assert_eq!((cold.before_parts.len(), cold.before_end.len()), (1, 0));
}

/// Sends when its thread ends.
struct SendsAtExit(Arc<Outbox>);

impl Drop for SendsAtExit {
    fn drop(&mut self) {
        let sent = self.0.try_send(payload(&self.0, 20), true);
        assert!(matches!(sent, Ok(SendStatus::Sent)), "{sent:?}");
        self.0.close(EndCause::Idle);
    }
}

thread_local! {
    static AT_EXIT: std::cell::RefCell<Option<SendsAtExit>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_destructor_of_a_thread_local_may_send() {
    for sends_before in [false, true] {
        within_a_minute(move || {
            let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
            wire.allow(1000);
            let outbox = Arc::new(outbox);
            let (woken, waker) = Woken::new();
            outbox.begin_round(&waker);
            outbox.end_round();
            let sender = Arc::clone(&outbox);
            // Thread-locals are dropped in an order of their own: once before this one, once after it.
            let thread = std::thread::spawn(move || {
                if sends_before {
                    sender.try_send(payload(&sender, 20), false).unwrap();
                }
                AT_EXIT.set(Some(SendsAtExit(Arc::clone(&sender))));
                sender.try_send(payload(&sender, 20), false).unwrap();
            });
            thread.join().unwrap();
            assert_eq!(frames(&wire.bytes()).len(), 2 + usize::from(sends_before));
            assert!(woken.times() > 0);
        });
    }
}
