//! Pings, their answers, and the timeout.

use super::*;
use crate::connection::heartbeat::HeartbeatMode;

const TICK: Duration = Duration::from_secs(120);
/// The first tick comes up to a tenth late.
const JITTER: Duration = Duration::from_secs(12);

fn near(elapsed: Duration, ticks: u32) -> bool {
    (TICK * ticks..=TICK * ticks + JITTER + Duration::from_millis(10)).contains(&elapsed)
}

#[tokio::test(start_paused = true)]
async fn a_text_ping_comes_after_120_seconds_and_its_answer_is_swallowed() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
    for tick in 1..=4 {
        assert_eq!(rig.peer.hear_text().await, "ping");
        assert!(near(rig.elapsed(), tick), "{:?}", rig.elapsed());
        rig.peer.text(" PONG ").await;
        rig.peer.text("after").await;
        rig.until_received(tick as usize).await;
    }
    assert_eq!(rig.received(), ["after"; 4]);
    assert_eq!(rig.shared.statistics().messages_received, 4);
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_first_ticks_of_connections_opened_together_differ() {
    let mut pinged = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
        pinged.spawn(async move {
            rig.peer.hear_text().await;
            rig.elapsed()
        });
    }
    let mut ticks = pinged.join_all().await;
    ticks.sort();
    ticks.dedup();
    assert!(ticks.len() > 1, "{ticks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_told_and_closed_at_the_second_tick() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
    assert_eq!(rig.peer.hear_text().await, "ping");
    assert_eq!(rig.peer.hear_text().await, "No ping response - disconnected.");
    assert!(near(rig.elapsed(), 2), "{:?}", rig.elapsed());
    assert_eq!(rig.peer.hear_close().await.0, 4000);
    // The error is raised at once, and not when the peer has answered the Close.
    rig.until(|calls| matches!(calls.last(), Some(Call::Failed(ErrorStage::Heartbeat, _)))).await;
    assert!(near(rig.elapsed(), 2), "{:?}", rig.elapsed());
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Heartbeat, Some(4000), false));
    assert_eq!(rig.errors(), [ErrorStage::Heartbeat]);
    assert!(rig.elapsed() <= TICK * 2 + JITTER + Duration::from_secs(6), "{:?}", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn messages_and_pong_frames_are_no_answer_to_a_text_ping() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
    assert_eq!(rig.peer.hear_text().await, "ping");
    rig.peer.text("pong?").await;
    rig.peer.say(PONG, b"").await;
    assert_eq!(rig.peer.hear_text().await, "No ping response - disconnected.");
}

#[tokio::test(start_paused = true)]
async fn in_ping_mode_a_pong_frame_is_the_answer_and_the_text_is_a_message() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Ping).run();
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    rig.peer.say(PONG, b"").await;
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    rig.peer.text("pong").await;
    assert_eq!(rig.peer.hear_close().await.0, 4000);
    assert!(near(rig.elapsed(), 3), "{:?}", rig.elapsed());
    assert_eq!(rig.received(), ["pong"]);
}

