//! The bound and its policies, exact to the byte. A text of n bytes (n < 126) takes n + 2.

use super::*;

#[test]
fn the_bound_is_exact_to_the_byte_headers_included() {
    let (outbox, _wire) = opened(config(10, OverflowPolicy::DropNewest));
    assert!(matches!(now(&outbox, "123"), Offer::Queued));
    assert!(matches!(now(&outbox, "123"), Offer::Queued));
    assert_eq!(outbox.statistics().queued, 10);
    assert!(matches!(now(&outbox, ""), Offer::Dropped));
    assert_eq!(outbox.statistics().dropped, 1);
}

#[test]
fn bytes_of_a_frame_that_the_stream_took_count_no_more() {
    let (outbox, wire) = opened(config(10, OverflowPolicy::DropNewest));
    wire.allow(1);
    assert!(matches!(now(&outbox, "12345678"), Offer::Queued));
    assert_eq!(outbox.statistics().queued, 9);
    wire.allow(1);
    assert!(matches!(now(&outbox, ""), Offer::Queued), "8 bytes are left, 2 more fit");
    assert_eq!(outbox.statistics().queued, 10);
}

#[test]
fn a_message_larger_than_the_outbox_is_accepted_when_it_is_empty() {
    let (outbox, wire) = opened(config(4, OverflowPolicy::DropNewest));
    let long = "x".repeat(100);
    assert!(matches!(now(&outbox, &long), Offer::Queued));
    assert!(matches!(now(&outbox, ""), Offer::Dropped));
    wire.allow(1000);
    assert!(matches!(now(&outbox, &long), Offer::Sent));
    assert_eq!(wire.texts(), [long.clone(), long]);
}

#[test]
fn a_policy_judges_only_what_the_stream_refused() {
    for policy in [
        OverflowPolicy::Disconnect,
        OverflowPolicy::DropNewest,
        OverflowPolicy::DropOldest,
        OverflowPolicy::Wait(Duration::from_secs(1)),
    ] {
        let (outbox, wire) = opened(config(10, policy));
        wire.allow(usize::MAX / 2);
        // Nothing is written while a round goes on, however much is sent in it.
        outbox.begin_round(Waker::noop());
        for n in 0..20 {
            let done = now(&outbox, &format!("{n:08}"));
            assert!(matches!(done, Offer::Queued), "{policy:?}: {done:?}");
        }
        assert_eq!(outbox.end_round(), FlushOutcome::Nothing);
        assert_eq!(wire.texts().len(), 20, "{policy:?}");
        assert_eq!(outbox.statistics().dropped, 0, "{policy:?}");
    }
}

#[test]
fn drop_newest_keeps_what_is_queued() {
    let (outbox, wire) = opened(config(6, OverflowPolicy::DropNewest));
    now(&outbox, "1");
    now(&outbox, "2");
    assert!(matches!(now(&outbox, "3"), Offer::Dropped));
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["1", "2"]);
}

#[test]
fn drop_oldest_drops_as_few_as_make_room() {
    let (outbox, wire) = opened(config(12, OverflowPolicy::DropOldest));
    for text in ["1", "2", "3", "4"] {
        now(&outbox, text);
    }
    assert!(matches!(now(&outbox, "1234"), Offer::Queued), "6 bytes: two of three make room");
    assert_eq!(outbox.statistics().queued, 12);
    assert_eq!(outbox.statistics().dropped, 2);
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["3", "4", "1234"]);
}

#[test]
fn drop_oldest_drops_nothing_when_that_would_not_make_room() {
    let (outbox, wire) = opened(config(12, OverflowPolicy::DropOldest));
    wire.allow(1);
    now(&outbox, "123456");
    now(&outbox, "1");
    assert!(matches!(now(&outbox, "12345678"), Offer::Dropped), "7 bytes cannot be dropped, 10 do not fit");
    assert_eq!(outbox.statistics().dropped, 1);
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["123456", "1"]);
}

