//! A server that behaves on the wire as WebsocketsSimple v6 does, mistakes included.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What it says to a token it does not know, before any handshake, and as its Close.
pub const DISCONNECT: &[u8] = b"\x88\x0c\x03\xe8Disconnect";

/// How one connection went.
#[derive(Debug)]
pub struct Outcome {
    /// The token it saw: the path without its slash, undecoded.
    pub token: String,
    /// Whether the client went through the ending that makes it let go: Close, its own Close, a second Close.
    pub let_go: bool,
}

/// One connection of the server.
#[derive(Debug)]
pub struct DotNetV6Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Bytes to write, each as it is.
    pub say: mpsc::UnboundedSender<Vec<u8>>,
    /// What it takes for messages, as they come.
    pub heard: mpsc::UnboundedReceiver<String>,
    /// How it went, once it is over.
    pub outcome: JoinHandle<Outcome>,
}

/// What the server is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether the success text comes in the same segment as the 101.
    pub glued: bool,
    /// Whether to hold the success text back until something is to be said.
    pub slow_success: bool,
}

impl DotNetV6Server {
    /// Serves one connection. Tokens that begin with `bad` are not known.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn serve(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = listener.local_addr().expect("it listens");
        let (say, said) = mpsc::unbounded_channel();
        let (hears, heard) = mpsc::unbounded_channel();
        let outcome = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody connects");
            stream.set_nodelay(true).expect("a TCP socket");
            connection(stream, said, hears, manner).await
        });
        Self { addr, say, heard, outcome }
    }
}

async fn connection(
    mut stream: TcpStream,
    mut said: mpsc::UnboundedReceiver<Vec<u8>>,
    hears: mpsc::UnboundedSender<String>,
    manner: Manner,
) -> Outcome {
    let mut outcome = Outcome { token: String::new(), let_go: false };
    // One read is the whole request.
    let request = String::from_utf8_lossy(&read(&mut stream).await).into_owned();
    outcome.token =
        request.split('/').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    // Names are compared to the letter, and there is one blank.
    let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    if request.contains("Sec-WebSocket-Protocol: ") {
        // Nothing but its subprotocols, of which it has none; and it leaves the socket open.
        stream.write_all(b"Invalid subprotocols requested").await.ok();
        stream.write_all(DISCONNECT).await.ok();
        read(&mut stream).await;
        return outcome;
    }
    if outcome.token.starts_with("bad") {
        stream.write_all(DISCONNECT).await.ok();
        read(&mut stream).await;
        return outcome;
    }
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    let success = b"\x81\x16Connected Successfully";
    if manner.glued {
        answer.extend_from_slice(success);
    }
    stream.write_all(&answer).await.ok();
    if manner.slow_success {
        // Whatever comes before the success text is lost.
        let early = said.recv().await;
        let mut lost = [0; 1024];
        assert!(stream.try_read(&mut lost).is_err(), "data before the success text is lost");
        stream.write_all(success).await.ok();
        stream.write_all(&early.unwrap_or_default()).await.ok();
    } else if !manner.glued {
        stream.write_all(success).await.ok();
    }
    let mut closed = false;
    loop {
        // One read is one frame.
        let frame = tokio::select! {
            frame = read(&mut stream) => frame,
            Some(bytes) = said.recv() => {
                stream.write_all(&bytes).await.ok();
                continue;
            }
        };
        if frame.is_empty() {
            return outcome;
        }
        let payload = by_hand(&frame);
        if closed {
            // A second Close: now it lets go.
            outcome.let_go = payload.first() == Some(&3);
            return outcome;
        }
        // A Close is known by a byte 3 anywhere in the payload.
        let (text, close) = match payload.iter().position(|byte| *byte == 3) {
            Some(at) => (&payload[..at], true),
            None => (&payload[..], false),
        };
        if !text.trim_ascii().is_empty() {
            hears.send(String::from_utf8_lossy(text).into_owned()).ok();
        }
        if close {
            stream.write_all(DISCONNECT).await.ok();
            closed = true;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut piece = vec![0; 64 * 1024];
    let read = stream.read(&mut piece).await.unwrap_or_default();
    piece.truncate(read);
    piece
}

/// Its own decoder: opcode, FIN and 64-bit lengths are ignored, unmasked frames are dropped.
fn by_hand(frame: &[u8]) -> Vec<u8> {
    if frame.len() < 6 || frame[1] & 0x80 == 0 {
        return Vec::new();
    }
    let (len, at) = match frame[1] & 0x7F {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        len => (usize::from(len), 2),
    };
    let key: Vec<u8> = frame[at..at + 4].to_vec();
    frame[at + 4..].iter().take(len).zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}
