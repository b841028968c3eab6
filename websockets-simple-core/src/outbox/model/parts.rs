//! Messages in parts, others that are sent meanwhile, and a close among them.

use super::*;

/// Sends messages in parts: of how many all parts were accepted.
async fn send_parts(outbox: &Outbox, name: &str, number: usize) -> usize {
    for n in 0..number {
        let sent = async {
            let mut parts = MessageWriter::<str>::begin(outbox).await?;
            parts.write(name).await?;
            parts.write(&n.to_string()).await?;
            parts.finish().await
        };
        if sent.await.is_err() {
            return n;
        }
    }
    number
}

/// Two who send in parts and one who sends as it is, to a slow reader. Answers how many messages were accepted.
fn parts_and_messages(connection: &Arc<Connection>, wire: &Wire) -> impl FnOnce() -> (usize, usize) + use<> {
    let in_parts = ["p", "q"].map(|name| {
        let connection = Arc::clone(connection);
        thread::spawn(move || block_on(send_parts(&connection.0, name, 2)))
    });
    let sender = thread::spawn({
        let connection = Arc::clone(connection);
        move || {
            let sent = ["s0", "s1"].map(|text| connection.0.try_send(Message::text(text), false));
            sent.iter().filter(|sent| sent.is_ok()).count()
        }
    });
    let reader = thread::spawn({
        let wire = wire.clone();
        move || read_slowly(&wire, 128)
    });
    move || {
        let in_parts = in_parts.into_iter().map(|writer| writer.join().unwrap()).sum();
        let sent = sender.join().unwrap();
        reader.join().unwrap();
        (in_parts, sent)
    }
}

#[test]
fn messages_in_parts_and_others_leave_whole_and_nobody_waits_for_ever() {
    shuttle::check_random(
        || {
            let (connection, wire) = opened(6, OverflowPolicy::DropNewest);
            let driver = thread::spawn({
                let connection = Arc::clone(&connection);
                move || block_on(drive(&connection.0, "d0"))
            });
            let (in_parts, sent) = parts_and_messages(&connection, &wire)();
            assert!(connection.0.close(EndCause::Idle));
            driver.join().unwrap();
            let (heard, closed) = wire.heard();
            assert_eq!((closed, in_parts, sent), (true, 4, 2));
            assert!(['p', 'q', 's'].into_iter().all(|sender| is_in_order(&heard, sender)), "{heard:?}");
            assert_eq!(heard.iter().filter(|text| text.starts_with(['p', 'q'])).count(), 4, "{heard:?}");
            let statistics = connection.0.statistics();
            assert_eq!((statistics.messages, statistics.queued), (heard.len() as u64, 0), "{heard:?}");
        },
        SCHEDULES,
    );
}

#[test]
fn a_close_among_the_parts_of_a_message_ends_every_wait_and_counts_what_was_lost() {
    shuttle::check_random(
        || {
            let (connection, wire) = opened(6, OverflowPolicy::Disconnect);
            let driver = thread::spawn({
                let connection = Arc::clone(&connection);
                move || block_on(drive(&connection.0, "d0"))
            });
            let rest = parts_and_messages(&connection, &wire);
            let closer = thread::spawn({
                let connection = Arc::clone(&connection);
                move || connection.0.close(EndCause::Idle)
            });
            let (in_parts, _) = rest();
            closer.join().unwrap();
            driver.join().unwrap();
            let (heard, closed) = wire.heard();
            assert!(closed);
            assert!(['p', 'q', 's'].into_iter().all(|sender| is_in_order(&heard, sender)), "{heard:?}");
            let heard_in_parts = heard.iter().filter(|text| text.starts_with(['p', 'q'])).count();
            assert_eq!(heard_in_parts, in_parts, "what was finished is heard, and nothing else: {heard:?}");
            let statistics = connection.0.statistics();
            assert_eq!(statistics.messages, statistics.dropped + heard.len() as u64, "{heard:?}");
        },
        SCHEDULES,
    );
}
