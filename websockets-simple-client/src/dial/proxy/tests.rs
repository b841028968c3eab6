//! Exchanges with scripted proxies, in memory.

use std::time::Duration;

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::Builder,
};
use websockets_simple_core::Token;

use super::*;
use crate::config::{Credentials, Host};

const SECRET: &str = "secret-7";

/// What a SOCKS5 proxy sends that wants no credentials, and one that does; both come from 10.0.0.1:80.
const GRANTED: &[u8] = b"\x05\x00\x05\x00\x00\x01\x0a\x00\x00\x01\x00\x50";
const GRANTED_BY_PASSWORD: &[u8] = b"\x05\x02\x01\x00\x05\x00\x00\x01\x0a\x00\x00\x01\x00\x50";

fn credentials() -> Option<Credentials> {
    Some(Credentials { user: Token::new("ronald"), password: Token::new(SECRET) })
}

/// Asks on a stream whose other end does this.
async fn asked<F: Future<Output = T>, T>(
    kind: ProxyKind,
    host: &str,
    credentials: Option<Credentials>,
    proxy: impl FnOnce(DuplexStream) -> F,
) -> (Result<(), ProxyError>, T) {
    let host = Host::parse(host).unwrap();
    let (mut near, far) = duplex(64);
    let asking = async {
        let asked = match kind {
            ProxyKind::Http => http::tunnel(&mut near, &host, 443, credentials.as_ref()).await,
            ProxyKind::Socks5 => socks5::tunnel(&mut near, &host, 443, credentials.as_ref()).await,
        };
        // The other end sees that nothing more comes, and can send on.
        drop(near);
        asked
    };
    let (asked, proxy) = tokio::join!(asking, proxy(far));
    if let Err(error) = &asked {
        let source = std::error::Error::source(error).map(ToString::to_string);
        let shown = format!("{error:?} {error} {source:?}");
        assert!(!shown.contains(SECRET) && !shown.contains("ronald"), "{shown}");
    }
    (asked, proxy)
}

