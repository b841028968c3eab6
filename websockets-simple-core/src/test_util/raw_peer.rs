//! A peer that speaks raw bytes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tungstenite::handshake::derive_accept_key;

use crate::test_util::{RawFrame, masked, raw_frame::parse, within};

/// The key of RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A TCP connection and what was read of it but not taken.
#[derive(Debug)]
pub struct RawPeer<S = TcpStream> {
    /// The connection.
    pub stream: S,
    read: Vec<u8>,
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
        Self::answer(stream, headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawPeer<S> {
    /// Reads the request of a client and answers it with 101 and further headers, which are whole lines. Returns the head
    /// of the request as well.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub async fn answer(stream: S, headers: &str) -> (String, Self) {
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

/// A proper request.
#[must_use]
pub fn request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}
