//! Answers that open a WebSocket only to say that the client is not authorized.

use super::*;

const MARK: &str = "websockets-simple-verdict: unauthorized\r\n";

/// The result of a dial that gets a 101 with these headers, and these frames in the same write.
async fn outcome(token: Option<&str>, more: &str, frames: &[&[u8]]) -> Result<Dialed, ConnectError> {
    let adapt = |params: ClientParams| match token {
        Some(token) => params.token(token),
        None => params,
    };
    let answer = |head: &str| [switching(&accept_key(head), more).as_bytes(), &frames.concat()].concat();
    exchange(adapt, answer).await.1
}

fn message(outcome: Result<Dialed, ConnectError>) -> String {
    match outcome.err().unwrap() {
        ConnectError::Unauthorized { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_marked_101_is_a_refusal_with_the_text_that_follows() {
    let said = text("nobody knows you");
    for token in [Some(SECRET), None] {
        assert_eq!(message(outcome(token, MARK, &[&said, CLOSE_1008]).await), "nobody knows you");
        assert_eq!(
            message(outcome(token, MARK, &[&said]).await),
            "nobody knows you",
            "no Close, just an end"
        );
        assert_eq!(message(outcome(token, MARK, &[]).await), "");
    }
}

#[tokio::test]
async fn the_farewell_may_come_later_than_the_101() {
    let (listener, params) = listener().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.set_nodelay(true).unwrap();
        stream.write_all(switching(&accept_key(&head), MARK).as_bytes()).await.unwrap();
        for byte in [text("nobody knows you"), CLOSE_1008.to_vec()].concat() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let (_stream, dialed) = tokio::join!(server, dial(params));
    assert_eq!(message(dialed), "nobody knows you");
}

#[tokio::test]
async fn a_marked_server_that_then_keeps_quiet_is_not_waited_for_long() {
    let (listener, params) = listener().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let answer = [switching(&accept_key(&head), MARK).as_bytes(), &text("go")].concat();
        stream.write_all(&answer).await.unwrap();
        stream
    };
    let begun = Instant::now();
    let (_stream, dialed) = tokio::join!(server, dial(params));
    assert_eq!(message(dialed), "go");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_farewell_larger_than_4_kib_is_not_read() {
    let mut large = vec![0x81, 126, 0x20, 0];
    large.extend([b'x'; 0x2000]);
    assert_eq!(message(outcome(None, MARK, &[&large, CLOSE_1008]).await), "");
}

#[tokio::test]
async fn a_text_and_a_close_1008_right_behind_a_101_refuse_the_token() {
    let said = text("nobody knows you");
    assert_eq!(message(outcome(Some(SECRET), "", &[&said, CLOSE_1008_BYE]).await), "nobody knows you");
    assert_eq!(message(outcome(Some(SECRET), "", &[CLOSE_1008_BYE]).await), "bye", "its reason has to do");
    assert_eq!(message(outcome(Some(SECRET), "", &[CLOSE_1008]).await), "");
}

#[tokio::test]
async fn whoever_shows_no_token_is_not_refused_by_a_close_but_closed() {
    let frames = [text("hello"), CLOSE_1008.to_vec()].concat();
    let dialed = outcome(None, "", &[&frames]).await.ok().unwrap();
    assert_eq!(dialed.leftover, frames);
}

#[tokio::test]
async fn other_frames_behind_a_101_are_left_to_the_connection() {
    let going_away = b"\x88\x02\x03\xe9".to_vec();
    let masked = b"\x81\x81abcdx".to_vec();
    for frames in
        [text("Connected Successfully"), going_away, masked, b"\x89\0".to_vec(), b"\x81\x05he".to_vec()]
    {
        let dialed = outcome(Some(SECRET), "", &[&frames]).await.ok().unwrap();
        assert_eq!(dialed.leftover, frames, "they are handed on as they came");
    }
}

#[tokio::test]
async fn a_token_that_a_farewell_quotes_is_in_no_error() {
    let said = text("who is secret-7?");
    let close = b"\x88\x0a\x03\xf0secret-7".as_slice();
    assert_eq!(message(outcome(Some(SECRET), MARK, &[&said, CLOSE_1008]).await), "who is ***?");
    assert_eq!(message(outcome(Some(SECRET), "", &[&said, CLOSE_1008]).await), "who is ***?");
    assert_eq!(message(outcome(Some(SECRET), "", &[close]).await), "***");
}

#[tokio::test]
async fn a_reason_that_was_cut_within_the_token_does_not_bring_its_begin_to_the_error() {
    let reason = format!("{}secret", "y".repeat(117));
    let close = [&[0x88, 125, 3, 0xf0], reason.as_bytes()].concat();
    assert_eq!(message(outcome(Some(SECRET), "", &[&close]).await), "y".repeat(117));
}
