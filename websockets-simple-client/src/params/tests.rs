use super::*;

fn params() -> ClientParams {
    ClientParams::new("localhost", 8080)
}

fn target(params: ClientParams) -> String {
    params.check().unwrap().target.expose().to_owned()
}

#[test]
fn a_blank_host_a_zero_port_and_zero_durations_are_refused() {
    assert_eq!(ClientParams::new("  ", 1).check().err(), Some(ParamsError::BlankHost));
    assert_eq!(ClientParams::new("local host", 1).check().err(), Some(ParamsError::Host));
    assert_eq!(ClientParams::new("h/x", 1).check().err(), Some(ParamsError::Host));
    assert_eq!(ClientParams::new("localhost", 0).check().err(), Some(ParamsError::ZeroPort));
    let zero = Duration::ZERO;
    let heartbeat = Heartbeat::new(zero, HeartbeatMode::Ping);
    assert_eq!(params().heartbeat(heartbeat).check().err(), Some(ParamsError::Zero("heartbeat interval")));
    assert_eq!(params().connect_timeout(zero).check().err(), Some(ParamsError::Zero("connect timeout")));
    assert_eq!(params().message_size(0).check().err(), Some(ParamsError::Zero("message size")));
    assert_eq!(params().receive_buffer(0).check().err(), Some(ParamsError::Zero("receive buffer")));
}

#[test]
fn malformed_and_reserved_headers_are_refused() {
    let error = |name: &str, value: &str| params().header(name, value).token("t").check().err().unwrap();
    assert_eq!(error("X A", "b"), ParamsError::HeaderName("X A".into()));
    assert_eq!(error("X-A", "b\r\nEvil: 1"), ParamsError::HeaderValue("X-A".into()));
    for name in ["Connection", "upgrade", "Sec-WebSocket-Key", "Content-Length", "Authorization"] {
        assert_eq!(error(name, "x"), ParamsError::HeaderReserved(name.into()));
    }
    assert!(params().header("Authorization", "Basic x").check().is_ok());
    assert!(params().header("Host", "example.org").check().is_ok());
}

#[test]
fn malformed_and_duplicate_subprotocols_are_refused() {
    let error = |names: [&str; 2]| params().subprotocol(names[0]).subprotocol(names[1]).check().err();
    assert_eq!(error(["a", "a"]), Some(ParamsError::SubprotocolTwice("a".into())));
    assert_eq!(error(["a", "b c"]), Some(ParamsError::Subprotocol("b c".into())));
    assert_eq!(error(["a", ""]), Some(ParamsError::Subprotocol(String::new())));
    assert_eq!(error(["a", "b"]), None);
}

#[test]
fn a_url_gives_host_port_path_and_query() {
    let plan = ClientParams::url("wss://example.org/a%20b?x=1").unwrap().check().unwrap();
    assert_eq!((plan.port(), plan.secured(), plan.target.expose()), (443, true, "/a%20b?x=1"));
    let plan = ClientParams::url("ws://[::1]:9000").unwrap().check().unwrap();
    assert_eq!((plan.host.name.as_str(), plan.host.shown.as_str(), plan.port()), ("::1", "[::1]", 9000));
    for wrong in ["ftp://h", "ws://user:pass@h", "ws://h/#f", "not a url", "ws://"] {
        assert!(ClientParams::url(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn path_and_query_are_encoded() {
    assert_eq!(target(params().path("a room").query("n", "J&B é")), "/a%20room?n=J%26B+%C3%A9");
    assert_eq!(target(params().path("/a%20b")), "/a%20b");
}

#[test]
fn a_path_token_is_encoded_as_the_dotnet_client_does_but_keeps_what_follows_a_hash() {
    let params = params().token("a b/c?d=é#f").compatibility(Compatibility::DotNetV6);
    assert_eq!(target(params), "/a%20b/c?d=%C3%A9%23f");
}

#[test]
fn each_placement_puts_the_token_where_it_says() {
    let plan = params().token("se cret").token_placement(TokenPlacement::Query).check().unwrap();
    assert_eq!(plan.target.expose(), "/?token=se+cret");
    let plan = params().token("secret").check().unwrap();
    assert_eq!(plan.authorization.unwrap().expose(), "Bearer secret");
    let plan = params().token("secret").token_placement(TokenPlacement::Subprotocol).check().unwrap();
    assert_eq!(plan.offers.expose(), "websockets-simple, bearer.c2VjcmV0");
    assert!(!plan.required);
    let chat = params().subprotocol("chat").token("secret").token_placement(TokenPlacement::Subprotocol);
    assert_eq!(chat.check().unwrap().offers.expose(), "chat, bearer.c2VjcmV0");
}

#[test]
fn a_token_that_its_placement_cannot_carry_is_refused() {
    assert_eq!(params().token("a\r\nb").check().err(), Some(ParamsError::Token("a header")));
    assert_eq!(params().token("a b").check().err(), Some(ParamsError::Token("a header")));
    let empty = params().token("").token_placement(TokenPlacement::Path);
    assert_eq!(empty.check().err(), Some(ParamsError::Token("a path")));
    let twice = params().query("token", "x").token("y").token_placement(TokenPlacement::Query);
    assert_eq!(twice.check().err(), Some(ParamsError::TokenTwice));
}

#[test]
fn parameters_do_not_show_their_secrets() {
    let shown = format!("{:?}", params().token("secret-7").query("k", "secret-7").header("X-K", "secret-7"));
    assert!(!shown.contains("secret-7"), "{shown}");
}
