//! A plain request is read twice: by `plain.rs`, and by the HTTP library. The peer and the application must not be able
//! to tell which of them it was.

use proptest::{
    collection::vec, option, prelude::*, sample::select, string::bytes_regex, test_runner::TestCaseError,
};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::handshake::plain::{Beginning, begin};

const CHROME: &str = "GET /room?lang=en HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\n\
    Origin: https://chat.example\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-US,en;q=0.9\r\nCookie: theme=dark; session=1\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

const FIREFOX: &str = "GET / HTTP/1.1\r\nHost: chat.example\r\nAccept: */*\r\nSec-WebSocket-Version: 13\r\n\
    Origin: null\r\nSec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Connection: keep-alive, Upgrade\r\nSec-Fetch-Mode: websocket\r\nUpgrade: websocket\r\n\r\n";

/// What is told of one handshake, to the peer and to the application.
async fn told<I: Identity>(host: &TestServer<I>, by: Reader, request: &[u8], hangs_up: bool) -> String {
    let (mut client, stream) = duplex(ROOM);
    client.write_all(request).await.unwrap();
    if hangs_up {
        client.shutdown().await.unwrap();
    }
    let shaking = tokio::time::timeout(Duration::from_secs(60), shake_by(host, stream, by));
    let ended = match shaking.await {
        Err(_) => "waits".to_owned(),
        Ok(Err(ended)) => format!("{ended:?}"),
        Ok(Ok(Opened { leftover, admitted, mut stream })) => {
            let Admitted { head, subprotocol, farewell, client, heartbeat, .. } = *admitted;
            // What came behind the request, wherever it is now.
            let mut behind = leftover.to_vec();
            let more = stream.read_to_end(&mut behind);
            let _ = tokio::time::timeout(Duration::from_secs(1), more).await;
            let (length, behind) = (behind.len(), &behind[..behind.len().min(7)]);
            format!("{head:?} {subprotocol:?} {farewell:?} {client:?} {heartbeat:?} {length} {behind:?}")
        }
    };
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    format!("{ended}\n{:?}\n{}", host.diary(), String::from_utf8_lossy(&answer))
}

