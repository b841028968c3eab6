//! A message in parts, and what happens around it.

use super::*;
use crate::outbox::fragmented::MessageWriter;

fn text_parts(outbox: &Outbox) -> MessageWriter<'_, str> {
    now_or_never(MessageWriter::begin(outbox)).expect("no other parts").unwrap()
}

fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

#[test]
fn others_wait_behind_the_parts_and_controls_pass_between_them() {
    let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
    wire.allow(usize::MAX / 2);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("he")).unwrap().unwrap();
    assert!(matches!(now(&outbox, "other"), Offer::Queued));
    assert!(matches!(outbox.offer(frame("broadcast"), FlushWhen::Round, None), Offer::Queued));
    outbox.push_internal(frame("ping"), InternalFrame::Text);
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    round(&outbox);
    now_or_never(parts.write("llo")).unwrap().unwrap();
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(
        frames(&wire.bytes()),
        [
            (0x01, b"he".to_vec()),
            (0x8A, b"p".to_vec()),
            (0x00, b"llo".to_vec()),
            (0x80, vec![]),
            (0x81, b"other".to_vec()),
            (0x81, b"broadcast".to_vec()),
            (0x81, b"ping".to_vec()),
        ]
    );
    assert_eq!(outbox.statistics().messages, 3);
    assert_eq!(outbox.statistics().queued, 0);
}

#[test]
fn what_waits_behind_the_parts_counts_against_the_bound() {
    let (outbox, wire) = opened(config(6, OverflowPolicy::DropNewest));
    wire.allow(usize::MAX / 2);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    assert!(matches!(now(&outbox, "1"), Offer::Queued));
    assert!(matches!(now(&outbox, "2"), Offer::Queued));
    assert_eq!(outbox.statistics().queued, 6);
    assert!(matches!(now(&outbox, "3"), Offer::Dropped));
    now_or_never(parts.write("b")).expect("the parts do not wait for those who wait for them").unwrap();
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(outbox.statistics().queued, 0);
    assert_eq!(wire.texts(), ["a", "b", "", "1", "2"]);
}

#[test]
fn drop_oldest_drops_the_oldest_of_those_who_wait_behind_the_parts() {
    let (outbox, wire) = opened(config(6, OverflowPolicy::DropOldest));
    wire.allow(usize::MAX / 2);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    for text in ["1", "2", "3"] {
        assert!(matches!(now(&outbox, text), Offer::Queued), "{text}");
    }
    assert_eq!(outbox.statistics().dropped, 1);
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(wire.texts(), ["a", "", "2", "3"]);
}

#[test]
fn drop_oldest_never_drops_a_part() {
    let (outbox, wire) = opened(config(9, OverflowPolicy::DropOldest));
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    now_or_never(parts.write("b")).unwrap().unwrap();
    for text in ["1", "2"] {
        assert!(matches!(now(&outbox, text), Offer::Queued), "{text}");
    }
    assert!(matches!(now(&outbox, "12345"), Offer::Dropped));
    wire.allow(100);
    round(&outbox);
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(wire.texts(), ["a", "b", "", "2"]);
    assert_eq!(outbox.statistics().dropped, 2);
}

#[test]
fn a_part_waits_for_room_whatever_the_policy_and_goes_on_when_there_is_some() {
    let (outbox, wire) = opened(config(5, OverflowPolicy::Disconnect));
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("123")).unwrap().unwrap();
    {
        let (woken, waker) = Woken::new();
        let mut writing = std::pin::pin!(parts.write("4"));
        let cx = &mut std::task::Context::from_waker(&waker);
        assert!(writing.as_mut().poll(cx).is_pending());
        assert!(outbox.is_open());
        wire.allow(5);
        round(&outbox);
        assert_eq!(woken.times(), 1);
        assert!(writing.as_mut().poll(cx).is_ready());
    }
    wire.allow(100);
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(frames(&wire.bytes()), [(0x01, b"123".to_vec()), (0x00, b"4".to_vec()), (0x80, vec![])]);
}

#[test]
fn a_write_dropped_while_it_waits_sent_nothing() {
    let (outbox, wire) = opened(config(5, OverflowPolicy::Disconnect));
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("123")).unwrap().unwrap();
    assert!(now_or_never(parts.write("lost")).is_none());
    wire.allow(100);
    now_or_never(parts.write("4")).unwrap().unwrap();
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(wire.texts(), ["123", "4", ""]);
}

#[test]
fn an_empty_part_writes_no_frame_and_an_empty_message_is_one_frame() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(100);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("")).unwrap().unwrap();
    assert!(wire.bytes().is_empty());
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(wire.bytes(), [0x81, 0]);
}