#[test]
fn drop_oldest_never_drops_a_frame_that_has_begun_to_leave() {
    let (outbox, wire) = opened(config(10, OverflowPolicy::DropOldest));
    wire.allow(3);
    for text in ["abc", "1", "2"] {
        now(&outbox, text);
    }
    for text in ["3", "4", "5"] {
        assert!(matches!(now(&outbox, text), Offer::Queued));
    }
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["abc", "4", "5"]);
}

#[test]
fn drop_oldest_never_drops_what_the_connection_itself_has_to_say() {
    let (outbox, wire) = opened(config(3, OverflowPolicy::DropOldest));
    outbox.push_internal(Frame::ping(Side::Server), InternalFrame::Ping);
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    outbox.push_internal(frame("ping"), InternalFrame::Text);
    for text in ["1", "2", "3"] {
        assert!(matches!(now(&outbox, text), Offer::Queued));
    }
    wire.allow(100);
    round(&outbox);
    assert_eq!(
        frames(&wire.bytes()),
        [(0x89, vec![]), (0x8A, b"p".to_vec()), (0x81, b"ping".to_vec()), (0x81, b"3".to_vec())]
    );
}

#[test]
fn disconnect_drops_the_queue_but_for_the_rest_of_a_frame_and_then_closes() {
    let (outbox, wire) = opened(config(10, OverflowPolicy::Disconnect));
    wire.allow(3);
    for text in ["abcd", "123"] {
        assert!(matches!(now(&outbox, text), Offer::Queued));
    }
    assert!(matches!(now(&outbox, "45"), Offer::Overflow));
    assert!(matches!(now(&outbox, ""), Offer::Closed));
    // What the driver does about it.
    assert_eq!(outbox.begin_round(Waker::noop()).close, Some(EndCause::SlowReader));
    outbox.discard();
    outbox.push_internal(Frame::close(4001, "", Side::Server), InternalFrame::Close);
    assert_eq!(outbox.statistics().queued, 3);
    wire.allow(100);
    assert_eq!(outbox.end_round(), FlushOutcome::Nothing);
    assert_eq!(frames(&wire.bytes()), [(0x81, b"abcd".to_vec()), (0x88, 4001u16.to_be_bytes().to_vec())]);
    assert_eq!(outbox.statistics().dropped, 1);
}

#[test]
fn discarding_whole_frames_leaves_nothing() {
    let (outbox, wire) = opened(config(10, OverflowPolicy::Disconnect));
    now(&outbox, "1");
    now(&outbox, "2");
    outbox.discard();
    assert_eq!(outbox.statistics().queued, 0);
    assert_eq!(outbox.statistics().dropped, 2);
    wire.allow(100);
    round(&outbox);
    assert!(wire.bytes().is_empty());
}

#[test]
fn a_broadcast_to_an_outbox_that_waits_is_dropped_and_does_not_wait() {
    let (outbox, _wire) = opened(config(3, OverflowPolicy::Wait(Duration::from_secs(1))));
    now(&outbox, "1");
    assert!(matches!(outbox.offer(frame("2"), FlushWhen::Round, None), Offer::Dropped));
    assert!(matches!(now(&outbox, "2"), Offer::Full(_)));
    assert_eq!(outbox.statistics().dropped, 1, "what came back to the caller was not dropped");
}

