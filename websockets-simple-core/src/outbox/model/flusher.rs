//! Broadcasts and the loop that writes them.

use super::*;

/// Runs the loop of a flusher until all connections have ended. Now and then it is dropped and begun again.
async fn flush(flusher: &Flusher<Connection>, connections: &[Arc<Connection>]) {
    let mut run = Box::pin(flusher.run());
    let mut ends: Vec<_> = connections.iter().map(|connection| Box::pin(connection.0.closed())).collect();
    poll_fn(|cx| {
        ends.retain_mut(|end| end.as_mut().poll(cx).is_pending());
        if ends.is_empty() {
            return Poll::Ready(());
        }
        if thread_rng().gen_bool(0.2) {
            run = Box::pin(flusher.run());
        }
        assert!(run.as_mut().poll(cx).is_pending(), "it never ends");
        Poll::Pending
    })
    .await;
}

#[test]
fn a_broadcast_leaves_by_the_flusher_although_nobody_else_does_anything() {
    shuttle::check_random(
        || {
            let flusher = Arc::new(Flusher::new());
            let (connections, wires): (Vec<_>, Vec<_>) =
                (0..2).map(|_| opened(1 << 20, OverflowPolicy::Disconnect)).unzip();
            wires.iter().for_each(|wire| wire.allow(Some(1 << 20)));
            let drivers: Vec<_> = connections
                .iter()
                .cloned()
                .map(|connection| thread::spawn(move || block_on(drive(&connection.0, "d0"))))
                .collect();
            let run = thread::spawn({
                let (flusher, connections) = (Arc::clone(&flusher), connections.clone());
                move || block_on(flush(&flusher, &connections))
            });
            let broadcasters = ["a", "b"].map(|name| {
                let (flusher, connections) = (Arc::clone(&flusher), connections.clone());
                thread::spawn(move || {
                    let mut report = BroadcastReport::default();
                    for n in 0..2 {
                        let encoding = Encoding::new(Message::text(format!("{name}{n}")), false).unwrap();
                        let offer =
                            |connection: &&Arc<Connection>| connection.0.broadcast(&encoding, &mut report);
                        let mut listed: Vec<_> = connections.iter().filter(offer).cloned().collect();
                        flusher.list(&mut listed);
                    }
                    assert_eq!(report.accepted, 4);
                })
            });
            broadcasters.into_iter().for_each(|broadcaster| broadcaster.join().unwrap());
            // The driver's own message, and four broadcasts.
            wires.iter().for_each(|wire| block_on(wire.has_heard(5)));
            connections.iter().for_each(|connection| assert!(connection.0.close(EndCause::Idle)));
            run.join().unwrap();
            drivers.into_iter().for_each(|driver| driver.join().unwrap());
            for wire in &wires {
                let (heard, closed) = wire.heard();
                assert!(closed && heard.len() == 5, "{heard:?}");
                assert!(['a', 'b'].into_iter().all(|sender| is_in_order(&heard, sender)), "{heard:?}");
            }
        },
        SCHEDULES,
    );
}
