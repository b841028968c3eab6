use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    time::{Instant, timeout},
};
use websockets_simple_core::{Compatibility, Token};

use super::*;
use crate::params::{ClientParams, TokenPlacement};

mod answers;
mod refusals;
#[cfg(feature = "tls")]
mod tls;

/// The answer of a server that agrees. `ACCEPT` stands for the value of its header.
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this takes too long")
}

async fn listening() -> (TcpListener, ClientParams) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, ClientParams::new("127.0.0.1", port))
}

async fn dialed(params: ClientParams) -> Result<Dialed, ConnectError> {
    let plan = params.check().unwrap();
    within(Dialer::new(&plan).unwrap().dial(&plan)).await
}

/// Reads a request; its head has to arrive in one piece, as it was written.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut bytes = vec![0; 16 * 1024];
    let read = stream.read(&mut bytes).await.unwrap();
    let head = String::from_utf8(bytes[..read].to_vec()).unwrap();
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    head
}

/// The value of the client's header of this name.
fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).expect("the header is there")
}

/// Puts the right value into an answer.
fn filled_in(answer: &str, head: &str) -> String {
    answer.replace("ACCEPT", &derive_accept_key(header(head, "Sec-WebSocket-Key").as_bytes()))
}

/// What the client makes of an answer after which the socket stays open.
async fn answered(
    change: impl FnOnce(ClientParams) -> ClientParams,
    answer: &[u8],
) -> Result<Dialed, ConnectError> {
    let (listener, params) = listening().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        match str::from_utf8(answer) {
            Ok(text) => stream.write_all(filled_in(text, &head).as_bytes()).await.unwrap(),
            Err(_) => stream.write_all(answer).await.unwrap(),
        }
        stream
    };
    let (result, _open) = tokio::join!(dialed(change(params)), serving);
    result
}

/// The request that a client writes to a server, and the port of that.
async fn requested(change: impl FnOnce(ClientParams) -> ClientParams) -> (String, u16) {
    let (listener, params) = listening().await;
    let port = port_of(&listener);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await
    };
    let (_, head) = tokio::join!(dialed(change(params)), serving);
    (head, port)
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// The head that these parameters make, without any server.
fn head_of(params: ClientParams) -> String {
    request::head(&params.check().unwrap(), "KEY").expose().to_owned()
}

#[tokio::test]
async fn the_request_is_one_write_with_the_spelling_and_the_order_that_dotnet_servers_need() {
    let (head, port) = requested(|params| {
        let params =
            params.path("/room").query("name", "Ronald").header("x-Second", "2").header("X-First", "1");
        params.token("secret").subprotocol("chat").subprotocol("echo")
    })
    .await;
    let key = header(&head, "Sec-WebSocket-Key");
    let expected = format!(
        "GET /room?name=Ronald HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nx-Second: 2\r\n\
         X-First: 1\r\nAuthorization: Bearer secret\r\nSec-WebSocket-Protocol: chat, echo\r\n\r\n"
    );
    assert_eq!(head, expected);
    assert_eq!(key.len(), 24);
}

#[test]
fn each_placement_shows_the_token_in_one_place_only() {
    for (placement, line) in [
        (TokenPlacement::Header, "Authorization: Bearer secret-7\r\n"),
        (TokenPlacement::Path, "GET /secret-7?a=b HTTP/1.1\r\n"),
        (TokenPlacement::Query, "GET /room?a=b&token=secret-7 HTTP/1.1\r\n"),
        (TokenPlacement::Subprotocol, "Sec-WebSocket-Protocol: chat, bearer.c2VjcmV0LTc\r\n"),
    ] {
        let params = ClientParams::new("h", 1).path("/room").query("a", "b").subprotocol("chat");
        let head = head_of(params.token("secret-7").token_placement(placement));
        assert!(head.contains(line), "{placement:?}: {head}");
        assert_eq!(head.matches("secret-7").count() + head.matches("c2VjcmV0LTc").count(), 1, "{head}");
    }
}

