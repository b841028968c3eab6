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
    for code in [1000, 1001, 3000, 4321] {
        let mut rig = Plan::server().run();
        rig.peer.say(CLOSE, &[&u16::to_be_bytes(code)[..], b"done"].concat()).await;
        assert_eq!(rig.peer.hear_close().await.0, code);
        rig.peer.hear_the_end().await;
        assert_eq!(rig.end().await, Disconnect::new(EndedBy::Peer, Some(code), "done", true));
    }
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
async fn a_close_code_that_may_not_travel_is_a_breach() {
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999] {
        let mut rig = Plan::server().run();
        rig.peer.close(code).await;
        assert_eq!(rig.peer.hear_close().await.0, 1002, "{code}");
        drop(rig.peer.stream.shutdown().await);
        rig.end().await;
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
async fn a_client_lets_the_server_hang_up_first() {
    let mut rig = Plan::client().run();
    rig.close(CloseCode::NORMAL, "");
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    rig.peer.close(1000).await;
    let early = tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await;
    assert!(early.is_err(), "{early:?}");
    rig.peer.stream.shutdown().await.unwrap();
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
    assert_eq!(rig.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_server_never_hangs_up_ends_clean_at_the_deadline() {
    let mut rig = Plan::client().run();
    rig.close(CloseCode::NORMAL, "");
    rig.peer.hear_close().await;
    rig.peer.close(1000).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Local, true));
    assert_eq!(rig.elapsed().as_secs(), 5);
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
    let mut rig = Plan::server().run_over(Broken);
    rig.until(|calls| !calls.is_empty()).await;
    assert!(rig.shared.outbox.try_send(Message::text("to nobody"), false).is_err());
    let end = rig.end().await;
    assert_eq!((end.by, end.clean), (EndedBy::Transport, false));
    assert_eq!(rig.errors(), [ErrorStage::Send]);
}

/// A stream that is silent and cannot be written to.
struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl tokio::io::AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