#[tokio::test(start_paused = true)]
async fn in_both_mode_either_answer_counts() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Both).run();
    for (first, payload) in [(TEXT, "pong"), (PONG, ""), (TEXT, "Pong")] {
        let observe = [rig.peer.hear().await, rig.peer.hear().await];
        assert!(
            observe.contains(&(TEXT, b"ping".to_vec())) && observe.contains(&(PING, vec![])),
            "{observe:?}"
        );
        rig.peer.say(first, payload.as_bytes()).await;
    }
    assert_eq!(rig.peer.hear().await.0 | rig.peer.hear().await.0, PING | TEXT);
    assert!(near(rig.elapsed(), 4), "{:?}", rig.elapsed());
    assert!(rig.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn in_any_traffic_mode_anything_counts_and_silence_does_not() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::AnyTraffic).run();
    for _ in 0..3 {
        assert_eq!(rig.peer.hear().await, (PING, vec![]));
        rig.peer.text("busy").await;
    }
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    assert_eq!(rig.peer.hear_close().await.0, 4000);
    assert!(near(rig.elapsed(), 5), "{:?}", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_heartbeat_nobody_is_pinged_and_nobody_is_given_up() {
    let mut rig = Plan::server().run();
    let silence = tokio::time::timeout(TICK * 100, rig.peer.hear()).await;
    assert!(silence.is_err(), "{silence:?}");
    rig.peer.text("still here").await;
    rig.until_received(1).await;
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_is_measured() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
    assert_eq!(rig.shared.statistics().round_trip, None);
    rig.peer.hear_text().await;
    tokio::time::advance(Duration::from_millis(70)).await;
    rig.peer.text("pong").await;
    rig.peer.text("after").await;
    rig.until_received(1).await;
    assert_eq!(rig.shared.statistics().round_trip, Some(Duration::from_millis(70)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_handler_sleeps_300_seconds_is_pinged_and_its_answers_are_heard() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).busy(300).run();
    rig.peer.text("begin").await;
    for tick in 1..=2 {
        assert_eq!(rig.peer.hear_text().await, "ping");
        assert!(near(rig.elapsed(), tick), "{:?}", rig.elapsed());
        rig.peer.text("pong").await;
    }
    assert_eq!(rig.peer.hear_text().await, "ping");
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn time_in_which_we_read_nothing_never_counts_against_the_peer() {
    let mut rig = Plan::server()
        .heartbeat(120, HeartbeatMode::Text)
        .config(|config| config.read_ahead = 10)
        .busy(300)
        .run();
    assert_eq!(rig.peer.hear_text().await, "ping");
    // The first is being handled, the next two are more than may wait; the pong is stuck behind them.
    for text in ["a", "123456", "1234567"] {
        rig.peer.text(text).await;
    }
    rig.peer.raw(&frame(TEXT, b"pong", true)).await;
    let answered = rig.elapsed();
    assert_eq!(rig.peer.hear_text().await, "ping", "the next tick, and no verdict");
    assert!(rig.elapsed() > answered + Duration::from_secs(300), "{:?}", rig.elapsed());
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stays_silent_after_a_pause_of_ours_is_still_given_up() {
    let mut rig = Plan::server()
        .heartbeat(120, HeartbeatMode::Text)
        .config(|config| config.read_ahead = 1)
        .busy(300)
        .run();
    for text in ["a", "bb"] {
        rig.peer.text(text).await;
    }
    assert_eq!(rig.peer.hear_text().await, "ping");
    assert_eq!(rig.peer.hear_text().await, "No ping response - disconnected.");
    let limit = Duration::from_secs(600) + TICK * 2 + JITTER;
    assert!(rig.elapsed() <= limit, "{:?}", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_idle_limit_counts_from_the_last_message_and_not_from_a_pong() {
    let mut rig = Plan::server().config(|config| config.idle = Some(Duration::from_secs(60))).run();
    tokio::time::advance(Duration::from_secs(40)).await;
    rig.peer.text("a").await;
    rig.until_received(1).await;
    tokio::time::advance(Duration::from_secs(40)).await;
    rig.peer.say(PONG, b"").await;
    assert_eq!(rig.peer.hear_close().await.0, 4002);
    let elapsed = rig.elapsed();
    assert!((100_000..100_100).contains(&elapsed.as_millis()), "{elapsed:?}");
    rig.peer.close(4002).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Idle, true));
}

#[tokio::test(start_paused = true)]
async fn the_idle_clock_stands_still_while_we_do_not_read() {
    let mut rig = Plan::server()
        .config(|config| {
            config.idle = Some(Duration::from_secs(60));
            config.read_ahead = 1;
        })
        .busy(100)
        .run();
    for text in ["a", "bb"] {
        rig.peer.text(text).await;
    }
    // 100 s of nothing read, and 60 s of silence after that.
    assert_eq!(rig.peer.hear_close().await.0, 4002);
    let elapsed = rig.elapsed();
    assert!((160_000..160_100).contains(&elapsed.as_millis()), "{elapsed:?}");
}
