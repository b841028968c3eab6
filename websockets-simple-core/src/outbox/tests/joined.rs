//! Messages of one round of the driver, which leave as one piece, and stay messages.

use super::*;
use crate::outbox::queue::most_frames;

fn send(outbox: &Outbox, text: &str) -> Offer {
    outbox.offer_message(message(text), true, None).unwrap()
}

/// Frames in the queue, and those that are joined.
fn frames_in(outbox: &Outbox) -> (usize, usize) {
    let state = outbox.lock_unsettled();
    (state.queue.len(), state.joined_frames())
}

#[test]
fn what_is_sent_in_a_round_leaves_at_its_end_in_one_write_and_is_no_frame() {
    let (outbox, wire) = opened(config(10_000, OverflowPolicy::Disconnect));
    wire.allow(1000);
    outbox.begin_round(Waker::noop());
    for text in ["1", "", "three"] {
        assert!(matches!(send(&outbox, text), Offer::Queued));
    }
    assert_eq!(frames_in(&outbox), (0, 3));
    assert_eq!(outbox.statistics(), OutboxStatistics { messages: 3, queued: 12, ..Default::default() });
    assert_eq!(outbox.end_round(), FlushOutcome::Nothing);
    assert_eq!(wire.writes(), [wire_of(&["1", "", "three"])]);
    assert_eq!(outbox.statistics(), OutboxStatistics { messages: 3, bytes: 12, ..Default::default() });
    // Out of a round it is a frame again.
    assert!(matches!(send(&outbox, "4"), Offer::Sent));
    assert_eq!(wire.texts(), ["1", "", "three", "4"]);
}

#[test]
fn what_the_stream_does_not_take_waits_as_messages_each_of_which_can_be_dropped() {
    let (outbox, wire) = opened(config(20, OverflowPolicy::DropOldest));
    wire.allow(4);
    outbox.begin_round(Waker::noop());
    for text in ["1", "22", "333", "4444"] {
        send(&outbox, text);
    }
    assert_eq!(outbox.end_round(), FlushOutcome::Refused);
    assert_eq!(frames_in(&outbox), (3, 0), "the second is written in part");
    assert_eq!(outbox.statistics().queued, 18 - 4);
    assert!(matches!(now(&outbox, "55555"), Offer::Queued));
    assert_eq!(outbox.statistics().dropped, 1);
    wire.allow(1000);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.texts(), ["1", "22", "4444", "55555"]);
}

#[test]
fn a_stream_that_takes_nothing_or_fails_leaves_the_messages_to_be_counted() {
    for error in [None, Some(io::ErrorKind::ConnectionReset)] {
        let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
        outbox.begin_round(Waker::noop());
        let _ = ["1", "2"].map(|text| send(&outbox, text));
        wire.with(|script| script.error = error);
        outbox.end_round();
        let lost = if error.is_some() { 2 } else { 0 };
        assert_eq!(outbox.statistics().dropped, lost);
        assert_eq!(frames_in(&outbox), (2 - lost as usize, 0));
        outbox.shut(false);
        assert_eq!(outbox.statistics(), OutboxStatistics { messages: 2, dropped: 2, ..Default::default() });
    }
}

#[test]
fn other_frames_of_the_round_keep_their_places() {
    let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
    wire.allow(1000);
    outbox.begin_round(Waker::noop());
    send(&outbox, "1");
    assert!(matches!(outbox.offer(frame("broadcast"), FlushWhen::Round, None), Offer::Queued));
    send(&outbox, "2");
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    send(&outbox, "3");
    assert_eq!(frames_in(&outbox), (4, 1));
    outbox.end_round();
    assert_eq!(wire.texts(), ["p", "1", "broadcast", "2", "3"], "a pong passes what waits");
    // Behind a message in parts nothing is joined.
    outbox.begin_round(Waker::noop());
    send(&outbox, "before");
    assert!(outbox.begin_parts().unwrap());
    assert!(outbox.poll_part(&mut part("pa", true, false), Waker::noop()).is_ready());
    send(&outbox, "behind");
    assert!(outbox.poll_part(&mut part("rt", false, true), Waker::noop()).is_ready());
    outbox.end_round();
    assert_eq!(wire.texts()[5..], ["before", "pa", "rt", "behind"]);
}

