//! From bytes to messages, however the bytes are cut.

use super::{
    closing::{Taking, Writes},
    *,
};

#[tokio::test(start_paused = true)]
async fn two_frames_in_one_segment_are_two_messages() {
    let mut rig = Plan::server().run();
    rig.peer.raw(&[frame(TEXT, b"one", true), frame(BINARY, b"two", true)].concat()).await;
    rig.until_received(2).await;
    let calls = rig.seen.borrow().clone();
    assert!(matches!(&calls[1], Call::Received(Message::Text(text)) if *text == "one"));
    assert!(matches!(&calls[2], Call::Received(Message::Binary(bytes)) if bytes == "two".as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn frames_split_at_every_byte_are_put_together() {
    let mut plan = Plan::server();
    plan.pipe = 1;
    let mut rig = plan.run();
    let long = "é".repeat(200);
    for text in ["", "a", "日本語", &long] {
        rig.peer.text(text).await;
    }
    rig.until_received(4).await;
    assert_eq!(rig.received(), ["", "a", "日本語", &long]);
}

#[tokio::test(start_paused = true)]
async fn fragments_with_pings_between_them_are_one_message() {
    let mut rig = Plan::server().run();
    rig.peer.say(0x01, "h\u{e9}".as_bytes().split_last().unwrap().1).await;
    rig.peer.say(PING, b"1").await;
    rig.peer.say(0x00, b"\xA9llo ").await;
    rig.peer.say(PING, b"2").await;
    rig.peer.say(0x80, b"world").await;
    rig.until_received(1).await;
    assert_eq!(rig.received(), ["héllo world"]);
    assert_eq!(rig.peer.hear().await, (PONG, b"1".to_vec()));
    assert_eq!(rig.peer.hear().await, (PONG, b"2".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_came_with_the_handshake_are_read_first() {
    let mut plan = Plan::server();
    let second = frame(TEXT, b"second", true);
    plan.leftover = [&frame(TEXT, b"first", true)[..], &second[..4]].concat();
    let mut rig = plan.run();
    rig.peer.raw(&second[4..]).await;
    rig.until_received(2).await;
    assert_eq!(rig.received(), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_pauses_reading_beyond_the_read_ahead_and_nothing_is_lost() {
    let mut plan =
        Plan::server().config(|config| config.read_ahead = 1000).on_message(|message, _| async move {
            if message.as_text().is_some_and(|text| text.starts_with("0 ")) {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        });
    plan.pipe = 512;
    let mut rig = plan.run();
    // The pipe and the read-ahead fill up long before everything is sent.
    let said = (0..50).map(|n| format!("{n} {}", "x".repeat(100)));
    let mut written = 0;
    let mut all = Vec::new();
    for text in said {
        all.push(text.clone());
        let bytes = frame(TEXT, text.as_bytes(), true);
        let in_time = tokio::time::timeout(Duration::from_secs(1), rig.peer.raw(&bytes)).await;
        if in_time.is_err() {
            break;
        }
        written += 1;
    }
    assert!((10..30).contains(&written), "{written}");
    assert_eq!(rig.received().len(), 1);
    // The last frame was cut by the timeout, so only what was written whole can be compared.
    rig.until_received(written).await;
    assert_eq!(rig.received()[..written], all[..written]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_is_paused_again_and_again_is_received_whole_and_in_order() {
    let mut plan = Plan::server()
        .config(|config| config.read_ahead = 64)
        .on_message(|_, _| tokio::time::sleep(Duration::from_millis(3)));
    plan.pipe = 256;
    let mut rig = plan.run();
    for n in 0..500 {
        rig.peer.text(&format!("message {n}")).await;
    }
    rig.peer.close(1000).await;
    rig.end().await;
    assert_eq!(rig.received(), (0..500).map(|n| format!("message {n}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_close_behind_more_than_the_read_ahead_is_seen_after_it() {
    let mut rig = Plan::server().config(|config| config.read_ahead = 1).busy(1).run();
    for n in 0..10 {
        rig.peer.text(&format!("message {n}")).await;
    }
    rig.peer.close(1000).await;
    rig.end().await;
    assert_eq!(rig.received().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_again_after_a_pause_gets_all_in_order() {
    let mut plan = Plan::server().on_message(|message, shared| async move {
        shared.outbox.send(message, false).await.unwrap();
    });
    plan.pipe = 64;
    plan.outbox.policy = OverflowPolicy::Wait(Duration::from_secs(60));
    plan.outbox.capacity = 100;
    let mut rig = plan.run();
    let (mut reader, mut writer) = tokio::io::split(rig.peer.stream);
    let saying = tokio::spawn(async move {
        for n in 0..300 {
            writer.write_all(&frame(TEXT, format!("message {n:03}").as_bytes(), true)).await.unwrap();
        }
        writer
    });
    let mut echoed = vec![0; 300 * 13];
    reader.read_exact(&mut echoed).await.unwrap();
    let expected: Vec<u8> =
        (0..300).flat_map(|n| frame(TEXT, format!("message {n:03}").as_bytes(), false)).collect();
    assert_eq!(echoed, expected);
    rig.peer.stream = reader.unsplit(saying.await.unwrap());
}

/// A stream from which a message comes with each read once it may.
struct Talkative(Arc<std::sync::atomic::AtomicI64>);

impl tokio::io::AsyncRead for Talkative {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Poll::Pending;
        }
        buf.put_slice(&frame(TEXT, b"more", true));
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_write_so_much_is_read_and_no_more() {
    // The last read of a poll is not counted.
    let most = i64::from(LAST_READS) + i64::from(LAST_READS) / READS_PER_POLL as i64 + 1;
    for more in [10, most - 1, most, 10_000] {
        let left = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let stream = tokio::io::join(Talkative(Arc::clone(&left)), Writes(Taking::Fails));
        let mut rig = Plan::server().run_over(stream);
        rig.until(|calls| !calls.is_empty()).await;
        left.store(more, Ordering::Relaxed);
        assert!(rig.shared.outbox.try_send(Message::text("to nobody"), false).is_err());
        let end = rig.end().await;
        assert_eq!((end.by, end.clean), (EndedBy::Transport, false));
        assert_eq!(rig.errors(), [ErrorStage::Send]);
        assert_eq!(rig.received().len() as i64, more.min(most));
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_question_is_not_answered_more_is_read_and_who_asks_is_told_once_that_is_full() {
    const PLACE: usize = 1000;
    let (told, mut stalled) = tokio::sync::mpsc::unbounded_channel();
    let mut plan = Plan::server()
        .config(|config| (config.read_ahead, config.waiting_ahead) = (10 * PLACE, 50 * PLACE))
        .on_message(move |message, shared| {
            let told = told.clone();
            async move {
                if message.as_text().is_some_and(|text| text.starts_with("0 ")) {
                    let mut question = shared.ask();
                    question.stalled().await;
                    let read = shared.statistics().bytes_received as usize;
                    told.send((question.is_inside(), read)).unwrap();
                    drop(question);
                    // Nothing more is read for nobody.
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    assert_eq!(shared.statistics().bytes_received as usize, read);
                }
            }
        });
    plan.pipe = 512;
    let mut rig = plan.run();
    let outside = rig.shared.ask();
    assert!(!outside.is_inside());
    drop(outside);
    for n in 0..100 {
        rig.peer.text(&format!("{n} {}", "x".repeat(PLACE))).await;
    }
    let (is_inside, read) = stalled.recv().await.unwrap();
    assert!(is_inside && (35 * PLACE..52 * PLACE).contains(&read), "{read}");
    rig.peer.close(1000).await;
    rig.end().await;
    assert_eq!(rig.received().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_begins_after_reading_has_paused_has_it_go_on() {
    let mut plan =
        Plan::server().config(|config| (config.read_ahead, config.waiting_ahead) = (1000, 1 << 20));
    plan = plan.busy(60);
    plan.pipe = 512;
    let mut rig = plan.run();
    let shared = Arc::clone(&rig.shared);
    let asking = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let paused = shared.statistics().messages_received;
        let _question = shared.ask();
        tokio::time::sleep(Duration::from_secs(1)).await;
        (paused, shared.statistics().messages_received)
    });
    for n in 0..100 {
        rig.peer.text(&format!("{n} {}", "x".repeat(100))).await;
    }
    let (paused, read) = asking.await.unwrap();
    assert!((2..20).contains(&paused) && read == 100, "{paused} {read}");
}
