//! A peer that takes every byte of a server literally.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use websockets_simple_tests::{
    raw::{RawFrame, masked, request},
    within,
};

/// Bytes that one read may bring.
pub(crate) const READ: usize = 64 * 1024;

/// An open connection whose frames are checked header by header.
pub(crate) struct StrictPeer {
    stream: TcpStream,
    read: Vec<u8>,
    /// Bytes of `read` that were taken.
    taken: usize,
}

impl StrictPeer {
    /// Connects and shakes hands.
    pub(crate) async fn open(addr: SocketAddr, target: &str) -> Self {
        Self::over(TcpSocket::new_v4().unwrap(), addr, target).await
    }

    /// As `open`, with little room in its kernel, whose size does not grow.
    pub(crate) async fn open_small(addr: SocketAddr, target: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        Self::over(socket, addr, target).await
    }

    async fn over(socket: TcpSocket, addr: SocketAddr, target: &str) -> Self {
        let stream = within(socket.connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Self { stream, read: Vec::new(), taken: 0 };
        peer.stream.write_all(request(target, "").as_bytes()).await.unwrap();
        loop {
            assert!(peer.more(READ).await, "an answer");
            if let Some(end) = peer.read.windows(4).position(|window| window == b"\r\n\r\n") {
                assert!(peer.read.starts_with(b"HTTP/1.1 101 "));
                peer.taken = end + 4;
                return peer;
            }
        }
    }

    /// Sends a masked frame.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) {
        within(self.stream.write_all(&masked(first, payload))).await.unwrap();
    }

    /// The next frame; `None` at the end, which has to come between two frames.
    pub(crate) async fn next(&mut self) -> Option<RawFrame> {
        self.next_by(READ).await
    }

    /// As `next`, reading no more than this at once.
    pub(crate) async fn next_by(&mut self, bytes: usize) -> Option<RawFrame> {
        let frame = self.next_unless_cut(bytes).await;
        assert!(frame.is_some() || self.read.len() == self.taken, "the stream ends inside a frame");
        frame
    }

    /// As `next_by`, of a connection that may be cut anywhere.
    pub(crate) async fn next_unless_cut(&mut self, bytes: usize) -> Option<RawFrame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if !self.more(bytes).await {
                return None;
            }
        }
    }

    /// A frame that was read already.
    pub(crate) fn take(&mut self) -> Option<RawFrame> {
        let (frame, size) = parse(&self.read[self.taken..])?;
        self.taken += size;
        Some(frame)
    }

    /// Goes away with a reset.
    pub(crate) fn vanish(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads once, no more than this. False at the end.
    pub(crate) async fn more(&mut self, bytes: usize) -> bool {
        if self.taken > READ {
            self.read.drain(..self.taken);
            self.taken = 0;
        }
        let filled = self.read.len();
        self.read.resize(filled + bytes, 0);
        let read = within(self.stream.read(&mut self.read[filled..])).await.unwrap_or(0);
        self.read.truncate(filled + read);
        read > 0
    }
}

/// The frame at the beginning, if it is whole. A header that a server may not send is a failure (RFC 6455
/// section 5.2), and so is a fragment: nothing here is sent in parts.
fn parse(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert!(matches!(first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8A), "first byte {first:#x}");
    let (len, head) = match second {
        0..=125 => (usize::from(second), 2),
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()).try_into().unwrap(), 10),
        _ => panic!("a server does not mask"),
    };
    assert_eq!(head, head_len(len), "the shortest header for {len} bytes");
    assert!(first < 0x88 || len <= 125, "a control frame of {len} bytes");
    let payload = bytes.get(head..head + len)?.to_vec();
    assert!(first != 0x81 || std::str::from_utf8(&payload).is_ok(), "text is UTF-8");
    Some((RawFrame { first, payload }, head + len))
}

fn head_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Bytes of a server's frame on the wire.
pub(crate) fn frame_len(payload: usize) -> usize {
    head_len(payload) + payload
}
