//! Handlers that are slow, that panic, and that end their own connection.

use super::*;
use crate::{connection::inbox::current_owner, outbox::SendStatus};

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_the_handler_sleeps_30_seconds() {
    let mut rig = Plan::server().busy(30).run();
    rig.peer.text("work").await;
    for n in 0..5u8 {
        rig.peer.say(PING, &[n]).await;
        assert_eq!(rig.peer.hear().await, (PONG, vec![n]));
    }
    assert_eq!(rig.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_others_send_drains_while_the_handler_sleeps_30_seconds() {
    let mut plan = Plan::server().busy(30);
    plan.pipe = 16;
    let mut rig = plan.run();
    rig.peer.text("work").await;
    rig.until_received(1).await;
    // More than the pipe holds: the rest leaves as the peer reads, without any help from the handler.
    for n in 0..50 {
        rig.shared.outbox.try_send(Message::text(format!("message {n}")), false).unwrap();
    }
    for n in 0..50 {
        assert_eq!(rig.peer.hear_text().await, format!("message {n}"));
    }
    assert_eq!(rig.elapsed().as_secs(), 0);
    assert_eq!(rig.shared.statistics().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_are_handled_one_after_the_other_and_in_order() {
    let running = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&running);
    let mut rig = Plan::server()
        .on_message(move |_, _| {
            let running = Arc::clone(&inside);
            async move {
                use Ordering::Relaxed;
                assert_eq!(running.fetch_add(1, Relaxed), 0);
                tokio::time::sleep(Duration::from_millis(1)).await;
                running.fetch_sub(1, Relaxed);
            }
        })
        .run();
    for n in 0..100 {
        rig.peer.text(&n.to_string()).await;
    }
    rig.until_received(100).await;
    assert_eq!(rig.received(), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_given_inside_the_handler_leave_after_it_and_say_queued() {
    let mut rig = Plan::server()
        .on_message(|message, shared| async move {
            assert_eq!(shared.outbox.send(message, false).await.unwrap(), SendStatus::Queued);
        })
        .run();
    rig.peer.raw(&[frame(TEXT, b"a", true), frame(TEXT, b"b", true)].concat()).await;
    assert_eq!(rig.peer.hear_text().await, "a");
    assert_eq!(rig.peer.hear_text().await, "b");
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_room_in_its_own_outbox_does_not_lock_up() {
    let mut plan = Plan::server().on_message(|_, shared| async move {
        for n in 0..200 {
            shared.outbox.send(Message::text(format!("answer {n}")), false).await.unwrap();
        }
    });
    plan.pipe = 16;
    plan.outbox.capacity = 32;
    plan.outbox.policy = OverflowPolicy::Wait(Duration::from_secs(60));
    let mut rig = plan.run();
    rig.peer.text("go").await;
    for n in 0..200 {
        assert_eq!(rig.peer.hear_text().await, format!("answer {n}"));
    }
    assert!(rig.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_always_busy_does_not_keep_its_own_connection_from_being_read() {
    let (done, is_done) = watch::channel(false);
    let mut rig = Plan::server()
        .on_message(move |_, _| {
            let done = done.clone();
            async move {
                // Each poll of it uses up what the scheduler grants the task.
                for _ in 0..1_000_000 {
                    tokio::task::consume_budget().await;
                }
                done.send_replace(true);
            }
        })
        .run();
    rig.peer.text("work").await;
    rig.until_received(1).await;
    rig.peer.say(PING, b"!").await;
    assert_eq!(rig.peer.hear().await, (PONG, b"!".to_vec()));
    assert!(!*is_done.borrow(), "the pong came after the work");
}

/// A panic of a handler, wherever it happens, ends its connection and nothing else.
async fn ends_by_panic(mut rig: Rig) {
    assert_eq!(rig.peer.hear_close().await.0, 1011);
    rig.peer.close(1011).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.code), (EndedBy::HandlerPanic, Some(1011)));
    assert_eq!(rig.errors(), [ErrorStage::HandlerPanic]);
    assert_eq!(rig.received(), ["go"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_future_of_a_handler_ends_the_connection() {
    let mut plan = Plan::server();
    plan.on_message = Box::new(|_, _| panic!("on purpose"));
    let mut rig = plan.run();
    rig.peer.raw(&[frame(TEXT, b"go", true), frame(TEXT, b"never", true)].concat()).await;
    ends_by_panic(rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_future_of_a_handler_ends_the_connection() {
    let mut rig = Plan::server()
        .on_message(|_, _| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            panic!("on purpose");
        })
        .run();
    rig.peer.raw(&[frame(TEXT, b"go", true), frame(TEXT, b"never", true)].concat()).await;
    ends_by_panic(rig).await;
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

/// Holds what panics when it is dropped, and is done at once. Not an `async` block, which would drop it while
/// it is polled.
struct Holds {
    _held: PanicsInDrop,
}

impl Future for Holds {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_handler_ends_the_connection() {
    let mut rig = Plan::server().on_message(|_, _| Holds { _held: PanicsInDrop }).run();
    rig.peer.raw(&[frame(TEXT, b"go", true), frame(TEXT, b"never", true)].concat()).await;
    ends_by_panic(rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_the_end_is_told_does_not_tell_it_again() {
    let mut plan = Plan::server();
    plan.on_end = Some(HandlerFuture::new(async { panic!("on purpose") }));
    let mut rig = plan.run();
    rig.peer.close(1000).await;
    let end = (&mut rig.task).await.unwrap();
    assert_eq!(end.by, EndedBy::Peer);
    let told = rig.seen.borrow().iter().filter(|call| matches!(call, Call::Disconnected(_))).count();
    assert_eq!(told, 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_end_its_own_connection_and_wait_for_that() {
    let mut rig = Plan::server()
        .on_message(|_, shared| async move {
            assert!(shared.outbox.close(EndCause::closed(CloseCode::NORMAL, "enough")));
            shared.outbox.closed().await;
        })
        .run();
    rig.peer.text("bye").await;
    assert_eq!(rig.peer.hear_close().await, (1000, "enough".to_owned()));
    rig.peer.close(1000).await;
    let end = rig.end().await;
    assert_eq!((end.by, end.clean, end.reason.as_str()), (EndedBy::Local, true, "enough"));
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_the_handler_and_what_was_received_before_it() {
    let mut rig = Plan::server().busy(10).run();
    for text in ["a", "b", "c"] {
        rig.peer.text(text).await;
    }
    rig.peer.close(1000).await;
    tokio::time::timeout(FOR_EVER, rig.shared.outbox.closed()).await.unwrap();
    assert_eq!(rig.elapsed().as_secs(), 5, "the transport waits as long as a close may take");
    rig.end().await;
    assert_eq!(rig.received(), ["a", "b", "c"]);
    assert_eq!(rig.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_as_much_waits_for_the_handler_as_is_read_ahead() {
    let mut rig = Plan::server().busy(30).run();
    for n in 0..14u8 {
        rig.peer.say(BINARY, &[0; 5 * 1024]).await;
        rig.peer.say(PING, &[n]).await;
        assert_eq!(rig.peer.hear().await, (PONG, vec![n]));
    }
    assert_eq!(rig.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_refused_message_or_a_revocation_nothing_that_was_received_is_handled() {
    let refused = || EndCause::refused(CloseCode::POLICY, "no");
    let causes: [fn() -> EndCause; 3] =
        [refused, || EndCause::CredentialsRevoked, || EndCause::closed(CloseCode::POLICY, "no")];
    for (n, cause) in causes.into_iter().enumerate() {
        let mut rig = Plan::server()
            .on_message(move |_, shared| async move {
                shared.outbox.close(cause());
            })
            .run();
        rig.peer.raw(&["1", "2", "3"].map(|text| frame(TEXT, text.as_bytes(), true)).concat()).await;
        let (code, _) = rig.peer.hear_close().await;
        rig.peer.close(code).await;
        assert!(rig.end().await.clean);
        let all = ["1", "2", "3"];
        assert_eq!(rig.received(), if n < 2 { &all[..1] } else { &all[..] });
    }
}

/// Reports when it is dropped.
struct Dropped(Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_handler_is_dropped_and_the_end_is_raised() {
    let (told, dropped) = tokio::sync::oneshot::channel();
    let mut held = Some(Dropped(Some(told)));
    let mut rig = Plan::server()
        .on_message(move |_, _| {
            let held = held.take();
            async move {
                let _held = held;
                std::future::pending().await
            }
        })
        .run();
    for text in ["stuck", "never"] {
        rig.peer.text(text).await;
    }
    rig.until_received(1).await;
    rig.shared.outbox.abort_handlers();
    let end = rig.end().await;
    dropped.await.unwrap();
    assert_eq!((end.by, end.code), (EndedBy::Stop, Some(1001)));
    assert_eq!(rig.received(), ["stuck"]);
    assert!(rig.errors().is_empty());
    assert_eq!(rig.elapsed().as_secs(), 0);
    assert_eq!(rig.peer.hear_close().await.0, 1001);
}

#[tokio::test(start_paused = true)]
async fn an_abort_gives_a_handler_that_is_stuck_in_the_end_one_second() {
    let mut plan = Plan::server();
    plan.on_end = Some(HandlerFuture::new(std::future::pending()));
    let mut rig = plan.run();
    rig.peer.close(1000).await;
    rig.until(|calls| matches!(calls.last(), Some(Call::Disconnected(_)))).await;
    let before = rig.elapsed();
    rig.shared.outbox.abort_handlers();
    assert_eq!(rig.end().await.by, EndedBy::Peer);
    assert_eq!((rig.elapsed() - before).as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn connected_is_told_before_the_notice_of_what_was_sent_earlier() {
    let mut plan = Plan::server();
    plan.pipe = 64;
    let mut rig = plan.run_after(|shared| {
        shared.outbox.try_send(Message::text("welcome"), true).unwrap();
    });
    assert_eq!(rig.peer.hear_text().await, "welcome");
    rig.until(|calls| calls.len() == 2).await;
    let calls = rig.seen.borrow().clone();
    assert!(matches!(&calls[..], [Call::Connected, Call::Sent(..)]), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn every_send_that_asked_for_it_gives_one_notice_in_order() {
    let mut rig = Plan::server().run();
    rig.until(|calls| !calls.is_empty()).await;
    for n in 0..10 {
        rig.shared.outbox.try_send(Message::text(n.to_string()), n % 2 == 0).unwrap();
    }
    rig.close(CloseCode::NORMAL, "");
    for n in 0..10 {
        assert_eq!(rig.peer.hear_text().await, n.to_string());
    }
    rig.peer.hear_close().await;
    rig.peer.close(1000).await;
    rig.end().await;
    let sent = |call: &Call| match call {
        Call::Sent(message, 0) => message.as_text().map(str::to_owned),
        _ => None,
    };
    let sent: Vec<_> = rig.seen.borrow().iter().filter_map(sent).collect();
    assert_eq!(sent, ["0", "2", "4", "6", "8"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_whose_it_is_and_nobody_else_does() {
    let mut rig = Plan::server()
        .on_message(|_, _| async {
            assert_eq!(current_owner(), Some(1));
            tokio::task::yield_now().await;
            assert_eq!(current_owner(), Some(1));
        })
        .run();
    rig.peer.text("who").await;
    rig.peer.close(1000).await;
    rig.end().await;
    assert!(rig.errors().is_empty());
    assert_eq!(current_owner(), None);
}

#[tokio::test]
async fn a_handler_that_broadcasts_a_lot_lets_others_in_between_two_messages() {
    let turns = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (at, by) = (Arc::clone(&seen), Arc::clone(&turns));
    let mut rig = Plan::server()
        .on_message(move |_, _| {
            at.lock().unwrap().push(by.load(Ordering::Relaxed));
            // As many receivers as one broadcast to all of a large server.
            budget::charge_sends(10_000);
            async {}
        })
        .run();
    rig.peer.raw(&frame(TEXT, b"x", true).repeat(8)).await;
    rig.until_received(8).await;
    let mut seen = seen.lock().unwrap().clone();
    // Input that arrives may give the driver one more poll.
    seen.dedup();
    assert!(seen.len() >= 4, "turns of the other task: {seen:?}");
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_when_there_is_no_time_for_what_was_to_come_before_it() {
    for dropped in [true, false] {
        let mut plan = Plan::server();
        plan.before_end = Some(HandlerFuture::new(std::future::pending()));
        let mut rig = plan.run();
        rig.peer.close(1000).await;
        rig.until(|calls| matches!(calls.last(), Some(Call::Released))).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(matches!(rig.seen.borrow().last(), Some(Call::Released)));
        if dropped {
            rig.task.abort();
            rig.until(|calls| matches!(calls, [.., Call::Released, Call::Disconnected(_)])).await;
        } else {
            rig.shared.outbox.abort_handlers();
            assert_eq!(rig.end().await.by, EndedBy::Peer);
        }
    }
}