/// Asks a proxy that sends these pieces and hangs up, and returns what it got.
async fn answered(
    kind: ProxyKind,
    credentials: Option<Credentials>,
    pieces: &[&[u8]],
) -> (Result<(), ProxyError>, Vec<u8>) {
    asked(kind, "chat.example", credentials, async |stream| {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut got = Vec::new();
        let sends = async {
            for piece in pieces {
                if writing.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = writing.shutdown().await;
        };
        let reads = reading.read_to_end(&mut got);
        let _ = tokio::join!(sends, reads);
        got
    })
    .await
}

async fn http(answer: impl AsRef<[u8]>) -> Result<(), ProxyError> {
    answered(ProxyKind::Http, credentials(), &[answer.as_ref()]).await.0
}

async fn socks5(answer: &[u8]) -> Result<(), ProxyError> {
    answered(ProxyKind::Socks5, credentials(), &[answer]).await.0
}

fn bad(asked: Result<(), ProxyError>) -> &'static str {
    match asked {
        Err(ProxyError::BadResponse(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_http_proxy_is_asked_for_the_server_by_name_and_shown_the_credentials() {
    let ok = b"HTTP/1.1 200 Connection established\r\n\r\n";
    for (host, shown) in [("chat.example", "chat.example"), ("::1", "[::1]"), ("fe80::1%eth0", "[fe80::1]")] {
        let (asked, got) = asked(ProxyKind::Http, host, None, async |mut stream| {
            let mut got = String::new();
            stream.write_all(ok).await.unwrap();
            stream.read_to_string(&mut got).await.unwrap();
            got
        })
        .await;
        asked.unwrap();
        assert_eq!(got, format!("CONNECT {shown}:443 HTTP/1.1\r\nHost: {shown}:443\r\n\r\n"));
    }
    let (asked, got) = answered(ProxyKind::Http, credentials(), &[ok]).await;
    asked.unwrap();
    let got = String::from_utf8(got).unwrap();
    assert!(got.ends_with("\r\nProxy-Authorization: Basic cm9uYWxkOnNlY3JldC03\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn an_http_proxy_that_says_2xx_has_connected_whatever_else_its_head_says() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
        "HTTP/1.1 204\r\nContent-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        http(head).await.unwrap();
        let bytes: Vec<_> = head.as_bytes().chunks(1).collect();
        answered(ProxyKind::Http, None, &bytes).await.0.unwrap();
    }
}

#[tokio::test]
async fn an_http_proxy_that_refuses_says_why() {
    assert!(matches!(
        http("HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\n\r\nx").await,
        Err(ProxyError::Unauthorized)
    ));
    for (answer, status, wait) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", 403, None),
        ("HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\ngone", 502, None),
        ("HTTP/1.1 503 Busy\r\nRetry-After: 120\r\n\r\n", 503, Some(120)),
        ("HTTP/1.1 503 Busy\r\nRetry-After: 120\r\n", 503, Some(120)),
        ("HTTP/1.1 503 Busy\r\nRetry-After: 12", 503, None),
        ("HTTP/1.1 302 Sign in\r\nLocation: http://portal/\r\n\r\n", 302, None),
        ("HTTP/1.1 101 Switching\r\n\r\n", 101, None),
    ] {
        match http(answer).await {
            Err(ProxyError::Rejected { status: said, retry_after }) => {
                assert_eq!((said, retry_after), (status, wait.map(Duration::from_secs)), "{answer}");
            }
            other => panic!("{answer}: {other:?}"),
        }
    }
    let large = format!("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nX: {}", "x".repeat(20_000));
    let error = http(large).await.unwrap_err();
    assert!(matches!(error, ProxyError::Rejected { status: 429, retry_after: Some(_) }), "{error:?}");
}

#[tokio::test]
async fn an_http_answer_that_is_cut_anywhere_is_a_connection_that_was_lost() {
    let answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for size in 0..answer.len() {
        let cut = http(&answer[..size]).await;
        assert!(matches!(cut, Err(ProxyError::Lost(_))), "{size}: {cut:?}");
    }
    let refusal = b"HTTP/1.1 407 Who are you\r\nA: b\r\n\r\n";
    for size in 0..refusal.len() {
        let cut = http(&refusal[..size]).await;
        match size {
            0..26 => assert!(matches!(cut, Err(ProxyError::Lost(_))), "{size}: {cut:?}"),
            _ => assert!(matches!(cut, Err(ProxyError::Unauthorized)), "{size}: {cut:?}"),
        }
    }
}

#[tokio::test]
async fn an_http_answer_that_is_garbage_too_large_or_followed_by_bytes_is_none() {
    assert_eq!(bad(http("SSH-2.0-OpenSSH_9.9\r\n").await), "it is not HTTP");
    assert_eq!(bad(http(GRANTED).await), "it is not HTTP");
    assert_eq!(bad(http("HTTP/1.1 2x0 OK\r\n\r\n").await), "the status code is missing or malformed");
    assert_eq!(bad(http("HTTP/1.1 200 OK\r\n\r\n\x16\x03").await), "bytes follow its head");
    assert_eq!(bad(http("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await), "bytes follow its head");
    let large = |size: usize| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(size - 24));
    http(large(16 * 1024)).await.unwrap();
    assert_eq!(bad(http(large(16 * 1024 + 1)).await), "its head is larger than 16 KiB");
    assert_eq!(bad(http("HTTP/1.1 100 Wait\r\n\r\n".repeat(2000)).await), "its head is larger than 16 KiB");
}

#[tokio::test]
async fn a_socks5_proxy_is_asked_for_names_and_addresses() {
    for (host, kind, address) in [
        ("chat.example", 3, b"\x0cchat.example".as_slice()),
        ("10.0.0.7", 1, b"\x0a\x00\x00\x07"),
        ("fe80::1%eth0", 4, b"\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
    ] {
        let (asked, got) = asked(ProxyKind::Socks5, host, None, async |mut stream| {
            let mut got = Vec::new();
            stream.write_all(GRANTED).await.unwrap();
            stream.read_to_end(&mut got).await.unwrap();
            got
        })
        .await;
        asked.unwrap();
        let request = [b"\x05\x01\x00\x05\x01\x00", &[kind][..], address, b"\x01\xbb"].concat();
        assert_eq!(got, request, "{host}");
    }
}

#[tokio::test]
async fn a_socks5_proxy_is_shown_the_credentials_if_it_asks_for_them() {
    let request = b"\x05\x01\x00\x03\x0cchat.example\x01\xbb";
    let (asked, got) = answered(ProxyKind::Socks5, credentials(), &[GRANTED_BY_PASSWORD]).await;
    asked.unwrap();
    assert_eq!(got, [b"\x05\x02\x00\x02\x01\x06ronald\x08secret-7", request.as_slice()].concat());
    let (asked, got) = answered(ProxyKind::Socks5, credentials(), &[GRANTED]).await;
    asked.unwrap();
    assert_eq!(got, [b"\x05\x02\x00\x02", request.as_slice()].concat());
    // Not shown where they were not given.
    let asked = answered(ProxyKind::Socks5, None, &[b"\x05\x02"]).await.0;
    assert_eq!(bad(asked), "it asks for authentication that was not offered");
}

#[tokio::test]
async fn a_socks5_proxy_that_refuses_says_why() {
    for refusal in [&b"\x05\xff"[..], b"\x05\x02\x01\x01", b"\x05\x02\x05\xff"] {
        let refused = socks5(refusal).await;
        assert!(matches!(refused, Err(ProxyError::Unauthorized)), "{refusal:?}: {refused:?}");
    }
    for (code, why, again) in [
        (1, "it failed", true),
        (2, "its rules do not allow it", false),
        (3, "the network cannot be reached", true),
        (4, "the host cannot be reached", true),
        (5, "the server refused the connection", true),
        (6, "the time to live expired", true),
        (7, "it does not support connections to servers", false),
        (8, "it does not support this kind of address", false),
        (9, "it gave no reason that is known", true),
        (255, "it gave no reason that is known", true),
    ] {
        // What is behind the code is not waited for.
        let error = socks5(&[5, 0, 5, code, 0, 1]).await.unwrap_err();
        assert!(matches!(error, ProxyError::Socks5(said) if said == code), "{error:?}");
        let text = format!("the proxy did not connect to the server: {why} (SOCKS5 reply {code})");
        assert_eq!(error.to_string(), text);
        assert_eq!(crate::ConnectError::Proxy(error).is_worth_retrying(), again, "{code}");
    }
}

#[tokio::test]
async fn a_socks5_answer_that_is_cut_anywhere_is_a_connection_that_was_lost() {
    for answer in [GRANTED_BY_PASSWORD, b"\x05\x00\x05\x00\x00\x03\x03abc\x00\x50", &[5, 0, 5, 0, 0, 4]] {
        for size in 0..answer.len() {
            let cut = socks5(&answer[..size]).await;
            assert!(matches!(cut, Err(ProxyError::Lost(_))), "{size}: {cut:?}");
        }
    }
}

#[tokio::test]
async fn a_socks5_answer_is_read_to_its_end_and_no_further() {
    let longest = [b"\x05\x00\x05\x00\x00\x03\xff".as_slice(), &[b'x'; 255], b"\x00\x50"].concat();
    let ipv6 = [b"\x05\x00\x05\x00\x00\x04".as_slice(), &[0; 18]].concat();
    let unnamed = b"\x05\x00\x05\x00\x00\x03\x00\x00\x50".to_vec();
    for answer in [GRANTED.to_vec(), longest, ipv6, unnamed] {
        let host = Host::parse("chat.example").unwrap();
        let (mut near, mut far) = duplex(1024);
        far.write_all(&answer).await.unwrap();
        far.write_all(b"behind").await.unwrap();
        socks5::tunnel(&mut near, &host, 443, None).await.unwrap();
        let mut behind = [0; 6];
        near.read_exact(&mut behind).await.unwrap();
        assert_eq!(&behind, b"behind");
    }
}

#[tokio::test]
async fn a_socks5_answer_that_is_garbage_is_none() {
    assert_eq!(bad(socks5(b"HTTP/1.1 400 Bad Request\r\n\r\n").await), "it is not SOCKS5");
    assert_eq!(bad(socks5(b"\x04\x00").await), "it is not SOCKS5");
    assert_eq!(bad(socks5(b"\x05\x00\x04\x00\x00\x01").await), "it is not SOCKS5");
    assert_eq!(bad(socks5(b"\x05\x01").await), "it asks for authentication that was not offered");
    assert_eq!(bad(socks5(b"\x05\x00\x05\x00\x00\x02").await), "its address is of an unknown kind");
}

/// A stream that says nothing, or only so much.
async fn stalls(kind: ProxyKind, answer: &[u8]) -> bool {
    let stalled = asked(kind, "chat.example", credentials(), async |mut stream| {
        let _ = stream.write_all(answer).await;
        std::future::pending::<()>().await;
    });
    tokio::time::timeout(Duration::from_secs(3600), stalled).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn an_exchange_waits_for_a_silent_proxy_as_the_connect_timeout_bounds_it() {
    let head = b"HTTP/1.1 200 OK\r\n\r";
    for size in 0..=head.len() {
        assert!(stalls(ProxyKind::Http, &head[..size]).await, "{size}");
    }
    for size in 0..GRANTED_BY_PASSWORD.len() {
        assert!(stalls(ProxyKind::Socks5, &GRANTED_BY_PASSWORD[..size]).await, "{size}");
    }
}

/// Pieces of what proxies say, so that random answers get further than their first byte.
fn answers() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known = prop::sample::select(vec![
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"HTTP/1.1 100 \r\n\r\n".to_vec(),
        b"HTTP/1.0 407 \r\nRetry-After: ".to_vec(),
        b"\r\n\r\n".to_vec(),
        b"\x05\x02\x01\x00".to_vec(),
        b"\x05\x00\x05\x00\x00\x03".to_vec(),
        b"\x05\x00\x05\x00\x00\x04".to_vec(),
    ]);
    prop::collection::vec(prop_oneof![known, prop::collection::vec(any::<u8>(), 0..300)], 0..80)
}

proptest! {
    #[test]
    fn any_answer_ends_the_exchange_without_a_panic(pieces in answers(), with_credentials: bool) {
        let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        for kind in [ProxyKind::Http, ProxyKind::Socks5] {
            let credentials = credentials().filter(|_| with_credentials);
            let (_, got) = runtime.block_on(answered(kind, credentials, &pieces));
            prop_assert!(got.len() < 200);
        }
    }
}

#[test]
fn an_endless_answer_is_not_kept() {
    /// Counts what is read of an endless answer.
    struct Endless(&'static [u8], usize);

    impl tokio::io::AsyncRead for Endless {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            while buf.remaining() > 0 {
                let at = self.1;
                // Its first byte only once, the others again and again.
                let next = self.0.get(at).copied().unwrap_or(b'x');
                buf.put_slice(&[next]);
                self.1 += 1;
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    let host = Host::parse("chat.example").unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    for (kind, beginning, most) in [
        (ProxyKind::Http, b"HTTP/1.1 200 OK\r\nX: ".as_slice(), 16 * 1024),
        (ProxyKind::Socks5, b"\x05\x00\x05\x00\x00\x03\xff".as_slice(), 300),
    ] {
        let mut stream = tokio::io::join(Endless(beginning, 0), tokio::io::sink());
        runtime.block_on(async {
            match kind {
                ProxyKind::Http => assert!(http::tunnel(&mut stream, &host, 443, None).await.is_err()),
                ProxyKind::Socks5 => socks5::tunnel(&mut stream, &host, 443, None).await.unwrap(),
            }
        });
        assert!(stream.reader().1 <= most, "{kind:?}: {}", stream.reader().1);
    }
}