/// Compares both readers; answers what they tell.
fn same(runtime: &Runtime, request: &[u8], hangs_up: bool) -> Result<String, TestCaseError> {
    let params = || ServerParams::local().subprotocols(["chat", "x"]).origins(["https://chat.example"]);
    let told_by = |by| {
        runtime.block_on(async {
            let anonymous = told(&open_to_all(params()), by, request, hangs_up).await;
            let farewell = params().unauthorized_delivery(UnauthorizedDelivery::UpgradeAndClose);
            let users = told(&with_users(farewell, Mood::Knows), by, request, hangs_up).await;
            format!("{anonymous}\n{users}")
        })
    };
    let (ours, theirs) = (told_by(Reader::Ours), told_by(Reader::Library));
    prop_assert_eq!(&ours, &theirs, "{}", String::from_utf8_lossy(request));
    Ok(ours)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

async fn is_plain(request: &str) -> bool {
    let (mut client, mut stream) = duplex(ROOM);
    client.write_all(request.as_bytes()).await.unwrap();
    matches!(begin(&mut stream, Bytes::new(), &Limits::default()).await, Beginning::Plain(..))
}

#[tokio::test]
async fn requests_of_browsers_and_of_our_client_are_plain() {
    for request in [CHROME, FIREFOX, &request("/", ""), &request_with_token("/a?b=c")] {
        assert!(is_plain(request).await, "{request}");
    }
}

#[tokio::test]
async fn what_has_another_meaning_in_http_is_not_plain() {
    let plain = request("/", "");
    for other in [
        plain.replace("GET", "POST"),
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        plain.replace("Upgrade: websocket", "Upgrade: h2c"),
        plain.replace("Connection: Upgrade", "Connection: close, Upgrade"),
        request("/", "Content-Length: 0\r\n"),
        request("/", "Transfer-Encoding: chunked\r\n"),
        request("/", "Expect: 100-continue\r\n"),
        request("/", &"X: y\r\n".repeat(100)),
        plain[..plain.len() - 1].to_owned(),
        String::from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        assert!(!is_plain(&other).await, "{other}");
    }
}

/// The lines that requests are made of.
const LINES: [&str; 34] = [
    "Host: chat.example",
    "Host: chat.example",
    "Connection: Upgrade",
    "Connection: keep-alive, upgrade",
    "Connection: close",
    "Connection: close, Upgrade",
    "Connection:",
    "Upgrade: websocket",
    "Upgrade: h2c, WebSocket",
    "Upgrade: h2c",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Version: 13 \t",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
    "Sec-WebSocket-Protocol: chat",
    "Sec-WebSocket-Protocol: nothing",
    "Sec-WebSocket-Protocol: websockets-simple, bearer.c2VjcmV0LTc",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Sec-WebSocket-Extensions: permessage-deflate; x=",
    "Authorization: Bearer secret-7",
    "Authorization: Bearer other",
    "Origin: https://chat.example",
    "Origin: https://evil.example",
    "Content-Length: 0",
    "Content-Length: 7",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "X-Forwarded-For: 203.0.113.9",
    "X: caf\u{e9}",
    "X: ",
    "X : space",
    " folded",
    "no colon",
];

/// A request that is nearly right.
fn a_request() -> impl Strategy<Value = Vec<u8>> {
    let line = |usual: &[&'static str], lines: &[&'static str]| prop_oneof![9 => select(usual.to_vec()), 1 => select(lines.to_vec())];
    let first = (
        line(&["GET"], &["POST", "HEAD", "get", "CONNECT", "", "\r\nGET", "\nGET"]),
        line(
            &["/", "/room", "/a%20b?x=1&y"],
            &[
                "*",
                "",
                "http://chat.example/room",
                "chat:1",
                "/%ff",
                "/\u{e9}",
                "/a#b",
                "//",
                "/?token=secret-7",
            ],
        ),
        line(&["HTTP/1.1"], &["HTTP/1.0", "HTTP/2.0", "http/1.1", ""]),
        line(&["\r\n"], &["\n", "\r\n ", "\r\r\n"]),
    );
    let needed = [
        "Host: chat.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let kept = vec(prop::bool::weighted(0.97), needed.len());
    let more = vec(select(LINES.to_vec()), 0..4);
    let behind = prop_oneof![3 => Just(Vec::new()), 1 => bytes_regex(r"(?s-u:.{0,7})").unwrap()];
    let changed = option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (first, kept, more, behind, changed).prop_flat_map(move |(first, kept, more, behind, changed)| {
        let (method, target, version, end) = first;
        let needed = needed.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(line, _)| line);
        let lines: Vec<_> = needed.chain(more).collect();
        Just(lines).prop_shuffle().prop_map(move |lines| {
            let mut request = format!("{method} {target} {version}{end}").into_bytes();
            for line in lines {
                request.extend_from_slice(line.as_bytes());
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"\r\n");
            if let Some((place, byte)) = &changed {
                let place = place.index(request.len());
                request[place] = *byte;
            }
            request.extend_from_slice(&behind);
            request
        })
    })
}

proptest! {
    #[test]
    fn neither_the_peer_nor_the_application_can_tell_who_has_read_a_request(
        request in a_request(),
        hangs_up in prop::bool::weighted(0.1),
    ) {
        same(&runtime(), &request, hangs_up)?;
    }
}

#[test]
fn both_readers_tell_the_same_of_requests_as_they_come() {
    let runtime = runtime();
    for (request, expected) in [
        (CHROME, "HTTP/1.1 101 "),
        (FIREFOX, "HTTP/1.1 403 "),
        (&*request("/?token=other", ""), "Websockets-Simple-Verdict"),
        (&request("/%ff", ""), "HTTP/1.1 400 "),
        (&request("/", "Sec-WebSocket-Protocol: other\r\n"), "HTTP/1.1 400 "),
        (&request("/", "Sec-WebSocket-Version: 13\r\n"), "HTTP/1.1 400 "),
        (&request("/", "").replace("13", "8"), "Sec-Websocket-Version: 13\r\n"),
        (&(request("/", "") + "frames"), "[102, 114, 97, 109, 101, 115]"),
        (&(request("/", "") + &"x".repeat(5000)), "HTTP/1.1 101 "),
        (&request("/", &format!("X: {}\r\n", "x".repeat(5000))), "HTTP/1.1 101 "),
        (&request("/", &format!("X: {}\r\n", "x".repeat(20_000))), "HTTP/1.1 431 "),
    ] {
        for hangs_up in [false, true] {
            let told = same(&runtime, request.as_bytes(), hangs_up).unwrap();
            assert!(hangs_up || told.contains(expected), "{request}\n{told}");
        }
    }
}
