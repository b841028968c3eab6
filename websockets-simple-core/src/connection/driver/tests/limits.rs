//! What a peer may not do, and the close code for it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use super::*;

/// The driver closes with `code`, raises one error, and ends by `by`.
async fn is_closed(mut rig: Rig, code: u16, by: EndedBy, stage: ErrorStage) {
    assert_eq!(rig.peer.hear_close().await.0, code);
    rig.until(|calls| calls.iter().any(|call| matches!(call, Call::Failed(..)))).await;
    assert_eq!(rig.elapsed().as_secs(), 0, "told at once");
    drop(rig.peer.stream.shutdown().await);
    let end = rig.end().await;
    assert_eq!((end.by, end.code), (by, Some(code)));
    assert_eq!(rig.errors(), [stage]);
}

#[tokio::test(start_paused = true)]
async fn more_messages_than_allowed_in_a_second_close_with_1008() {
    let mut rig = Plan::server().config(|config| config.messages_per_second = Some(5)).run();
    for n in 0..20 {
        rig.peer.text(&n.to_string()).await;
    }
    rig.until_received(5).await;
    assert_eq!(rig.peer.hear_close().await.0, 1008);
    rig.peer.close(1008).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Limit, Some(1008), true));
    assert_eq!(rig.received(), ["0", "1", "2", "3", "4"]);
    assert_eq!(rig.errors(), [ErrorStage::Limit]);
}

