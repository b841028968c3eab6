use super::*;

const RETRY: &str = "Retry-After: 5\r\n";
const CANNOT_TELL: &str = "cannot tell who you are, try again later";

#[tokio::test(start_paused = true)]
async fn without_credentials_nobody_is_asked() {
    let host = with_users(ServerParams::local(), Mood::Panics);
    let diary = Arc::clone(&host.diary);
    let (answer, path, _) = refused(&host, &request("/", "")).await;
    assert_eq!(answer, refusal("401 Unauthorized", "Www-Authenticate: Bearer\r\n", "Unauthorized"));
    assert_eq!(path, "/");
    assert_eq!(*diary.lock().unwrap(), ["connecting /"]);
}

#[tokio::test(start_paused = true)]
async fn without_credentials_the_service_is_asked_if_it_wants_to_be() {
    let host = with_users(ServerParams::local().ask_without_credentials(true), Mood::Knows);
    let diary = Arc::clone(&host.diary);
    let (answer, _, _) = refused(&host, &request("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(*diary.lock().unwrap(), ["connecting /", "asked for /"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_too_slow_is_a_503_at_the_authentication_deadline() {
    let deadline = Duration::from_secs(3);
    let limits = Limits::default().authentication(deadline);
    let host = with_users(ServerParams::local().limits(limits), Mood::Silent);
    let (mut client, server) = duplex(ROOM);
    client.write_all(request_with_token("/room").as_bytes()).await.unwrap();
    let begun = Instant::now();
    let (shaken, answer) = tokio::join!(shake(&host, server), async move {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let answer = waiting_least(&answer, &host.shared.params);
    assert_eq!(begun.elapsed(), deadline);
    assert_eq!(answer, refusal("503 Service Unavailable", RETRY, CANNOT_TELL));
    assert!(matches!(shaken, Err(Ended::Refused(..))));
    let diary = host.diary();
    assert_eq!(diary[..3], ["connecting /room", "asked for /room", "given up"]);
    assert!(diary[3].starts_with("failed UserService: the user service took too long"), "{diary:?}");
    assert_eq!(diary.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_or_panics_is_a_503_and_one_error() {
    for (mood, expected) in
        [(Mood::Fails, "the user service failed"), (Mood::Panics, "the user service panicked")]
    {
        let host = with_users(ServerParams::local(), mood);
        let diary = Arc::clone(&host.diary);
        let (answer, _, why) = refused(&host, &request_with_token("/room")).await;
        assert_eq!(answer, refusal("503 Service Unavailable", RETRY, CANNOT_TELL));
        assert_eq!(why, format!("503: {CANNOT_TELL}"));
        let diary = diary.lock().unwrap();
        assert_eq!(diary.len(), 3);
        assert!(diary[2].starts_with(&format!("failed UserService: {expected}")), "{diary:?}");
        assert!(!diary[2].contains(SECRET), "{diary:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cause_of_a_failure_reaches_the_event_but_not_the_peer() {
    let host = with_users(ServerParams::local(), Mood::Fails);
    let diary = Arc::clone(&host.diary);
    let (answer, _, _) = refused(&host, &request_with_token("/room")).await;
    assert!(!answer.contains("database"), "{answer}");
    assert!(diary.lock().unwrap()[2].ends_with("/ the database is gone"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_for_the_service() {
    let host = with_users(ServerParams::local(), Mood::Stopping);
    let begun = Instant::now();
    let (answer, _, why) = refused(&host, &request_with_token("/room")).await;
    assert_eq!(answer, refusal("503 Service Unavailable", RETRY, "the server stops"));
    assert_eq!(why, "503: the server stops");
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_after_the_stop_is_refused_without_asking() {
    let host = with_users(ServerParams::local(), Mood::Knows);
    host.stop.begin();
    let diary = Arc::clone(&host.diary);
    let (answer, _, _) = refused(&host, &request_with_token("/room")).await;
    assert_eq!(answer, refusal("503 Service Unavailable", RETRY, "the server stops"));
    assert_eq!(*diary.lock().unwrap(), ["connecting /room"]);
}

#[tokio::test(start_paused = true)]
async fn where_upgrades_are_wanted_the_unknown_gets_a_101_and_a_farewell() {
    let params = ServerParams::local()
        .unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose)
        .unauthorized_text("nobody knows you")
        .subprotocols(["chat"]);
    for more in ["", "Authorization: Bearer unknown\r\n"] {
        let host = with_users(params.clone(), Mood::Knows);
        let offer = format!("{more}Sec-WebSocket-Protocol: chat\r\n");
        let (answer, opened) = admitted(&host, request("/", &offer).as_bytes()).await;
        let marked = "Sec-Websocket-Protocol: chat\r\nWebsockets-Simple-Verdict: unauthorized\r\n";
        assert_eq!(answer, switching(marked));
        assert_eq!(opened.admitted.farewell.as_deref(), Some("nobody knows you"));
        assert!(opened.admitted.user.is_none() && opened.admitted.user_permit.is_none());
        assert_eq!(host.permits_taken(&7), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_known_gets_no_farewell() {
    let params = ServerParams::local().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let host = with_users(params, Mood::Knows);
    let (answer, opened) = admitted(&host, request_with_token("/").as_bytes()).await;
    assert_eq!(answer, switching(""));
    assert!(opened.admitted.farewell.is_none() && opened.admitted.user.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_a_503_where_upgrades_are_wanted_too() {
    let params = ServerParams::local().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
    let (answer, _, _) = refused(&with_users(params, Mood::Fails), &request_with_token("/")).await;
    assert_eq!(answer, refusal("503 Service Unavailable", RETRY, CANNOT_TELL));
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_refused_request_is_nowhere_to_be_seen() {
    let shown = [
        request(&format!("/{SECRET}"), ""),
        request(&format!("/{SECRET}%ff"), ""),
        request(&format!("/{SECRET}%00"), ""),
        request(&format!("/room?a=1&token={SECRET}"), ""),
        request(&format!("/?token={SECRET}&token=other"), ""),
        request("/", &format!("Sec-WebSocket-Protocol: bearer.{ENCODED}\r\n")),
        request("/", &format!("Sec-WebSocket-Protocol: bearer.{ENCODED}!\r\n")),
        request_with_token("/"),
    ];
    for request in shown {
        // All steps are done, so that all their texts are checked.
        for mood in [Mood::Knows, Mood::Fails, Mood::Panics] {
            let limits = Limits::default().connections_per_user(1);
            let host = with_users(ServerParams::local().limits(limits), mood);
            let _held = host.shared.registry.user_permit(&7, 1).unwrap();
            let diary = Arc::clone(&host.diary);
            let (answer, path, why) = refused(&host, &request).await;
            let seen = format!("{answer} {path} {why} {:?}", diary.lock().unwrap());
            assert!(!seen.contains(SECRET) && !seen.contains(ENCODED), "{request} shows in {seen}");
            assert!(path == "/" || path == "/room", "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connecting_is_told_once_before_any_judgement() {
    let plain = "GET /room HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    let no_path = request("/%ff", "Authorization: Bearer x\r\n");
    for (request, expected) in [
        (plain, "connecting /room"),
        (no_path, "connecting /"),
        (request("/room", "Authorization: Bearer x\r\nSec-WebSocket-Protocol: no\r\n"), "connecting /room"),
    ] {
        // Tokens in the path are disabled, so the plain request has none.
        let params = ServerParams::local().token_placements(TokenPlacements::header_only());
        let host = with_users(params, Mood::Knows);
        let diary = Arc::clone(&host.diary);
        refused(&host, &request).await;
        assert_eq!(*diary.lock().unwrap(), [expected]);
    }
}
