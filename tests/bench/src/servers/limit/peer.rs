//! One connection.

use std::io::{ErrorKind, IoSlice, Write};

use anyhow::Context;
use flate2::{Compress, Compression, FlushCompress};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::wire::Wire;

/// Bytes a receiver may be behind before broadcasts pass it over.
const BEHIND: usize = 1024 * 1024;

/// Bits of the first byte of a frame.
const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0F;

/// What a compressed message ends with before it is sent (RFC 7692 section 7.2.1).
const END: usize = 4;

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Role {
    Opening,
    Echo,
    Publisher,
    Receiver,
}

/// What is due for somebody.
pub(super) struct Output {
    pub(super) plain: Vec<u8>,
    deflated: Vec<u8>,
    deflate: Option<Compress>,
}

/// See the module.
pub(super) struct Peer {
    pub(super) wire: Wire,
    pub(super) role: Role,
    /// Whether it gets compressed messages.
    pub(super) deflate: bool,
    /// Input that cannot be acted on yet: part of a request or of a header.
    partial: Vec<u8>,
    /// Payload bytes of the current frame still to come, and where its mask stands.
    left: usize,
    mask: [u8; 4],
    turned: usize,
    /// A message that is joined, its first byte, and whether the current frame is its last one.
    joined: Option<Vec<u8>>,
    first: u8,
    last: bool,
    /// Output that the socket refused.
    unsent: Vec<u8>,
}

impl Output {
    pub(super) fn new(capacity: usize, deflate: bool) -> Self {
        let deflate = deflate.then(|| Compress::new(Compression::fast(), false));
        Self { plain: Vec::with_capacity(capacity), deflated: Vec::new(), deflate }
    }

    pub(super) fn clear(&mut self) {
        self.plain.clear();
        self.deflated.clear();
    }

    pub(super) fn of(&self, deflate: bool) -> &[u8] {
        if deflate { &self.deflated } else { &self.plain }
    }

    /// Adds a whole message, in both forms where somebody may want both.
    fn message(&mut self, first: u8, payload: &[u8]) {
        header(&mut self.plain, first, payload.len());
        self.plain.extend(payload);
        let Some(deflate) = &mut self.deflate else { return };
        deflate.reset();
        let mut compressed = Vec::with_capacity(payload.len() + 64);
        // What has no room stays away, and whoever waits for it finds out.
        let _ = deflate.compress_vec(payload, &mut compressed, FlushCompress::Sync);
        compressed.truncate(compressed.len().saturating_sub(END));
        header(&mut self.deflated, first | COMPRESSED, compressed.len());
        self.deflated.extend(compressed);
    }
}

impl Peer {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            role: Role::Opening,
            deflate: false,
            partial: Vec::new(),
            left: 0,
            mask: [0; 4],
            turned: 0,
            joined: None,
            first: 0,
            last: false,
            unsent: Vec::new(),
        }
    }

    /// Reads what there is; what is due for it is in `output`. False when the peer has hung up.
    pub(super) fn read(&mut self, input: &mut [u8], output: &mut Output) -> anyhow::Result<bool> {
        loop {
            let len = match self.wire.read(input) {
                Ok(0) => return Ok(false),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            if self.role == Role::Opening {
                self.partial.extend(&input[..len]);
                self.open(output)?;
            } else if self.partial.is_empty() {
                self.echo(&mut input[..len], output);
            } else {
                let mut joined = std::mem::take(&mut self.partial);
                joined.extend(&input[..len]);
                self.echo(&mut joined, output);
            }
            if len < input.len() {
                return Ok(true);
            }
            if self.role == Role::Echo {
                self.write(&output.plain)?;
                output.clear();
            }
        }
    }

    fn open(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&self.partial)?.is_partial() {
            return Ok(());
        }
        let header =
            |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let accept = derive_accept_key(header("sec-websocket-key").context("no key")?.value);
        self.deflate = output.deflate.is_some() && header("sec-websocket-extensions").is_some();
        self.role = match request.path {
            Some("/pub" | "/pub?group=g") => Role::Publisher,
            Some("/sub" | "/sub?group=g") => Role::Receiver,
            _ => Role::Echo,
        };
        let extensions = if self.deflate {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n"
        } else {
            ""
        };
        write!(
            output.plain,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
        )?;
        self.partial = Vec::new();
        Ok(())
    }

    /// Turns masked frames of a client into those of a server, also piece by piece.
    fn echo(&mut self, mut input: &mut [u8], output: &mut Output) {
        loop {
            let (payload, rest) = input.split_at_mut(self.left.min(input.len()));
            unmask(payload, self.mask, self.turned);
            self.joined.as_mut().unwrap_or(&mut output.plain).extend_from_slice(payload);
            self.left -= payload.len();
            self.turned += payload.len();
            if self.left == 0
                && self.last
                && let Some(joined) = self.joined.take()
            {
                output.message(self.first, &joined);
            }
            if rest.is_empty() {
                return;
            }
            let Some((header, len)) = header_of(rest) else {
                self.partial = rest.to_vec();
                return;
            };
            self.mask = [rest[header - 4], rest[header - 3], rest[header - 2], rest[header - 1]];
            (self.left, self.turned) = (len, 0);
            self.last = rest[0] & FIN != 0;
            if self.joined.is_some() {
                // The next fragment.
            } else if !self.last || output.deflate.is_some() {
                self.first = FIN | rest[0] & OPCODE;
                self.joined = Some(Vec::with_capacity(len));
            } else {
                output.plain.extend([rest[0], rest[1] & 0x7F]);
                output.plain.extend(&rest[2..header - 4]);
            }
            input = &mut rest[header..];
        }
    }

    /// Writes, behind what was refused before.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.unsent.is_empty() {
            let written = self.write_some(bytes)?;
            self.unsent.extend(&bytes[written..]);
        } else {
            if self.role != Role::Receiver || self.unsent.len() < BEHIND {
                self.unsent.extend(bytes);
            }
            let unsent = std::mem::take(&mut self.unsent);
            let written = self.write_some(&unsent)?;
            self.unsent = unsent;
            self.unsent.drain(..written);
        }
        Ok(())
    }

    fn write_some(&mut self, mut bytes: &[u8]) -> anyhow::Result<usize> {
        let all = bytes.len();
        while !bytes.is_empty() {
            match self.wire.write(&[IoSlice::new(bytes)]) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.wire.flush()?;
        Ok(all - bytes.len())
    }
}

fn unmask(payload: &mut [u8], mut mask: [u8; 4], turned: usize) {
    mask.rotate_left(turned % 4);
    let (words, rest) = payload.as_chunks_mut::<4>();
    let wide = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// Lengths of the header that `input` begins with and of its payload.
fn header_of(input: &[u8]) -> Option<(usize, usize)> {
    let [_, second, rest @ ..] = input else { return None };
    let (extended, len) = match (second & 0x7F, rest) {
        (126, [a, b, ..]) => (2, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize)
        }
        (126 | 127, _) => return None,
        (len, _) => (0, usize::from(len)),
    };
    (input.len() >= 6 + extended).then_some((6 + extended, len))
}

/// The header of a frame of a server.
fn header(out: &mut Vec<u8>, first: u8, len: usize) {
    out.push(first);
    match len {
        0..126 => out.push(len as u8),
        126..65536 => {
            out.push(126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((len as u64).to_be_bytes());
        }
    }
}
