//! A peer that speaks raw bytes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::within;

/// The key of RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A TCP connection and what was read of it but not taken.
#[derive(Debug)]
pub struct RawPeer<S = TcpStream> {
    /// The connection.
    pub stream: S,
    read: Vec<u8>,
}

/// One frame as it was received, payload unmasked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawFrame {
    /// FIN, RSV and opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl RawPeer {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self::new(stream)
    }

    /// Connects and shakes hands.
    ///
    /// # Panics
    ///
    /// When the answer is not 101.
    pub async fn open(addr: SocketAddr, target: &str, headers: &str) -> Self {
        let mut peer = Self::connect(addr).await;
        let head = peer.request(target, headers).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        peer
    }
}

impl RawPeer {
    /// Accepts a client and answers its handshake with 101.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub async fn accept(listener: &TcpListener) -> Self {
        Self::accept_with(listener, "").await.1
    }

    /// As [`accept`](Self::accept), with further headers in the answer. Returns the head of the request as well.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub async fn accept_with(listener: &TcpListener, headers: &str) -> (String, Self) {
        let (stream, _) = within(listener.accept()).await.expect("a listener");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut peer = Self::new(stream);
        let head = peer.head().await;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or(KEY);
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
        );
        peer.write(answer.as_bytes()).await;
        (head, peer)
    }
}

/// The status that a handshake with this token gets.
///
/// # Panics
///
/// When there is no answer.
pub async fn status(addr: SocketAddr, token: &str) -> u16 {
    let mut peer = RawPeer::connect(addr).await;
    let head = peer.request("/", &format!("Authorization: Bearer {token}\r\n")).await;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {head}"))
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawPeer<S> {
    /// Over a connection that is there already.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The connection, and what was read of it but not taken.
    #[must_use]
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.read)
    }

    /// Sends a request and reads the head of the answer. `headers` are whole lines.
    pub async fn request(&mut self, target: &str, headers: &str) -> String {
        self.write(request(target, headers).as_bytes()).await;
        self.head().await
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the peer is there");
    }

    /// Sends a masked frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.write(&masked(first, payload)).await;
    }

    /// Sends a text.
    pub async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    /// Reads up to the blank line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect::<Vec<_>>();
                return String::from_utf8_lossy(&head).into_owned();
            }
            if !self.more().await {
                return String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
            }
        }
    }

    /// Reads that many bytes, or up to the end.
    pub async fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.read.len() < bytes && self.more().await {}
        self.read.drain(..bytes.min(self.read.len())).collect()
    }

    /// Reads a frame; `None` at the end.
    pub async fn next(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, size)) = parse(&self.read) {
                self.read.drain(..size);
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads frames until the end.
    pub async fn rest(&mut self) -> Vec<RawFrame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Reads everything until the end.
    pub async fn all(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// What one read brings, beside what was read before.
    pub async fn one_read(&mut self) -> Vec<u8> {
        if self.read.is_empty() {
            self.more().await;
        }
        std::mem::take(&mut self.read)
    }

    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 64 * 1024];
        match within(self.stream.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.read.extend_from_slice(&piece[..read]);
                true
            }
        }
    }
}

impl RawFrame {
    /// A text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { first: 0x81, payload: text.as_bytes().to_vec() }
    }

    /// The payload as text.
    #[must_use]
    pub fn as_text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The code of a Close frame.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        (self.first == 0x88 && self.payload.len() >= 2)
            .then(|| u16::from_be_bytes([self.payload[0], self.payload[1]]))
    }
}

/// The seconds in the `Retry-After` of an answer.
#[must_use]
pub fn retry_after(head: &str) -> Option<u64> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?.1.parse().ok()
}

/// A proper request.
#[must_use]
pub fn request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// A frame as servers send it.
#[must_use]
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn header(first: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..=125 => header.push(mask | u8::try_from(len).unwrap_or(0)),
        126..=0xFFFF => {
            header.push(mask | 126);
            header.extend(u16::try_from(len).unwrap_or(0).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header
}

/// A masked frame.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = header(first, payload.len(), 0x80);
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn parse(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (len, mut at) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        key = bytes.get(at..at + 4)?.try_into().ok()?;
        at += 4;
    }
    let payload = bytes.get(at..at + len)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((RawFrame { first, payload }, at + len))
}
