//! Control messages are not raised as messages.

use super::*;

/// A control message of the peer that sent this `hello`: `rest` follows the word.
fn said(hello: &str, rest: &str) -> String {
    let (word, _) = hello.split_once(",\"type\":\"hello\"").unwrap();
    format!("{word},{rest}}}")
}

/// A server that has begun.
fn begun(shared: &ConnectionShared) {
    shared.begin_controls(Heartbeat::off());
}

fn controls(calls: &[Call]) -> usize {
    calls.iter().filter(|call| matches!(call, Call::Control(_))).count()
}

#[tokio::test(start_paused = true)]
async fn a_server_says_hello_first_and_takes_what_follows_the_word_for_control() {
    let mut rig = Plan::server().run_after(|shared| {
        begun(shared);
        shared.outbox.try_send(Message::text("welcome"), false).unwrap();
    });
    let hello = rig.peer.hear_text().await;
    assert_eq!(rig.peer.hear_text().await, "welcome");
    let token = said(&hello, "\"type\":\"token\",\"token\":\"secret\"");
    rig.peer.text(&token).await;
    rig.peer.text("{\"websockets-simple\":\"another word\",\"type\":\"token\"}").await;
    rig.until(|calls| controls(calls) == 1 && texts(calls).len() == 1).await;
    let calls = rig.seen.borrow().clone();
    assert!(matches!(&calls[1], Call::Control(shown) if shown == "Token(Token(..))"), "{calls:?}");
    assert_eq!(rig.shared.statistics().messages_received, 1, "the message of the user");
}

