use super::*;

fn asked(
    target: &str,
    headers: &[(&'static str, &str)],
    params: &ServerParams,
) -> Result<ParsedRequest, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    ParsedRequest::with_token(&target.parse().unwrap(), &mut map, params, false)
}

fn token(target: &str, headers: &[(&'static str, &str)]) -> Option<String> {
    let asked = asked(target, headers, &ServerParams::local()).unwrap();
    let shown = format!("{asked:?}");
    let token = asked.token.map(|token| token.expose().to_owned());
    if let Some(token) = &token {
        assert!(!shown.contains(token.as_str()), "{shown}");
    }
    token
}

// "secret-7" and its base64url form.
const SECRET: &str = "secret-7";
const ENCODED: &str = "bearer.c2VjcmV0LTc";

#[test]
fn each_placement_is_found() {
    assert_eq!(token("/room", &[("authorization", "Bearer secret-7")]).unwrap(), SECRET);
    assert_eq!(token("/room", &[("authorization", "bEaReR   secret-7 ")]).unwrap(), SECRET);
    assert_eq!(token("/room", &[("sec-websocket-protocol", &format!("chat, {ENCODED}"))]).unwrap(), SECRET);
    assert_eq!(token("/room", &[("sec-websocket-protocol", &format!("{ENCODED}="))]).unwrap(), SECRET);
    assert_eq!(token("/room?a=1&token=secret%2D7", &[]).unwrap(), SECRET);
    assert_eq!(token("/room?TOKEN=secret-7", &[]).unwrap(), SECRET);
    assert_eq!(token("/secret-7", &[]).unwrap(), SECRET);
}

#[test]
fn the_path_is_a_token_only_when_nothing_else_is_one_and_then_undecoded() {
    assert_eq!(token("/a%20b/c?d=1", &[]).unwrap(), "a%20b/c");
    assert_eq!(token("/", &[]), None);
    assert_eq!(token("/?token=", &[]), None);
    let asked = asked("/room", &[("authorization", "Bearer secret-7")], &ServerParams::local()).unwrap();
    assert_eq!(asked.head.channel(), "/room");
}

#[test]
fn a_path_token_leaves_the_channel_slash() {
    let asked = asked("/secret-7?x=1", &[], &ServerParams::local()).unwrap();
    assert_eq!(asked.head.channel(), "/");
    assert_eq!(asked.head.query("x").unwrap(), "1");
}

#[test]
fn a_v6_path_token_takes_the_query_with_it() {
    let params = ServerParams::local().compatibility(Compatibility::DotNetV6);
    let asked = asked("/a/b%20c?token=&x=1", &[], &params).unwrap();
    assert_eq!(asked.token.unwrap().expose(), "a/b%20c?token=&x=1");
    assert_eq!(asked.head.query_pairs().count(), 0);
}

#[test]
fn two_different_tokens_are_refused_and_the_same_twice_is_not() {
    let header = ("authorization", "Bearer secret-7");
    assert!(asked("/?token=other", &[header], &ServerParams::local()).is_err());
    assert!(asked("/?token=secret-7", &[header], &ServerParams::local()).is_ok());
    let both = [header, ("sec-websocket-protocol", "bearer.b3RoZXI")];
    assert!(asked("/", &both, &ServerParams::local()).is_err());
}

#[test]
fn whatever_carried_the_token_is_gone_and_the_rest_stays() {
    let headers = [
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("authorization", "Bearer secret-7"),
        ("sec-websocket-protocol", "chat, bearer.c2VjcmV0LTc, v2"),
    ];
    let asked = asked("/room?a=1&token=secret-7&b=2", &headers, &ServerParams::local()).unwrap();
    assert_eq!(asked.head.header("authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(asked.head.header("sec-websocket-protocol"), Some("chat, v2"));
    assert_eq!(asked.offered, ["chat", "v2"]);
    assert_eq!(asked.head.query_pairs().count(), 2);
}

#[test]
fn a_placement_that_is_turned_off_is_not_looked_at() {
    let params = ServerParams::local().token_placements(TokenPlacements::header_only());
    assert!(asked("/secret-7?token=x", &[], &params).unwrap().token.is_none());
    let asked = asked("/room", &[("sec-websocket-protocol", ENCODED)], &params).unwrap();
    assert!(asked.token.is_none());
}

#[test]
fn a_path_that_is_not_utf8_is_refused() {
    assert!(asked("/%ff", &[("authorization", "Bearer secret-7")], &ServerParams::local()).is_err());
}

#[test]
fn an_anonymous_server_takes_nothing_out() {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret-7"));
    let asked = ParsedRequest::anonymous(&"/a%20room?token=x".parse().unwrap(), &headers).unwrap();
    assert_eq!(asked.head.channel(), "/a room");
    assert_eq!(asked.head.query("token").unwrap(), "x");
    assert!(asked.token.is_none());
}

proptest::proptest! {
    #[test]
    fn any_target_and_headers_give_an_answer_without_a_panic(
        path in "/[ -~]{0,40}", authorization in "[ -~]{0,40}", protocols in "[ -~]{0,40}",
    ) {
        let uri: Result<Uri, _> = path.parse();
        if let Ok(uri) = uri {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&authorization).unwrap());
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(&protocols).unwrap());
            let _ = ParsedRequest::with_token(&uri, &mut headers, &ServerParams::local(), false);
        }
    }
}