#[test]
fn the_host_header_names_the_port_unless_it_is_the_usual_one() {
    for (params, host) in [
        (ClientParams::new("example.org", 8080), "example.org:8080"),
        (ClientParams::new("example.org", 80), "example.org"),
        (ClientParams::new("example.org", 443), "example.org:443"),
        (ClientParams::new("example.org", 443).secured(true), "example.org"),
        (ClientParams::new("example.org", 80).secured(true), "example.org:80"),
        (ClientParams::new("::1", 8080), "[::1]:8080"),
        (ClientParams::new("[::1]", 80), "[::1]"),
        (ClientParams::new("bücher.example", 8080), "xn--bcher-kva.example:8080"),
        (ClientParams::url("wss://example.org:443/").unwrap(), "example.org"),
        // The original forgot the port as soon as there was any other header.
        (ClientParams::new("example.org", 8080).header("X-A", "b"), "example.org:8080"),
        (ClientParams::new("example.org", 8080).header("hOST", "other.example"), "other.example"),
    ] {
        let head = head_of(params);
        assert_eq!(header(&head, "Host"), host);
        assert_eq!(head.to_lowercase().matches("\r\nhost:").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn localhost_is_found_on_whichever_address_it_listens() {
    let (listener, _) = listening().await;
    let params = ClientParams::new("localhost", port_of(&listener));
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        stream.write_all(filled_in(AGREED, &head).as_bytes()).await.unwrap();
    };
    let (dialed, ()) = tokio::join!(dialed(params), serving);
    assert_eq!(dialed.unwrap().facts.peer_addr, listener.local_addr().unwrap());
}

#[tokio::test]
async fn an_address_that_refuses_does_not_keep_from_the_next_one() {
    let dead = listening().await.0.local_addr().unwrap();
    let (listener, _) = listening().await;
    let alive = listener.local_addr().unwrap();
    let stream = within(connect_to_first(vec![dead, alive], None, None)).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), alive);
    let error = within(connect_to_first(vec![dead, dead], None, None)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn an_address_that_stays_silent_does_not_keep_from_the_next_one() {
    // The queue of this listener is full, so that its system answers no further attempt.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let silent = full.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(silent)).await {
        filling.push(stream.unwrap());
        assert!(filling.len() < 100, "the queue never fills");
    }
    let (listener, _) = listening().await;
    let alive = listener.local_addr().unwrap();
    let begun = Instant::now();
    let stream = within(connect_to_first(vec![silent, alive], None, None)).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), alive);
    assert!(begun.elapsed() >= STAGGER);
}

#[tokio::test]
async fn nobody_there_and_no_such_host_are_told_apart() {
    let (listener, params) = listening().await;
    drop(listener);
    assert!(matches!(dialed(params).await.err(), Some(ConnectError::Connect(_))));
    // A label of more than 63 bytes is refused by every resolver without asking anybody.
    let nowhere = format!("{}.invalid", "a".repeat(64));
    assert!(matches!(dialed(ClientParams::new(nowhere, 1)).await.err(), Some(ConnectError::Resolve(_))));
}

#[tokio::test]
async fn buffer_sizes_reach_the_socket_and_small_writes_are_not_held_back() {
    let (listener, _) = listening().await;
    let to = listener.local_addr().unwrap();
    let stream = within(connect_to(to, Some(20_000), Some(30_000))).await.unwrap();
    assert!(stream.nodelay().unwrap());
    let plain = within(connect_to(to, None, None)).await.unwrap();
    let sizes = |stream: TcpStream| {
        let socket = tokio::net::TcpSocket::from_std_stream(stream.into_std().unwrap());
        (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
    };
    let (given, usual) = (sizes(stream), sizes(plain));
    // Systems round what they are given; Linux doubles it.
    assert!(given.0 >= 20_000 && given.0 < usual.0, "{given:?} {usual:?}");
    assert!(given.1 >= 30_000 && given.1 < usual.1, "{given:?} {usual:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_meets_the_connect_timeout() {
    let (listener, params) = listening().await;
    let error = dialed(params.connect_timeout(Duration::from_millis(100))).await.err();
    assert!(matches!(error, Some(ConnectError::Timeout)), "{error:?}");
    drop(listener);
}

#[tokio::test]
async fn an_answer_that_drips_meets_the_connect_timeout() {
    let (listener, params) = listening().await;
    let dripping = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 101 Slow\r\n").await.unwrap();
        while stream.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let dialing = async {
        let error = dialed(params.connect_timeout(Duration::from_millis(200))).await.err();
        assert!(matches!(error, Some(ConnectError::Timeout)), "{error:?}");
    };
    within(async { tokio::join!(dripping, dialing) }).await;
}

#[tokio::test]
async fn a_dial_that_is_dropped_closes_its_socket() {
    let (listener, params) = listening().await;
    let dialing = tokio::spawn(dialed(params));
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    within(request(&mut stream)).await;
    dialing.abort();
    assert_eq!(within(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
}
