//! Pings that make a peer read on, which may hold frames that it has not looked at.

use super::*;

const PING: &[u8] = b"\x89\x00";
const DELAY: Duration = Duration::from_millis(5);

fn nudging() -> (Outbox, Wire) {
    let mut config = config(1024, OverflowPolicy::Disconnect);
    config.pacing.nudges = true;
    let (outbox, wire) = opened(config);
    wire.allow(usize::MAX / 2);
    (outbox, wire)
}

/// A round at the time for which the outbox asks.
async fn at_its_time(outbox: &Outbox) {
    let due = outbox.nudge_due().expect("a ping is due");
    tokio::time::advance(due - Instant::now()).await;
    round(outbox);
}

fn close(outbox: &Outbox) {
    outbox.stop_accepting();
    outbox.push_internal(Frame::close(1000, "", Side::Server), InternalFrame::Close);
}

#[tokio::test(start_paused = true)]
async fn frames_are_joined_and_a_ping_follows_a_few_milliseconds_later() {
    let (outbox, wire) = nudging();
    outbox.begin_round(Waker::noop());
    for text in ["1", "2", "3"] {
        now(&outbox, text);
    }
    assert_eq!(outbox.end_round(), FlushOutcome::Nothing);
    assert_eq!(wire.writes(), [wire_of(&["1", "2", "3"])]);
    assert_eq!(outbox.nudge_due(), Some(Instant::now() + DELAY));
    round(&outbox);
    assert_eq!(wire.writes().len(), 1, "not before its time");
    at_its_time(&outbox).await;
    assert_eq!(wire.writes().last().unwrap(), PING);
    at_its_time(&outbox).await;
    assert_eq!(wire.writes().len(), 3, "again, as there was no answer");
    assert!(outbox.ponged() && outbox.ponged());
    assert_eq!(outbox.nudge_due(), None);
}

#[tokio::test(start_paused = true)]
async fn the_driver_is_woken_once_for_its_timer_however_much_is_sent() {
    let (outbox, wire) = nudging();
    let (woken, waker) = Woken::new();
    outbox.begin_round(&waker);
    outbox.end_round();
    for _ in 0..100 {
        assert!(matches!(now(&outbox, "hello"), Offer::Sent));
    }
    assert_eq!(woken.times(), 1);
    assert_eq!(wire.texts().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_ping_passes_what_waits_and_not_the_frame_that_is_being_written() {
    let mut config = config(1024, OverflowPolicy::Disconnect);
    config.pacing.nudges = true;
    let (outbox, wire) = opened(config);
    wire.allow(4);
    now(&outbox, "hello");
    now(&outbox, "world");
    tokio::time::advance(DELAY).await;
    round(&outbox);
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.bytes(), [&wire_of(&["hello"]), PING, &wire_of(&["world"])].concat());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_until_the_peer_has_read_what_is_ahead_of_it() {
    let (outbox, wire) = nudging();
    now(&outbox, "last words");
    close(&outbox);
    assert!(matches!(round(&outbox), FlushOutcome::Throttled(_)));
    assert_eq!(wire.writes().len(), 1);
    at_its_time(&outbox).await;
    assert_eq!(wire.writes().last().unwrap(), PING);
    assert!(outbox.ponged());
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.writes().last().unwrap(), b"\x88\x02\x03\xe8");
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_a_peer_that_answers_no_ping() {
    let (outbox, wire) = nudging();
    now(&outbox, "last words");
    close(&outbox);
    let started = Instant::now();
    while let FlushOutcome::Throttled(until) = round(&outbox) {
        tokio::time::advance(until - Instant::now()).await;
    }
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    assert_eq!(wire.writes().last().unwrap(), b"\x88\x02\x03\xe8");
    assert_eq!(outbox.nudge_due(), None, "nothing may follow a Close");
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_close_waits_for_nothing() {
    let (outbox, wire) = nudging();
    now(&outbox, "last words");
    outbox.push_internal(Frame::close(1000, "", Side::Server), InternalFrame::Close);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.writes().last().unwrap(), b"\x88\x02\x03\xe8");
    assert_eq!(outbox.nudge_due(), None);
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_cause_discards_the_queue_waits_for_nothing() {
    let (outbox, wire) = nudging();
    now(&outbox, "last words");
    outbox.stop_accepting();
    outbox.discard();
    outbox.push_internal(Frame::close(4001, "", Side::Server), InternalFrame::Close);
    assert_eq!(round(&outbox), FlushOutcome::Nothing);
    assert_eq!(wire.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_that_pacing_no_ping_is_ever_due() {
    let (outbox, wire) = opened(config(1024, OverflowPolicy::Disconnect));
    wire.allow(100);
    now(&outbox, "hello");
    assert_eq!(outbox.nudge_due(), None);
    assert!(!outbox.ponged());
}

#[tokio::test(start_paused = true)]
async fn a_ping_for_another_reason_has_an_answer_and_a_pong_has_none() {
    let (outbox, _wire) = nudging();
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    round(&outbox);
    assert!(!outbox.ponged());
    outbox.push_internal(Frame::ping(Side::Server), InternalFrame::Ping);
    assert!(outbox.ponged());
    assert!(!outbox.ponged());
}

#[tokio::test(start_paused = true)]
async fn only_data_that_has_left_makes_a_ping_due() {
    let mut config = config(1024, OverflowPolicy::Disconnect);
    config.pacing.nudges = true;
    let (outbox, wire) = opened(config);
    outbox.push_internal(pong("p"), InternalFrame::Pong);
    now(&outbox, "waits");
    wire.allow(3);
    round(&outbox);
    assert_eq!(wire.texts(), ["p"]);
    assert_eq!(outbox.nudge_due(), None);
    wire.allow(1);
    round(&outbox);
    assert_eq!(outbox.nudge_due(), Some(Instant::now() + DELAY), "a part of it is enough");
}
