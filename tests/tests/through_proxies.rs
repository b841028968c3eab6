//! Clients that connect through proxies of HTTP and SOCKS5.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use websockets_simple_client::{
    ClientEvent, ClientParams, ClientState, ConnectError, LossCause, Proxy, ProxyError, Reconnect,
    WebsocketClient,
};
use websockets_simple_server::{ConnectionEventKind, ServerParams, ServerTls};
use websockets_simple_tests::{
    authority::{Authority, secured},
    captured::Captured,
    connected,
    echo::{assert_echo, echoing},
    started, within,
};

/// A name that only the proxy can resolve (RFC 6761 section 6.4).
const HOST: &str = "chat.invalid";

/// What all tests of this file trace.
static TRACED: LazyLock<Captured> = LazyLock::new(Captured::everything);

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Http,
    Socks5,
}

const KINDS: [Kind; 2] = [Kind::Http, Kind::Socks5];

/// How a proxy treats a connection.
#[derive(Clone, Debug)]
enum Manner {
    Connect,
    /// Only for this user and password.
    Ask(&'static str, &'static str),
    HangUp,
    Stall,
    /// An HTTP status, or a reply of SOCKS5.
    Refuse(u16),
}

/// A proxy that connects to one server, whatever it is asked for.
struct TestProxy {
    kind: Kind,
    addr: SocketAddr,
    /// The servers that it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    /// Treats the connections in this manner, the last one for all that come later.
    async fn start(kind: Kind, server: SocketAddr, manners: impl IntoIterator<Item = Manner>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let mut manners: VecDeque<_> = manners.into_iter().collect();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let manner = if manners.len() > 1 { manners.pop_front() } else { manners.front().cloned() };
                let (noted, manner) = (Arc::clone(&noted), manner.unwrap());
                tokio::spawn(async move {
                    match kind {
                        Kind::Http => over_http(stream, server, manner, &noted).await,
                        Kind::Socks5 => over_socks5(stream, server, manner, &noted).await,
                    }
                });
            }
        });
        Self { kind, addr, asked }
    }

    fn proxy(&self) -> Proxy {
        match self.kind {
            Kind::Http => Proxy::http(&format!("http://{}", self.addr)).unwrap(),
            Kind::Socks5 => Proxy::socks5(&format!("socks5://{}", self.addr)).unwrap(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn relay(mut stream: TcpStream, server: SocketAddr) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}

async fn over_http(mut stream: TcpStream, server: SocketAddr, manner: Manner, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    asked.lock().unwrap().push(target.to_owned());
    let answer = match manner {
        Manner::HangUp => return,
        Manner::Stall => return std::future::pending().await,
        Manner::Refuse(status) => format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno"),
        Manner::Ask(user, password) => {
            let expected = BASE64_STANDARD.encode(format!("{user}:{password}"));
            match head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: Basic ")) {
                Some(shown) if shown == expected => String::new(),
                shown => format!(
                    "HTTP/1.1 407 Not {}\r\nProxy-Authenticate: Basic\r\n\r\n",
                    shown.unwrap_or("without any")
                ),
            }
        }
        Manner::Connect => String::new(),
    };
    let is_refusal = !answer.is_empty();
    let answer = if is_refusal { answer } else { "HTTP/1.1 200 Connection established\r\n\r\n".to_owned() };
    stream.write_all(answer.as_bytes()).await.unwrap();
    if !is_refusal {
        relay(stream, server).await;
    }
}

async fn counted(stream: &mut TcpStream) -> Vec<u8> {
    let size = stream.read_u8().await.unwrap();
    let mut bytes = vec![0; size.into()];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn over_socks5(mut stream: TcpStream, server: SocketAddr, manner: Manner, asked: &Mutex<Vec<String>>) {
    assert_eq!(stream.read_u8().await.unwrap(), 5);
    let methods = counted(&mut stream).await;
    match manner {
        Manner::HangUp => return,
        Manner::Stall => return std::future::pending().await,
        Manner::Ask(..) if !methods.contains(&2) => return stream.write_all(&[5, 0xff]).await.unwrap(),
        Manner::Ask(user, password) => {
            stream.write_all(&[5, 2]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 1);
            let shown = (counted(&mut stream).await, counted(&mut stream).await);
            let is_right = shown == (user.into(), password.into());
            stream.write_all(&[1, u8::from(!is_right)]).await.unwrap();
            if !is_right {
                return;
            }
        }
        Manner::Connect | Manner::Refuse(_) => stream.write_all(&[5, 0]).await.unwrap(),
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, [5, 1, 0, 3], "a connect to a name");
    let name = String::from_utf8(counted(&mut stream).await).unwrap();
    let port = stream.read_u16().await.unwrap();
    asked.lock().unwrap().push(format!("{name}:{port}"));
    let reply = if let Manner::Refuse(reply) = manner { u8::try_from(reply).unwrap() } else { 0 };
    stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    if reply == 0 {
        relay(stream, server).await;
    }
}

fn to_host(secured: Option<&Authority>) -> ClientParams {
    match secured {
        None => ClientParams::new(HOST, 8080),
        Some(authority) => {
            ClientParams::new(HOST, 443).secured(true).root_pem(authority.pem()).only_given_roots()
        }
    }
}

async fn refused(params: ClientParams) -> ProxyError {
    let client = WebsocketClient::new(params).unwrap();
    match within(client.connect()).await {
        Err(ConnectError::Proxy(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_connects_through_a_proxy_that_resolves_the_name_with_and_without_tls() {
    let authority = Authority::default();
    for kind in KINDS {
        for is_secured in [false, true] {
            let params = if is_secured {
                secured(ServerTls::new(authority.issue(&[HOST], |_| ()).identity()))
            } else {
                ServerParams::local()
            };
            let server = echoing(params);
            let addr = started(&server).await;
            let proxy = TestProxy::start(kind, addr, [Manner::Connect]).await;
            let params = to_host(is_secured.then_some(&authority)).proxy(proxy.proxy());
            let client = connected(params).await;
            let connection = client.connection().unwrap();
            assert_eq!(connection.peer_addr(), Some(proxy.addr));
            assert_eq!(connection.tls().is_some(), is_secured);
            assert_echo(&client).await;
            let expected = if is_secured { "chat.invalid:443" } else { "chat.invalid:8080" };
            assert_eq!(proxy.asked(), [expected], "{kind:?}");
            within(client.disconnect()).await;
            within(server.stop()).await;
        }
    }
}

#[tokio::test]
async fn the_name_of_the_proxy_is_resolved_by_the_resolver_of_the_client() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let proxy = TestProxy::start(Kind::Http, addr, [Manner::Connect]).await;
    let to = proxy.addr;
    let named = Proxy::http("http://proxy.invalid:3128").unwrap();
    let params = to_host(None).proxy(named).resolver(move |host: String, _: u16| async move {
        assert_eq!(host, "proxy.invalid");
        Ok(vec![to])
    });
    assert_echo(&connected(params).await).await;
    within(server.stop()).await;
}

#[tokio::test]
async fn hosts_that_are_excepted_are_reached_without_the_proxy() {
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let proxy = TestProxy::start(Kind::Socks5, addr, [Manner::Connect]).await;
    let params = ClientParams::new(HOST, addr.port()).resolve(HOST, [addr]);
    let client = connected(params.proxy(proxy.proxy().except(["invalid"]))).await;
    assert_eq!(client.connection().unwrap().peer_addr(), Some(addr));
    assert_eq!(proxy.asked(), Vec::<String>::new());
    within(server.stop()).await;
}

#[tokio::test]
async fn wrong_credentials_are_an_error_that_a_reconnecting_client_stops_at() {
    for kind in KINDS {
        let proxy =
            TestProxy::start(kind, ([127, 0, 0, 1], 1).into(), [Manner::Ask("ronald", "right")]).await;
        for proxy in [proxy.proxy(), proxy.proxy().credentials("ronald", "wr0ng")] {
            let reconnect = Reconnect::new().first(true);
            let client = WebsocketClient::new(to_host(None).proxy(proxy).reconnect(reconnect)).unwrap();
            let mut events = client.events();
            let error = within(client.connect()).await.unwrap_err();
            assert!(matches!(error, ConnectError::Proxy(ProxyError::Unauthorized)), "{kind:?}: {error:?}");
            let ClientState::GivenUp(loss) = client.state() else { panic!("{:?}", client.state()) };
            let LossCause::Refused(why) = &loss.cause else { panic!("{loss:?}") };
            assert!(matches!(**why, ConnectError::Proxy(ProxyError::Unauthorized)));
            let mut refusals = 0;
            while let Some(event) = events.try_recv() {
                assert!(!format!("{event:?}").contains("wr0ng"), "{event:?}");
                let ClientEvent::Connection(event) = event else { continue };
                refusals += u32::from(matches!(event.kind, ConnectionEventKind::Refused(..)));
            }
            assert_eq!(refusals, 1);
        }
    }
}

#[tokio::test]
async fn a_reconnecting_client_outlives_a_proxy_that_hangs_up_or_cannot_reach_the_server() {
    for (kind, busy) in [(Kind::Http, 503), (Kind::Socks5, 5)] {
        let server = echoing(ServerParams::local());
        let addr = started(&server).await;
        let manners = [Manner::HangUp, Manner::Refuse(busy), Manner::Connect];
        let proxy = TestProxy::start(kind, addr, manners).await;
        let delay = Duration::from_millis(1);
        let reconnect = Reconnect::new().first(true).delays(delay, delay);
        let client = WebsocketClient::new(to_host(None).proxy(proxy.proxy()).reconnect(reconnect)).unwrap();
        within(client.connect()).await.unwrap();
        assert_echo(&client).await;
        within(client.disconnect()).await;
        within(server.stop()).await;
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_hangs_up_or_is_not_there_is_told_apart_from_the_server() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for (kind, code) in [(Kind::Http, 403), (Kind::Socks5, 2)] {
        let proxy = TestProxy::start(kind, nowhere, [Manner::Refuse(code), Manner::HangUp]).await;
        let params = to_host(None).proxy(proxy.proxy());
        match refused(params.clone()).await {
            ProxyError::Rejected { status, .. } => assert_eq!((kind, status), (Kind::Http, 403)),
            ProxyError::Socks5(reply) => assert_eq!((kind, reply), (Kind::Socks5, 2)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(refused(params).await, ProxyError::Lost(_)), "{kind:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::http(&closed.to_string()).unwrap();
    assert!(matches!(refused(to_host(None).proxy(proxy)).await, ProxyError::Connect(_)));
    // Every resolver refuses a label of more than 63 bytes without a query.
    let proxy = Proxy::socks5(&format!("{}.invalid", "a".repeat(64))).unwrap();
    assert!(matches!(refused(to_host(None).proxy(proxy)).await, ProxyError::Resolve(_)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_proxy_is_waited_for_until_the_connect_timeout() {
    for kind in KINDS {
        let proxy = TestProxy::start(kind, ([127, 0, 0, 1], 1).into(), [Manner::Stall]).await;
        let params = to_host(None).proxy(proxy.proxy()).connect_timeout(Duration::from_secs(7));
        let client = WebsocketClient::new(params).unwrap();
        let begun = tokio::time::Instant::now();
        let error = client.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout), "{kind:?}: {error:?}");
        assert_eq!(begun.elapsed(), Duration::from_secs(7), "{kind:?}");
    }
}

#[tokio::test]
async fn credentials_for_a_proxy_are_traced_at_no_level() {
    LazyLock::force(&TRACED);
    let server = echoing(ServerParams::local());
    let addr = started(&server).await;
    let (user, password) = ("us3r-of-proxy", "s3cret-of-proxy");
    for kind in KINDS {
        let proxy = TestProxy::start(kind, addr, [Manner::Ask(user, password)]).await;
        let right = proxy.proxy().credentials(user, password);
        let in_url = match kind {
            Kind::Http => Proxy::http(&format!("http://{user}:{password}@{}", proxy.addr)),
            Kind::Socks5 => Proxy::socks5(&format!("socks5://{user}:{password}@{}", proxy.addr)),
        };
        for right in [right, in_url.unwrap()] {
            let client = connected(to_host(None).proxy(right)).await;
            assert_echo(&client).await;
            within(client.disconnect()).await;
        }
        let wrong = proxy.proxy().credentials(user, format!("{password}-that-is-wrong"));
        let error = refused(to_host(None).proxy(wrong)).await;
        assert!(matches!(error, ProxyError::Unauthorized), "{kind:?}: {error:?}");
    }
    within(server.stop()).await;
    let traced = TRACED.text();
    assert!(traced.contains("websockets_simple_client"), "it captures: {traced}");
    let shown = BASE64_STANDARD.encode(format!("{user}:{password}"));
    for secret in [user, password, &shown] {
        let numbers = format!("{:?}", secret.as_bytes());
        for needle in [secret, numbers.trim_matches(['[', ']'])] {
            let found = traced.find(needle).map(|at| &traced[at.saturating_sub(300)..at]);
            assert!(found.is_none(), "{secret}: {found:?}");
        }
    }
}
