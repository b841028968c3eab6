//! Answers that refuse, each of which becomes an error of its own.

use super::*;

async fn refused(change: impl FnOnce(ClientParams) -> ClientParams, answer: &[u8]) -> ConnectError {
    answered(change, answer).await.err().expect("the client is refused")
}

async fn refused_plainly(answer: &str) -> ConnectError {
    refused(|params| params, answer.as_bytes()).await
}

/// What the client makes of an answer after which the server hangs up.
async fn hung_up_after(answer: &[u8]) -> ConnectError {
    let (listener, params) = listening().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(answer).await.unwrap();
    };
    tokio::join!(dialed(params), serving).0.err().expect("the client is refused")
}

#[tokio::test]
async fn a_401_is_unauthorized_with_what_the_server_says() {
    let error = refused_plainly("HTTP/1.1 401 No\r\nContent-Length: 14\r\n\r\nNot authorizedX").await;
    let ConnectError::Unauthorized { message } = error else { panic!("{error:?}") };
    assert_eq!(message, "Not authorized");
}

#[tokio::test]
async fn a_redirect_says_where_to() {
    let error =
        refused_plainly("HTTP/1.1 308 Go\r\nLocation: wss://b.example/\r\nContent-Length: 0\r\n\r\n").await;
    let ConnectError::Redirected { location } = error else { panic!("{error:?}") };
    assert_eq!(location, "wss://b.example/");
    let error = refused_plainly("HTTP/1.1 304 Same\r\nContent-Length: 0\r\n\r\n").await;
    assert!(matches!(error, ConnectError::Rejected { status: 304, .. }), "{error:?}");
}

