//! What only peers of the .NET library need.

use super::*;
use crate::connection::heartbeat::HeartbeatMode;

#[tokio::test(start_paused = true)]
async fn a_client_answers_a_text_ping_and_swallows_it() {
    for word in ["Ping", "ping", " PING\r\n"] {
        let mut rig = Plan::client().run();
        rig.peer.text(word).await;
        assert_eq!(rig.peer.hear_text().await, "pong");
        rig.peer.text("hello").await;
        rig.until_received(1).await;
        assert_eq!(rig.received(), ["hello"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_takes_a_text_ping_for_a_message() {
    let mut rig = Plan::server().run();
    rig.peer.text("ping").await;
    rig.until_received(1).await;
    assert_eq!(rig.received(), ["ping"]);
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_ping_is_spelled_as_configured() {
    let mut rig =
        Plan::server().heartbeat(120, HeartbeatMode::Text).config(|config| config.ping_text = "Ping").run();
    assert_eq!(rig.peer.hear_text().await, "Ping");
}

#[tokio::test(start_paused = true)]
async fn text_cut_inside_a_character_is_repaired_where_that_was_asked_for() {
    let mut rig = Plan::client().config(|config| config.text = crate::protocol::TextPolicy::Lossy).run();
    rig.peer.say(TEXT, b"caf\xC3").await;
    rig.peer.say(BINARY, b"caf\xC3").await;
    rig.peer.text("whole é").await;
    rig.until_received(3).await;
    let received = rig
        .seen
        .borrow()
        .iter()
        .filter_map(|call| match call {
            Call::Received(message) => Some(message.clone()),
            _ => None,
        })
        .collect::<Vec<_>>();
    let expected = [Message::text("caf\u{FFFD}"), Message::binary(&b"caf\xC3"[..]), Message::text("whole é")];
    assert_eq!(received, expected);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_needs_it_gets_a_second_close_and_hangs_up_itself() {
    let mut rig = Plan::client().config(|config| config.closes_twice = true).run();
    rig.close(CloseCode::NORMAL, "");
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    rig.peer.close(1000).await;
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await;
    assert!(early.is_err(), "{early:?}");
    rig.peer.stream.shutdown().await.unwrap();
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_knows_low_codes_only_gets_1000_for_any_other_and_the_event_has_the_real_one() {
    for (code, sent) in [(1000, 1000), (1001, 1001), (1008, 1008), (1014, 1014), (3000, 1000), (4001, 1000)] {
        let mut rig = Plan::client().config(|config| config.low_close_codes = true).run();
        rig.close(CloseCode::try_from(code).unwrap(), "why");
        let (on_the_wire, reason) = rig.peer.hear_close().await;
        assert_eq!((on_the_wire, reason.as_str()), (sent, "why"));
        rig.peer.close(1000).await;
        let end = rig.end().await;
        assert_eq!((end.code, end.reason.as_str(), end.by), (Some(code), "why", EndedBy::Local));
    }
}

#[tokio::test(start_paused = true)]
async fn the_close_for_a_silent_peer_is_one_that_it_knows_too() {
    let mut rig = Plan::client()
        .config(|config| config.low_close_codes = true)
        .heartbeat(10, HeartbeatMode::Ping)
        .run();
    assert_eq!(rig.peer.hear().await.0, PING);
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    let end = rig.end().await;
    assert_eq!((end.code, end.by), (Some(4000), EndedBy::Heartbeat));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_close_has_a_code_that_the_peer_knows_and_the_event_the_peers_own() {
    for (low_close_codes, answer) in [(true, 1000), (false, 4001)] {
        let mut rig = Plan::client().config(|config| config.low_close_codes = low_close_codes).run();
        rig.peer.close(4001).await;
        assert_eq!(rig.peer.hear_close().await.0, answer);
        let end = rig.end().await;
        assert_eq!((end.code, end.by), (Some(4001), EndedBy::Peer));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_keep_their_distance_and_the_first_keeps_its_own() {
    let mut plan = Plan::server();
    plan.outbox.pacing.frame_pause = Some(Duration::from_millis(5));
    plan.outbox.pacing.first_frame_pause = Duration::from_millis(50);
    let mut rig = plan.run_after(|shared| {
        for text in ["1", "2", "3"] {
            shared.outbox.try_send(Message::text(text), false).unwrap();
        }
    });
    let mut buffer = [0; 64];
    for (text, at) in [(b'1', 50), (b'2', 100), (b'3', 150)] {
        let len = rig.peer.stream.read(&mut buffer).await.unwrap();
        assert_eq!(buffer[..len], [TEXT, 1, text], "one frame, one read");
        let elapsed = rig.elapsed().as_millis();
        assert!((at..at + 4).contains(&elapsed), "{elapsed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paced_peer_that_reads_nothing_costs_no_time_of_ours() {
    let mut plan = Plan::server();
    plan.outbox.pacing.frame_pause = Some(Duration::from_millis(5));
    plan.pipe = 3;
    let mut rig = plan.run_after(|shared| {
        for text in ["1", "2"] {
            shared.outbox.try_send(Message::text(text), false).unwrap();
        }
    });
    // A driver that spun would keep the paused clock from ever moving on.
    let waited = std::time::Instant::now();
    let sleep = tokio::time::sleep(Duration::from_secs(60));
    tokio::pin!(sleep);
    let rounds = std::future::poll_fn(|cx| {
        assert!(waited.elapsed() < Duration::from_secs(20), "the driver spins");
        sleep.as_mut().poll(cx)
    });
    rounds.await;
    assert_eq!(rig.peer.hear_text().await, "1");
    assert_eq!(rig.peer.hear_text().await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_needs_it_is_pinged_until_it_has_read_what_was_sent() {
    let mut plan = Plan::server().config(|config| {
        config.nudges = true;
        // The answers are not held against the peer.
        config.messages_per_second = Some(1);
    });
    plan.outbox.pacing.nudges = true;
    let mut rig = plan.run_after(|shared| {
        for text in ["1", "2", "3"] {
            shared.outbox.try_send(Message::text(text), false).unwrap();
        }
    });
    let mut buffer = [0; 64];
    let len = rig.peer.stream.read(&mut buffer).await.unwrap();
    assert_eq!(buffer[..len], *b"\x81\x011\x81\x012\x81\x013", "joined");
    for at in [5, 15, 35] {
        let len = rig.peer.stream.read(&mut buffer).await.unwrap();
        assert_eq!(buffer[..len], *b"\x89\x00");
        let elapsed = rig.elapsed().as_millis();
        assert!((at..at + 4).contains(&elapsed), "{elapsed}");
    }
    for _ in 0..3 {
        rig.peer.say(PONG, b"").await;
    }
    let quiet = tokio::time::timeout(Duration::from_secs(60), rig.peer.stream.read(&mut buffer)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    // The same from another task, while the driver sleeps.
    rig.shared.outbox.try_send(Message::text("4"), false).unwrap();
    let len = rig.peer.stream.read(&mut buffer).await.unwrap();
    assert_eq!(buffer[..len], *b"\x81\x014");
    let len = rig.peer.stream.read(&mut buffer).await.unwrap();
    assert_eq!(buffer[..len], *b"\x89\x00");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_text_pings_have_stopped_is_given_up_after_two_intervals() {
    let mut rig = Plan::client().config(|config| config.watches_text_pings = true).run();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        rig.peer.text("Ping").await;
        assert_eq!(rig.peer.hear_text().await, "pong");
    }
    // Other messages do not show that it reads.
    let talks = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            rig.peer.text("hello").await;
        }
        rig.peer.hear_close().await
    };
    assert_eq!(talks.await, (4000, "the pings of the peer have stopped".to_owned()));
    let elapsed = rig.elapsed().as_secs();
    assert_eq!(elapsed, 90 + 60);
    drop(rig.peer.stream);
    let end = rig.task.await.unwrap();
    assert_eq!(end.by, EndedBy::Heartbeat);
    let failed = rig.seen.borrow().iter().any(|call| matches!(call, Call::Failed(ErrorStage::Heartbeat, _)));
    assert!(failed);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_pings_on_or_never_did_is_kept_and_so_is_one_in_another_mode() {
    let mut pings_on = Plan::client().config(|config| config.watches_text_pings = true).run();
    let never_did = Plan::client().config(|config| config.watches_text_pings = true).run();
    let mut not_watched = Plan::client().run();
    not_watched.peer.text("Ping").await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(120)).await;
        pings_on.peer.text("Ping").await;
        assert_eq!(pings_on.peer.hear_text().await, "pong");
    }
    for rig in [&pings_on, &never_did, &not_watched] {
        assert!(rig.shared.outbox.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn pings_that_wait_behind_a_busy_handler_do_not_count_as_stopped() {
    let mut plan = Plan::client().config(|config| {
        config.watches_text_pings = true;
        config.read_ahead = 10;
    });
    plan = plan.busy(1000);
    let mut rig = plan.run();
    rig.peer.text("Ping").await;
    assert_eq!(rig.peer.hear_text().await, "pong");
    rig.peer.text("keeps the handler busy").await;
    rig.peer.text("and fills what is read ahead").await;
    rig.until_received(2).await;
    assert!(rig.shared.outbox.is_open());
    rig.peer.text("Ping").await;
    assert_eq!(rig.peer.hear_text().await, "pong");
}
