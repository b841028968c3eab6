//! What leaves, in which order, and in how many writes.

use std::pin::pin;

use super::*;

fn roomy() -> (Outbox, Wire) {
    let (outbox, wire) = opened(config(1024, OverflowPolicy::Disconnect));
    wire.allow(usize::MAX / 2);
    (outbox, wire)
}

#[test]
fn a_send_outside_any_round_is_written_by_its_caller() {
    let (outbox, wire) = roomy();
    assert!(matches!(now(&outbox, "a"), Offer::Sent));
    assert_eq!(wire.writes(), [wire_of(&["a"])]);
}

#[test]
fn a_send_that_the_stream_took_half_of_is_queued() {
    let (outbox, wire) = opened(config(1024, OverflowPolicy::Disconnect));
    wire.allow(4);
    assert!(matches!(now(&outbox, "hello"), Offer::Queued));
    assert_eq!(outbox.statistics().queued, 3);
    wire.allow(100);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.texts(), ["hello"]);
}

#[test]
fn a_broadcast_and_the_send_after_it_leave_in_call_order_and_in_one_write() {
    let (outbox, wire) = roomy();
    assert!(matches!(outbox.offer(frame("broadcast"), FlushWhen::Round, None), Offer::List));
    assert!(matches!(now(&outbox, "send"), Offer::Queued), "what is listed waits for the flusher");
    assert!(wire.writes().is_empty());
    outbox.flush_round(&mut Coalesced::default());
    assert_eq!(wire.writes(), [wire_of(&["broadcast", "send"])]);
}

#[test]
fn a_listed_outbox_is_listed_once() {
    let (outbox, wire) = roomy();
    assert!(matches!(outbox.offer(frame("1"), FlushWhen::Round, None), Offer::List));
    assert!(matches!(outbox.offer(frame("2"), FlushWhen::Round, None), Offer::Queued));
    outbox.flush_round(&mut Coalesced::default());
    assert_eq!(wire.writes(), [wire_of(&["1", "2"])]);
    assert!(
        matches!(outbox.offer(frame("3"), FlushWhen::Round, None), Offer::List),
        "listed again after the flush"
    );
}

#[test]
fn everything_said_in_a_round_of_the_link_leaves_in_one_write_at_its_end() {
    let (outbox, wire) = roomy();
    outbox.begin_round(Waker::noop());
    for text in ["a", "b", "c"] {
        assert!(matches!(now(&outbox, text), Offer::Queued));
    }
    assert!(matches!(outbox.offer(frame("d"), FlushWhen::Round, None), Offer::Queued));
    outbox.flush_round(&mut Coalesced::default());
    assert!(wire.writes().is_empty(), "a flusher does not cut a round short");
    assert_eq!(outbox.end_round(), FlushOutcome::Nothing);
    assert_eq!(wire.writes(), [wire_of(&["a", "b", "c", "d"])]);
}

#[test]
fn a_send_is_sent_only_when_the_stream_holds_nothing_back() {
    let (outbox, wire) = roomy();
    wire.with(|script| script.holds_back = true);
    assert!(matches!(now(&outbox, "a"), Offer::Queued));
    wire.with(|script| script.holds_back = false);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.with(|script| script.flushes), 1);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.with(|script| script.flushes), 1, "nothing to flush, nothing flushed");
}

#[test]
fn a_refused_write_leaves_the_wakers_of_the_link_and_of_nobody_else() {
    let (outbox, wire) = opened(config(1024, OverflowPolicy::Disconnect));
    let (woken, waker) = Woken::new();
    outbox.begin_round(&waker);
    outbox.end_round();
    now(&outbox, "a");
    let registered = wire.with(|script| script.driver.take()).unwrap();
    registered.wake();
    assert_eq!(woken.times(), 1);
}

