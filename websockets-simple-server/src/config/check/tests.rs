use std::{net::SocketAddr, time::Duration};

use websockets_simple_core::Heartbeat;

use super::*;
use crate::config::IdSigning;

fn local() -> ServerParams {
    ServerParams::local()
}

fn limited(change: impl FnOnce(Limits) -> Limits) -> ServerParams {
    local().limits(change(Limits::default()))
}

fn error(params: &ServerParams) -> ParamsError {
    params.check().expect_err("this is wrong")
}

#[test]
fn every_default_is_right() {
    for params in [local(), ServerParams::new(8080), ServerParams::mounted()] {
        assert_eq!(params.check(), Ok(()));
    }
}

#[test]
fn an_address_is_an_ip_address_with_a_port_or_an_error_that_shows_it() {
    for addr in ["127.0.0.1:8080", "[::1]:0", "0.0.0.0:65535"] {
        assert_eq!(ServerParams::bind(addr).check(), Ok(()), "{addr}");
    }
    for addr in ["localhost:8080", "127.0.0.1", ":8080", "127.0.0.1:99999", "::1:80", ""] {
        let params = ServerParams::bind(addr);
        assert_eq!(error(&params), ParamsError::Address(addr.to_owned()));
        assert!(error(&params).to_string().starts_with(&format!("`{addr}` is not an IP address")));
        assert!(params.endpoints.is_empty(), "and nothing else is listened on");
    }
}

#[test]
fn a_time_of_zero_is_an_error_that_names_it() {
    let zero = Duration::ZERO;
    for (params, what) in [
        (limited(|limits| limits.handshake(zero)), "handshake limit"),
        (limited(|limits| limits.authentication(zero)), "authentication limit"),
        (limited(|limits| limits.idle(zero)), "idle limit"),
        (local().close_timeout(zero), "close timeout"),
        (local().heartbeat(Heartbeat::new(zero, HeartbeatMode::Ping)), "heartbeat interval"),
        (local().overflow(OverflowPolicy::Wait(zero)), "timeout for room in an outbox"),
    ] {
        assert_eq!(error(&params), ParamsError::Zero(what));
        assert_eq!(error(&params).to_string(), format!("the {what} is zero"));
    }
    let shortest = Duration::from_nanos(1);
    for (params, what) in [
        (limited(|limits| limits.handshake(shortest)), "handshake limit"),
        (limited(|limits| limits.authentication(shortest)), "authentication limit"),
        (limited(|limits| limits.idle(Duration::from_micros(999))), "idle limit"),
        (local().close_timeout(shortest), "close timeout"),
        (local().heartbeat(Heartbeat::new(shortest, HeartbeatMode::Text)), "heartbeat interval"),
        (local().overflow(OverflowPolicy::Wait(shortest)), "timeout for room in an outbox"),
    ] {
        assert_eq!(error(&params).to_string(), format!("the {what} is less than 1ms"));
    }
    assert_eq!(limited(|limits| limits.handshake(Duration::from_millis(1))).check(), Ok(()));
    assert_eq!(
        local().expiry(zero, zero).retry_after(zero).stop_timeout(zero).check(),
        Ok(()),
        "these may be"
    );
}

#[test]
fn a_time_without_end_is_an_error_that_names_it() {
    let endless = Duration::MAX;
    for (params, what) in [
        (limited(|limits| limits.handshake(endless)), "handshake limit"),
        (limited(|limits| limits.authentication(endless)), "authentication limit"),
        (limited(|limits| limits.idle(endless)), "idle limit"),
        (local().close_timeout(endless), "close timeout"),
        (local().stop_timeout(endless), "stop timeout"),
        (local().retry_after(endless), "retry-after time"),
        (local().expiry(endless, Duration::ZERO), "expiry notice"),
        (local().expiry(Duration::ZERO, endless), "expiry grace"),
        (local().heartbeat(Heartbeat::new(endless, HeartbeatMode::Text)), "heartbeat interval"),
        (local().overflow(OverflowPolicy::Wait(endless)), "timeout for room in an outbox"),
    ] {
        assert_eq!(error(&params), ParamsError::Endless(what));
        assert_eq!(error(&params).to_string(), format!("the {what} is longer than ten years"));
    }
    assert_eq!(local().heartbeat(Heartbeat::off()).check(), Ok(()), "off is no time");
}

