//! The floor: epoll, read, unmask, write. It trusts its peers, keeps no statistics, has no limits and no events.
//!
//! What one read brought is answered with one write; what one read of a publisher brought goes to every receiver
//! in one write.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::TcpListener,
};

use anyhow::Context;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: Token = Token(usize::MAX);

/// Bytes of one read.
const READ: usize = 256 * 1024;

/// Bytes a receiver may be behind before broadcasts pass it over.
const BEHIND: usize = 1024 * 1024;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Role {
    Opening,
    Echo,
    Publisher,
    Receiver,
}

struct Peer {
    stream: TcpStream,
    role: Role,
    /// Input that cannot be acted on yet: part of a request or of a header.
    partial: Vec<u8>,
    /// Payload bytes of the current frame still to come, and where its mask stands.
    left: usize,
    mask: [u8; 4],
    turned: usize,
    /// Output that the socket refused.
    unsent: Vec<u8>,
}

/// Serves for ever.
pub(super) fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut peers: HashMap<usize, Peer> = HashMap::new();
    let mut receivers: Vec<usize> = Vec::new();
    let mut next = 0;
    let mut events = Events::with_capacity(1024);
    let (mut input, mut output) = (vec![0; READ], Vec::with_capacity(2 * READ));
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(
                        &mut stream,
                        Token(next),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    peers.insert(next, Peer::new(stream));
                    next += 1;
                }
                continue;
            }
            let token = event.token().0;
            let Some(peer) = peers.get_mut(&token) else { continue };
            if event.is_writable() && peer.write(&[]).is_err() {
                peers.remove(&token);
                continue;
            }
            if !event.is_readable() {
                continue;
            }
            output.clear();
            let before = peer.role;
            let open = peer.read(&mut input, &mut output).unwrap_or(false);
            let role = peer.role;
            if open && before != role && role == Role::Receiver {
                receivers.push(token);
            }
            if !output.is_empty() {
                match role {
                    Role::Publisher if before == Role::Publisher => {
                        receivers.retain(|receiver| {
                            peers.get_mut(receiver).is_some_and(|peer| peer.write(&output).is_ok())
                        });
                    }
                    _ => {
                        let _ = peer.write(&output);
                    }
                }
            }
            if !open {
                peers.remove(&token);
            }
        }
    }
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        let (partial, unsent) = (Vec::new(), Vec::new());
        Self { stream, role: Role::Opening, partial, left: 0, mask: [0; 4], turned: 0, unsent }
    }

    /// Reads what there is; what is due for it is in `output`. False when the peer has hung up.
    fn read(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> anyhow::Result<bool> {
        loop {
            let len = match self.stream.read(input) {
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
                self.write(output)?;
                output.clear();
            }
        }
    }

    fn open(&mut self, output: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&self.partial)?.is_partial() {
            return Ok(());
        }
        let key = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
        let accept = derive_accept_key(key.context("no key")?.value);
        self.role = match request.path {
            Some("/pub") => Role::Publisher,
            Some("/sub") => Role::Receiver,
            _ => Role::Echo,
        };
        write!(
            output,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )?;
        self.partial = Vec::new();
        Ok(())
    }

    /// Turns masked frames of a client into those of a server, also piece by piece.
    fn echo(&mut self, mut input: &mut [u8], output: &mut Vec<u8>) {
        loop {
            let (payload, rest) = input.split_at_mut(self.left.min(input.len()));
            self.unmask(payload, output);
            if rest.is_empty() {
                return;
            }
            let Some((header, len)) = header(rest) else {
                self.partial = rest.to_vec();
                return;
            };
            self.mask = [rest[header - 4], rest[header - 3], rest[header - 2], rest[header - 1]];
            (self.left, self.turned) = (len, 0);
            output.extend([rest[0], rest[1] & 0x7F]);
            output.extend(&rest[2..header - 4]);
            input = &mut rest[header..];
        }
    }

    fn unmask(&mut self, payload: &[u8], output: &mut Vec<u8>) {
        let mut mask = self.mask;
        mask.rotate_left(self.turned % 4);
        let wide =
            u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
        let (words, rest) = payload.as_chunks::<8>();
        output.reserve(payload.len());
        output.extend(words.iter().flat_map(|word| (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes()));
        output.extend(rest.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.left -= payload.len();
        self.turned += payload.len();
    }

    /// Writes, behind what was refused before.
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
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
            match self.stream.write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all - bytes.len())
    }
}

/// Lengths of the header that `input` begins with and of its payload.
fn header(input: &[u8]) -> Option<(usize, usize)> {
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
