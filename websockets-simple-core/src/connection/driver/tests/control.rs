//! Control messages are not raised as messages.

use super::*;

/// A control message of the peer that sent this `hello`: `rest` follows the word.
fn said(hello: &str, rest: &str) -> String {
    hello.replace("\"type\":\"hello\"", rest)
}

fn controls(calls: &[Call]) -> usize {
    calls.iter().filter(|call| matches!(call, Call::Control(_))).count()
}

#[tokio::test(start_paused = true)]
async fn a_server_says_hello_first_and_takes_what_follows_the_word_for_control() {
    let mut rig = Plan::server().run_after(|shared| {
        shared.begin_controls();
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
    let hello = crate::protocol::Controls::new().hello();
    rig.peer.text(hello.as_text().unwrap()).await;
    rig.until_received(1).await;
    assert!(!rig.shared.send_control(&Control::Renewed { at: None }));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_control_message_ends_the_connection() {
    let mut rig = Plan::server().run_after(ConnectionShared::begin_controls);
    let hello = rig.peer.hear_text().await;
    rig.peer.text(&said(&hello, "\"type\":\"token\"")).await;
    assert_eq!(rig.peer.hear_close().await, (1008, "malformed control message".to_owned()));
    assert_eq!(rig.errors(), [ErrorStage::Protocol]);
    assert!(rig.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_joins_with_the_first_message_or_never() {
    let server = crate::protocol::Controls::new();
    let hello = server.hello().as_text().unwrap().to_owned();
    let expiring =
        said(&hello, "\"type\":\"expiring\",\"expires_at\":\"2027-01-15T08:00:00Z\",\"grace_seconds\":30");

    let mut rig = Plan { hello: true, ..Plan::client() }.run();
    rig.peer.text(&hello).await;
    rig.peer.text(&expiring).await;
    rig.until(|calls| controls(calls) == 2).await;
    let first = rig.seen.borrow()[1].clone();
    assert!(matches!(&first, Call::Control(shown) if shown == "Hello"), "{first:?}");
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
    let mut rig = Plan::server().run_after(ConnectionShared::begin_controls);
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
    let mut rig = Plan::server().busy(3600).run_after(ConnectionShared::begin_controls);
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
            let mut rig = Plan { on_control, ..Plan::server() }.run_after(ConnectionShared::begin_controls);
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