#[test]
fn sizes_of_parts_and_their_messages_have_bounds() {
    let check = |part, message| local().message_parts(MessageParts::new(part, message)).check();
    let what = "size of a part of a message";
    let least = MessageParts::LEAST_PART;
    for part in [0, 64, least - 1] {
        assert_eq!(check(part, u64::MAX), Err(ParamsError::TooSmall { what, least }));
    }
    let most = MessageParts::MOST_PART;
    assert_eq!(check(most + 1, u64::MAX), Err(ParamsError::TooLarge { what, most }));
    let what = "size limit of messages in parts";
    assert_eq!(check(20_000, 19_999), Err(ParamsError::TooSmall { what, least: 20_000 }));
    assert_eq!((check(least, least as u64), check(most, u64::MAX)), (Ok(()), Ok(())));
}

#[test]
fn a_limit_that_lets_nothing_through_is_an_error() {
    for (params, what) in [
        (limited(|limits| limits.headers(0)), "header limit"),
        (limited(|limits| limits.message_size(0)), "message size limit"),
        (limited(|limits| limits.connections(0)), "limit of connections"),
        (limited(|limits| limits.connections_per_ip(0)), "limit of connections per IP address"),
        (limited(|limits| limits.connections_per_user(0)), "limit of connections per user"),
        (limited(|limits| limits.messages_per_second(0)), "limit of messages per second"),
        (limited(|limits| limits.bytes_per_second(0)), "limit of bytes per second"),
    ] {
        assert_eq!(error(&params), ParamsError::Zero(what));
    }
    let none = limited(|limits| limits.messages_per_second(None).bytes_per_second(None).idle(None));
    assert_eq!(none.check(), Ok(()), "no limit is not a limit of zero");
    assert_eq!(limited(|limits| limits.groups_per_connection(0)).check(), Ok(()), "clients join none");
}

#[cfg(unix)]
#[test]
fn where_no_peer_has_an_address_none_needs_to_be_let_in_by_it() {
    let params = limited(|limits| limits.connections_per_ip(0)).endpoint(Endpoint::unix("/run/chat.sock"));
    assert_eq!(params.check(), Ok(()));
    assert!(params.endpoint(Endpoint::all(0)).check().is_err());
}

#[test]
fn sizes_that_cannot_work_are_errors_that_say_what_can() {
    let small = |what, least| ParamsError::TooSmall { what, least };
    assert_eq!(error(&local().outbox(126)), small("outbox", 127));
    assert_eq!(local().outbox(127).check(), Ok(()), "a control frame fits");
    assert_eq!(error(&limited(|limits| limits.head_size(8191))), small("head size limit", 8192));
    assert_eq!(small("outbox", 127).to_string(), "the outbox is less than 127");
    let large = |what, most| ParamsError::TooLarge { what, most };
    let head = limited(|limits| limits.head_size(usize::MAX));
    assert_eq!(error(&head), large("head size limit", 16 * 1024 * 1024));
    assert_eq!(error(&limited(|limits| limits.headers(32769))), large("header limit", 32768));
    assert_eq!(large("header limit", 32768).to_string(), "the header limit is more than 32768");
}

#[test]
fn subprotocols_are_tokens_and_different() {
    for wrong in ["", "two words", "comma,", "é", "bearer.c2VjcmV0", "websockets-simple+chat"] {
        assert_eq!(error(&local().subprotocols([wrong])), ParamsError::Subprotocol(wrong.to_owned()));
    }
    let twice = ParamsError::SubprotocolTwice("chat".to_owned());
    assert_eq!(error(&local().subprotocols(["chat", "superchat", "chat"])), twice);
    assert_eq!(local().subprotocols(["chat", "websockets-simple"]).check(), Ok(()));
}

#[test]
fn origins_have_a_scheme_and_a_host_and_nothing_behind_it() {
    for wrong in [
        "",
        "example.org",
        "://",
        "https://example.org/",
        "https://example.org/chat",
        "https://example.org?a",
        "https://user@example.org",
        "https://example.org:",
        "https://example.org:99999",
        "https://*.example.org",
        "*",
    ] {
        assert_eq!(error(&local().origins([wrong])), ParamsError::Origin(wrong.to_owned()));
    }
    let right = [
        "https://example.org",
        "http://localhost:8080",
        "https://[::1]:8443",
        "null",
        // Pages of apps.
        "file://",
        "app://.",
        "tauri://localhost",
        "chrome-extension://abcdefgh",
    ];
    assert_eq!(local().origins(right).check(), Ok(()));
}

