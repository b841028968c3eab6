//! Senders that wait for room.

use std::{pin::pin, task::Context};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn waiting_outbox() -> (Outbox, Wire) {
    let (outbox, wire) = opened(config(3, OverflowPolicy::Wait(PATIENCE)));
    assert!(matches!(now(&outbox, "0"), Offer::Queued));
    (outbox, wire)
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_tries_the_stream_before_it_makes_anybody_wait() {
    let (outbox, wire) = waiting_outbox();
    wire.allow(100);
    assert!(matches!(outbox.send(message("1"), false).await, Ok(SendStatus::Sent)));
    assert_eq!(wire.texts(), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let (outbox, wire) = waiting_outbox();
    let texts: Vec<_> = ["1", "2", "3", "4"].map(message).into();
    let mut senders: Vec<_> = texts.iter().map(|text| Box::pin(outbox.send(text.clone(), false))).collect();
    let wakers: Vec<_> = senders.iter().map(|_| Woken::new()).collect();
    for (sender, (_, waker)) in senders.iter_mut().zip(&wakers) {
        assert!(sender.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    // A sender that has not waited does not pass them, not even when there is room.
    wire.allow(3);
    assert!(matches!(now(&outbox, "5"), Offer::Full(_)));
    // Polled in the wrong order, each still sends in its own turn.
    for n in 0..4 {
        for later in (n + 1..4).rev() {
            let cx = &mut Context::from_waker(&wakers[later].1);
            assert!(senders[later].as_mut().poll(cx).is_pending(), "{later} before {n}");
        }
        assert!(wakers[n].0.times() > 0, "{n} was not woken");
        let done = senders[n].as_mut().poll(&mut Context::from_waker(&wakers[n].1));
        assert!(matches!(done, Poll::Ready(Ok(_))), "{n}");
        wire.allow(3);
        round(&outbox);
    }
    assert_eq!(wire.texts(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn room_that_a_round_of_the_link_makes_wakes_the_first() {
    let (outbox, wire) = waiting_outbox();
    let text = message("1");
    let (woken, waker) = Woken::new();
    let mut sender = pin!(outbox.send(text, false));
    assert!(sender.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let before = woken.times();
    wire.allow(3);
    round(&outbox);
    assert!(woken.times() > before);
    assert!(matches!(sender.await, Ok(SendStatus::Queued)));
}

#[tokio::test(start_paused = true)]
async fn patience_ends_on_time_and_nothing_was_sent() {
    let (outbox, wire) = waiting_outbox();
    let begun = Instant::now();
    assert!(matches!(outbox.send(message("1"), false).await, Err(SendError::Timeout)));
    assert_eq!(begun.elapsed(), PATIENCE);
    wire.allow(100);
    round(&outbox);
    assert_eq!(wire.texts(), ["0"]);
    assert!(matches!(now(&outbox, "2"), Offer::Sent), "whose patience ended blocks nobody");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_ends_every_wait() {
    let closes: [fn(&Outbox); 3] = [
        |outbox| outbox.shut(false),
        |outbox| outbox.stop_accepting(),
        |outbox| {
            outbox.close(EndCause::closed(CloseCode::NORMAL, ""));
        },
    ];
    for close in closes {
        let (outbox, _wire) = waiting_outbox();
        let texts = [message("1"), message("2")];
        let (woken, waker) = Woken::new();
        let cx = &mut Context::from_waker(&waker);
        let mut senders: Vec<_> =
            texts.iter().map(|text| Box::pin(outbox.send(text.clone(), false))).collect();
        assert!(senders.iter_mut().all(|sender| sender.as_mut().poll(cx).is_pending()));
        let before = woken.times();
        close(&outbox);
        assert_eq!(woken.times() - before, 2);
        for mut sender in senders {
            assert!(matches!(sender.as_mut().poll(cx), Poll::Ready(Err(SendError::Closed))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_passes_the_turn_on() {
    let (outbox, wire) = waiting_outbox();
    let texts = [message("1"), message("2")];
    let (woken, waker) = Woken::new();
    let mut first = Box::pin(outbox.send(texts[0].clone(), false));
    let mut second = Box::pin(outbox.send(texts[1].clone(), false));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // The room wakes the first, which goes away instead of using it.
    wire.allow(3);
    round(&outbox);
    assert_eq!(woken.times(), 0);
    drop(first);
    assert_eq!(woken.times(), 1);
    assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    wire.allow(3);
    round(&outbox);
    assert_eq!(wire.texts(), ["0", "2"]);
}

#[tokio::test(start_paused = true)]
async fn one_write_that_makes_room_for_several_serves_several() {
    let (outbox, wire) = opened(config(30, OverflowPolicy::Wait(PATIENCE)));
    now(&outbox, &"x".repeat(28));
    let texts: Vec<_> = ["1", "2", "3"].map(message).into();
    let sends = texts.iter().map(|text| Box::pin(outbox.send(text.clone(), false)));
    let mut sends: Vec<_> = sends.collect();
    let wakers: Vec<_> = sends.iter().map(|_| Woken::new()).collect();
    for (send, (_, waker)) in sends.iter_mut().zip(&wakers) {
        assert!(send.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    wire.allow(30);
    round(&outbox);
    for (n, (woken, waker)) in wakers.iter().enumerate() {
        assert_eq!(woken.times(), 1, "{n} is woken by the room or by the one before");
        assert!(sends[n].as_mut().poll(&mut Context::from_waker(waker)).is_ready());
    }
}