#[tokio::test(start_paused = true)]
async fn without_controls_the_same_text_is_a_message() {
    let mut rig = Plan::server().run();
    let hello = crate::protocol::Controls::new().hello(None);
    rig.peer.text(hello.as_text().unwrap()).await;
    rig.until_received(1).await;
    assert!(!rig.shared.send_control(&Control::Renewed { at: None }));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_control_message_ends_the_connection() {
    let mut rig = Plan::server().run_after(begun);
    let hello = rig.peer.hear_text().await;
    rig.peer.text(&said(&hello, "\"type\":\"token\"")).await;
    assert_eq!(rig.peer.hear_close().await, (1008, "malformed control message".to_owned()));
    assert_eq!(rig.errors(), [ErrorStage::Protocol]);
    assert!(rig.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_joins_with_the_first_message_or_never() {
    let server = crate::protocol::Controls::new();
    let hello = server.hello(None).as_text().unwrap().to_owned();
    let expiring =
        said(&hello, "\"type\":\"expiring\",\"expires_at\":\"2027-01-15T08:00:00Z\",\"grace_seconds\":30");

    let mut rig = Plan { hello: true, ..Plan::client() }.run();
    rig.peer.text(&hello).await;
    rig.peer.text(&expiring).await;
    rig.until(|calls| controls(calls) == 2).await;
    let first = rig.seen.borrow()[1].clone();
    assert!(matches!(&first, Call::Control(shown) if shown == "Hello"), "{first:?}");
    let speaks = "\"type\":\"speaks\",\"what\":[\"closing\",\"probe\"],\"agent\":\"websockets-simple/0.1\"";
    assert_eq!(rig.peer.hear_text().await, said(&hello, speaks));
    assert!(rig.shared.send_control(&Control::Token(crate::token::Token::new("fresh"))));
    assert_eq!(rig.peer.hear_text().await, said(&hello, "\"type\":\"token\",\"token\":\"fresh\""));
    assert!(rig.received().is_empty());

    let mut late = Plan { hello: true, ..Plan::client() }.run();
    for text in ["welcome", &hello, &expiring] {
        late.peer.text(text).await;
    }
    late.until_received(3).await;
    assert!(!late.shared.send_control(&Control::Renewed { at: None }), "somebody else's hello");
}

#[tokio::test(start_paused = true)]
async fn a_control_message_does_not_come_between_the_parts_of_a_message() {
    let mut rig = Plan::server().run_after(begun);
    let hello = rig.peer.hear_text().await;
    let mut parts = crate::outbox::MessageWriter::<str>::begin(&rig.shared.outbox).await.unwrap();
    parts.write("one ").await.unwrap();
    assert!(rig.shared.send_control(&Control::Renewed { at: None }));
    parts.write("message").await.unwrap();
    parts.finish().await.unwrap();
    let mut message = Vec::new();
    loop {
        let (kind, bytes) = rig.peer.hear().await;
        message.extend(bytes);
        if kind & 0x80 != 0 {
            break;
        }
    }
    assert_eq!(message, b"one message");
    assert_eq!(rig.peer.hear_text().await, said(&hello, "\"type\":\"renewed\",\"expires_at\":null"));
}

#[tokio::test(start_paused = true)]
async fn control_messages_do_not_wait_for_a_busy_handler() {
    let mut rig = Plan::server().busy(3600).run_after(begun);
    let hello = rig.peer.hear_text().await;
    rig.peer.text("keeps the handler busy").await;
    rig.peer.text(&said(&hello, "\"type\":\"token\",\"token\":\"secret\"")).await;
    rig.until(|calls| controls(calls) == 1).await;
    assert!(rig.elapsed() < Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn so_many_control_messages_wait_for_one_at_work_and_no_more() {
    let long_token = format!("\"type\":\"token\",\"token\":\"{}\"", "x".repeat(15 * 1024));
    for (waiting, rest) in [(128, "\"type\":\"join\",\"group\":\"red\""), (8, &long_token)] {
        for surplus in [0, 1] {
            let done = Arc::new(tokio::sync::Notify::new());
            let work = Arc::clone(&done);
            let on_control = Some(HandlerFuture::new(async move { work.notified().await }));
            let mut rig = Plan { on_control, ..Plan::server() }.run_after(begun);
            let hello = rig.peer.hear_text().await;
            let said = frame(TEXT, said(&hello, rest).as_bytes(), true);
            rig.peer.raw(&said).await;
            rig.until(|calls| controls(calls) == 1).await;
            rig.peer.raw(&said.repeat(waiting + surplus)).await;
            if surplus > 0 {
                assert_eq!(rig.peer.hear_close().await, (1008, "too many control messages".to_owned()));
                assert_eq!(rig.errors(), [ErrorStage::Limit]);
                continue;
            }
            rig.peer.text("behind them all").await;
            rig.until_received(1).await;
            assert_eq!(controls(&rig.seen.borrow()), 1);
            done.notify_one();
            rig.until(|calls| controls(calls) == 1 + waiting).await;
            assert!(rig.shared.outbox.is_open());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_probes_at_once_also_beside_a_token_that_takes_its_time() {
    let on_control = Some(HandlerFuture::new(std::future::pending()));
    let mut rig = Plan { on_control, ..Plan::server() }.run_after(begun);
    let hello = rig.peer.hear_text().await;
    rig.peer.text(&said(&hello, "\"type\":\"token\",\"token\":\"secret\"")).await;
    for n in [1, 2, 9_007_199_254_740_991_u64] {
        rig.peer.text(&said(&hello, &format!("\"type\":\"probe\",\"n\":{n}"))).await;
        assert_eq!(rig.peer.hear_text().await, said(&hello, &format!("\"type\":\"alive\",\"n\":{n}")));
    }
    assert_eq!(controls(&rig.seen.borrow()), 1, "the token");
    assert!(rig.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_says_what_the_client_has_named_once_and_nothing_else() {
    let closing = Control::Closing { spread: Duration::from_secs(1) };
    let mut rig = Plan::server().run_after(begun);
    let hello = rig.peer.hear_text().await;
    assert!(!rig.shared.send_control(&closing), "it has named nothing");
    for what in ["[\"of tomorrow\",\"closing\"]", "[]"] {
        rig.peer.text(&said(&hello, &format!("\"type\":\"speaks\",\"what\":{what}"))).await;
    }
    rig.peer.text("behind them").await;
    rig.until_received(1).await;
    assert!(rig.shared.send_control(&closing) && !rig.shared.send_control(&Control::Probe(1)));
    assert_eq!(rig.peer.hear_text().await, said(&hello, "\"type\":\"closing\",\"spread_seconds\":1"));
    // What only servers say means nothing from a client.
    rig.peer.text(&said(&hello, "\"type\":\"closing\",\"spread_seconds\":9")).await;
    rig.peer.text(&said(&hello, "\"type\":\"alive\",\"n\":1")).await;
    rig.peer.text("the end").await;
    rig.until_received(2).await;
    assert_eq!(rig.shared.closing_spread(), None);
    assert_eq!(controls(&rig.seen.borrow()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_answers_a_hello_only_if_it_names_something_and_keeps_the_spread_of_a_close() {
    let server = crate::protocol::Controls::new();
    let hello = server.message(&Control::Hello).as_text().unwrap().to_owned();
    let mut rig = Plan { hello: true, ..Plan::client() }.run();
    rig.peer.text(&hello).await;
    rig.peer.text(&said(&hello, "\"type\":\"probe\",\"n\":1")).await;
    rig.peer.text(&said(&hello, "\"type\":\"closing\",\"spread_seconds\":7,\"resumable\":true")).await;
    rig.peer.text("behind it").await;
    rig.until_received(1).await;
    assert_eq!(rig.shared.closing_spread(), Some(Duration::from_secs(7)));
    rig.shared.outbox.try_send(Message::text("the first"), false).unwrap();
    assert_eq!(
        rig.peer.hear_text().await,
        "the first",
        "no answer to the hello, none to a probe of a server"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_groups_is_told_behind_the_messages_that_came_before_it() {
    let mut rig = Plan::server().run_after(begun);
    let hello = rig.peer.hear_text().await;
    let told = |call: &Call| matches!(call, Call::GroupChanged(group) if group == "red");
    // In one read.
    let leave = said(&hello, "\"type\":\"leave\",\"group\":\"red\"");
    let bytes = [frame(TEXT, b"before", true), frame(TEXT, leave.as_bytes(), true)].concat();
    rig.peer.raw(&bytes).await;
    rig.until(|calls| calls.iter().any(told)).await;
    rig.peer.text("after").await;
    rig.until(|calls| texts(calls).len() == 2).await;
    let calls = rig.seen.borrow().clone();
    let is =
        |call: &Call, text: &str| matches!(call, Call::Received(message) if message.as_text() == Some(text));
    let order: Vec<_> =
        calls.iter().filter(|call| told(call) || is(call, "before") || is(call, "after")).collect();
    assert!(is(order[0], "before") && told(order[1]) && is(order[2], "after"), "{calls:?}");
}