#[test]
fn an_endpoint_is_given_once() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 8080));
    let twice = local().endpoint(Endpoint::tcp(addr)).endpoint(Endpoint::tcp(addr));
    assert_eq!(error(&twice), ParamsError::EndpointTwice("127.0.0.1:8080".to_owned()));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let chosen = local().endpoint(Endpoint::tcp(any)).endpoint(Endpoint::tcp(any));
    assert_eq!(chosen.check(), Ok(()), "the system chooses two ports");
}

#[cfg(unix)]
#[test]
fn a_socket_has_permissions_that_let_a_client_connect() {
    use crate::net::UnixSocket;

    for mode in [0, 0o555, 0o10_600] {
        let socket = UnixSocket::new("/run/chat.sock").mode(mode);
        let params = local().endpoint(Endpoint::unix(socket));
        assert_eq!(error(&params), ParamsError::SocketMode { path: "/run/chat.sock".to_owned(), mode });
    }
}

#[cfg(feature = "rustls")]
#[test]
fn tls_looks_at_files_now_and_then_and_names_are_those_of_hosts() {
    use crate::net::ServerTls;

    let with = |tls: ServerTls| local().endpoint(Endpoint::all(0).tls(tls));
    let tls = ServerTls::from_pem("", "");
    let what = "certificate watch interval";
    assert_eq!(error(&with(tls.clone().watch_files(Duration::ZERO))), ParamsError::Zero(what));
    assert_eq!(error(&with(tls.clone().watch_files(Duration::MAX))), ParamsError::Endless(what));
    assert_eq!(
        error(&with(tls.clone().watch_files(Duration::from_millis(9)))).to_string(),
        "the certificate watch interval is less than 10ms"
    );
    let named =
        |name: &str| tls.clone().for_name(name, websockets_simple_core::tls::TlsIdentity::pem("", ""));
    for wrong in ["", "*.", "a..b", "two words", "https://example.org"] {
        assert_eq!(error(&with(named(wrong))), ParamsError::ServerName(wrong.to_owned()));
    }
    assert_eq!(with(named("*.rooms.example")).check(), Ok(()));
}

#[test]
fn identity_headers_can_begin_like_that_and_signing_has_a_secret() {
    let wrong = ParamsError::IdentityHeaders("two words".to_owned());
    assert_eq!(error(&local().identity_headers("two words")), wrong);
    assert_eq!(local().identity_headers("X-CHAT").check(), Ok(()));
    for signing in [IdSigning::new(""), IdSigning::new("secret").previous("")] {
        assert_eq!(error(&local().id_signing(signing)), ParamsError::SigningSecret);
    }
    let shown = error(&local().id_signing(IdSigning::new("").previous("hidden"))).to_string();
    assert!(!shown.contains("hidden"));
}

#[tokio::test]
async fn what_is_wrong_is_an_error_of_start_and_opens_no_port() {
    use crate::{run::StartError, server::WebsocketServer};

    let server =
        WebsocketServer::new(limited(|limits| limits.handshake(Duration::MAX).authentication(Duration::MAX)));
    let Err(StartError::Params(error)) = server.start().await else { panic!("it has started") };
    assert_eq!(error, ParamsError::Endless("handshake limit"));
    assert!(!server.is_running() && server.local_addr().is_none());
}

#[cfg(unix)]
#[test]
fn a_limit_of_no_connections_per_address_is_for_servers_whose_clients_have_none() {
    use crate::net::{TrustedProxies, UnixSocket};

    let closed = || limited(|limits| limits.connections_per_ip(0));
    let zero = ParamsError::Zero("limit of connections per IP address");
    assert_eq!(error(&closed()), zero);
    let over_socket = closed().endpoint(Endpoint::unix(UnixSocket::new("/run/chat.sock")));
    assert_eq!(over_socket.check(), Ok(()));
    let named = over_socket.clone().trusted_proxies(TrustedProxies::default().and_unix_sockets());
    assert_eq!(error(&named), zero, "these proxies name clients with addresses");
    assert_eq!(error(&over_socket.endpoint(Endpoint::all(8080))), zero);
}

#[test]
fn the_prefix_of_an_ipv6_address_has_1_to_128_bits() {
    for (bits, expected) in
        [(0, "the IPv6 prefix length is less than 1"), (129, "the IPv6 prefix length is more than 128")]
    {
        assert_eq!(error(&limited(|limits| limits.ipv6_prefix(bits))).to_string(), expected);
    }
    for bits in [1, 48, 64, 128] {
        assert_eq!(limited(|limits| limits.ipv6_prefix(bits)).check(), Ok(()));
    }
}