#[tokio::test(start_paused = true)]
async fn as_many_messages_as_allowed_go_on_for_ever() {
    let mut rig = Plan::server().config(|config| config.messages_per_second = Some(5)).run();
    for second in 1..=10 {
        for _ in 0..5 {
            rig.peer.text("x").await;
        }
        rig.until_received(second * 5).await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(rig.shared.outbox.is_open());
}

#[tokio::test(start_paused = true)]
async fn pings_count_as_messages() {
    let mut rig = Plan::server().config(|config| config.messages_per_second = Some(5)).run();
    let flood: Vec<u8> = (0..20).flat_map(|_| frame(PING, b"", true)).collect();
    rig.peer.raw(&flood).await;
    let mut pongs = 0;
    while rig.peer.hear().await.0 == PONG {
        pongs += 1;
    }
    assert!(pongs <= 6, "{pongs}");
    rig.peer.close(1008).await;
    assert_eq!(rig.end().await.by, EndedBy::Limit);
}

#[tokio::test(start_paused = true)]
async fn fragments_count_as_messages_also_empty_ones() {
    for payload in [&b""[..], b"a"] {
        let mut rig = Plan::server().config(|config| config.messages_per_second = Some(5)).run();
        rig.peer.say(0x01, b"begin").await;
        let flood: Vec<u8> = (0..20).flat_map(|_| frame(0x00, payload, true)).collect();
        rig.peer.raw(&flood).await;
        is_closed(rig, 1008, EndedBy::Limit, ErrorStage::Limit).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_smallest_messages_stop_the_reading_as_large_ones_do() {
    const READ_AHEAD: usize = 64 * 1024;
    let empty = || vec![frame(TEXT, b"", true)];
    let fragmented = || vec![frame(0x01, b"", true), frame(0x80, b"", true)];
    for message in [empty(), fragmented(), vec![frame(BINARY, b"a", true)]].map(|frames| frames.concat()) {
        let mut plan = Plan::server().busy(1000).config(|config| config.read_ahead = READ_AHEAD);
        plan.pipe = 1024;
        let mut rig = plan.run();
        let mut messages = 0;
        let flood = async {
            loop {
                rig.peer.raw(&message).await;
                messages += 1;
            }
        };
        let stopped = tokio::time::timeout(Duration::from_secs(900), flood).await;
        assert!(stopped.is_err());
        // What waits takes at most the read-ahead, and each message at least the memory of an empty one.
        assert!((100..2000).contains(&messages), "{messages}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_in_one_segment_is_not_decoded_ahead_of_the_handler_either() {
    let mut rig = Plan::server().busy(1).config(|config| config.read_ahead = 1000).run();
    let flood: Vec<u8> = (0..5000).flat_map(|_| frame(TEXT, b"", true)).collect();
    rig.peer.raw(&flood).await;
    rig.until_received(1).await;
    assert!(rig.shared.statistics().messages_received < 20, "{:?}", rig.shared.statistics());
    rig.until_received(100).await;
    assert!(rig.shared.statistics().messages_received < 120, "{:?}", rig.shared.statistics());
}

#[tokio::test(start_paused = true)]
async fn more_bytes_than_allowed_in_a_second_close_with_1008() {
    let mut rig = Plan::server().config(|config| config.bytes_per_second = Some(1000)).run();
    rig.peer.text(&"x".repeat(900)).await;
    rig.until_received(1).await;
    rig.peer.text(&"x".repeat(900)).await;
    is_closed(rig, 1008, EndedBy::Limit, ErrorStage::Limit).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_announced_as_too_large_is_refused_from_its_header() {
    let mut rig = Plan::server().config(|config| config.message_size = 1000).run();
    rig.peer.raw(&[BINARY, 0x80 | 126, 0x03, 0xE9]).await;
    rig.peer.raw(&[1, 2, 3, 4]).await;
    is_closed(rig, 1009, EndedBy::Limit, ErrorStage::Limit).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_terabytes_is_refused_from_its_header() {
    let mut rig = Plan::server().run();
    rig.peer.raw(&[BINARY, 0xFF, 0, 0, 0xFF, 0, 0, 0, 0, 0, 1, 2, 3, 4]).await;
    is_closed(rig, 1009, EndedBy::Limit, ErrorStage::Limit).await;
}

#[tokio::test(start_paused = true)]
async fn fragments_that_add_up_to_too_much_are_refused() {
    let mut rig = Plan::server().config(|config| config.message_size = 1000).run();
    rig.peer.say(0x02, &[0; 600]).await;
    rig.peer.say(0x80, &[0; 600]).await;
    is_closed(rig, 1009, EndedBy::Limit, ErrorStage::Limit).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_exactly_the_limit_is_received() {
    let mut rig = Plan::server().config(|config| config.message_size = 1000).run();
    rig.peer.say(BINARY, &[b'x'; 1000]).await;
    rig.until_received(1).await;
    assert_eq!(rig.received()[0].len(), 1000);
    assert_eq!(rig.shared.statistics().bytes_received, 1000);
}

#[tokio::test(start_paused = true)]
async fn text_that_is_not_utf8_closes_with_1007_and_is_not_quoted() {
    let mut rig = Plan::server().run();
    rig.peer.say(TEXT, b"secret \xFF\xFE").await;
    let (code, reason) = rig.peer.hear_close().await;
    assert_eq!(code, 1007);
    assert!(!reason.contains("secret"), "{reason}");
    rig.until(|calls| calls.iter().any(|call| matches!(call, Call::Failed(..)))).await;
    let calls = format!("{:?}", rig.seen.borrow());
    assert!(!calls.contains("secret"), "{calls}");
    drop(rig.peer.stream.shutdown().await);
    assert_eq!(rig.end().await.by, EndedBy::Protocol);
    assert_eq!(rig.errors(), [ErrorStage::Protocol]);
}

#[tokio::test(start_paused = true)]
async fn every_breach_of_the_framing_closes_with_1002() {
    let breaches: [(&str, Vec<u8>); 13] = [
        ("unmasked", frame(TEXT, b"a", false)),
        ("RSV1", frame(0xC1, b"a", true)),
        ("RSV2", frame(0xA1, b"a", true)),
        ("RSV3", frame(0x91, b"a", true)),
        ("reserved data opcode", frame(0x83, b"a", true)),
        ("reserved control opcode", frame(0x8B, b"a", true)),
        ("fragmented ping", frame(0x09, b"a", true)),
        ("long ping", frame(PING, &[0; 126], true)),
        ("continuation of nothing", frame(0x80, b"a", true)),
        ("a length in 16 bits that needs 7", [&[TEXT, 0xFE, 0, 1, 0, 0, 0, 0][..], b"a"].concat()),
        ("close code 1005", frame(CLOSE, &1005u16.to_be_bytes(), true)),
        ("close code 999", frame(CLOSE, &999u16.to_be_bytes(), true)),
        ("close code 5000", frame(CLOSE, &5000u16.to_be_bytes(), true)),
    ];
    for (what, bytes) in breaches {
        let mut rig = Plan::server().run();
        rig.peer.raw(&bytes).await;
        let observe = tokio::time::timeout(Duration::from_secs(60), rig.peer.hear_close()).await;
        assert_eq!(observe.expect(what).0, 1002, "{what}");
        drop(rig.peer.stream.shutdown().await);
        assert_eq!(rig.end().await.by, EndedBy::Protocol, "{what}");
        assert_eq!(rig.errors(), [ErrorStage::Protocol], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_refuses_masked_frames() {
    let mut rig = Plan::client().run();
    rig.peer.raw(&frame(TEXT, b"a", true)).await;
    is_closed(rig, 1002, EndedBy::Protocol, ErrorStage::Protocol).await;
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_breach_in_the_same_segment_is_received() {
    let mut rig = Plan::server().run();
    let segment =
        [frame(TEXT, b"good", true), frame(0x83, b"bad", true), frame(TEXT, b"late", true)].concat();
    rig.peer.raw(&segment).await;
    assert_eq!(rig.peer.hear_close().await.0, 1002);
    drop(rig.peer.stream.shutdown().await);
    rig.end().await;
    assert_eq!(rig.received(), ["good"]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_broke_the_rules_and_keeps_sending_is_cut_off_at_the_deadline() {
    let mut rig = Plan::server().run();
    rig.peer.say(0x83, b"bad").await;
    assert_eq!(rig.peer.hear_close().await.0, 1002);
    rig.peer.hear_the_end().await;
    assert_eq!(rig.elapsed().as_secs(), 0, "shown the end of the stream at once");
    // Not even a Close is read any more.
    rig.peer.text("more").await;
    rig.peer.close(1000).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Protocol, false));
    assert_eq!(rig.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_overflow_is_one_error_one_try_of_close_and_a_second_of_patience() {
    let mut plan = Plan::server();
    plan.pipe = 8;
    plan.outbox.capacity = 100;
    let mut rig = plan.run();
    // Until the driver runs nothing can be written.
    rig.peer.text("").await;
    rig.until_received(1).await;
    let sent: Vec<_> =
        (0..20).map(|_| rig.shared.outbox.try_send(Message::text("123456789"), false)).collect();
    assert!(sent.iter().any(|sent| matches!(sent, Err(SendError::Overflow))), "{sent:?}");
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Overflow, Some(4001), false));
    assert_eq!(rig.errors(), [ErrorStage::Overflow]);
    assert_eq!(rig.elapsed().as_secs(), 1);
    let mut rest = Vec::new();
    let _ = rig.peer.stream.read_to_end(&mut rest).await;
    assert_eq!(rest, [TEXT, 9, b'1', b'2', b'3', b'4', b'5', b'6']);
}

#[tokio::test(start_paused = true)]
async fn after_an_overflow_the_frame_in_flight_is_completed_before_close() {
    let mut plan = Plan::server();
    plan.pipe = 8;
    plan.outbox.capacity = 100;
    let mut rig = plan.run();
    rig.peer.text("").await;
    rig.until_received(1).await;
    while rig.shared.outbox.try_send(Message::text("123456789"), false).is_ok() {}
    assert_eq!(rig.peer.hear_text().await, "123456789");
    assert_eq!(rig.peer.hear_close().await.0, 4001);
}

/// A stream that takes nothing, and records whether it was aborted or closed.
struct Stuck(Arc<AtomicBool>);

impl crate::transport::WriteNow for Stuck {
    fn write_now(&mut self, _driver: &Waker, _bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn flush_now(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, _driver: &Waker) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_overflowed_is_reset_and_others_are_let_go_quietly() {
    for (capacity, by) in [(2, EndedBy::Overflow), (100, EndedBy::Local)] {
        let aborted = Arc::new(AtomicBool::new(false));
        let mut plan = Plan::server();
        plan.outbox.capacity = capacity;
        let (near, _far) = tokio::io::duplex(64);
        let Transport { reader, .. } = Transport::shared(near);
        plan.over =
            Some(Transport { reader, writer: crate::transport::Writer::alone(Stuck(Arc::clone(&aborted))) });
        let mut rig = plan.run();
        rig.until(|calls| !calls.is_empty()).await;
        rig.shared.outbox.try_send(Message::text("12"), false).unwrap();
        let _ = rig.shared.outbox.try_send(Message::text("34"), false);
        rig.shared.outbox.close(EndCause::closed(CloseCode::NORMAL, ""));
        assert_eq!(rig.end().await.by, by);
        assert_eq!(aborted.load(Ordering::Relaxed), by == EndedBy::Overflow);
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_fault_is_answered_before_the_close() {
    let mut rig = Plan::server()
        .on_message(|message, shared| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            shared.outbox.send(message, false).await.unwrap();
        })
        .run();
    let mut input = frame(0x81, b"valid", true);
    input.extend(frame(0xC1, b"reserved bit", true));
    rig.peer.raw(&input).await;
    assert_eq!(rig.peer.hear_text().await, "valid");
    assert_eq!(rig.peer.hear_close().await.0, 1002);
}

#[tokio::test(start_paused = true)]
async fn a_fault_does_not_wait_for_a_handler_longer_than_a_close_does() {
    let mut rig = Plan::server().busy(1000).run();
    let mut input = frame(0x81, b"valid", true);
    input.extend(frame(0xC1, b"reserved bit", true));
    rig.peer.raw(&input).await;
    assert_eq!(rig.peer.hear_close().await.0, 1002);
    assert_eq!(rig.elapsed().as_secs(), 5);
}