#[test]
fn a_message_whose_last_part_was_taken_is_complete_although_a_close_follows_at_once() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    assert!(outbox.begin_parts().unwrap());
    assert!(outbox.poll_part(&mut part("a", true, false), Waker::noop()).is_ready());
    assert!(matches!(now(&outbox, "behind"), Offer::Queued));
    assert!(outbox.poll_part(&mut part("", false, true), Waker::noop()).is_ready());
    // Before the one who sent it runs again.
    assert!(outbox.close(EndCause::Idle));
    let statistics = outbox.statistics();
    assert_eq!((statistics.messages, statistics.dropped), (2, 0));
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["a", "", "behind"]);
}

#[test]
fn a_message_whose_last_part_fails_is_not_counted_and_its_sender_knows() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(100);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    wire.with(|script| script.error = Some(io::ErrorKind::BrokenPipe));
    assert!(matches!(now_or_never(parts.finish()), Some(Err(SendError::Closed))));
    assert_eq!(outbox.statistics().messages, 0);
}

#[test]
fn parts_that_are_dropped_half_sent_close_the_connection() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(100);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    now(&outbox, "behind");
    drop(parts);
    assert_eq!(outbox.begin_round(Waker::noop()).close, Some(EndCause::MessageAbandoned));
    assert_eq!(outbox.statistics().dropped, 1, "what waited behind them cannot follow");
    outbox.push_internal(Frame::close(1011, "", Side::Server), InternalFrame::Close);
    outbox.end_round();
    assert_eq!(frames(&wire.bytes()), [(0x01, b"a".to_vec()), (0x88, vec![3, 243])]);
}

#[test]
fn parts_that_are_dropped_before_anything_left_change_nothing() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(100);
    let parts = text_parts(&outbox);
    now(&outbox, "behind");
    drop(parts);
    assert!(outbox.is_open());
    assert_eq!(wire.texts(), ["behind"]);
    assert_eq!(outbox.statistics().messages, 1);
}

#[test]
fn the_next_parts_begin_when_the_first_are_done() {
    let (outbox, wire) = opened(config(100, OverflowPolicy::Disconnect));
    wire.allow(100);
    let first = text_parts(&outbox);
    let (woken, waker) = Woken::new();
    let cx = &mut std::task::Context::from_waker(&waker);
    let mut second = std::pin::pin!(MessageWriter::<[u8]>::begin(&outbox));
    assert!(second.as_mut().poll(cx).is_pending());
    now_or_never(first.finish()).unwrap().unwrap();
    assert_eq!(woken.times(), 1);
    let Poll::Ready(Ok(mut second)) = second.as_mut().poll(cx) else { panic!("still waiting") };
    now_or_never(second.write(b"b")).unwrap().unwrap();
    now_or_never(second.finish()).unwrap().unwrap();
    assert_eq!(frames(&wire.bytes()), [(0x81, vec![]), (0x02, b"b".to_vec()), (0x80, vec![])]);
}

#[test]
fn the_end_of_the_connection_ends_parts_and_those_who_wait_to_begin() {
    let (outbox, _wire) = opened(config(3, OverflowPolicy::Disconnect));
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    let (woken, waker) = Woken::new();
    let cx = &mut std::task::Context::from_waker(&waker);
    let mut second = std::pin::pin!(MessageWriter::<str>::begin(&outbox));
    assert!(second.as_mut().poll(cx).is_pending());
    {
        let mut writing = std::pin::pin!(parts.write("b"));
        assert!(writing.as_mut().poll(cx).is_pending());
        outbox.shut(false);
        assert_eq!(woken.times(), 2, "the writer and the one who waits to begin");
        assert!(matches!(writing.as_mut().poll(cx), Poll::Ready(Err(SendError::Closed))));
    }
    assert!(matches!(second.as_mut().poll(cx), Poll::Ready(Err(SendError::Closed))));
    assert!(matches!(now_or_never(parts.finish()), Some(Err(SendError::Closed))));
}

#[test]
fn one_text_of_the_heartbeat_waits_behind_the_parts_however_often_the_peer_pings() {
    let (outbox, wire) = opened(config(1000, OverflowPolicy::Disconnect));
    wire.allow(usize::MAX / 2);
    let mut parts = text_parts(&outbox);
    now_or_never(parts.write("a")).unwrap().unwrap();
    for _ in 0..10_000 {
        outbox.push_internal(frame("pong"), InternalFrame::Text);
    }
    now_or_never(parts.finish()).unwrap().unwrap();
    assert_eq!(wire.texts(), ["a", "", "pong"]);
}
