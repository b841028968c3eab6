use proptest::prelude::*;

use super::*;

const NUDGES: Pacing = Pacing { first_frame_pause: Duration::ZERO, frame_pause: None, nudges: true };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pace(pacing: Pacing, now: Instant) -> Pace {
    Pace::new(pacing, now).expect("something is paced")
}

fn due(pace: &Pace) -> Option<Instant> {
    pace.nudge.as_ref().and_then(|nudge| nudge.due)
}

#[test]
fn where_nothing_is_paced_there_is_no_pace() {
    assert!(Pace::new(Pacing::default(), Instant::now()).is_none());
}

#[test]
fn without_a_pause_between_frames_only_the_first_one_waits() {
    let start = Instant::now();
    let mut pace = pace(Pacing { first_frame_pause: ms(50), ..Pacing::default() }, start);
    assert_eq!(pace.wait(false, start), Some(start + ms(50)));
    assert_eq!(pace.wait(false, start + ms(50)), None);
    pace.wrote(true, true, start + ms(50));
    assert_eq!(pace.wait(false, start + ms(50)), None);
}

#[test]
fn the_first_three_pauses_are_ten_times_as_long() {
    let start = Instant::now();
    let mut pace = pace(Pacing { frame_pause: Some(ms(10)), ..Pacing::default() }, start);
    let mut now = start;
    for pause in [0, 100, 100, 100, 10, 10, 10] {
        if pause > 0 {
            assert_eq!(pace.wait(false, now), Some(now + ms(pause)));
        }
        now += ms(pause);
        assert_eq!(pace.wait(false, now), None);
        pace.wrote(true, true, now);
    }
}

#[test]
fn part_of_a_frame_begins_no_pause() {
    let start = Instant::now();
    let mut pace = pace(Pacing { frame_pause: Some(ms(10)), ..Pacing::default() }, start);
    pace.wrote(true, false, start);
    assert_eq!(pace.wait(false, start), None);
}

#[test]
fn a_ping_follows_the_last_data_and_is_repeated_until_it_is_answered() {
    let start = Instant::now();
    let mut pace = pace(NUDGES, start);
    assert_eq!(due(&pace), None);
    pace.wrote(true, true, start);
    pace.wrote(true, true, start + ms(3));
    assert_eq!(due(&pace), Some(start + ms(8)));
    assert!(!pace.nudge(start + ms(7)));
    assert!(pace.nudge(start + ms(8)));
    assert_eq!(due(&pace), Some(start + ms(18)));
    assert!(pace.nudge(start + ms(18)));
    assert_eq!(due(&pace), Some(start + ms(38)));
    assert!(pace.ponged(start + ms(20)), "the first ping's");
    assert_eq!(due(&pace), Some(start + ms(38)), "the second is not answered");
    assert!(pace.ponged(start + ms(21)));
    assert_eq!(due(&pace), None);
    assert!(!pace.ponged(start + ms(22)), "nothing was asked");
}

#[test]
fn data_behind_a_ping_gets_one_of_its_own() {
    let start = Instant::now();
    let mut pace = pace(NUDGES, start);
    pace.wrote(true, true, start);
    assert!(pace.nudge(start + ms(5)));
    pace.wrote(true, true, start + ms(6));
    assert!(pace.ponged(start + ms(7)));
    assert_eq!(due(&pace), Some(start + ms(12)));
}

#[test]
fn the_answer_to_a_heartbeat_is_not_taken_for_the_answer_to_a_later_ping() {
    let start = Instant::now();
    let mut pace = pace(NUDGES, start);
    pace.pinged();
    pace.wrote(true, true, start);
    assert!(pace.nudge(start + ms(5)));
    assert!(pace.ponged(start + ms(6)));
    assert!(due(&pace).is_some());
    assert!(pace.ponged(start + ms(7)));
    assert_eq!(due(&pace), None);
}

#[test]
fn a_peer_that_answers_no_ping_is_left_alone_until_there_is_more_data() {
    let start = Instant::now();
    let mut pace = pace(NUDGES, start);
    pace.wrote(true, true, start);
    let mut pings = 0;
    while let Some(due) = due(&pace) {
        assert!(pace.nudge(due));
        pings += 1;
    }
    assert_eq!(pings, MOST_NUDGES);
    pace.wrote(true, true, start + ms(10_000));
    assert_eq!(due(&pace), Some(start + ms(10_005)));
}

#[test]
fn what_is_no_data_needs_no_ping() {
    let start = Instant::now();
    let mut pace = pace(NUDGES, start);
    pace.wrote(false, true, start);
    assert_eq!(due(&pace), None);
}

#[test]
fn a_close_waits_for_the_answer_but_not_for_ever() {
    let start = Instant::now();
    let mut pace = pace(NUDGES, start);
    pace.wrote(true, true, start);
    assert_eq!(pace.wait(true, start), Some(start + ms(5)));
    assert_eq!(pace.wait(false, start), None, "anything else does not");
    let mut now = start;
    while let Some(until) = pace.wait(true, now) {
        now = until;
        assert!(pace.nudge(now));
    }
    assert!(now - start < ms(400), "{:?}", now - start);
    assert!(due(&pace).is_some());
    pace.stop_nudging();
    assert_eq!((due(&pace), pace.wait(true, start)), (None, None));
}

proptest! {
    #[test]
    fn new_data_is_never_left_without_a_ping_and_pings_in_vain_are_few(
        steps in prop::collection::vec((0u8..4, 0u64..50), 0..200),
    ) {
        let mut now = Instant::now();
        let mut pace = pace(NUDGES, now);
        let mut in_vain = 0;
        for (step, pause) in steps {
            now += ms(pause);
            match step {
                0 => {
                    pace.wrote(true, true, now);
                    prop_assert!(due(&pace).is_some());
                    in_vain = 0;
                }
                1 => {
                    pace.ponged(now);
                }
                2 => pace.pinged(),
                _ => {
                    if let Some(due) = due(&pace) {
                        now = now.max(due);
                        prop_assert!(pace.nudge(now));
                        in_vain += 1;
                    }
                }
            }
            prop_assert!(in_vain <= MOST_NUDGES);
            prop_assert!(due(&pace).is_none_or(|due| due <= now + NUDGE * (1 << MOST_NUDGES)));
        }
    }
}
