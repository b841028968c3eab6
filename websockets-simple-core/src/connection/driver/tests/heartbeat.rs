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
    // Nothing is waited for.
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Heartbeat, Some(4000), false));
    assert_eq!(rig.errors(), [ErrorStage::Heartbeat]);
    assert!(near(rig.elapsed(), 2), "{:?}", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn messages_and_pong_frames_prove_life_and_are_no_answer_to_a_text_ping() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
    for tick in 1..=5 {
        assert_eq!(rig.peer.hear_text().await, "ping");
        assert!(near(rig.elapsed(), tick), "{:?}", rig.elapsed());
        rig.peer.text("pong?").await;
        rig.peer.say(PONG, b"").await;
    }
    assert_eq!(rig.peer.hear_text().await, "ping");
    assert_eq!(rig.peer.hear_text().await, "No ping response - disconnected.");
    assert_eq!(rig.shared.statistics().round_trip, None);
}

#[tokio::test(start_paused = true)]
async fn in_ping_mode_a_pong_frame_is_the_answer_and_the_text_is_a_message() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Ping).run();
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    rig.peer.text("pong").await;
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    assert_eq!(rig.shared.statistics().round_trip, None);
    rig.peer.say(PONG, b"").await;
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    assert_eq!(rig.shared.statistics().round_trip, None, "it answers one of two");
    rig.peer.say(PONG, b"").await;
    assert_eq!(rig.peer.hear().await, (PING, vec![]));
    assert!(rig.shared.statistics().round_trip.is_some());
    assert_eq!(rig.peer.hear_close().await.0, 4000);
    assert!(near(rig.elapsed(), 5), "{:?}", rig.elapsed());
    assert_eq!(rig.received(), ["pong"]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_arrives_slowly_is_no_silence() {
    let mut rig = Plan::client().heartbeat(30, HeartbeatMode::Text).run();
    // 1 MiB at 4 KiB/s: more than four minutes, in which the server can answer no text ping.
    let bytes = frame(BINARY, &vec![7; 1 << 20], false);
    for piece in bytes.chunks(20 * 1024) {
        rig.peer.raw(piece).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    rig.until_received(1).await;
    assert!(rig.errors().is_empty() && rig.shared.outbox.is_open());
    assert_eq!(rig.peer.hear_text().await, "ping");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_has_time_to_reach_the_ping() {
    let mut plan = Plan::client().heartbeat(30, HeartbeatMode::Ping);
    plan.pipe = 4 << 20;
    plan.outbox.capacity = 4 << 20;
    let mut rig = plan.run();
    rig.until(|calls| !calls.is_empty()).await;
    rig.shared.outbox.try_send(Message::binary(vec![7; 4 << 20]), false).unwrap();
    // 40 KB/s, and the answer to the ping behind it all.
    let mut bytes = vec![0; 200 * 1024];
    let mut left = 4 << 20;
    while left > 0 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        left -= rig.peer.stream.read(&mut bytes[..left.min(200 * 1024)]).await.unwrap();
    }
    assert!(rig.shared.outbox.is_open());
    // The header of the message is longer than it.
    rig.peer.stream.read_exact(&mut bytes[..14]).await.unwrap();
    assert_eq!(rig.peer.hear().await.0, PING);
    rig.peer.say(PONG, b"").await;
    assert_eq!(rig.peer.hear().await.0, PING);
    assert!(rig.errors().is_empty());
}

/// A stream from which frames can always be read.
struct Endless(DuplexStream);

impl tokio::io::AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(&frame(PONG, b"", true));
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Endless {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_closed_is_neither_idle_nor_silent_while_its_messages_are_handled() {
    let mut rig = Plan::server()
        .heartbeat(1, HeartbeatMode::Ping)
        .config(|config| config.idle = Some(Duration::from_secs(2)))
        .busy(4)
        .run();
    rig.peer.text("work").await;
    rig.peer.close(1000).await;
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    let end = rig.end().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, Some(1000)));
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_pauses_is_pinged_and_not_given_up() {
    let (near, far) = tokio::io::duplex(1024);
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run_over(Endless(near));
    rig.peer.stream = far;
    for tick in 1..=5 {
        tokio::time::advance(TICK + JITTER).await;
        assert_eq!(rig.peer.hear_text().await, "ping", "{tick}");
    }
    assert!(rig.errors().is_empty() && rig.shared.outbox.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_message_in_parts_may_take_longer_than_the_heartbeat_in_either_direction() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
    rig.until(|calls| !calls.is_empty()).await;
    let shared = Arc::clone(&rig.shared);
    let mut parts = crate::outbox::MessageWriter::<str>::begin(&shared.outbox).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..6 {
        parts.write("part").await.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        while let Ok((first, _)) = tokio::time::timeout(Duration::from_millis(1), rig.peer.hear()).await {
            heard.push(first);
            if first == PING {
                rig.peer.say(PONG, b"").await;
            }
        }
    }
    assert!(heard.contains(&PING) && !heard.contains(&TEXT), "frames pass between the parts: {heard:?}");
    parts.finish().await.unwrap();
    assert_eq!(rig.peer.hear().await.0, 0x80);
    assert_eq!(rig.peer.hear_text().await, "ping", "a text again");
    for n in 0..6 {
        rig.peer.say(if n == 0 { 0x01 } else { 0x00 }, b"part").await;
        tokio::time::sleep(Duration::from_secs(100)).await;
    }
    rig.peer.say(0x80, b"").await;
    rig.until_received(1).await;
    assert!(rig.errors().is_empty() && rig.shared.outbox.is_open());
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
async fn a_driver_that_runs_while_it_reads_nothing_neither_pings_nor_gives_up() {
    let mut rig = Plan::server()
        .heartbeat(120, HeartbeatMode::Text)
        .config(|config| config.read_ahead = 1)
        .busy(10_000)
        .run();
    for text in ["a", "bb"] {
        rig.peer.text(text).await;
    }
    rig.until_received(1).await;
    for n in 0..5 {
        tokio::time::advance(TICK + JITTER).await;
        rig.shared.outbox.try_send(Message::text(n.to_string()), true).unwrap();
        assert_eq!(rig.peer.hear_text().await, n.to_string());
        rig.shared.outbox.wake_driver();
        tokio::task::yield_now().await;
    }
    assert!(rig.errors().is_empty() && rig.shared.outbox.is_open());
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

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_polled_with_another_waker_each_time_still_pings_in_time() {
    let mut plan = Plan::server().heartbeat(30, HeartbeatMode::Ping);
    plan.new_wakers = true;
    let mut rig = plan.run();
    for n in 0..20 {
        rig.peer.text("hi").await;
        rig.until_received(n + 1).await;
    }
    assert_eq!(rig.peer.hear_frame().await.0, PING);
    assert!((30..=33).contains(&rig.elapsed().as_secs()), "{:?}", rig.elapsed());
}
