//! Answers that agree, or claim to.

use super::*;

/// A 101 with these headers beside or instead of the usual ones.
fn agreed_with(headers: &str) -> String {
    AGREED.replace("\r\n\r\n", &format!("\r\n{headers}\r\n\r\n"))
}

async fn bad_response(answer: &str) -> String {
    match answered(|params| params, answer.as_bytes()).await {
        Err(ConnectError::BadResponse(why)) => why,
        Err(other) => panic!("{other:?} to {answer}"),
        Ok(_) => panic!("agreed to {answer}"),
    }
}

#[tokio::test]
async fn an_agreement_gives_addresses_headers_and_the_subprotocol() {
    let answer = agreed_with("sec-websocket-protocol: echo\r\nX-Who: me");
    let dialed = answered(|params| params.subprotocol("chat").subprotocol("echo"), answer.as_bytes()).await;
    let facts = dialed.unwrap().facts;
    assert_eq!(facts.subprotocol.as_deref(), Some("echo"));
    assert_eq!(facts.response_headers["x-who"], "me");
    assert!(facts.local_addr.ip().is_loopback() && facts.peer_addr.ip().is_loopback());
    assert_eq!(facts.tls, None);
}

#[tokio::test]
async fn bytes_behind_the_answer_are_kept() {
    let dialed = answered(|params| params, format!("{AGREED}\u{1}\u{2}hi").as_bytes()).await;
    assert_eq!(dialed.unwrap().leftover, b"\x01\x02hi");
}

#[tokio::test]
async fn an_answer_may_arrive_byte_by_byte() {
    let (listener, params) = listening().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let head = request(&mut stream).await;
        for byte in filled_in(AGREED, &head).bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let (dialed, _open) = tokio::join!(dialed(params), serving);
    assert!(dialed.unwrap().leftover.is_empty());
}

#[tokio::test]
async fn names_in_any_case_and_lists_of_values_are_accepted() {
    let answer = "HTTP/1.1 101 \r\nconnection: keep-alive, UPGRADE\r\nUPGRADE: WebSocket\r\n\
                  sec-websocket-accept:   ACCEPT  \r\n\r\n";
    assert!(answered(|params| params, answer.as_bytes()).await.is_ok());
}

#[tokio::test]
async fn an_agreement_that_lacks_something_is_none() {
    for (wrong, why) in [
        (AGREED.replace("Upgrade: websocket\r\n", ""), "it does not upgrade to websocket"),
        (AGREED.replace(": websocket", ": h2c"), "it does not upgrade to websocket"),
        (AGREED.replace("Connection: Upgrade\r\n", ""), "its Connection header is not Upgrade"),
        (AGREED.replace(": Upgrade", ": upgraded"), "its Connection header is not Upgrade"),
        (AGREED.replace("ACCEPT", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="), "its Sec-WebSocket-Accept does not match"),
        (AGREED.replace("Sec-WebSocket-Accept", "X"), "its Sec-WebSocket-Accept does not match"),
        (
            agreed_with("Sec-WebSocket-Extensions: permessage-deflate"),
            "it uses an extension that was not offered",
        ),
        (
            agreed_with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"),
            "it chooses two subprotocols",
        ),
        (AGREED.replace("HTTP/1.1", "HTTP/1.0"), "it does not speak HTTP/1.1"),
    ] {
        assert_eq!(bad_response(&wrong).await, why);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_headers_is_refused() {
    let long = format!("HTTP/1.1 101 Long\r\nX: {}", "y".repeat(20 * 1024));
    assert_eq!(bad_response(&long).await, "its head is too large");
    assert_eq!(bad_response(&agreed_with(&"X: y\r\n".repeat(100))).await, "too many headers");
    let many = agreed_with("X: y\r\n".repeat(90).trim_end());
    assert!(answered(|params| params, many.as_bytes()).await.is_ok());
}

#[tokio::test]
async fn a_subprotocol_that_was_not_offered_or_none_at_all_is_refused() {
    let rejected = async |asked: &[&str], answer: &str| {
        let ask = |params: ClientParams| asked.iter().fold(params, |params, one| params.subprotocol(*one));
        matches!(answered(ask, answer.as_bytes()).await, Err(ConnectError::SubprotocolRejected))
    };
    assert!(rejected(&["chat"], AGREED).await);
    assert!(rejected(&["chat"], &agreed_with("Sec-WebSocket-Protocol: echo")).await);
    assert!(rejected(&[], &agreed_with("Sec-WebSocket-Protocol: echo")).await);
    assert!(!rejected(&["chat"], &agreed_with("Sec-WebSocket-Protocol: chat")).await);
}

#[tokio::test]
async fn a_token_among_the_subprotocols_cannot_be_chosen() {
    let placed = |params: ClientParams| params.token("secret-7").token_placement(TokenPlacement::Subprotocol);
    let echoed = agreed_with("Sec-WebSocket-Protocol: bearer.c2VjcmV0LTc");
    let error = answered(placed, echoed.as_bytes()).await.err();
    assert!(matches!(error, Some(ConnectError::SubprotocolRejected)), "{error:?}");
    let marked = agreed_with("Sec-WebSocket-Protocol: websockets-simple");
    let dialed = answered(placed, marked.as_bytes()).await.unwrap();
    assert_eq!(dialed.facts.subprotocol.as_deref(), Some("websockets-simple"));
}

#[tokio::test]
async fn a_dotnet_server_may_leave_the_subprotocol_unanswered() {
    for compatibility in [Compatibility::DotNetV6, Compatibility::DotNetV7] {
        let ask = |params: ClientParams| params.subprotocol("chat").compatibility(compatibility);
        assert_eq!(answered(ask, AGREED.as_bytes()).await.unwrap().facts.subprotocol, None);
    }
}
