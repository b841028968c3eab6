//! How a connection ends, and what its Disconnected event says.

use super::*;

#[tokio::test(start_paused = true)]
async fn our_close_is_answered_and_the_end_is_clean() {
    let mut rig = Plan::server().run();
    rig.close(CloseCode::GOING_AWAY, "maintenance");
    assert_eq!(rig.peer.hear_close().await, (1001, "maintenance".to_owned()));
    rig.peer.close(1001).await;
    rig.peer.hear_the_end().await;
    let end = rig.end().await;
    assert_eq!(end, Disconnect::new(EndedBy::Local, Some(1001), "maintenance", true));
    assert_eq!(rig.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_our_close_is_waited_for_until_the_deadline() {
    let mut rig = Plan::server().config(|config| config.close_timeout = Duration::from_secs(7)).run();
    rig.close(CloseCode::NORMAL, "");
    rig.peer.hear_close().await;
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, false));
    assert_eq!(rig.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn messages_that_cross_our_close_are_not_told() {
    let mut rig = Plan::server().run();
    rig.close(CloseCode::NORMAL, "");
    rig.peer.hear_close().await;
    rig.peer.text("crossing").await;
    rig.peer.say(PING, b"").await;
    rig.peer.close(1000).await;
    rig.peer.hear_the_end().await;
    assert!(rig.end().await.clean);
    assert!(rig.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_peers_close_is_answered_with_its_own_code() {
    for (plan, code) in either_side([1000, 1001, 1012, 1014, 3000, 4321]) {
        let mut rig = plan.run();
        rig.peer.say(CLOSE, &[&u16::to_be_bytes(code)[..], b"done"].concat()).await;
        assert_eq!(rig.peer.hear_close().await.0, code);
        rig.peer.hear_the_end().await;
        assert_eq!(rig.end().await, Disconnect::new(EndedBy::Peer, Some(code), "done", true));
        assert!(rig.errors().is_empty(), "{code}");
    }
}

/// Each of these with a server and with a client.
fn either_side<T: Copy>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = (Plan, T)> {
    all.into_iter().flat_map(|one| [(Plan::server(), one), (Plan::client(), one)])
}

#[tokio::test(start_paused = true)]
async fn a_close_without_a_code_is_a_clean_end_without_a_code() {
    let mut rig = Plan::server().run();
    rig.peer.say(CLOSE, b"").await;
    assert_eq!(rig.peer.hear().await.0, CLOSE);
    rig.peer.hear_the_end().await;
    assert_eq!(rig.end().await, Disconnect::new(EndedBy::Peer, None, "", true));
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_may_not_travel_is_a_breach_and_not_what_the_peer_said() {
    let codes = [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX].map(u16::to_be_bytes);
    let closes = codes.iter().map(|code| (&code[..], 1002));
    // Half a code, and a reason that is no UTF-8 (RFC 6455 sections 5.5.1 and 8.1).
    for (plan, (payload, answer)) in
        either_side(closes.chain([(&[3][..], 1002), (&[3, 0xE8, 0xFF][..], 1007)]))
    {
        let mut rig = plan.run();
        rig.peer.say(CLOSE, payload).await;
        assert_eq!(rig.peer.hear_close().await.0, answer, "{payload:?}");
        drop(rig.peer.stream.shutdown().await);
        let end = rig.end().await;
        assert_eq!((end.by, end.code), (EndedBy::Protocol, Some(answer)), "{payload:?}");
        assert_eq!(rig.errors(), [ErrorStage::Protocol], "{payload:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_said_before_its_close_is_received_first() {
    let mut rig = Plan::server().run();
    let segment = [frame(TEXT, b"last words", true), frame(CLOSE, &[3, 232], true)].concat();
    rig.peer.raw(&segment).await;
    rig.end().await;
    assert_eq!(rig.received(), ["last words"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_without_close_is_unclean() {
    let mut rig = Plan::server().run();
    rig.peer.text("a").await;
    rig.peer.stream.shutdown().await.unwrap();
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Transport, None, false));
    assert_eq!(rig.received(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_after_our_close_is_clean() {
    let mut rig = Plan::server().run();
    rig.close(CloseCode::NORMAL, "");
    rig.peer.hear_close().await;
    rig.peer.stream.shutdown().await.unwrap();
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_before_our_close_could_leave_is_unclean() {
    let mut plan = Plan::server();
    plan.pipe = 16;
    let mut rig = plan.run();
    rig.peer.text("").await;
    rig.until_received(1).await;
    rig.shared.outbox.try_send(Message::text("more than the pipe holds"), false).unwrap();
    rig.close(CloseCode::NORMAL, "");
    rig.peer.stream.shutdown().await.unwrap();
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, false));
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_in_the_same_round_as_our_close_is_unclean() {
    let mut rig = Plan::server().run();
    rig.peer.text("").await;
    rig.until_received(1).await;
    // Both reach the driver before it runs again: the peer cannot have read that Close.
    rig.close(CloseCode::NORMAL, "");
    rig.peer.stream.shutdown().await.unwrap();
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, false));
}

#[tokio::test(start_paused = true)]
async fn close_goes_behind_what_was_sent_before_it() {
    let mut plan = Plan::server();
    plan.pipe = 16;
    let mut rig = plan.run();
    for n in 0..20 {
        rig.shared.outbox.try_send(Message::text(format!("message {n}")), false).unwrap();
    }
    rig.close(CloseCode::NORMAL, "");
    assert!(rig.shared.outbox.try_send(Message::text("late"), false).is_err());
    for n in 0..20 {
        assert_eq!(rig.peer.hear_text().await, format!("message {n}"));
    }
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    rig.peer.close(1000).await;
    assert!(rig.end().await.clean);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_close_goes_behind_what_was_sent_before_it() {
    let mut plan = Plan::server();
    plan.pipe = 16;
    let mut rig = plan.run();
    for n in 0..20 {
        rig.shared.outbox.try_send(Message::text(format!("message {n}")), false).unwrap();
    }
    rig.peer.close(1000).await;
    for n in 0..20 {
        assert_eq!(rig.peer.hear_text().await, format!("message {n}"));
    }
    assert_eq!(rig.peer.hear_close().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn closing_both_at_once_needs_no_third_close() {
    let mut rig = Plan::server().run();
    rig.peer.close(1000).await;
    rig.close(CloseCode::GOING_AWAY, "");
    assert_eq!(rig.peer.hear().await.0, CLOSE);
    rig.peer.hear_the_end().await;
    assert!(rig.end().await.clean);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_server_never_hangs_up_ends_once_both_have_closed() {
    for server_first in [false, true] {
        let mut rig = Plan::client().run();
        if server_first {
            rig.peer.close(1012).await;
        } else {
            rig.close(CloseCode::NORMAL, "");
        }
        rig.peer.hear_close().await;
        if !server_first {
            rig.peer.close(1000).await;
        }
        rig.peer.hear_the_end().await;
        let end = rig.end().await;
        let by = if server_first { EndedBy::Peer } else { EndedBy::Local };
        assert_eq!((end.by, end.clean), (by, true));
        assert_eq!(rig.elapsed().as_secs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_close_is_answered_before_it() {
    for number in [1, 100] {
        let mut rig = Plan::server()
            .on_message(|message, shared| async move {
                tokio::task::yield_now().await;
                shared.outbox.send(message, false).await.unwrap();
            })
            .run();
        let mut input: Vec<u8> =
            (0..number).flat_map(|n| frame(TEXT, format!("message {n}").as_bytes(), true)).collect();
        input.extend(frame(CLOSE, &[3, 0xE8], true));
        rig.peer.raw(&input).await;
        for n in 0..number {
            assert_eq!(rig.peer.hear_text().await, format!("message {n}"));
        }
        assert_eq!(rig.peer.hear_close().await.0, 1000);
        let end = rig.end().await;
        assert_eq!((end.by, end.clean), (EndedBy::Peer, true));
        assert_eq!(rig.elapsed().as_secs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_is_answered_within_the_close_timeout_however_long_a_handler_takes() {
    for timeout in [Duration::from_secs(5), Duration::from_millis(1)] {
        let mut rig = Plan::server().config(|config| config.close_timeout = timeout).busy(1000).run();
        rig.peer.text("work").await;
        rig.peer.close(1000).await;
        assert_eq!(rig.peer.hear_close().await.0, 1000);
        let elapsed = rig.elapsed();
        assert!(elapsed >= timeout && elapsed < timeout + Duration::from_millis(10), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_and_hangs_up_while_its_messages_are_handled_has_closed() {
    let mut rig = Plan::server()
        .on_message(|message, shared| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // The stream is gone.
            let _ = shared.outbox.send(message, false).await;
        })
        .run();
    rig.peer.text("work").await;
    rig.peer.close(1000).await;
    drop(std::mem::replace(&mut rig.peer.stream, tokio::io::duplex(1).0));
    let end = rig.end().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, Some(1000)));
    assert!(rig.errors().is_empty(), "{:?}", rig.errors());
}

#[tokio::test(start_paused = true)]
async fn a_close_timeout_without_end_is_one() {
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 1_000_000_000)] {
        let plan = || Plan::server().config(|config| config.close_timeout = timeout);
        let mut rig = plan().run();
        rig.peer.text("hello").await;
        rig.close(CloseCode::NORMAL, "");
        assert_eq!(rig.peer.hear_close().await.0, 1000);
        rig.peer.close(1000).await;
        assert!(rig.end().await.clean);
        let mut rig = plan().run();
        rig.peer.say(0x83, b"bad").await;
        assert_eq!(rig.peer.hear_close().await.0, 1002);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_cuts_the_connection_and_tells_it() {
    let mut rig = Plan::server().busy(1000).run();
    rig.peer.text("work").await;
    rig.until_received(1).await;
    let ended = rig.shared.outbox.closed();
    rig.task.abort();
    tokio::time::timeout(FOR_EVER, ended).await.unwrap();
    rig.peer.hear_the_end().await;
    assert!(!rig.shared.outbox.is_open());
    let end = rig.shared.end().expect("it is told").clone();
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Local, None, false));
    rig.until(|calls| matches!(calls, [.., Call::Released, Call::Disconnected(told)] if *told == end)).await;
    assert!(rig.task.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_before_or_after_its_life_tells_nothing_twice() {
    let rig = Plan::server().run();
    rig.task.abort();
    tokio::time::timeout(FOR_EVER, rig.shared.outbox.closed()).await.unwrap();
    assert!(!rig.seen.borrow().iter().any(|call| matches!(call, Call::Connected | Call::Disconnected(_))));

    let mut plan = Plan::server();
    plan.on_end = Some(HandlerFuture::new(std::future::pending()));
    let rig = plan.run();
    rig.close(CloseCode::NORMAL, "");
    drop(rig.peer);
    let ends = |calls: &[Call]| calls.iter().filter(|call| matches!(call, Call::Disconnected(_))).count();
    let mut seen = rig.seen.clone();
    seen.wait_for(|calls| ends(calls) == 1).await.unwrap();
    rig.task.abort();
    assert!(rig.task.await.unwrap_err().is_cancelled());
    assert_eq!(ends(&rig.seen.borrow()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reason_longer_than_a_control_frame_is_cut() {
    let mut rig = Plan::server().run();
    rig.close(CloseCode::NORMAL, &"é".repeat(100));
    assert_eq!(rig.peer.hear_close().await, (1000, "é".repeat(61)));
}

#[tokio::test(start_paused = true)]
async fn a_handle_kept_after_the_end_does_not_hold_the_stream_open() {
    let mut rig = Plan::server().run();
    rig.close(CloseCode::NORMAL, "");
    rig.peer.hear_close().await;
    rig.end().await;
    // The shared part is still held here.
    rig.peer.hear_the_end().await;
    assert!(rig.peer.stream.write_all(b"x").await.is_err());
    assert!(matches!(rig.shared.outbox.try_send(Message::text("late"), false), Err(SendError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn what_arrived_before_a_write_failed_is_still_received() {
    let mut rig = Plan::server().run();
    rig.peer.text("first").await;
    rig.until_received(1).await;
    // The peer sends its last messages and hangs up; we notice it by writing.
    rig.peer.text("last words").await;
    rig.peer.close(1000).await;
    drop(std::mem::replace(&mut rig.peer.stream, tokio::io::duplex(1).0));
    assert!(matches!(rig.shared.outbox.try_send(Message::text("to nobody"), false), Err(SendError::Closed)));
    let end = rig.end().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, Some(1000)));
    assert_eq!(rig.received(), ["first", "last words"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_one_error_when_nothing_else_explains_it() {
    let stream = tokio::io::join(reset_after(FOR_EVER), Writes(Taking::Fails));
    let mut rig = Plan::server().run_over(stream);
    rig.until(|calls| !calls.is_empty()).await;
    assert!(rig.shared.outbox.try_send(Message::text("to nobody"), false).is_err());
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Transport, false));
    assert_eq!(rig.errors(), [ErrorStage::Send]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_close_that_could_not_leave_is_no_clean_end() {
    let mut plan = Plan::server();
    plan.pipe = 16;
    let mut rig = plan.run();
    rig.shared.outbox.try_send(Message::text("more than the pipe holds"), false).unwrap();
    rig.peer.close(1000).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Peer, Some(1000), false));
}

/// A silent stream to read from, that is reset then.
struct ResetAt(Pin<Box<Sleep>>);

fn reset_after(time: Duration) -> ResetAt {
    ResetAt(Box::pin(tokio::time::sleep(time)))
}

/// A stream to write to.
pub(super) struct Writes(pub(super) Taking);

/// How much it takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taking {
    All,
    Nothing,
    Fails,
}

impl tokio::io::AsyncRead for ResetAt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.0.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl tokio::io::AsyncWrite for Writes {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {
            Taking::All => Poll::Ready(Ok(buf.len())),
            Taking::Nothing => Poll::Pending,
            Taking::Fails => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_after_our_close_is_a_clean_end_if_the_close_has_left() {
    for (taking, clean) in [(Taking::All, true), (Taking::Nothing, false), (Taking::Fails, false)] {
        let stream = tokio::io::join(reset_after(Duration::from_secs(1)), Writes(taking));
        let mut rig = Plan::server().run_over(stream);
        rig.until(|calls| !calls.is_empty()).await;
        rig.close(CloseCode::NORMAL, "");
        let end = rig.end().await;
        assert_eq!((end.by, end.code, end.clean), (EndedBy::Local, Some(1000), clean), "{taking:?}");
        assert!(rig.errors().is_empty(), "{taking:?}");
        assert!(rig.elapsed() <= Duration::from_secs(1), "{taking:?}");
    }
}