#[tokio::test]
async fn any_other_status_is_a_rejection_with_body_and_when_to_come_back() {
    let error = refused_plainly("HTTP/1.1 503 Full\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy").await;
    let ConnectError::Rejected { status, body, retry_after } = error else { panic!("{error:?}") };
    assert_eq!((status, body.as_str(), retry_after), (503, "busy", Some(Duration::from_secs(7))));
    for (status, retry) in [(200, "later"), (403, "-1"), (429, "99999999999999999999")] {
        let answer = format!("HTTP/1.1 {status} No\r\nRetry-After: {retry}\r\nContent-Length: 0\r\n\r\n");
        match refused_plainly(&answer).await {
            ConnectError::Rejected { status: got, retry_after: None, .. } => assert_eq!(got, status),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_400_about_subprotocols_is_a_rejected_subprotocol() {
    let answer = "HTTP/1.1 400 No\r\nContent-Length: 30\r\n\r\nInvalid subprotocols requested";
    assert!(matches!(refused_plainly(answer).await, ConnectError::SubprotocolRejected));
    let answer = "HTTP/1.1 400 No\r\nContent-Length: 4\r\n\r\nelse";
    assert!(matches!(refused_plainly(answer).await, ConnectError::Rejected { status: 400, .. }));
}

#[tokio::test]
async fn a_body_is_read_as_announced_in_chunks_or_to_its_end() {
    let body = |error: ConnectError| match error {
        ConnectError::Rejected { body, .. } => body,
        other => panic!("{other:?}"),
    };
    let chunked =
        "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let begun = Instant::now();
    assert_eq!(body(refused_plainly(chunked).await), "hello world");
    assert!(begun.elapsed() < Duration::from_secs(1), "the last chunk ends it");
    assert_eq!(body(hung_up_after(b"HTTP/1.1 403 No\r\n\r\nall of it").await), "all of it");
    assert_eq!(body(hung_up_after(b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf").await), "half");
    assert_eq!(body(refused_plainly("HTTP/1.1 403 No\r\n\r\nand no end").await), "and no end");
    assert_eq!(body(hung_up_after(b"HTTP/1.1 403 No\r\n\r\n\xff!").await), "\u{fffd}!");
}

#[tokio::test]
async fn a_body_is_kept_to_4_kib_in_every_way_it_can_come() {
    let long = "y".repeat(9000);
    for head in [
        "Content-Length: 9000\r\n\r\n",
        "Content-Length: 99999999999999999999999\r\n\r\n",
        "\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2328\r\n",
    ] {
        match refused_plainly(&format!("HTTP/1.1 500 No\r\n{head}{long}")).await {
            ConnectError::Rejected { body, .. } => assert_eq!(body.len(), 4096, "{head}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn chunks_that_are_no_chunks_have_no_body() {
    let answer = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nnonsense";
    match hung_up_after(answer).await {
        ConnectError::Rejected { body, .. } => assert_eq!(body, ""),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told_from_one_that_speaks_nonsense() {
    let why = |error: ConnectError| match error {
        ConnectError::BadResponse(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(hung_up_after(b"").await), "it hung up");
    assert_eq!(why(hung_up_after(b"HTTP/1.1 101 Sw").await), "it hung up within its answer");
    assert!(why(hung_up_after(b"HTTP/1.1 oops\r\n\r\n").await).contains("status"));
    assert_eq!(why(hung_up_after(b"SSH-2.0-x\x07\r\n").await), "it is no HTTP: `SSH-2.0-x`");
    let long = format!("220 {}", "y".repeat(9000));
    assert_eq!(why(refused_plainly(&long).await), format!("it is no HTTP: `220 {}`", "y".repeat(60)));
}

#[tokio::test]
async fn the_refusals_of_dotnet_servers_before_any_http_are_typed() {
    const DISCONNECT: &[u8] = b"\x88\x0c\x03\xe8Disconnect";
    let subprotocols = [b"Invalid subprotocols requested".as_slice(), DISCONNECT].concat();
    for compatibility in [Compatibility::None, Compatibility::DotNetV6, Compatibility::DotNetV7] {
        let with = |params: ClientParams| params.compatibility(compatibility);
        match refused(with, DISCONNECT).await {
            ConnectError::Unauthorized { message } => assert_eq!(message, "Disconnect"),
            other => panic!("{other:?}"),
        }
        for answer in [subprotocols.as_slice(), b"Invalid subprotocols requested"] {
            let error = refused(with, answer).await;
            assert!(matches!(error, ConnectError::SubprotocolRejected), "{compatibility:?}: {error:?}");
        }
        match (refused(with, b"Not authorized").await, compatibility) {
            (ConnectError::BadResponse(why), Compatibility::None) => {
                assert_eq!(why, "it is no HTTP: `Not authorized`");
            }
            (ConnectError::Unauthorized { message }, _) => assert_eq!(message, "Not authorized"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_comes_before_any_http_is_kept_to_4_kib_too() {
    let long = "y".repeat(9000);
    let error = refused(|params| params.compatibility(Compatibility::DotNetV7), long.as_bytes()).await;
    let ConnectError::Unauthorized { message } = error else { panic!("{error:?}") };
    assert_eq!(message.len(), 4096);
}

#[tokio::test]
async fn a_server_that_quotes_the_token_does_not_bring_it_into_an_error() {
    for (placement, shown) in [
        (TokenPlacement::Header, "sec/ret+é 7"),
        (TokenPlacement::Path, "sec/ret+%C3%A9%207"),
        (TokenPlacement::Query, "sec%2Fret%2B%C3%A9+7"),
        (TokenPlacement::Subprotocol, "c2VjL3JldCvDqSA3"),
    ] {
        // A header cannot carry this one; the server then quotes it as it is.
        let sent = if placement == TokenPlacement::Header { TokenPlacement::Path } else { placement };
        let bodies = [
            format!("Content-Length: {}\r\n\r\n{shown} is unknown", shown.len() + 11),
            format!("Content-Length: 9000\r\n\r\n{}{shown}", "y".repeat(4096 - 7)),
            // The last byte is half a character, where the token has one there.
            format!("\r\n{}{shown}", "y".repeat(4096 - 9)),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{shown}\r\n0\r\n\r\n", shown.len()),
            format!("Transfer-Encoding: chunked\r\n\r\nff\r\n{}", &shown[..8]),
        ];
        let bodies = bodies.iter().map(|body| format!("HTTP/1.1 401 No\r\n{body}"));
        let others = [
            format!("HTTP/1.1 301 Go\r\nLocation: https://h/?token={shown}&x\r\nContent-Length: 0\r\n\r\n"),
            format!("GET /{}{shown} HTTP/1.1\r\n", "y".repeat(50)),
        ];
        for answer in bodies.chain(others) {
            let with = |params: ClientParams| params.token("sec/ret+é 7").token_placement(sent);
            let error = refused(with, answer.as_bytes()).await;
            for text in [format!("{error}"), format!("{error:?}")] {
                assert!(!text.contains(&shown[..5]), "{placement:?}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_too_short_to_be_told_from_text_leaves_texts_alone() {
    let with = |params: ClientParams| params.token("not");
    let answer = b"HTTP/1.1 401 No\r\nContent-Length: 14\r\n\r\nnot authorized";
    let ConnectError::Unauthorized { message } = refused(with, answer).await else { panic!("not refused") };
    assert_eq!(message, "not authorized");
}

#[tokio::test]
async fn an_upgrade_that_only_says_unauthorized_is_unauthorized() {
    let answer = |extra: &str, text: &str, close: &[u8]| {
        let mut bytes = format!("\r\n{extra}\r\n").into_bytes();
        bytes.extend([0x81, u8::try_from(text.len()).unwrap()]);
        bytes.extend(text.as_bytes());
        bytes.extend(close);
        bytes
    };
    let close = b"\x88\x02\x03\xf0";
    for (extra, token) in [("websockets-simple-verdict: unauthorized\r\n", None), ("", Some("secret-7"))] {
        let (listener, params) = listening().await;
        let params = token.into_iter().fold(params, |params, token| params.token(Token::new(token)));
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = filled_in(AGREED.trim_end(), &request(&mut stream).await);
            let rest = answer(extra, "secret-7: no", close);
            stream.write_all(&[head.as_bytes(), &rest].concat()).await.unwrap();
            stream
        };
        let (result, _open) = tokio::join!(dialed(params), serving);
        let Err(ConnectError::Unauthorized { message }) = result else { panic!("{:?}", result.err()) };
        assert_eq!(message, if token.is_some() { "***: no" } else { "secret-7: no" });
    }
}
