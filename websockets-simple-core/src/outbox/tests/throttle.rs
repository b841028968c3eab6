//! One frame per write, and not before its time: what .NET peers need.

use super::*;

const FIRST: Duration = Duration::from_millis(50);
const GAP: Duration = Duration::from_millis(5);
/// The first pauses are longer.
const FIRST_GAPS: Duration = Duration::from_millis(50);

fn paced() -> (Outbox, Wire) {
    let mut config = config(1024, OverflowPolicy::Disconnect);
    config.pacing = Pacing { first_frame_pause: FIRST, frame_pause: Some(GAP), nudges: false };
    opened(config)
}

#[tokio::test(start_paused = true)]
async fn each_frame_is_a_write_of_its_own_and_not_before_its_time() {
    let (outbox, wire) = paced();
    wire.allow(usize::MAX / 2);
    let opened = Instant::now();
    for text in ["1", "2", "3"] {
        assert!(matches!(now(&outbox, text), Offer::Queued));
    }
    let mut expected = opened + FIRST;
    for written in 0..3 {
        assert_eq!(round(&outbox), FlushOutcome::Throttled(expected));
        assert_eq!(wire.writes().len(), written);
        tokio::time::advance(expected - Instant::now() - Duration::from_nanos(1_000_000)).await;
        assert_eq!(round(&outbox), FlushOutcome::Throttled(expected), "a millisecond early");
        tokio::time::advance(Duration::from_millis(1)).await;
        round(&outbox);
        expected = Instant::now() + FIRST_GAPS;
    }
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.writes(), ["1", "2", "3"].map(|text| wire_of(&[text])));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_long_after_the_last_one_does_not_wait() {
    let (outbox, wire) = paced();
    wire.allow(usize::MAX / 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(matches!(now(&outbox, "1"), Offer::Sent));
    tokio::time::advance(FIRST_GAPS).await;
    assert!(matches!(now(&outbox, "2"), Offer::Sent));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_frame_does_not_wait_for_the_pace() {
    let (outbox, wire) = paced();
    tokio::time::advance(FIRST).await;
    wire.allow(2);
    now(&outbox, "hello");
    assert_eq!(round(&outbox), FlushOutcome::Refused);
    wire.allow(100);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.texts(), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_paced_stream_that_takes_nothing_is_waited_for_and_not_spun_on() {
    let (outbox, wire) = paced();
    now(&outbox, "1");
    tokio::time::advance(FIRST + GAP).await;
    assert_eq!(round(&outbox), FlushOutcome::Refused, "the time has come, the room has not");
    wire.allow(100);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_paced_send_wakes_the_link_which_alone_has_a_timer() {
    let (outbox, wire) = paced();
    wire.allow(100);
    let (woken, waker) = Woken::new();
    outbox.begin_round(&waker);
    outbox.end_round();
    now(&outbox, "1");
    assert_eq!(woken.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_holds_back_is_pushed_out_before_the_pause() {
    let (outbox, wire) = paced();
    wire.allow(usize::MAX / 2);
    tokio::time::advance(FIRST).await;
    outbox.begin_round(Waker::noop());
    now(&outbox, "1");
    now(&outbox, "2");
    assert!(matches!(outbox.end_round(), FlushOutcome::Throttled(_)));
    assert_eq!(wire.writes().len(), 1);
    assert_eq!(wire.with(|script| script.flushes), 1, "or both frames would arrive as one");
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_are_joined_for_others_leave_one_by_one_where_frames_are_paced() {
    let (outbox, wire) = paced();
    let (other, others_wire) = opened(config(1024, OverflowPolicy::Disconnect));
    wire.allow(usize::MAX / 2);
    others_wire.allow(usize::MAX / 2);
    tokio::time::advance(FIRST).await;
    for text in ["1", "2"] {
        let shared = frame(text);
        for outbox in [&other, &outbox] {
            let offered = outbox.offer(shared.clone(), FlushWhen::Round, None);
            assert!(matches!(offered, Offer::List | Offer::Queued));
        }
    }
    let mut coalesced = Coalesced::default();
    other.flush_round(&mut coalesced);
    outbox.flush_round(&mut coalesced);
    assert_eq!(others_wire.writes(), [wire_of(&["1", "2"])]);
    assert_eq!(wire.writes(), [wire_of(&["1"])]);
}
