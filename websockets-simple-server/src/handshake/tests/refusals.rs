use super::*;

/// Refuses a request of a server without users.
async fn answer(params: ServerParams, request: &str) -> String {
    let (answer, _, why) = refused(&open_to_all(params), request).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(why, format!("{}: {body}", &answer[9..12]), "the event says what the answer says");
    answer
}

async fn bad(request: &str) -> String {
    let answer = answer(ServerParams::local(), request).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(answer, refusal("400 Bad Request", "", &body));
    body
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_no_text_is_a_bad_request() {
    assert_eq!(bad(&request("/%ff", "")).await, "the path is not UTF-8");
    for control in ["%00", "%0d%0a", "%1B", "%7f", "%c2%85", "%e2%80%a8"] {
        let body = bad(&request(&format!("/a{control}b"), "")).await;
        assert_eq!(body, "the path holds a control character", "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_no_path_is_a_bad_request() {
    for target in ["*", "room", "localhost:80"] {
        assert_eq!(bad(&request(target, "")).await, "the target of the request is not a path", "{target}");
    }
    for target in ["/", "//", "http://localhost", "http://localhost/room"] {
        admitted(&open_to_all(ServerParams::local()), request(target, "").as_bytes()).await;
    }
    let host = with_users(ServerParams::local(), Mood::Panics);
    let (answer, path, _) = refused(&host, &request("secret-7", "")).await;
    assert_eq!(path, "/");
    assert!(answer.starts_with("HTTP/1.1 400 "), "the .NET client has a slash before its token: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_or_what_announces_one_is_a_bad_request() {
    for announced in [
        "Content-Length: 8",
        "Content-Length: 08",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 8",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Expect: 100-continue",
        "Expect: anything",
    ] {
        let body = bad(&request("/", &format!("{announced}\r\n"))).await;
        assert_eq!(body, "a WebSocket handshake has no body", "{announced}");
    }
    for empty in ["Content-Length: 0\r\n", "Content-Length: 00\r\n"] {
        admitted(&open_to_all(ServerParams::local()), request("/", empty).as_bytes()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_or_a_version_that_is_given_twice_is_a_bad_request() {
    for name in ["Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
        for value in [KEY, "13", "8"] {
            let body = bad(&request("/", &format!("{name}: {value}\r\n"))).await;
            assert_eq!(body, format!("{} is given twice", name.to_lowercase()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_different_tokens_are_a_bad_request() {
    let host = with_users(ServerParams::local(), Mood::Knows);
    let (answer, path, _) = refused(&host, &request_with_token("/room?token=another")).await;
    assert_eq!(answer, refusal("400 Bad Request", "", "the request carries two different tokens"));
    assert_eq!(path, "/");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_host_or_with_two_is_a_bad_request() {
    let none = request("/", "").replace("Host: localhost\r\n", "");
    assert_eq!(bad(&none).await, "one Host header is needed");
    assert_eq!(bad(&request("/", "Host: elsewhere\r\n")).await, "one Host header is needed");
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_malformed_key_is_a_bad_request() {
    let without = request("/", "").replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), "");
    let needed = "a Sec-WebSocket-Key of 16 bytes in base64 is needed";
    assert_eq!(bad(&without).await, needed);
    for wrong in ["", "c2hvcnQ=", "not base64 at all! 24 by", "dGhlIHNhbXBsZSBub25jZTEyMw=="] {
        let body = bad(&request("/", "").replace(KEY, wrong)).await;
        assert_eq!(body, needed, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_1_0_is_a_bad_request_and_is_answered_in_its_own_version() {
    let old = request("/", "").replace("HTTP/1.1", "HTTP/1.0");
    let expected = refusal("400 Bad Request", "", "HTTP/1.1 is needed");
    assert_eq!(answer(ServerParams::local(), &old).await, expected.replace("HTTP/1.1 400", "HTTP/1.0 400"));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_unknown_gets_the_configured_text_with_401() {
    for text in ["Unauthorized", "kein Zutritt für Ümläute \u{1f6ab}", ""] {
        let params = ServerParams::local().unauthorized_text(text);
        let host = with_users(params, Mood::Knows);
        let (answer, path, why) =
            refused(&host, &request("/room", "Authorization: Bearer unknown\r\n")).await;
        assert_eq!(answer, refusal("401 Unauthorized", "Www-Authenticate: Bearer\r\n", text));
        assert_eq!((path.as_str(), why), ("/room", format!("401: {text}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_origin_is_forbidden() {
    let params = ServerParams::local().origins(["https://example.org"]);
    let expected = refusal("403 Forbidden", "", "this origin is not allowed");
    for origin in ["https://evil.example", "null", "https://example.org.evil.example", "caf\u{e9}"] {
        let request = request("/", &format!("Origin: {origin}\r\n"));
        assert_eq!(answer(params.clone(), &request).await, expected, "{origin}");
    }
    for origin in ["Origin: https://EXAMPLE.org\r\n", ""] {
        admitted(&open_to_all(params.clone()), request("/", origin).as_bytes()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_is_told_which_is_allowed() {
    let post = request("/", "").replace("GET", "POST");
    let body = "a WebSocket handshake is a GET request";
    let expected = refusal("405 Method Not Allowed", "Allow: GET\r\n", body);
    assert_eq!(answer(ServerParams::local(), &post).await, expected);
    let (answer, _, _) = refused(&open_to_all(ServerParams::local()), &post.replace("POST", "HEAD")).await;
    assert_eq!(answer, expected.replace(body, ""), "an answer to HEAD has no body");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_just_looks_is_told_to_upgrade() {
    let body = "this is a WebSocket endpoint: an Upgrade is needed";
    let expected = refusal("426 Upgrade Required", "Upgrade: websocket\r\n", body);
    let plain = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(answer(ServerParams::local(), plain).await, expected);
    let other = request("/", "").replace("Upgrade: websocket", "Upgrade: h2c");
    assert_eq!(answer(ServerParams::local(), &other).await, expected);
    let closing = request("/", "").replace("Connection: Upgrade", "Connection: close");
    assert_eq!(answer(ServerParams::local(), &closing).await, expected);
}

#[tokio::test(start_paused = true)]
async fn another_version_is_told_which_is_spoken() {
    let body = "only version 13 of the WebSocket protocol is spoken here";
    let expected = refusal("426 Upgrade Required", "Sec-Websocket-Version: 13\r\n", body);
    let hixie = request("/", "").replace("Version: 13", "Version: 8");
    assert_eq!(answer(ServerParams::local(), &hixie).await, expected);
    let none = request("/", "").replace("Sec-WebSocket-Version: 13\r\n", "");
    assert_eq!(answer(ServerParams::local(), &none).await, expected);
}

#[tokio::test(start_paused = true)]
async fn surplus_connections_are_told_when_to_try_again() {
    let params = || ServerParams::local().retry_after(Duration::from_secs(17));
    let later = "Retry-After: 17\r\n";
    for (full, status, body) in [
        (LimitReached::Total, "503 Service Unavailable", "too many connections"),
        (LimitReached::Address, "429 Too Many Requests", "too many connections of this address"),
    ] {
        let mut host = with_users(params(), Mood::Knows);
        host.limit = Some(full);
        let diary = Arc::clone(&host.diary);
        let (answer, _, _) = refused(&host, &request_with_token("/room")).await;
        assert_eq!(answer, refusal(status, later, body));
        assert_eq!(*diary.lock().unwrap(), ["connecting /room"], "the user service is left in peace");
    }
    let host = with_users(params().limits(Limits::default().connections_per_user(1)), Mood::Knows);
    let _held = host.shared.registry.user_permit(&7, 1).unwrap();
    let (answer, _, _) = refused(&host, &request_with_token("/room")).await;
    assert_eq!(answer, refusal("429 Too Many Requests", later, "too many connections of this user"));
    let host = with_users(params(), Mood::Knows);
    let taken = ClientId::new("taken").unwrap();
    let _held = host.shared.registry.reserve(&taken, false).unwrap();
    let choose = move |_: &HandshakeRequest<'_>, _: Option<&Authenticated<i64>>| {
        Placement::new().client_id(taken.clone())
    };
    host.shared.placement.set(Box::new(choose)).ok().unwrap();
    let (answer, _, _) = refused(&host, &request_with_token("/room")).await;
    assert_eq!(answer, refusal("409 Conflict", "", "another connection has this id"));
}

#[tokio::test(start_paused = true)]
async fn less_than_a_second_to_wait_is_rounded_up() {
    let mut host = open_to_all(ServerParams::local().retry_after(Duration::from_millis(1)));
    host.limit = Some(LimitReached::Total);
    let (answer, _, _) = refused(&host, &request("/", "")).await;
    assert!(answer.contains("Retry-After: 1\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_full_server_says_so_even_to_a_request_that_is_wrong() {
    let mut host = open_to_all(ServerParams::local());
    host.limit = Some(LimitReached::Total);
    let (answer, path, _) = refused(&host, &request("/%ff", "")).await;
    assert_eq!(answer, refusal("503 Service Unavailable", "Retry-After: 5\r\n", "too many connections"));
    assert_eq!(path, "/");
}

#[tokio::test(start_paused = true)]
async fn subprotocols_that_are_not_ours_are_a_bad_request() {
    let host = open_to_all(ServerParams::local().subprotocols(["chat"]));
    let (answer, _, _) = refused(&host, &request("/", "Sec-WebSocket-Protocol: other, Chat\r\n")).await;
    assert_eq!(answer, refusal("400 Bad Request", "", "Invalid subprotocols requested"));
}

/// The answer to a head that the HTTP library cannot read.
async fn unreadable(request: &str) -> String {
    let host = open_to_all(ServerParams::local());
    let (answer, shaken) = exchange(&host, request.as_bytes()).await;
    let Err(Ended::Unreadable(why)) = shaken else { panic!("{answer}") };
    if let Some((head, body)) = answer.split_once("\r\n\r\n") {
        assert_eq!(why, format!("{}: {body}", &head[9..12]), "the event says what the answer says");
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn a_head_of_more_than_16_kib_is_too_large() {
    let head = |size: usize| {
        let bare = request("/", "X: \r\n").len();
        request("/", &format!("X: {}\r\n", "x".repeat(size - bare)))
    };
    admitted(&open_to_all(ServerParams::local()), head(16 * 1024).as_bytes()).await;
    assert_eq!(unreadable(&head(16 * 1024 + 1)).await, too_large());
    assert_eq!(unreadable(&head(64 * 1024)).await, too_large());
}

fn too_large() -> String {
    let body = "the head of the request is too large or has too many headers";
    refusal("431 Request Header Fields Too Large", "", body)
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_headers_are_too_many() {
    let headers = |count: usize| {
        let more: String = (5..count).map(|n| format!("X-{n}: y\r\n")).collect();
        request("/", &more)
    };
    admitted(&open_to_all(ServerParams::local()), headers(100).as_bytes()).await;
    assert_eq!(unreadable(&headers(101)).await, too_large());
}

#[tokio::test(start_paused = true)]
async fn junk_is_a_bad_request() {
    let expected = refusal("400 Bad Request", "", "the request is malformed");
    for junk in [
        "\x16\x03\x01\x02\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "EHLO example.org\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    ] {
        assert_eq!(unreadable(junk).await, expected, "{junk:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_preface_of_http_2_is_hung_up_on() {
    assert_eq!(unreadable("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}