#[test]
fn the_smallest_frames_are_bounded_in_number_whatever_the_policy() {
    for policy in [OverflowPolicy::DropNewest, OverflowPolicy::DropOldest, OverflowPolicy::Disconnect] {
        for (capacity, most) in [(64 * 1000, 1000), (1024, 256)] {
            let (outbox, _wire) = opened(config(capacity, policy));
            let done: Vec<_> = (0..3_000).map(|_| now(&outbox, "")).collect();
            let refused = |done: &&Offer| !matches!(done, Offer::Queued);
            let first = done.iter().position(|done| !matches!(done, Offer::Queued));
            assert!(outbox.lock().queue.len() <= most, "{policy:?}");
            match policy {
                OverflowPolicy::DropOldest => {
                    assert_eq!(first, None);
                    assert_eq!(outbox.statistics().dropped, 3_000 - most as u64);
                }
                _ => assert_eq!(first, Some(most.min(capacity / 2)), "{:?}", done.iter().find(refused)),
            }
        }
    }
}

#[test]
fn the_smallest_parts_are_bounded_in_number() {
    let (outbox, _wire) = opened(config(64 * 1000, OverflowPolicy::Disconnect));
    assert!(outbox.begin_parts().unwrap());
    let mut first = true;
    while outbox.poll_part(&mut part("", std::mem::take(&mut first), false), Waker::noop()).is_ready() {}
    assert_eq!(outbox.lock().queue.len(), 1000);
}

#[test]
fn a_flush_gives_way_after_a_megabyte_and_goes_on_in_the_next_round() {
    let (outbox, wire) = opened(config(10 << 20, OverflowPolicy::Disconnect));
    for _ in 0..50 {
        let frame = Frame::message(Message::binary(vec![7; 100 << 10]), Side::Server);
        assert!(matches!(outbox.offer(frame, FlushWhen::Now, None), Offer::Queued));
    }
    wire.allow(usize::MAX / 2);
    let (woken, waker) = Woken::new();
    outbox.begin_round(&waker);
    assert_eq!(outbox.end_round(), FlushOutcome::More);
    let left = |outbox: &Outbox| outbox.statistics().queued;
    assert!(((3 << 20)..(4 << 20) + (100 << 10)).contains(&left(&outbox)), "{}", left(&outbox));
    // A sender leaves the rest to the driver.
    assert!(matches!(now(&outbox, "1"), Offer::Queued));
    assert_eq!(woken.times(), 1);
    let rounds = (0..).find(|_| round(&outbox) == FlushOutcome::Nothing);
    assert!(rounds.is_some_and(|rounds| rounds <= 5), "{rounds:?}");
    assert_eq!(left(&outbox), 0);
}

#[test]
fn a_policy_judges_only_what_the_stream_refused_however_many_megabytes_wait() {
    for policy in [OverflowPolicy::Disconnect, OverflowPolicy::DropNewest, OverflowPolicy::DropOldest] {
        let (outbox, wire) = opened(config(3 << 20, policy));
        outbox.begin_round(Waker::noop());
        let large = |len| Frame::message(Message::binary(vec![7; len]), Side::Server);
        for _ in 0..29 {
            assert!(matches!(outbox.offer(large(100 << 10), FlushWhen::Now, None), Offer::Queued));
        }
        wire.allow(usize::MAX / 2);
        assert_eq!(outbox.end_round(), FlushOutcome::More);
        let done = outbox.offer(large((3 << 20) - 100), FlushWhen::Now, None);
        assert!(matches!(done, Offer::Queued | Offer::Sent), "{policy:?}: {done:?}");
        assert_eq!(outbox.statistics().dropped, 0, "{policy:?}");
    }
}

#[test]
fn drop_oldest_drops_nothing_when_what_it_may_not_drop_fills_the_outbox() {
    let (outbox, _wire) = opened(config(1 << 10, OverflowPolicy::DropOldest));
    for _ in 0..127 {
        outbox.push_internal(pong("c"), InternalFrame::Control);
    }
    assert!(outbox.begin_parts().unwrap());
    let mut first = true;
    for _ in 0..128 {
        let mut part = part("", std::mem::take(&mut first), false);
        assert!(outbox.poll_part(&mut part, Waker::noop()).is_ready());
    }
    assert!(matches!(now(&outbox, "kept"), Offer::Queued));
    outbox.push_internal(Frame::ping(Side::Server), InternalFrame::Ping);
    let before = outbox.statistics().queued;
    for dropped in 1..=2 {
        assert!(matches!(now(&outbox, "new"), Offer::Dropped));
        assert_eq!((outbox.statistics().queued, outbox.statistics().dropped), (before, dropped));
        outbox.push_internal(pong("p"), InternalFrame::Pong);
    }
}

