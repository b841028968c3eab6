use super::*;

const PART: usize = MessageParts::LEAST_PART;

fn in_parts(mut plan: Plan, message_size: u64) -> Plan {
    plan.parts = Some(MessageParts::new(PART, message_size));
    plan
}

fn parts(calls: &[Call]) -> Vec<MessagePart> {
    let part = |call: &Call| if let Call::Part(part) = call { Some(part.clone()) } else { None };
    calls.iter().filter_map(part).collect()
}

/// Sizes of parts, and which of them are the first and the last.
fn shape(calls: &[Call]) -> Vec<(usize, bool, bool)> {
    parts(calls).iter().map(|part| (part.len(), part.first, part.last)).collect()
}

impl Rig {
    async fn until_parts(&self, number: usize) {
        self.until(|calls| parts(calls).len() >= number).await;
    }

    fn shape(&self) -> Vec<(usize, bool, bool)> {
        shape(&self.seen.borrow())
    }
}

#[tokio::test(start_paused = true)]
async fn larger_messages_come_in_parts_in_order_with_those_that_come_whole() {
    for plan in [Plan::server(), Plan::client()] {
        let mut rig = in_parts(plan, 1 << 40).run();
        rig.peer.text("before").await;
        rig.peer.say(BINARY, &vec![1; 2 * PART + 1]).await;
        rig.peer.say(TEXT, &vec![b'a'; PART]).await;
        rig.peer.say(0x01, "é".repeat(PART / 2).as_bytes()).await;
        rig.peer.say(PING, b"between").await;
        rig.peer.say(0x80, b"z").await;
        rig.peer.text("after").await;
        assert_eq!(rig.peer.hear().await, (PONG, b"between".to_vec()));
        rig.until(|calls| matches!(calls.last(), Some(Call::Received(message)) if message == &Message::text("after"))).await;
        assert_eq!(
            rig.shape(),
            [
                (PART, true, false),
                (PART, false, false),
                (1, false, true),
                (PART, true, false),
                (1, false, true)
            ]
        );
        let kinds: Vec<_> = rig
            .seen
            .borrow()
            .iter()
            .filter_map(|call| match call {
                Call::Received(message) => Some((message.len(), message.is_text())),
                Call::Part(part) => Some((part.len(), part.payload.is_text())),
                _ => None,
            })
            .collect();
        let text = [(PART, true), (PART, true), (1, true), (5, true)];
        assert_eq!(kinds, [&[(6, true), (PART, false), (PART, false), (1, false)][..], &text].concat());
        let statistics = rig.shared.statistics();
        assert_eq!((statistics.messages_received, statistics.bytes_received), (5, 4 * PART as u64 + 13));
    }
}

