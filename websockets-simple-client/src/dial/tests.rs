//! Dials to scripted servers.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use websockets_simple_core::Compatibility;

use super::*;
use crate::{
    config::{ClientParams, TokenPlacement},
    dial::response::Answer,
};

mod agreed;
mod asked;
mod connectors;
mod dotnet;
mod farewells;
mod reached;
mod refused;
#[cfg(feature = "rustls")]
mod secured;

/// The token, which must not appear in any error.
const SECRET: &str = "secret-7";

/// A Close frame with code 1008 and no reason, and one with a reason.
const CLOSE_1008: &[u8] = b"\x88\x02\x03\xf0";
const CLOSE_1008_BYE: &[u8] = b"\x88\x05\x03\xf0bye";

/// The key of RFC 6455 section 1.3 and its accept key.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A text frame of a server.
fn text(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A 101 with this accept key and these further headers, each ended by CRLF.
fn switching(accept: &str, more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// The value of a header of a request.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The accept key for the key of a request.
fn accept_key(head: &str) -> String {
    derive_accept_key(value(head, "Sec-WebSocket-Key").unwrap().as_bytes())
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn dial(params: ClientParams) -> Result<Dialed, ConnectError> {
    let params = params.check().unwrap();
    let dialed = Dialer::new(&params).unwrap().dial(&params).await;
    if let Err(error) = &dialed {
        let mut shown = format!("{error:?} {error}");
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            shown.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(!shown.contains(SECRET), "{shown}");
    }
    dialed
}

async fn listener() -> (TcpListener, ClientParams) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let params = ClientParams::new("127.0.0.1", listener.local_addr().unwrap().port());
    (listener, params)
}

/// Dials a server that answers a request head with these bytes and closes the connection.
async fn exchange(
    adapt: impl FnOnce(ClientParams) -> ClientParams,
    answer: impl FnOnce(&str) -> Vec<u8>,
) -> (String, Result<Dialed, ConnectError>) {
    let (listener, params) = listener().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(&answer(&head)).await.unwrap();
        head
    };
    tokio::join!(server, dial(adapt(params)))
}

/// The error of a dial to a server that sends this.
async fn error(answer: impl AsRef<[u8]>) -> ConnectError {
    exchange(|params| params, |_| answer.as_ref().to_vec()).await.1.err().unwrap()
}

/// The text of a bad response.
fn bad(error: ConnectError) -> String {
    match error {
        ConnectError::BadResponse(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Reads a response that a server sends piece by piece, over a stream in memory: only the clock of the test counts.
async fn judged<F: Future<Output = ()>>(
    adapt: impl FnOnce(ClientParams) -> ClientParams,
    room: usize,
    server: impl FnOnce(DuplexStream) -> F,
) -> Result<Answer, ConnectError> {
    let params = adapt(ClientParams::new("localhost", 80)).check().unwrap();
    let (mut near, far) = duplex(room);
    // The near end is dropped when the response was read; the far end runs until it is done.
    let reading = async move { response::read(&mut near, &params, ACCEPT).await };
    tokio::join!(reading, server(far)).0
}