#[test]
fn a_close_lets_what_was_sent_before_it_leave_and_nothing_after_it() {
    let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
    wire.allow(1000);
    outbox.begin_round(Waker::noop());
    send(&outbox, "1");
    assert!(outbox.close(EndCause::closed(CloseCode::NORMAL, "")));
    assert!(matches!(send(&outbox, "2"), Offer::Closed));
    outbox.end_round();
    assert_eq!(wire.texts(), ["1"]);
}

#[test]
fn each_policy_decides_when_a_round_sends_more_than_the_outbox_holds() {
    for (policy, sent) in [
        (OverflowPolicy::Disconnect, &["1", "2", "3"][..]),
        (OverflowPolicy::DropNewest, &["1", "2", "3"]),
        (OverflowPolicy::DropOldest, &["2", "3", "4"]),
        (OverflowPolicy::Wait(Duration::from_secs(1)), &["1", "2", "3"]),
    ] {
        let (outbox, wire) = opened(config(10, policy));
        outbox.begin_round(Waker::noop());
        let _ = ["1", "2", "3"].map(|text| send(&outbox, text));
        let offer = send(&outbox, "4");
        assert!(match policy {
            OverflowPolicy::Disconnect => matches!(offer, Offer::Overflow),
            OverflowPolicy::DropNewest => matches!(offer, Offer::Dropped),
            OverflowPolicy::DropOldest => matches!(offer, Offer::Queued),
            OverflowPolicy::Wait(_) => matches!(offer, Offer::Full(_)),
        });
        wire.allow(1000);
        outbox.end_round();
        assert_eq!(wire.texts(), sent, "{policy:?}");
    }
}

#[test]
fn a_round_that_sends_much_writes_before_its_end_and_keeps_to_the_bound_of_frames() {
    let (outbox, wire) = opened(config(1 << 20, OverflowPolicy::DropNewest));
    wire.allow(usize::MAX / 2);
    outbox.begin_round(Waker::noop());
    let text = "x".repeat(1000);
    (0..200).for_each(|_| assert!(matches!(send(&outbox, &text), Offer::Queued)));
    assert_eq!(wire.writes().len(), 3, "64 KiB each");
    outbox.end_round();
    assert_eq!((wire.writes().len(), wire.texts().len()), (4, 200));
    // Empty messages to a stream that takes nothing.
    wire.with(|script| script.room = 0);
    outbox.begin_round(Waker::noop());
    let most = most_frames(1 << 20);
    (0..most).for_each(|_| assert!(matches!(send(&outbox, ""), Offer::Queued)));
    assert!(matches!(send(&outbox, ""), Offer::Dropped));
    outbox.end_round();
    assert_eq!(frames_in(&outbox), (most, 0));
}

#[test]
fn large_messages_and_those_of_paced_outboxes_are_not_joined() {
    let (outbox, wire) = opened(config(1 << 20, OverflowPolicy::Disconnect));
    wire.allow(usize::MAX / 2);
    outbox.begin_round(Waker::noop());
    send(&outbox, "1");
    send(&outbox, &"x".repeat(3000));
    assert_eq!(frames_in(&outbox), (2, 0));
    outbox.end_round();
    assert_eq!(frames(&wire.bytes()).len(), 2);
    let pacing = Pacing { frame_pause: Some(Duration::from_millis(10)), ..Pacing::default() };
    let (paced, _) = opened(OutboxConfig { pacing, ..config(1 << 20, OverflowPolicy::Disconnect) });
    paced.begin_round(Waker::noop());
    send(&paced, "1");
    assert_eq!(frames_in(&paced), (1, 0), "each leaves in a write of its own");
}

#[test]
fn a_sent_event_is_raised_for_each_message_of_a_round() {
    let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
    wire.allow(1000);
    outbox.begin_round(Waker::noop());
    for text in ["1", "2"] {
        outbox.try_send(message(text), true).unwrap();
    }
    outbox.end_round();
    let mut told =
        std::iter::from_fn(|| outbox.take_sent_event()).map(|(message, missed, _)| (message, missed));
    assert_eq!(told.next(), Some((message("1"), 0)));
    assert_eq!(told.next(), Some((message("2"), 0)));
    assert_eq!(told.next(), None);
}
