use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A client that has been connected, for long enough to be stable.
fn stable(policy: ReconnectPolicy) -> Reconnector {
    let mut machine = Reconnector::new(policy);
    assert!(machine.step(Happened::Connect, ms(0), 0.5));
    assert!(machine.step(Happened::Opened, ms(0), 0.5));
    machine
}

/// The pauses of attempts that all fail, and the time at which each is made.
fn pauses(machine: &mut Reconnector, from: Duration, next: Next, random: f64) -> Vec<Duration> {
    let mut now = from;
    let mut pauses = Vec::new();
    while machine.step(Happened::Lost(next), now, random)
        && let ReconnectState::Waiting { until } = machine.state()
        && pauses.len() < 20
    {
        pauses.push(until - now);
        now = until;
        assert!(machine.step(Happened::PauseOver, now, random));
    }
    pauses
}

#[test]
fn pauses_double_up_to_the_longest_and_jitter_takes_any_part_of_them() {
    let policy = ReconnectPolicy::default();
    let seconds = |pauses: Vec<Duration>| pauses.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    let at = ms(60_000);
    let longest = seconds(pauses(&mut stable(policy), at, Next::Again, 1.0));
    assert_eq!(longest[..8], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
    let half = seconds(pauses(&mut stable(policy), at, Next::Again, 0.5));
    assert_eq!(half[..7], [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0]);
    let later = seconds(pauses(&mut stable(policy), at, Next::Later, 1.0));
    assert_eq!(later[..6], [4.0, 4.0, 4.0, 4.0, 8.0, 16.0]);
    let asked = seconds(pauses(&mut stable(policy), at, Next::NotBefore(ms(5000)), 0.5));
    assert_eq!(asked[..7], [7.5, 7.5, 7.5, 7.5, 7.5, 8.0, 15.0]);
    let spread = seconds(pauses(&mut stable(policy), at, Next::Spread(ms(10_000)), 0.25));
    assert_eq!(spread[..4], [2.5, 1.0, 1.0, 1.0]);
    let exactly = seconds(pauses(&mut stable(policy), at, Next::Exactly(ms(70)), 0.25));
    assert_eq!(exactly[..3], [0.07; 3]);
}

#[test]
fn a_connection_that_does_not_last_does_not_make_the_pauses_shorter() {
    for (lasts, pause) in [(0, 2000), (9_999, 2000), (10_000, 500), (3_600_000, 500)] {
        let mut machine = stable(ReconnectPolicy::default());
        let mut now = ms(60_000);
        for _ in 0..2 {
            machine.step(Happened::Lost(Next::Again), now, 1.0);
            machine.step(Happened::PauseOver, now, 1.0);
        }
        machine.step(Happened::Opened, now, 1.0);
        now += ms(lasts);
        machine.step(Happened::Lost(Next::Again), now, 1.0);
        assert_eq!(machine.state(), ReconnectState::Waiting { until: now + ms(pause) }, "{lasts}");
        assert_eq!(machine.attempt(), if pause == 500 { 1 } else { 3 });
    }
}

#[test]
fn it_gives_up_after_so_many_attempts_or_so_long() {
    let at = ms(60_000);
    for attempts in [0, 1, 3] {
        let policy = ReconnectPolicy { attempts: Some(attempts), ..ReconnectPolicy::default() };
        let mut machine = stable(policy);
        assert_eq!(pauses(&mut machine, at, Next::Again, 1.0).len(), attempts as usize);
        assert_eq!(machine.state(), ReconnectState::GivenUp);
    }
    // 0.5, 1 and 2 s; 4 s more would be beyond it.
    let policy = ReconnectPolicy { within: Some(ms(7_000)), ..ReconnectPolicy::default() };
    let mut machine = stable(policy);
    assert_eq!(pauses(&mut machine, at, Next::Again, 1.0).len(), 3);
    assert_eq!(machine.state(), ReconnectState::GivenUp);
    assert!(machine.step(Happened::Now, at, 1.0), "the application may ask again");
    assert_eq!((machine.state(), machine.attempt()), (ReconnectState::Connecting, 0));
}

#[test]
fn the_first_connect_fails_at_once_unless_it_is_tried_again_too() {
    for first in [false, true] {
        let mut machine = Reconnector::new(ReconnectPolicy { first, ..ReconnectPolicy::default() });
        machine.step(Happened::Connect, ms(0), 1.0);
        machine.step(Happened::Lost(Next::Again), ms(1), 1.0);
        let waits = ReconnectState::Waiting { until: ms(501) };
        assert_eq!(machine.state(), if first { waits } else { ReconnectState::GivenUp });
    }
}

#[test]
fn an_attempt_without_a_pause_keeps_the_ladder() {
    let mut machine = stable(ReconnectPolicy::default());
    let at = ms(60_000);
    machine.step(Happened::Lost(Next::Again), at, 1.0);
    assert!(machine.step(Happened::Now, at, 1.0));
    machine.step(Happened::Lost(Next::Again), at, 1.0);
    assert_eq!(machine.state(), ReconnectState::Waiting { until: at + ms(1000) });
    assert!(!machine.step(Happened::Connect, at, 1.0), "a connection is wanted already");
}

/// Ten thousand clients that are lost at once.
#[test]
fn clients_that_are_lost_together_come_back_spread_over_what_the_server_asks_for() {
    const CLIENTS: usize = 10_000;
    let spread = ms(10_000);
    let mut attempts = [0; 100];
    for client in 0..CLIENTS {
        let mut machine = stable(ReconnectPolicy::default());
        // A sequence with as little order as any, and the same in every run.
        let random = (client as f64 * 0.618_033_988_749_895).fract();
        machine.step(Happened::Lost(Next::Spread(spread)), ms(60_000), random);
        let ReconnectState::Waiting { until } = machine.state() else { panic!("{machine:?}") };
        attempts[((until - ms(60_000)).as_millis() / 100) as usize] += 1;
    }
    let most = attempts.iter().max().unwrap();
    assert!(*most <= CLIENTS / 100 * 3 / 2, "{most} in 100 ms");
    assert_eq!(attempts.iter().sum::<usize>(), CLIENTS);
}

fn next() -> impl Strategy<Value = Next> {
    let time = (0u64..100_000).prop_map(ms);
    prop_oneof![
        4 => Just(Next::Again),
        1 => Just(Next::Later),
        1 => time.clone().prop_map(Next::NotBefore),
        1 => time.clone().prop_map(Next::Exactly),
        1 => time.prop_map(Next::Spread),
        1 => Just(Next::Stop),
    ]
}

fn happened() -> impl Strategy<Value = Happened> {
    prop_oneof![
        1 => Just(Happened::Connect),
        2 => Just(Happened::Opened),
        4 => next().prop_map(Happened::Lost),
        3 => Just(Happened::PauseOver),
        1 => Just(Happened::Now),
        1 => Just(Happened::Disconnect),
    ]
}

fn policy() -> impl Strategy<Value = ReconnectPolicy> {
    let attempts = prop::option::of(0u32..6);
    let within = prop::option::of((0u64..100_000).prop_map(ms));
    (attempts, within, any::<bool>(), 1u64..2000, 1u64..60_000).prop_map(
        |(attempts, within, first, base, most)| ReconnectPolicy {
            base: ms(base),
            most: ms(most),
            attempts,
            within,
            first,
            ..ReconnectPolicy::default()
        },
    )
}

proptest! {
    /// Who wants a connection has a dial, a connection or a timer at any time, unless the policy or a verdict ends it.
    #[test]
    fn nothing_but_a_verdict_or_the_policy_ends_it(
        policy in policy(),
        steps in prop::collection::vec((happened(), 0u64..20_000, 0.0..1.0), 0..60),
    ) {
        let mut machine = Reconnector::new(policy);
        let mut now = ms(0);
        for (happened, passed, random) in steps {
            now += ms(passed);
            let (before, was) = (machine.clone(), machine.state());
            let changed = machine.step(happened, now, random);
            let state = machine.state();
            if !changed {
                prop_assert_eq!(&machine, &before);
                continue;
            }
            prop_assert!(was != state);
            match state {
                ReconnectState::Idle => prop_assert_eq!(happened, Happened::Disconnect),
                ReconnectState::GivenUp => {
                    let Happened::Lost(next) = happened else { panic!("{happened:?}") };
                    let first = !before.was_open && !policy.first;
                    let limits = policy.attempts.is_some() || policy.within.is_some();
                    prop_assert!(next == Next::Stop || first || limits, "{:?}", next);
                }
                ReconnectState::Waiting { until } => {
                    let Happened::Lost(next) = happened else { panic!("{happened:?}") };
                    let most = match next {
                        Next::Exactly(time) | Next::Spread(time) => time.max(policy.most),
                        Next::NotBefore(time) => policy.most.max(2 * time),
                        _ => policy.most,
                    };
                    prop_assert!(until >= now && until - now <= most, "{:?}", until - now);
                    if let Next::NotBefore(time) = next {
                        prop_assert!(until - now >= time);
                    }
                }
                ReconnectState::Open { since } => {
                    prop_assert_eq!((was, since), (ReconnectState::Connecting, now));
                }
                ReconnectState::Connecting => {
                    prop_assert!(!matches!(was, ReconnectState::Open { .. }), "two connections at a time");
                }
            }
        }
    }

    /// Whatever fails at once, and however small the random numbers are on the average: attempts stay few.
    #[test]
    fn attempts_that_fail_at_once_stay_few(seed: u64, opens: bool) {
        let mut machine = stable(ReconnectPolicy::default());
        let (mut now, mut attempts, mut state) = (ms(60_000), 0, seed);
        while now < ms(660_000) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (state >> 11) as f64 / (1u64 << 53) as f64;
            machine.step(Happened::Lost(Next::Again), now, random);
            let ReconnectState::Waiting { until } = machine.state() else { panic!("{machine:?}") };
            now = until;
            machine.step(Happened::PauseOver, now, random);
            if opens {
                machine.step(Happened::Opened, now, random);
            }
            attempts += 1;
        }
        prop_assert!(attempts <= 120, "{} attempts in ten minutes", attempts);
    }
}

