//! A peer that reads as WebsocketsSimple v7 does at either end: only when bytes have arrived that it has not fetched.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::raw::{RawFrame, masked};

/// Bytes that it fetches at once beside a payload: a header and a control frame.
const FETCHED: usize = 14 + 125;

/// One open connection of such a peer.
#[derive(Debug)]
pub struct DotNetV7Peer {
    stream: TcpStream,
    /// What it has fetched and not looked at.
    held: Vec<u8>,
    is_client: bool,
    /// Pings that it has answered.
    pub pings: usize,
}

impl DotNetV7Peer {
    /// Over a connection whose handshake is done; `held` came with it.
    #[must_use]
    pub fn new(stream: TcpStream, held: Vec<u8>, is_client: bool) -> Self {
        Self { stream, held, is_client, pings: 0 }
    }

    /// Its next message or Close, once bytes arrive. It answers the pings ahead of it. `None` at the end.
    pub async fn next(&mut self) -> Option<RawFrame> {
        // What it holds does not count.
        if self.stream.peek(&mut [0]).await.ok()? == 0 {
            return None;
        }
        loop {
            let frame = self.frame().await?;
            match frame.first {
                0x89 => {
                    self.pings += 1;
                    self.frame_out(0x8A, &frame.payload).await;
                }
                0x8A => {}
                _ => return Some(frame),
            }
        }
    }

    /// Sends a frame.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn frame_out(&mut self, first: u8, payload: &[u8]) {
        let frame = match self.is_client {
            true => masked(first, payload),
            false => [&[first, payload.len() as u8], payload].concat(),
        };
        self.stream.write_all(&frame).await.expect("the other end is there");
    }

    async fn frame(&mut self) -> Option<RawFrame> {
        self.fetch(2).await?;
        let (first, second) = (self.held[0], self.held[1]);
        let wide = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = if second & 0x80 == 0 { 0 } else { 4 };
        self.fetch(2 + wide + masked).await?;
        let header: Vec<u8> = self.held.drain(..2 + wide + masked).collect();
        let len = match wide {
            0 => usize::from(second & 0x7F),
            _ => header[2..2 + wide].iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        let mut payload: Vec<u8> = self.held.drain(..len.min(self.held.len())).collect();
        let had = payload.len();
        payload.resize(len, 0);
        self.stream.read_exact(&mut payload[had..]).await.ok()?;
        if masked > 0 {
            let key = &header[2 + wide..];
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        Some(RawFrame { first, payload })
    }

    /// Holds at least that much.
    async fn fetch(&mut self, bytes: usize) -> Option<()> {
        let mut fetched = [0; FETCHED];
        while self.held.len() < bytes {
            let room = FETCHED - self.held.len();
            let read = self.stream.read(&mut fetched[..room]).await.ok().filter(|read| *read > 0)?;
            self.held.extend_from_slice(&fetched[..read]);
        }
        Some(())
    }
}