#[tokio::test(start_paused = true)]
async fn without_parts_a_large_message_comes_whole() {
    let mut rig = Plan::server().run();
    rig.peer.say(BINARY, &vec![1; 5 * PART]).await;
    rig.until_received(1).await;
    assert!(rig.shape().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_of_parts_stops_the_reading_in_the_middle_of_a_message() {
    let mut plan = in_parts(Plan::server().busy(60).config(|config| config.read_ahead = 3 * PART), 1 << 40);
    plan.pipe = 1024;
    let mut rig = plan.run();
    let header = [&[BINARY, 0xFF][..], &(1u64 << 30).to_be_bytes(), &[0; 4]].concat();
    rig.peer.raw(&header).await;
    let mut sent = 0;
    let flood = async {
        loop {
            rig.peer.raw(&[0; 1024]).await;
            sent += 1024;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(59), flood).await.is_err(), "the peer has to wait");
    // What is handled, three that wait, and what is in the pipe.
    assert!((4 * PART..5 * PART).contains(&sent), "{sent}");
    let before = sent;
    let flood = async {
        loop {
            rig.peer.raw(&[0; 1024]).await;
            sent += 1024;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), flood).await.is_err());
    assert!(
        (PART - 1024..=PART + 1024).contains(&(sent - before)),
        "one more was handled: {}",
        sent - before
    );
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_messages_in_parts_is_its_own_and_one_byte_more_is_1009() {
    let limit = 4 * PART;
    let small = |config: &mut ConnectionConfig| config.message_size = 10;
    let mut rig = in_parts(Plan::server().config(small), limit as u64).run();
    rig.peer.say(BINARY, &vec![1; limit]).await;
    rig.until_parts(4).await;
    rig.peer.say(0x02, &vec![1; limit]).await;
    rig.until_parts(7).await;
    rig.peer.say(0x80, b"x").await;
    assert_eq!(rig.peer.hear_close().await.0, 1009);
    rig.peer.close(1009).await;
    let end = rig.end().await;
    assert_eq!((end.by, rig.errors()), (EndedBy::Limit, vec![ErrorStage::Limit]));
    assert!(rig.shape()[4..].iter().all(|(_, _, last)| !last), "the message has no last part");
}

#[tokio::test(start_paused = true)]
async fn broken_text_is_1007_after_the_parts_that_were_right() {
    let mut rig = in_parts(Plan::server(), 1 << 40).run();
    rig.peer.say(0x01, &vec![b'a'; PART + 1]).await;
    rig.until_parts(1).await;
    rig.peer.say(0x00, b"\xFF").await;
    assert_eq!(rig.peer.hear_close().await.0, 1007);
    rig.peer.close(1007).await;
    rig.end().await;
    assert_eq!(rig.shape(), [(PART, true, false)]);
}

#[tokio::test(start_paused = true)]
async fn broken_text_of_a_dotnet_peer_is_repaired_in_parts_as_in_messages() {
    let lossy = |config: &mut ConnectionConfig| config.text = crate::TextPolicy::Lossy;
    let mut rig = in_parts(Plan::client().config(lossy), 1 << 40).run();
    let bytes = [&vec![b'a'; PART - 1][..], b"\xE6\x97", &vec![b'b'; PART], b"\xE6"].concat();
    rig.peer.say(TEXT, &bytes).await;
    rig.until(|calls| parts(calls).last().is_some_and(|part| part.last)).await;
    let calls = rig.seen.borrow().clone();
    let joined: String =
        parts(&calls).iter().map(|part| part.payload.as_text().unwrap().to_owned()).collect();
    assert_eq!(joined, String::from_utf8_lossy(&bytes));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_inside_of_a_message_has_no_last_part_and_then_its_end() {
    for is_closed in [true, false] {
        let mut rig = in_parts(Plan::server(), 1 << 40).run();
        rig.peer.say(0x02, &vec![1; 2 * PART]).await;
        rig.until_parts(1).await;
        if is_closed {
            rig.peer.close(1000).await;
        } else {
            drop(std::mem::replace(&mut rig.peer.stream, tokio::io::duplex(1).0));
        }
        let end = rig.end().await;
        assert_eq!(end.code, if is_closed { Some(1000) } else { None });
        assert_eq!(rig.shape(), [(PART, true, false)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_at_a_part_ends_the_connection_with_1011_and_gets_no_other_part() {
    let plan = Plan::server().on_message(|message, _| async move {
        assert!(message.as_bytes()[0] != 2, "a handler of parts may panic");
    });
    let mut rig = in_parts(plan, 1 << 40).run();
    let payload = [vec![1; PART], vec![2; PART], vec![3; PART]].concat();
    rig.peer.say(BINARY, &payload).await;
    assert_eq!(rig.peer.hear_close().await.0, 1011);
    rig.peer.close(1011).await;
    rig.end().await;
    assert_eq!(rig.shape(), [(PART, true, false), (PART, false, false)]);
    assert_eq!(rig.errors(), [ErrorStage::HandlerPanic]);
}

#[tokio::test(start_paused = true)]
async fn parts_keep_a_connection_from_being_idle_and_each_frame_counts_once() {
    let plan = Plan::server().config(|config| {
        config.idle = Some(Duration::from_secs(10));
        config.messages_per_second = Some(4);
    });
    let mut rig = in_parts(plan, 1 << 40).run();
    let header = [&[BINARY, 0xFF][..], &(20 * PART as u64).to_be_bytes(), &[0; 4]].concat();
    rig.peer.raw(&header).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        rig.peer.raw(&[0; PART]).await;
    }
    rig.until(|calls| parts(calls).last().is_some_and(|part| part.last)).await;
    // Three frames of 39 parts count as three, after the one of this second.
    for first in [0x02, 0x00, 0x80] {
        rig.peer.say(first, &vec![0; 13 * PART]).await;
    }
    rig.until(|calls| parts(calls).iter().filter(|part| part.last).count() == 2).await;
    rig.peer.text("the fifth in this second").await;
    assert_eq!(rig.peer.hear_close().await.0, 1008);
}

#[tokio::test(start_paused = true)]
async fn what_the_libraries_say_to_each_other_comes_whole_and_is_no_part() {
    let mut plan = in_parts(Plan::server().config(|config| config.answers_text_ping = true), 1 << 40);
    plan.hello = true;
    let mut rig = plan.run();
    let hello = crate::Controls::new().message(&Control::Hello);
    rig.peer.text(hello.as_text().unwrap()).await;
    rig.peer.text("ping").await;
    assert_eq!(rig.peer.hear_text().await, "pong");
    rig.peer.say(TEXT, format!("ping{}", " ".repeat(PART)).as_bytes()).await;
    rig.until(|calls| parts(calls).last().is_some_and(|part| part.last)).await;
    let calls = rig.seen.borrow().clone();
    assert!(calls.iter().any(|call| matches!(call, Call::Control(name) if name == "Hello")), "{calls:?}");
    assert!(rig.received().is_empty());
}