#[test]
fn drop_oldest_drops_all_it_may_for_a_message_that_takes_all_of_the_room() {
    type Begin = fn(&Outbox);
    let begins: [(&str, usize, Begin); 4] = [
        ("nothing", 0, |_| {}),
        ("a message", 2, |outbox| drop(now(outbox, "abc"))),
        ("a part", 2, |outbox| {
            assert!(outbox.begin_parts().unwrap());
            assert!(outbox.poll_part(&mut part("abc", true, false), Waker::noop()).is_ready());
        }),
        ("a control frame", 0, |outbox| outbox.push_internal(pong("abc"), InternalFrame::Pong)),
    ];
    for (what, left, begin) in begins {
        let (outbox, wire) = opened(config(20, OverflowPolicy::DropOldest));
        wire.allow(3);
        begin(&outbox);
        round(&outbox);
        wire.with(|script| script.room = 0);
        for text in ["1", "2", "3"] {
            assert!(matches!(now(&outbox, text), Offer::Queued), "{what}");
        }
        // Two bytes are the header; what has begun to leave stays.
        let len = 20 - left - 2;
        if left > 0 {
            assert!(matches!(now(&outbox, &"x".repeat(len + 1)), Offer::Dropped), "{what}: a byte too much");
            assert_eq!(outbox.statistics().dropped, 1, "{what}");
        }
        let dropped = outbox.statistics().dropped;
        assert!(matches!(now(&outbox, &"x".repeat(len)), Offer::Queued), "{what}");
        assert_eq!(outbox.statistics().dropped, dropped + 3, "{what}");
        assert_eq!(outbox.statistics().queued, 20, "{what}");
    }
}

#[test]
fn drop_oldest_drops_everything_for_a_message_larger_than_the_outbox() {
    let (outbox, wire) = opened(config(6, OverflowPolicy::DropOldest));
    for text in ["1", "2"] {
        now(&outbox, text);
    }
    let large = "x".repeat(100);
    assert!(matches!(now(&outbox, &large), Offer::Queued));
    assert_eq!(outbox.statistics().dropped, 2);
    wire.allow(1000);
    round(&outbox);
    assert_eq!(wire.texts(), [large]);
}

#[test]
fn a_message_that_a_failed_write_takes_with_it_is_neither_counted_nor_told_as_sent() {
    for waits in [false, true] {
        let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
        if !waits {
            wire.allow(100);
        }
        outbox.try_send(message("one"), true).unwrap();
        wire.with(|script| script.error = Some(io::ErrorKind::BrokenPipe));
        assert!(matches!(outbox.try_send(message("two"), true), Err(SendError::Closed)));
        // The first is lost if it still waits. The sender of the second knows that it was not sent.
        let statistics = outbox.statistics();
        assert_eq!((statistics.messages, statistics.dropped), (1, u64::from(waits)));
        let told = std::iter::from_fn(|| outbox.take_sent_event()).map(|(message, ..)| message);
        assert_eq!(told.collect::<Vec<_>>(), [message("one")]);
    }
}

#[test]
fn a_message_that_the_stream_took_and_could_not_flush_is_neither_sent_nor_lost_besides() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(100);
    wire.with(|script| script.flush_error = Some(io::ErrorKind::BrokenPipe));
    assert!(matches!(outbox.try_send(message("one"), true), Err(SendError::Closed)));
    assert_eq!((outbox.statistics().messages, outbox.statistics().dropped), (0, 0));
    assert!(outbox.take_sent_event().is_none());
}
