//! Frames of the connection itself: exempt from the bound, and never inside another frame.

use super::*;

fn full() -> (Outbox, Wire) {
    let (outbox, wire) = opened(config(3, OverflowPolicy::DropNewest));
    now(&outbox, "1");
    (outbox, wire)
}

#[test]
fn a_pong_passes_a_full_queue() {
    let (outbox, wire) = full();
    outbox.push_internal(pong("a"), InternalFrame::Pong);
    wire.allow(100);
    round(&outbox);
    assert_eq!(frames(&wire.bytes()), [(0x8A, b"a".to_vec()), (0x81, b"1".to_vec())]);
}

#[test]
fn control_frames_take_no_room_from_messages() {
    let (outbox, _wire) = opened(config(3, OverflowPolicy::DropNewest));
    outbox.push_internal(pong("payload"), InternalFrame::Pong);
    outbox.push_internal(Frame::ping(Side::Server), InternalFrame::Ping);
    assert_eq!(outbox.statistics().queued, 0);
    assert!(matches!(now(&outbox, "1"), Offer::Queued));
}

#[test]
fn a_pong_waits_for_the_end_of_a_frame_that_has_begun_to_leave() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(3);
    now(&outbox, "long");
    now(&outbox, "next");
    outbox.push_internal(pong("a"), InternalFrame::Pong);
    wire.allow(100);
    round(&outbox);
    assert_eq!(
        frames(&wire.bytes()),
        [(0x81, b"long".to_vec()), (0x8A, b"a".to_vec()), (0x81, b"next".to_vec())]
    );
}

#[test]
fn a_pong_replaces_one_that_the_stream_refused() {
    let (outbox, wire) = full();
    for payload in ["a", "b", "c"] {
        outbox.push_internal(pong(payload), InternalFrame::Pong);
    }
    wire.allow(100);
    round(&outbox);
    assert_eq!(frames(&wire.bytes()), [(0x8A, b"c".to_vec()), (0x81, b"1".to_vec())]);
}

#[test]
fn every_ping_of_a_peer_that_reads_gets_its_pong() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(usize::MAX / 2);
    outbox.begin_round(Waker::noop());
    for payload in ["a", "b", "c"] {
        outbox.push_internal(pong(payload), InternalFrame::Pong);
    }
    outbox.end_round();
    assert_eq!(wire.texts(), ["a", "b", "c"]);
}

#[test]
fn a_pong_that_has_begun_to_leave_is_not_replaced() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(1);
    for payload in ["a", "b", "c"] {
        outbox.push_internal(pong(payload), InternalFrame::Pong);
        round(&outbox);
    }
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["a", "c"]);
}

#[test]
fn close_goes_behind_what_is_queued_and_shuts_the_door() {
    let (outbox, wire) = full();
    outbox.push_internal(Frame::close(1000, "", Side::Server), InternalFrame::Close);
    assert!(matches!(now(&outbox, "late"), Offer::Closed));
    assert!(!outbox.is_open());
    wire.allow(100);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(frames(&wire.bytes()), [(0x81, b"1".to_vec()), (0x88, vec![3, 232])]);
}

#[test]
fn the_first_cause_to_close_counts_and_wakes_the_driver() {
    let (outbox, _wire) = full();
    let (woken, waker) = Woken::new();
    outbox.begin_round(&waker);
    outbox.end_round();
    let request = |reason: &str| EndCause::closed(CloseCode::NORMAL, reason);
    assert!(outbox.close(request("first")));
    assert!(!outbox.close(request("second")));
    assert_eq!(woken.times(), 1);
    assert!(matches!(now(&outbox, "late"), Offer::Closed));
    assert_eq!(outbox.begin_round(&waker).close.unwrap().reason(), "first");
    assert!(outbox.begin_round(&waker).close.is_none());
}

#[test]
fn nothing_is_said_after_the_end() {
    let (outbox, wire) = full();
    outbox.shut(false);
    outbox.push_internal(pong("late"), InternalFrame::Pong);
    wire.allow(100);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert!(wire.bytes().is_empty());
}

#[test]
fn a_text_of_the_heartbeat_never_comes_between_the_parts_of_a_message() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    assert!(outbox.begin_parts().unwrap());
    wire.allow(3);
    assert!(outbox.poll_part(&mut part("a", true, false), Waker::noop()).is_ready());
    assert_eq!(wire.bytes(), [0x01, 1, b'a'], "the first part has left");
    assert!(outbox.poll_part(&mut part("b", false, false), Waker::noop()).is_ready());
    assert!(outbox.poll_part(&mut part("", false, true), Waker::noop()).is_ready());
    // The message is complete in the queue, but a part of it has left already.
    outbox.push_internal(frame("ping"), InternalFrame::Text);
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    wire.allow(100);
    round(&outbox);
    assert_eq!(
        frames(&wire.bytes()),
        [
            (0x01, b"a".to_vec()),
            (0x8A, b"p".to_vec()),
            (0x00, b"b".to_vec()),
            (0x80, vec![]),
            (0x81, b"ping".to_vec())
        ]
    );
}

