//! The request that is sent.

use super::*;

fn head(params: ClientParams) -> String {
    request::head(&params.check().unwrap(), KEY).expose().to_owned()
}

fn host(params: ClientParams) -> String {
    value(&head(params), "Host").unwrap().to_owned()
}

#[test]
fn the_request_is_exact_in_spelling_and_order() {
    let params = ClientParams::new("example.org", 8080)
        .path("/a room")
        .query("name", "J B")
        .header("x-Own", "1")
        .header("Cookie", "a=b")
        .subprotocol("chat")
        .subprotocol("v2")
        .token(SECRET);
    assert_eq!(
        head(params),
        format!(
            "GET /a%20room?name=J+B HTTP/1.1\r\nHost: example.org:8080\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nx-Own: 1\r\n\
             Cookie: a=b\r\nAuthorization: Bearer {SECRET}\r\nSec-WebSocket-Protocol: websockets-simple+chat, chat, \
             websockets-simple+v2, v2\r\n\r\n"
        )
    );
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    assert_eq!(
        head(ClientParams::new("localhost", 80)),
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )
    );
}

#[test]
fn a_host_header_has_the_port_unless_it_is_the_usual_one() {
    assert_eq!(host(ClientParams::new("example.org", 80)), "example.org");
    assert_eq!(host(ClientParams::new("example.org", 443).secured(true)), "example.org");
    assert_eq!(host(ClientParams::new("example.org", 443)), "example.org:443");
    assert_eq!(host(ClientParams::new("example.org", 80).secured(true)), "example.org:80");
    assert_eq!(host(ClientParams::new("127.0.0.1", 9000)), "127.0.0.1:9000");
    assert_eq!(host(ClientParams::url("wss://example.org:443/").unwrap()), "example.org");
    assert_eq!(host(ClientParams::new("bücher.example", 8080)), "xn--bcher-kva.example:8080");
}

#[test]
fn a_host_header_has_ipv6_in_brackets() {
    for given in ["::1", "[::1]", "0:0:0:0:0:0:0:1"] {
        assert_eq!(host(ClientParams::new(given, 9000)), "[::1]:9000");
        assert_eq!(host(ClientParams::new(given, 80)), "[::1]");
    }
}

#[test]
fn a_host_header_of_ones_own_is_sent_once_and_in_the_first_place() {
    let params = ClientParams::new("127.0.0.1", 9000)
        .header("host", "first.example")
        .header("X-Other", "1")
        .header("HOST", "virtual.example:1");
    let head = head(params);
    assert!(head.starts_with("GET / HTTP/1.1\r\nHost: virtual.example:1\r\nConnection: "), "{head}");
    assert_eq!(head.to_lowercase().matches("\r\nhost:").count(), 1);
}

#[test]
fn headers_of_ones_own_do_not_take_the_port_from_the_host() {
    let params =
        ClientParams::new("localhost", 9000).header("X-Forwarded-Host", "elsewhere").header("X-A", "");
    assert_eq!(host(params), "localhost:9000");
}

#[test]
fn each_placement_shows_the_token_in_one_place_only() {
    for (placement, line) in [
        (TokenPlacement::Header, "Authorization: Bearer secret-7\r\n"),
        (TokenPlacement::Path, "GET /secret-7?a=b HTTP/1.1\r\n"),
        (TokenPlacement::Query, "GET /room?a=b&token=secret-7 HTTP/1.1\r\n"),
        (TokenPlacement::Subprotocol, ", chat, bearer.c2VjcmV0LTc\r\n"),
    ] {
        let params = ClientParams::new("h", 1).path("/room").query("a", "b").subprotocol("chat");
        let head = head(params.token(SECRET).token_placement(placement));
        assert!(head.contains(line), "{placement:?}: {head}");
        assert_eq!(head.matches(SECRET).count() + head.matches("c2VjcmV0LTc").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn the_head_is_sent_in_one_piece() {
    let (listener, params) = listener().await;
    let params = params.path("x".repeat(4000)).token(SECRET).subprotocol("chat");
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::with_capacity(64 * 1024);
        // One read takes the bytes of one write.
        stream.read_buf(&mut head).await.unwrap();
        String::from_utf8(head).unwrap()
    };
    let (head, dialed) = tokio::join!(server, dial(params));
    assert!(dialed.is_err(), "the server hangs up");
    assert!(head.starts_with("GET /xxx") && head.ends_with("+chat, chat\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn every_dial_has_a_key_of_its_own() {
    let mut keys = Vec::new();
    for _ in 0..3 {
        let (head, _) = exchange(|params| params, |_| Vec::new()).await;
        let key = value(&head, "Sec-WebSocket-Key").unwrap().to_owned();
        assert!(key.len() == 24 && !keys.contains(&key), "{key}");
        keys.push(key);
    }
}
