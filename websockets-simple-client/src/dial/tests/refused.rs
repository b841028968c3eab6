//! Responses that refuse, and bytes that are no response.

use super::*;
use crate::{TlsFailure, WebsocketClient};

fn response(status: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_401_is_unauthorized_and_says_why() {
    for body in ["nobody knows you", "", "für Ümläute"] {
        let refused = error(response("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", body)).await;
        assert!(matches!(refused, ConnectError::Unauthorized { message, .. } if message == body));
    }
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let refused = error(response(status, "Location: wss://elsewhere.example/\r\n", "")).await;
        assert_eq!(
            refused.to_string(),
            "the server redirects to wss://elsewhere.example/; redirects are not followed"
        );
        assert!(matches!(refused, ConnectError::Redirected { .. }));
    }
    let nowhere = error(response("302 Found", "", "")).await;
    assert!(matches!(nowhere, ConnectError::Rejected { status: 302, .. }), "{nowhere:?}");
}

#[tokio::test]
async fn another_refusal_keeps_status_body_and_when_to_try_again() {
    for (header, expected) in [
        ("Retry-After: 17\r\n", Some(Duration::from_secs(17))),
        ("retry-after:  0 \r\n", Some(Duration::ZERO)),
        (
            "Date: Wed, 21 Oct 2015 07:27:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            Some(Duration::from_secs(60)),
        ),
        ("Retry-After: -1\r\n", None),
        ("Retry-After: 99999999999999999999999\r\n", Some(Duration::from_secs(86_400))),
        ("", None),
    ] {
        let refused = error(response("503 Service Unavailable", header, "too many")).await;
        assert_eq!(refused.retry_after(), expected, "{header}");
        let ConnectError::Rejected { status, body, retry_after, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((status, body.as_str(), retry_after), (503, "too many", expected), "{header}");
    }
    assert!(matches!(
        error(response("200 OK", "", "hello")).await,
        ConnectError::Rejected { status: 200, .. }
    ));
    assert!(matches!(
        error(response("400 Bad Request", "", "x")).await,
        ConnectError::Rejected { status: 400, .. }
    ));
}

#[tokio::test]
async fn a_400_about_subprotocols_is_what_it_says() {
    let refused = error(response("400 Bad Request", "", "Invalid subprotocols requested")).await;
    assert!(matches!(refused, ConnectError::SubprotocolRejected), "{refused:?}");
    let other = error(response("404 Not Found", "", "Invalid subprotocols requested")).await;
    assert!(matches!(other, ConnectError::Rejected { status: 404, .. }), "{other:?}");
}

/// The body of a refusal with these headers.
async fn body(more: &str, raw: &[u8]) -> String {
    let answer = [format!("HTTP/1.1 500 Oops\r\n{more}\r\n").as_bytes(), raw].concat();
    match error(answer).await {
        ConnectError::Rejected { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn at_most_four_kib_of_a_body_are_kept() {
    let x = |count: usize| "x".repeat(count);
    assert_eq!(body("", x(4096).as_bytes()).await, x(4096));
    assert_eq!(body("", x(100_000).as_bytes()).await, x(4096));
    assert_eq!(body("Content-Length: 100000\r\n", x(100_000).as_bytes()).await, x(4096));
    assert_eq!(body("Content-Length: 18446744073709551615\r\n", b"short").await, "short");
    assert_eq!(body("Content-Length: 3\r\n", b"abcdef").await, "abc");
    assert_eq!(body("Content-Length: nonsense\r\n", b"abc").await, "abc");
    assert_eq!(body("Content-Length: 2\r\n", b"\xff\xfe").await, "\u{fffd}\u{fffd}");
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(body(chunked, b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n").await, "abc0123456789");
    assert_eq!(body(chunked, b"ff\r\ncut off").await, "cut off");
    assert_eq!(body(chunked, b"ffffffffffffffff\r\nabc").await, "abc");
    assert_eq!(body(chunked, b"no size").await, "");
    let many: Vec<u8> = b"400\r\n".iter().chain(&[b'x'; 0x400]).chain(b"\r\n").copied().collect();
    assert_eq!(body(chunked, &many.repeat(20)).await, "x".repeat(4096));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_size_is_not_waited_behind_and_one_that_does_not_end_not_for_long() {
    let stays = async |head: &'static str| {
        let begun = Instant::now();
        let judged = judged(
            |params| params,
            64,
            async |mut far| {
                far.write_all(head.as_bytes()).await.unwrap();
                // Stays open until the other end has gone.
                far.read_to_end(&mut Vec::new()).await.unwrap();
            },
        );
        (judged.await.unwrap_err(), begun.elapsed())
    };
    let (known, waited) = stays("HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!(matches!(known, ConnectError::Unauthorized { message, .. } if message == "abc"));
    assert_eq!(waited, Duration::ZERO);
    let (chunked, waited) =
        stays("HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    assert!(matches!(chunked, ConnectError::Unauthorized { message, .. } if message == "abc"));
    assert_eq!(waited, Duration::ZERO);
    let (endless, waited) = stays("HTTP/1.1 401 No\r\n\r\nabc").await;
    assert!(matches!(endless, ConnectError::Unauthorized { message, .. } if message == "abc"));
    assert_eq!(waited, Duration::from_secs(1));
}

#[tokio::test]
async fn a_refusal_says_when_to_try_again_whatever_its_status() {
    for status in ["302 Found", "307 Temporary Redirect", "401 Unauthorized", "403 Forbidden", "429 Too Many"]
    {
        let refused = error(response(status, "Location: wss://elsewhere/\r\nRetry-After: 7\r\n", "")).await;
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(7)), "{refused:?}");
        assert_eq!(refused.response_headers().unwrap().get("location").unwrap(), "wss://elsewhere/");
    }
}

#[tokio::test]
async fn headers_of_a_refusal_can_be_read_and_are_in_no_debug_form() {
    for status in ["302 Found", "401 Unauthorized", "403 Forbidden"] {
        let cookies = "Location: /\r\nSet-Cookie: a=cookie-1\r\nset-cookie: b=cookie-2\r\n";
        let refused = error(response(status, cookies, "")).await;
        let seen = format!("{refused} {refused:?}");
        assert!(!seen.contains("cookie-") && seen.contains("set-cookie"), "{seen}");
        let headers = refused.response_headers().unwrap();
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=cookie-1", "b=cookie-2"]);
    }
}

#[tokio::test]
async fn a_refusal_of_http_1_0_is_one_too_also_if_its_head_has_no_end() {
    for head in [
        "HTTP/1.0 503 X\r\nRetry-After: 7\r\nX-A: b\r\n\r\n",
        "HTTP/1.0 503 X\nRetry-After: 7\nX-A: b\n\n",
        "HTTP/1.1 503 X\r\nX-A: b\r\nRetry-After: 7\r\nX-Half: of a",
        "HTTP/1.0 503\r\nX-A: b\r\nRetry-After: 7\n",
        "HTTP/2 503 X\r\nX-A: b\r\nRetry-After: 7\r\n",
    ] {
        let refused = error(head).await;
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(7)), "{head}");
        let ConnectError::Rejected { status, headers, body, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((status, headers.get("x-a").unwrap().as_bytes(), body.as_str()), (503, &b"b"[..], ""));
    }
    let with_body = error("HTTP/1.0 403 X\r\n\r\nnot you").await;
    assert!(matches!(with_body, ConnectError::Rejected { body, .. } if body == "not you"));
    let moved = error("HTTP/1.0 302 X\r\nLocation: wss://elsewhere/\r\n\r\n").await;
    assert!(matches!(moved, ConnectError::Redirected { location, .. } if location == "wss://elsewhere/"));
    // Half a value is none: it may be half a token, which would not be recognized.
    let half = error("HTTP/1.0 302 X\r\nRetry-After: 7\r\nLocation: wss://elsewhere/?token=ha").await;
    assert_eq!(half.retry_after(), Some(Duration::from_secs(7)));
    assert!(matches!(half, ConnectError::Rejected { status: 302, .. }), "{half:?}");
    let alone = error("HTTP/1.0 503").await;
    assert!(matches!(alone, ConnectError::Rejected { status: 503, .. }), "{alone:?}");
}

#[tokio::test]
async fn folded_and_malformed_headers_of_a_refusal_cost_nothing_but_themselves() {
    let head =
        "HTTP/1.1 403 X\r\nX-A: b\r\n\tc\r\nno colon\r\nX-Nul: \0\r\nRetry-After:\r\n 7\r\n\r\nnot you";
    let refused = error(head).await;
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(7)));
    let ConnectError::Rejected { headers, body, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((headers.get("x-a").unwrap().as_bytes(), body.as_str()), (&b"b c"[..], "not you"));
    assert_eq!(headers.len(), 2);
}

#[tokio::test]
async fn of_a_refusal_with_a_larger_head_the_first_16_kib_are_read() {
    let head = |size: usize, status: &str| {
        let bare = format!("HTTP/1.1 {status}\r\nRetry-After: 7\r\nX: \r\nY: z\r\n\r\n").len();
        format!("HTTP/1.1 {status}\r\nRetry-After: 7\r\nX: {}\r\nY: z\r\n\r\nbody", "x".repeat(size - bare))
    };
    let whole = error(head(16 * 1024, "403 No")).await;
    assert_eq!(whole.response_headers().unwrap().len(), 3);
    assert!(matches!(whole, ConnectError::Rejected { body, .. } if body == "body"));
    for size in [16 * 1024 + 1, 1024 * 1024] {
        let cut = error(head(size, "403 No")).await;
        assert_eq!(cut.retry_after(), Some(Duration::from_secs(7)));
        assert!(matches!(cut, ConnectError::Rejected { status: 403, body, .. } if body.is_empty()));
        let too_large = bad(error(head(size, "101 Yes")).await);
        assert_eq!(too_large, "the head is larger than 16 KiB");
    }
    let endless = bad(error(format!("HTTP/1.1 403 {}", "x".repeat(1024 * 1024))).await);
    assert_eq!(endless, "the head is larger than 16 KiB");
}

#[tokio::test]
async fn a_refusal_may_have_any_number_of_headers_and_a_101_a_hundred() {
    let headers = |count: usize| {
        let headers: String = (0..count).map(|n| format!("X-{n}: y\r\n")).collect();
        format!("HTTP/1.1 404 No\r\n{headers}\r\n")
    };
    for count in [100, 101, 1000] {
        let refused = error(headers(count)).await;
        assert!(matches!(refused, ConnectError::Rejected { status: 404, .. }), "{refused:?}");
        assert_eq!(refused.response_headers().unwrap().len(), count);
    }
    assert_eq!(bad(error(headers(101).replacen("404", "101", 1)).await), "too many headers");
}

#[tokio::test]
async fn an_end_before_or_within_the_head_is_told_apart() {
    assert_eq!(bad(error("").await), "the server closed the connection");
    for part in ["H", "HTTP/1.1 10", "HTTP/1.1 101 Switching Protocols\r\nUpgr"] {
        assert_eq!(bad(error(part).await), "the response is incomplete", "{part}");
    }
}

#[tokio::test]
async fn another_protocol_is_quoted_shortly_and_without_control_characters() {
    assert_eq!(bad(error("SSH-2.0-OpenSSH_9.6\r\n").await), "it is not HTTP: `SSH-2.0-OpenSSH_9.6`");
    assert_eq!(bad(error("\x15\x03\x03\0\x03\x02\x50").await), "it is not HTTP: `P`");
    let long = bad(error("é".repeat(100_000)).await);
    assert_eq!(long, format!("it is not HTTP: `{}`", "é".repeat(32)));
    assert!(bad(error("HTTP/1.1 what\r\n\r\n").await).contains("status"));
    assert!(bad(error("HTTP/1.1 101 OK\r\nno colon\r\n\r\n").await).contains("header"));
}

#[tokio::test]
async fn a_server_that_speaks_tls_or_http_2_alone_is_named() {
    for alert in [b"\x15\x03\x03\0\x02\x02\x46", b"\x15\x03\x01\0\x02\x02\x28", b"\x15\x03\x03\0\x02\x01\0"] {
        let refused = error(alert).await;
        assert!(matches!(refused, ConnectError::Tls(TlsFailure::Required)), "{refused:?}");
    }
    let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    assert_eq!(bad(error(settings).await), "it is HTTP/2; the server does not speak HTTP/1.1 on this port");
}

/// The error of a connect that lasts until this connect timeout.
async fn in_time(timeout: Duration, server: impl Future<Output = ()>, params: ClientParams) -> ConnectError {
    let begun = Instant::now();
    let client = WebsocketClient::new(params.connect_timeout(timeout)).unwrap();
    let ((), connected) = tokio::join!(server, client.connect());
    assert!(begun.elapsed() >= timeout);
    connected.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_drips_or_never_comes_hits_the_connect_timeout() {
    for drip in [b"".as_slice(), b"HTTP/1.1 101 Switching Protocols\r\n"] {
        let (listener, params) = listener().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            for byte in drip {
                tick.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
            let _ = stream.read(&mut [0; 1]).await;
        };
        let late = in_time(Duration::from_millis(200), server, params).await;
        assert!(matches!(late, ConnectError::Timeout), "{late:?}");
    }
}

#[tokio::test]
async fn a_token_that_the_server_quotes_is_in_no_error() {
    let placements =
        [TokenPlacement::Header, TokenPlacement::Path, TokenPlacement::Query, TokenPlacement::Subprotocol];
    for placement in placements {
        let quotes = [
            ("HTTP/1.1 401 No\r\n\r\n", "quoted"),
            ("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", "quoted"),
            ("HTTP/1.1 302 No\r\nLocation: wss://elsewhere/", "\r\n\r\n"),
            ("", "no HTTP"),
        ];
        for (before, after) in quotes {
            let params = |params: ClientParams| params.token(SECRET).token_placement(placement);
            let answer = |head: &str| {
                let line = head.lines().find(|line| line.contains(SECRET) || line.contains("bearer."));
                // The token as it was sent, and as the server may know it otherwise.
                let shown =
                    line.unwrap().trim_start_matches("GET /").trim_end_matches(" HTTP/1.1").to_owned();
                format!("{before}{shown} {SECRET}{after}").into_bytes()
            };
            let (_, dialed) = exchange(params, answer).await;
            let error = dialed.err().unwrap();
            let seen = format!("{error} {error:?}");
            assert!(!seen.contains(SECRET) && !seen.contains("c2VjcmV0LTc"), "{placement:?}: {seen}");
            assert!(seen.contains("***"), "{placement:?}: {seen}");
        }
    }
}

#[tokio::test]
async fn a_token_is_recognized_as_it_was_encoded_and_where_a_body_is_cut_within_it() {
    for (placement, shown) in [
        (TokenPlacement::Path, "sec/ret+é 7"),
        (TokenPlacement::Path, "sec/ret+%C3%A9%207"),
        (TokenPlacement::Query, "sec%2Fret%2B%C3%A9+7"),
        (TokenPlacement::Subprotocol, "c2VjL3JldCvDqSA3"),
    ] {
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
            format!("HTTP/1.1 301 Go\r\nLocation: https://h/?token={shown}&x\r\n\r\n"),
            format!("GET /{}{shown} HTTP/1.1\r\n", "y".repeat(50)),
        ];
        for answer in bodies.chain(others) {
            let with = |params: ClientParams| params.token("sec/ret+é 7").token_placement(placement);
            let error = exchange(with, |_| answer.into_bytes()).await.1.err().unwrap();
            let seen = format!("{error} {error:?}");
            assert!(!seen.contains(&shown[..5]), "{placement:?}: {seen}");
        }
    }
}

#[tokio::test]
async fn a_token_too_short_to_be_told_from_text_leaves_texts_alone() {
    let answer = response("401 No", "", "not authorized").into_bytes();
    let error = exchange(|params| params.token("not"), |_| answer).await.1.err().unwrap();
    assert!(matches!(error, ConnectError::Unauthorized { message, .. } if message == "not authorized"));
}