#[test]
fn every_control_message_leaves_once_and_in_order() {
    let (outbox, wire) = full();
    for text in ["a", "b", "c"] {
        outbox.push_internal(frame(text), InternalFrame::Control);
    }
    wire.allow(1000);
    round(&outbox);
    assert_eq!(wire.texts(), ["a", "b", "c", "1"]);
    outbox.push_internal(Frame::close(1000, "", Side::Server), InternalFrame::Close);
    outbox.push_internal(frame("late"), InternalFrame::Control);
    round(&outbox);
    assert_eq!(frames(&wire.bytes()).last().unwrap().0, 0x88, "nothing follows a Close");
}

#[test]
fn a_control_message_does_not_overtake_one_that_waited_for_a_message_in_parts() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    assert!(outbox.begin_parts().unwrap());
    assert!(outbox.poll_part(&mut part("p", true, false), Waker::noop()).is_ready());
    now(&outbox, "1");
    outbox.push_internal(frame("a"), InternalFrame::Control);
    assert!(outbox.poll_part(&mut part("", false, true), Waker::noop()).is_ready());
    now(&outbox, "2");
    outbox.push_internal(frame("b"), InternalFrame::Control);
    wire.allow(1000);
    round(&outbox);
    assert_eq!(wire.texts(), ["p", "", "1", "a", "b", "2"]);
}

#[test]
fn who_asks_and_never_reads_the_answers_is_closed() {
    for in_parts in [false, true] {
        let (outbox, _wire) = opened(config(100, OverflowPolicy::DropNewest));
        if in_parts {
            assert!(outbox.begin_parts().unwrap());
        }
        for _ in 0..128 {
            outbox.push_internal(frame("answer"), InternalFrame::Control);
        }
        assert!(outbox.is_open());
        outbox.push_internal(frame("answer"), InternalFrame::Control);
        let close = outbox.begin_round(Waker::noop()).close.unwrap();
        assert_eq!(close, EndCause::UnreadControls);
    }
}

#[test]
fn what_the_connection_says_in_a_round_leaves_in_the_one_write_at_its_end() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(1000);
    outbox.begin_round(Waker::noop());
    now(&outbox, "1");
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    outbox.push_internal(frame("ping"), InternalFrame::Text);
    for text in ["a", "b", "c"] {
        outbox.push_internal(frame(text), InternalFrame::Control);
    }
    outbox.push_internal(Frame::ping(Side::Server), InternalFrame::Ping);
    assert!(wire.writes().is_empty());
    outbox.end_round();
    assert_eq!(wire.writes().len(), 1);
    assert_eq!(wire.texts(), ["p", "ping", "a", "b", "c", "", "1"]);
}

#[test]
fn what_replaces_one_that_waits_has_its_place_and_no_other() {
    for begun in [false, true] {
        let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
        if begun {
            wire.allow(3);
            now(&outbox, "begun");
        }
        outbox.push_internal(pong("p"), InternalFrame::Pong);
        for text in ["1", "2", "3"] {
            outbox.push_internal(frame(text), InternalFrame::Text);
        }
        wire.allow(100);
        round(&outbox);
        assert_eq!(wire.texts()[usize::from(begun)..], ["p", "3"]);
    }
}

#[test]
fn the_rest_of_a_control_frame_counts_as_nothing_that_is_queued_when_the_queue_is_discarded() {
    let (outbox, wire) = opened(config(3, OverflowPolicy::DropNewest));
    wire.allow(1);
    outbox.push_internal(pong("payload"), InternalFrame::Pong);
    now(&outbox, "1");
    outbox.discard();
    assert_eq!((outbox.statistics().queued, outbox.statistics().dropped), (0, 1));
    assert!(matches!(now(&outbox, "2"), Offer::Queued), "it takes no room");
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["payload", "2"]);
}

#[test]
fn of_pings_that_wait_the_last_one_leaves_and_of_control_messages_all_do() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    for n in ["1", "2", "3"] {
        outbox.push_internal(frame(n), InternalFrame::Control);
        outbox.push_internal(Frame::ping(Side::Server), InternalFrame::Ping);
        outbox.push_internal(pong(n), InternalFrame::Pong);
    }
    wire.allow(100);
    round(&outbox);
    let sent = frames(&wire.bytes());
    let of =
        |first| sent.iter().filter(move |(other, _)| *other == first).map(|(_, payload)| payload.as_slice());
    assert!(of(0x81).eq([b"1", b"2", b"3"]), "{sent:?}");
    assert!(of(0x8A).eq([b"3"]), "{sent:?}");
    assert_eq!(of(0x89).count(), 1, "{sent:?}");
}
