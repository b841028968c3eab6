use websockets_simple_core::MessageParts;

use super::*;
use crate::error::ParamsError;

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
    assert_eq!(params().close_timeout(zero).check().err(), Some(ParamsError::Zero("close timeout")));
    assert_eq!(params().message_size(0).check().err(), Some(ParamsError::Zero("message size")));
    assert_eq!(params().outbox(0).check().err(), Some(ParamsError::Zero("outbox")));
    assert_eq!(params().send_buffer(0).check().err(), Some(ParamsError::Zero("send buffer")));
    assert_eq!(params().receive_buffer(0).check().err(), Some(ParamsError::Zero("receive buffer")));
}

#[test]
fn a_time_without_end_is_an_error_that_names_it_and_a_long_one_is_not() {
    let long = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    for endless in [long + Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX] {
        for (set, name) in times() {
            assert_eq!(set(params(), endless).check().err(), Some(ParamsError::Endless(name)), "{endless:?}");
            assert_eq!(set(params(), long).check().err(), None, "{name}");
            assert_eq!(set(params(), Duration::ZERO).check().err(), Some(ParamsError::Zero(name)));
        }
    }
    assert!(params().heartbeat(Heartbeat::off()).check().is_ok());
    assert!(params().overflow(OverflowPolicy::Disconnect).check().is_ok());
}

#[test]
fn sizes_of_parts_and_their_messages_have_bounds() {
    let error = |part, message| params().message_parts(MessageParts::new(part, message)).check().err();
    let what = "size of a part of a message";
    let least = MessageParts::LEAST_PART;
    for part in [0, 64, least - 1] {
        assert_eq!(error(part, u64::MAX), Some(ParamsError::TooSmall { what, least }));
    }
    let most = MessageParts::MOST_PART;
    assert_eq!(error(most + 1, u64::MAX), Some(ParamsError::TooLarge { what, most }));
    let what = "size limit of messages in parts";
    assert_eq!(error(20_000, 19_999), Some(ParamsError::TooSmall { what, least: 20_000 }));
    assert_eq!((error(least, least as u64), error(most, u64::MAX)), (None, None));
}

type SetTime = fn(ClientParams, Duration) -> ClientParams;