/// The steps that ends in other languages have to take as well.
const VECTORS: &str = include_str!("../../../tests/vectors/reconnect.json");

fn time(value: &Value) -> Duration {
    ms(value.as_u64().unwrap())
}

fn happened_of(step: &Value) -> Happened {
    let time = |name: &str| time(&step[name]);
    match step["happened"].as_str().unwrap() {
        "connect" => Happened::Connect,
        "opened" => Happened::Opened,
        "pauseOver" => Happened::PauseOver,
        "now" => Happened::Now,
        "disconnect" => Happened::Disconnect,
        "lost" => Happened::Lost(match step["next"].as_str().unwrap() {
            "again" => Next::Again,
            "later" => Next::Later,
            "notBefore" => Next::NotBefore(time("time")),
            "exactly" => Next::Exactly(time("time")),
            "spread" => Next::Spread(time("time")),
            "stop" => Next::Stop,
            other => panic!("{other}"),
        }),
        other => panic!("{other}"),
    }
}

fn shown(state: ReconnectState) -> Value {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    match state {
        ReconnectState::Idle => json!({"name": "idle"}),
        ReconnectState::Connecting => json!({"name": "connecting"}),
        ReconnectState::Open { since } => json!({"name": "open", "since": millis(since)}),
        ReconnectState::Waiting { until } => json!({"name": "waiting", "until": millis(until)}),
        ReconnectState::GivenUp => json!({"name": "givenUp"}),
    }
}

#[test]
fn the_vectors_are_the_steps_of_the_machine() {
    let cases: Value = serde_json::from_str(VECTORS).unwrap();
    let mut steps = 0;
    for case in cases.as_array().unwrap() {
        let given = &case["policy"];
        let policy = ReconnectPolicy {
            base: time(&given["base"]),
            most: time(&given["most"]),
            stable_after: time(&given["stableAfter"]),
            attempts: given["attempts"].as_u64().map(|attempts| attempts as u32),
            within: given["within"].as_u64().map(ms),
            first: given["first"].as_bool().unwrap(),
        };
        let mut machine = Reconnector::new(policy);
        for step in case["steps"].as_array().unwrap() {
            let changed =
                machine.step(happened_of(step), time(&step["at"]), step["random"].as_f64().unwrap());
            let told =
                json!({"changed": changed, "attempt": machine.attempt(), "state": shown(machine.state())});
            assert_eq!(told, step["then"], "{}: {step}", case["name"]);
            steps += 1;
        }
    }
    assert!(steps > 30, "{steps}");
}