#[test]
fn a_failed_write_is_told_to_the_link_and_the_message_was_not_sent() {
    let (outbox, wire) = roomy();
    wire.with(|script| script.error = Some(io::ErrorKind::BrokenPipe));
    assert!(matches!(now(&outbox, "a"), Offer::Closed));
    assert!(matches!(now(&outbox, "b"), Offer::Closed));
    let orders = outbox.begin_round(Waker::noop());
    assert_eq!(orders.failed.unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert!(outbox.begin_round(Waker::noop()).failed.is_none(), "each failure once");
}

#[test]
fn every_accepted_message_gives_one_notice_and_a_refused_one_none() {
    let (outbox, wire) = opened(config(10, OverflowPolicy::DropNewest));
    let offer = |text: &str, when| outbox.offer(frame(text), when, Some(&message(text)));
    assert!(matches!(offer("12345", FlushWhen::Round), Offer::List));
    assert!(matches!(offer("6", FlushWhen::Now), Offer::Queued));
    assert!(matches!(offer("7", FlushWhen::Now), Offer::Dropped));
    wire.allow(100);
    outbox.flush_round(&mut Coalesced::default());
    let sent_events: Vec<_> = std::iter::from_fn(|| outbox.take_sent_event()).collect();
    let texts: Vec<_> =
        sent_events.iter().map(|(message, missed, _)| (message.as_text().unwrap(), *missed)).collect();
    assert_eq!(texts, [("12345", 0), ("6", 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waited_for_room_gives_its_notice_when_it_is_accepted() {
    let (outbox, wire) = opened(config(3, OverflowPolicy::Wait(Duration::from_secs(1))));
    outbox.send(message("1"), true).await.unwrap();
    outbox.take_sent_event().unwrap();
    let second = message("2");
    let mut waiting = std::pin::pin!(outbox.send(second, true));
    assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_pending());
    assert!(outbox.take_sent_event().is_none());
    wire.allow(100);
    waiting.await.unwrap();
    assert_eq!(outbox.take_sent_event().unwrap().0.as_text(), Some("2"));
    assert!(outbox.take_sent_event().is_none());
}

#[test]
fn a_frame_that_has_begun_to_leave_is_not_joined_with_others_from_its_start() {
    let (outbox, wire) = roomy();
    wire.with(|script| script.room = 3);
    let mut coalesced = Coalesced::default();
    for text in ["first", "second"] {
        assert!(matches!(outbox.offer(frame(text), FlushWhen::Round, None), Offer::List | Offer::Queued));
    }
    outbox.flush_round(&mut coalesced);
    assert_eq!(wire.bytes(), b"\x81\x05f");
    wire.allow(1000);
    outbox.flush_round(&mut coalesced);
    assert_eq!(wire.texts(), ["first", "second"]);
}

#[test]
fn a_handle_kept_after_the_end_does_not_hold_the_stream() {
    let (outbox, wire) = roomy();
    assert_eq!(Arc::strong_count(&wire.0), 2);
    assert!(poll(pin!(outbox.closed()), Waker::noop()).is_pending());
    outbox.shut(false);
    assert_eq!(Arc::strong_count(&wire.0), 1);
    assert!(poll(pin!(outbox.closed()), Waker::noop()).is_ready());
    assert!(matches!(now(&outbox, "late"), Offer::Closed));
    assert!(!wire.with(|script| script.aborted));
}

#[test]
fn the_end_wakes_whoever_waits_for_it_and_counts_what_was_lost() {
    let (outbox, wire) = opened(config(1024, OverflowPolicy::Disconnect));
    now(&outbox, "a");
    now(&outbox, "b");
    let (woken, waker) = Woken::new();
    let mut closed = pin!(outbox.closed());
    assert!(poll(closed.as_mut(), &waker).is_pending());
    outbox.shut(true);
    assert_eq!(woken.times(), 1);
    let statistics = outbox.statistics();
    assert_eq!((statistics.messages, statistics.dropped, statistics.queued), (2, 2, 0));
    assert!(wire.with(|script| script.aborted));
}

#[test]
fn the_end_is_when_the_stream_is_released_and_not_before() {
    let outbox = Outbox::new(Side::Server, config(1024, OverflowPolicy::Disconnect));
    assert!(poll(pin!(outbox.closed()), Waker::noop()).is_pending(), "the stream is yet to come");
    let (outbox, wire) = roomy();
    wire.with(|script| script.error = Some(io::ErrorKind::BrokenPipe));
    assert!(matches!(now(&outbox, "a"), Offer::Closed));
    assert!(poll(pin!(outbox.closed()), Waker::noop()).is_pending(), "a stream that failed is still held");
    outbox.shut(false);
    assert!(poll(pin!(outbox.closed()), Waker::noop()).is_ready());
}

#[test]
fn who_may_wait_for_handlers_no_longer_is_told_until_the_end() {
    let (outbox, _wire) = roomy();
    let (woken, waker) = Woken::new();
    assert!(!outbox.begin_round(&waker).abort_handlers);
    outbox.end_round();
    assert!(!outbox.handlers_aborted());
    outbox.abort_handlers();
    assert!(outbox.handlers_aborted());
    assert_eq!(woken.times(), 1);
    for _ in 0..2 {
        assert!(outbox.begin_round(&waker).abort_handlers, "in every round");
    }
}

#[test]
fn what_a_v6_server_would_lose_is_refused_whichever_way_it_is_sent() {
    let config =
        OutboxConfig { v6_server: Some(V6Server::PLAIN), ..config(1 << 20, OverflowPolicy::Disconnect) };
    let (outbox, wire) = opened(config);
    wire.allow(usize::MAX / 2);
    let losses = [
        ("a\u{3}b".to_owned(), V6Loss::ByteThree),
        (" \n".to_owned(), V6Loss::Blank),
        ("x".repeat(65_536), V6Loss::TooLong { most: 65_535 }),
    ];
    for (text, loss) in losses {
        let tried = outbox.try_send(message(&text), true);
        assert!(matches!(tried, Err(SendError::Unreadable(told)) if told == loss), "{loss}: {tried:?}");
        let sent = poll(pin!(outbox.send(message(&text), true)), Waker::noop());
        assert!(matches!(sent, Poll::Ready(Err(SendError::Unreadable(told))) if told == loss), "{loss}");
    }
    assert!(matches!(outbox.begin_parts(), Err(SendError::Unreadable(V6Loss::Parts))));
    assert!(wire.bytes().is_empty());
    assert_eq!(outbox.statistics(), OutboxStatistics::default());
    assert!(outbox.take_sent_event().is_none());
    assert!(matches!(outbox.try_send(message("read"), false), Ok(SendStatus::Sent)));
    assert_eq!(wire.texts(), ["read"]);
}

#[test]
fn sent_events_that_are_discarded_are_told_to_nobody() {
    let (outbox, _wire) = roomy();
    for text in ["1", "2"] {
        outbox.try_send(message(text), true).unwrap();
    }
    outbox.discard_sent_events();
    assert!(outbox.take_sent_event().is_none());
    outbox.try_send(message("3"), true).unwrap();
    assert_eq!(outbox.take_sent_event().unwrap().0, message("3"), "later ones are");
}

#[test]
fn a_burst_gives_its_memory_back_once_it_has_left() {
    let (outbox, wire) = opened(config(1 << 20, OverflowPolicy::Disconnect));
    for _ in 0..5000 {
        now(&outbox, "x");
    }
    assert!(outbox.lock().queue.capacity() >= 5000);
    wire.allow(usize::MAX / 2);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert!(outbox.lock().queue.capacity() <= KEPT_FRAMES);
    let largest = wire.writes().iter().map(Vec::len).max().unwrap();
    assert_eq!(largest, FRAMES_PER_WRITE * 3, "and no write is without bound");
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(waker))
}

#[test]
fn small_and_large_frames_leave_whole_and_in_order_however_much_one_write_takes() {
    // More pieces than one vectored write has, behind small frames that are copied together.
    let sizes =
        [10, 20, 3_000, 5, 2_044, 2_045, 2_046, 2_047, 7].into_iter().chain([2_500; 40]).chain([1, 4_000, 2]);
    let sizes: Vec<usize> = sizes.collect();
    for room in [usize::MAX / 2, 100_000, 4_097, 997] {
        let (outbox, wire) = opened(config(1 << 20, OverflowPolicy::Disconnect));
        let mut expected = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let payload = vec![n as u8; *size];
            let frame = Frame::message(Message::binary(payload.clone()), Side::Server);
            assert!(matches!(outbox.offer(frame, FlushWhen::Now, None), Offer::Queued));
            expected.push((0x82, payload));
        }
        let mut rounds = 0;
        while outbox.statistics().queued > 0 {
            wire.allow(room.min(1 << 20));
            round(&outbox);
            rounds += 1;
            assert!(rounds < 100_000);
        }
        assert!(frames(&wire.bytes()) == expected, "{room}");
        if room > 1 << 20 {
            let most = wire.writes().iter().map(Vec::len).max().unwrap();
            assert!(most > 15 * 2_500, "one write takes many large frames: {most}");
        }
    }
}