/// All times of a client.
fn times() -> [(SetTime, &'static str); 4] {
    [
        (ClientParams::close_timeout, "close timeout"),
        (ClientParams::connect_timeout, "connect timeout"),
        (|params, time| params.heartbeat(Heartbeat::new(time, HeartbeatMode::Ping)), "heartbeat interval"),
        (|params, time| params.overflow(OverflowPolicy::Wait(time)), "timeout for room in the outbox"),
    ]
}

#[test]
fn malformed_and_reserved_headers_are_refused() {
    let error = |name: &str, value: &str| params().header(name, value).token("t").check().err().unwrap();
    assert_eq!(error("X A", "b"), ParamsError::HeaderName("X A".into()));
    assert_eq!(error("", "b"), ParamsError::HeaderName(String::new()));
    assert_eq!(error("X-A\r\nEvil", "b"), ParamsError::HeaderName("X-A\r\nEvil".into()));
    for value in ["b\r\nEvil: 1", "b\n", "b\0", "\u{7f}", "é"] {
        assert_eq!(error("X-A", value), ParamsError::HeaderValue("X-A".into()), "{value:?}");
    }
    for name in [
        "Connection",
        "upgrade",
        "Sec-WebSocket-Key",
        "SEC-WEBSOCKET-PROTOCOL",
        "sec-websocket-version",
        "Sec-WebSocket-Extensions",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
    ] {
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
    let reserved = "websockets-simple+b";
    assert_eq!(error(["a", reserved]), Some(ParamsError::Subprotocol(reserved.into())));
    assert_eq!(error(["a", ""]), Some(ParamsError::Subprotocol(String::new())));
    assert_eq!(error(["a", "b"]), None);
}

#[test]
fn a_url_gives_host_port_path_and_query() {
    let checked = ClientParams::url("wss://example.org/a%20b?x=1").unwrap().check().unwrap();
    assert_eq!((checked.port(), checked.secured(), checked.target.expose()), (443, true, "/a%20b?x=1"));
    let checked = ClientParams::url("ws://[::1]:9000").unwrap().check().unwrap();
    assert_eq!(
        (checked.host.name.as_str(), checked.host.shown.as_str(), checked.port()),
        ("::1", "[::1]", 9000)
    );
    let checked = ClientParams::url("ws://[fe80::1%25eth0]:9000/x%2525").unwrap().check().unwrap();
    assert_eq!(
        (checked.host.name.as_str(), checked.host.shown.as_str(), checked.target.expose()),
        ("fe80::1%eth0", "[fe80::1]", "/x%2525")
    );
    for (url, port, secured) in
        [("ws://h", 80, false), ("wss://h", 443, true), ("http://h:81", 81, false), ("https://h/", 443, true)]
    {
        let checked = ClientParams::url(url).unwrap().check().unwrap();
        assert_eq!(
            (checked.port(), checked.secured(), checked.target.expose()),
            (port, secured, "/"),
            "{url}"
        );
    }
    let more = ClientParams::url("ws://h/?x=1").unwrap().query("y", "2");
    assert_eq!(target(more), "/?x=1&y=2");
    for (wrong, why) in [
        ("ftp://h", "scheme"),
        ("ws://user:secret-7@h", "password"),
        ("ws://user@h", "user name"),
        ("ws://h/#f", "fragment"),
        ("not a url", "malformed"),
        ("ws://", "malformed"),
        ("ws://[fe80::1%25a b]", "malformed"),
        ("ws://[x%25eth0]", "malformed"),
    ] {
        let error = ClientParams::url(wrong).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("secret-7"), "{wrong}: {error}");
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
fn the_pauses_of_a_mode_hold_until_others_are_chosen_whatever_the_order() {
    let pacing = |params: ClientParams| params.check().unwrap().pacing();
    let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
    assert_eq!(pacing(params()), Compatibility::None.client_pacing());
    let v6 = params().compatibility(Compatibility::DotNetV6);
    assert_eq!(pacing(v6.clone()), Compatibility::DotNetV6.client_pacing());
    for params in [
        v6.first_frame_pause(second).frame_pause(zero),
        params().first_frame_pause(second).frame_pause(zero).compatibility(Compatibility::DotNetV6),
    ] {
        let pacing = pacing(params);
        assert_eq!((pacing.first_frame_pause, pacing.frame_pause), (second, None));
    }
    assert_eq!(pacing(params().frame_pause(second)).frame_pause, Some(second));
}

#[test]
fn each_placement_puts_the_token_where_it_says() {
    let checked = params().token("se cret").token_placement(TokenPlacement::Query).check().unwrap();
    assert_eq!(checked.target.expose(), "/?token=se+cret");
    let checked = params().token("secret").check().unwrap();
    assert_eq!(checked.authorization.unwrap().expose(), "Bearer secret");
    let checked = params().token("secret").token_placement(TokenPlacement::Subprotocol).check().unwrap();
    assert_eq!(checked.offers.expose(), "websockets-simple, bearer.c2VjcmV0");
    assert!(!checked.required);
    let chat = params().subprotocol("chat").token("secret").token_placement(TokenPlacement::Subprotocol);
    assert_eq!(chat.check().unwrap().offers.expose(), "websockets-simple+chat, chat, bearer.c2VjcmV0");
}

#[test]
fn a_token_that_its_placement_cannot_carry_is_refused() {
    assert_eq!(params().token("a\r\nb").check().err(), Some(ParamsError::Token("a header")));
    assert_eq!(params().token("a b").check().err(), Some(ParamsError::Token("a header")));
    assert_eq!(params().token("é").check().err(), Some(ParamsError::Token("a header")));
    for (placement, name) in [
        (TokenPlacement::Header, "a header"),
        (TokenPlacement::Path, "a path"),
        (TokenPlacement::Query, "a query"),
        (TokenPlacement::Subprotocol, "a subprotocol"),
    ] {
        let empty = params().token("").token_placement(placement);
        assert_eq!(empty.check().err(), Some(ParamsError::Token(name)));
    }
    let twice = params().query("token", "x").token("y").token_placement(TokenPlacement::Query);
    assert_eq!(twice.check().err(), Some(ParamsError::TokenTwice));
}

#[test]
fn what_collides_with_the_token_of_a_provider_is_refused_before_there_is_one() {
    let provided = || params().token_provider(async |_| Ok(Token::new("later")));
    let header = provided().header("authorization", "Basic eA==");
    assert_eq!(header.check().err(), Some(ParamsError::HeaderReserved("authorization".into())));
    let query = provided().query("token", "x").token_placement(TokenPlacement::Query);
    assert_eq!(query.check().err(), Some(ParamsError::TokenTwice));
    for elsewhere in [TokenPlacement::Path, TokenPlacement::Subprotocol] {
        let params = provided().header("authorization", "Basic eA==").query("token", "x");
        assert!(params.token_placement(elsewhere).check().is_ok());
    }
}

#[test]
fn parameters_do_not_show_their_secrets() {
    let shown = format!("{:?}", params().token("secret-7").query("k", "secret-7").header("X-K", "secret-7"));
    assert!(!shown.contains("secret-7"), "{shown}");
}

#[test]
fn nothing_that_is_given_can_break_out_of_its_line_of_the_request() {
    let evil = "x\r\nEvil: 1\r\n\r\n";
    let params = params().path(evil).query(evil, evil).token(evil);
    for placement in [TokenPlacement::Path, TokenPlacement::Query, TokenPlacement::Subprotocol] {
        let checked = params.clone().token_placement(placement).check().unwrap();
        for line in [&checked.target, &checked.offers] {
            assert!(!line.expose().contains(['\r', '\n']), "{placement:?}: {}", line.expose());
        }
        let target = checked.target.expose();
        assert!(!target.contains(' '), "{target}");
    }
}

#[test]
fn what_would_have_no_effect_beside_a_connector_is_refused() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let connected = || params().connector(async |_: Target| Ok(tokio::io::empty()));
    for (params, what) in [
        (connected().resolver(async |_: String, _: u16| Ok(Vec::new())), "a resolver"),
        (connected().resolve("h", [address]), "an address of a host"),
        (connected().local_addr(address.ip()), "a local address"),
    ] {
        assert_eq!(params.check().err(), Some(ParamsError::NoEffect { what, beside: "a connector" }));
    }
    assert!(
        connected().receive_buffer(1).check().is_ok(),
        "this is for other clients of the same parameters"
    );
}

#[test]
fn addresses_are_given_for_hosts_and_there_is_one_at_least() {
    assert_eq!(params().resolve("h", []).check().err(), Some(ParamsError::NoAddress("h".into())));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    assert_eq!(params().resolve("a b", [address]).check().err(), Some(ParamsError::Host));
    assert_eq!(params().resolve(" ", [address]).check().err(), Some(ParamsError::BlankHost));
}
