//! One connection of the load generator: messages out with as few writes as possible, frames in, all checked.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{ErrorKind, IoSlice, Read, Write},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use mio::{Registry, net::TcpStream};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use crate::{
    load::{inflated::Inflated, template::Template},
    wire::{self, Wire},
};

/// The key of the example in RFC 6455 section 1.3, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Messages that one write takes at most.
const MESSAGES_PER_WRITE: usize = 32;

/// What a peer offers so that each message stands for itself and can be shared by all.
const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Connections of one source address: fewer than it has ports.
const PER_ADDRESS: usize = 10_000;

/// Where a server is, and how to come in.
#[derive(Clone)]
pub struct Door {
    pub addr: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

/// See the module.
pub struct Peer {
    wire: Wire,
    template: Rc<Template>,
    /// Where compression was agreed on: what checks it.
    inflated: Option<Rc<RefCell<Inflated>>>,
    /// Messages to write, the front one perhaps in part.
    out: VecDeque<Vec<u8>>,
    written: usize,
    /// Input up to a frame that is not complete.
    partial: Vec<u8>,
    /// When each message that is on its way was sent, the oldest first.
    pub sent_at: VecDeque<Instant>,
}

/// The request that opens a connection. Whoever wants a user takes the token.
pub fn request(path: &str, user: usize, deflate: bool) -> String {
    let extensions = if deflate { format!("Sec-WebSocket-Extensions: {OFFER}\r\n") } else { String::new() };
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer peer-{user}\r\n\
         {extensions}\r\n"
    )
}

/// Whether `input` begins with the answer that opens a connection, with compression as it was offered; its length.
pub fn accepted(input: &[u8], deflate: bool) -> anyhow::Result<Option<usize>> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(input.len() < 8192, "an endless answer");
        return Ok(None);
    };
    let head = &input[..end];
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "refused: {}", String::from_utf8_lossy(head));
    ensure!(head.windows(ACCEPT.len()).any(|part| part == ACCEPT), "a wrong Sec-WebSocket-Accept");
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let extensions = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions:"));
    let agreed = extensions.is_some_and(|answer| answer.trim().starts_with("permessage-deflate"));
    ensure!(agreed == deflate && extensions.is_some() == deflate, "extensions other than asked for: {head}");
    ensure!(
        !deflate || head.contains("server_no_context_takeover"),
        "messages that depend on others: {head}"
    );
    Ok(Some(end + 4))
}

/// A socket of a loopback address of its own, as one alone has too few ports.
pub fn socket(source: [u8; 4]) -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("a socket")?;
    socket.bind(&SocketAddr::from((source, 0)).into()).context("a port")?;
    Ok(socket)
}

impl Peer {
    /// Connects and shakes hands, one after the other. Compression is offered where there is what checks it.
    pub fn connect(
        door: &Door,
        path: &str,
        user: usize,
        template: &Rc<Template>,
        inflated: Option<&Rc<RefCell<Inflated>>>,
    ) -> anyhow::Result<Self> {
        // Ports of processes before this one may be kept for a minute, so each has addresses of its own.
        let [.., high, low] = std::process::id().to_be_bytes();
        let socket = socket([127, 2 + high % 128, low, u8::try_from(1 + user / PER_ADDRESS)?])?;
        socket.connect(&door.addr.into()).context("connecting")?;
        let mut stream = std::net::TcpStream::from(socket);
        stream.set_nodelay(true)?;
        let mut tls = door.tls.as_ref().map(wire::client).transpose()?;
        let asked = request(path, user, inflated.is_some());
        let rest = match &mut tls {
            Some(tls) => shake_hands(&mut rustls::Stream::new(tls, &mut stream), &asked, inflated.is_some()),
            None => shake_hands(&mut stream, &asked, inflated.is_some()),
        }?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            wire: Wire::new(TcpStream::from_std(stream), tls),
            template: Rc::clone(template),
            inflated: inflated.cloned(),
            out: VecDeque::new(),
            written: 0,
            partial: rest,
            sent_at: VecDeque::new(),
        })
    }

    pub fn register(&mut self, registry: &Registry, token: usize) -> anyhow::Result<()> {
        Ok(self.wire.register(registry, token)?)
    }

    /// Puts a message behind those that wait to be written.
    pub fn push(&mut self, tag: u64) {
        self.out.push_back(self.template.head(tag));
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        while !self.out.is_empty() {
            let tail = self.template.tail();
            let mut slices = Vec::with_capacity(2 * MESSAGES_PER_WRITE);
            let mut skip = self.written;
            for head in self.out.iter().take(MESSAGES_PER_WRITE) {
                let in_head = skip.min(head.len());
                slices.push(IoSlice::new(&head[in_head..]));
                slices.push(IoSlice::new(&tail[skip - in_head..]));
                skip = 0;
            }
            match self.wire.write(&slices) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("writing"),
            }
            while let Some(front) = self.out.front() {
                let len = front.len() + tail.len();
                if self.written < len {
                    break;
                }
                self.written -= len;
                self.out.pop_front();
            }
        }
        self.wire.flush().context("writing")
    }

    /// Reads everything there is; `got` is told the tag of each message. Answers reads and messages.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        mut got: impl FnMut(&mut Self, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<(u64, u64)> {
        let (mut reads, mut messages) = (0, 0);
        loop {
            let len = match self.wire.read(buffer) {
                Ok(0) => bail!("the server hung up"),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((reads, messages)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("reading"),
            };
            reads += 1;
            if self.partial.is_empty() {
                let used = self.take_frames(&buffer[..len], &mut messages, &mut got)?;
                self.partial.extend(&buffer[used..len]);
            } else {
                let mut input = std::mem::take(&mut self.partial);
                input.extend(&buffer[..len]);
                let used = self.take_frames(&input, &mut messages, &mut got)?;
                input.drain(..used);
                self.partial = input;
            }
            if len < buffer.len() {
                // Readiness is told again when more comes.
                return Ok((reads, messages));
            }
        }
    }

    fn take_frames(
        &mut self,
        input: &[u8],
        messages: &mut u64,
        got: &mut impl FnMut(&mut Self, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        while let Some((first, start, len)) = frame(&input[at..])? {
            let Some(payload) = input.get(at + start..at + start + len) else { break };
            match first {
                COMPRESSED_TEXT | TEXT => {
                    let template = Rc::clone(&self.template);
                    let tag = match &self.inflated {
                        Some(inflated) if first == COMPRESSED_TEXT => {
                            inflated.borrow_mut().tag(payload, &template)?
                        }
                        None if first == TEXT => template.tag(payload)?,
                        _ => bail!("a message that is compressed, or not, other than agreed on"),
                    };
                    *messages += 1;
                    got(self, tag)?;
                }
                0x89 => ensure!(len == 0, "a ping with a payload was not expected"),
                0x88 => bail!("the server closed: {}", String::from_utf8_lossy(payload)),
                first => bail!("a frame that begins with {first:#x} was not expected"),
            }
            at += start + len;
        }
        Ok(at)
    }
}

/// First bytes of whole messages.
const TEXT: u8 = 0x81;
const COMPRESSED_TEXT: u8 = 0xC1;

/// Asks, and reads the answer; what came behind it.
fn shake_hands(stream: &mut (impl Read + Write), asked: &str, deflate: bool) -> anyhow::Result<Vec<u8>> {
    stream.write_all(asked.as_bytes())?;
    let (mut input, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let len = stream.read(&mut buffer)?;
        ensure!(len > 0, "hung up during the handshake");
        input.extend(&buffer[..len]);
        if let Some(head) = accepted(&input, deflate)? {
            return Ok(input.split_off(head));
        }
    }
}

/// First byte, header length and payload length of the frame that `input` begins with.
fn frame(input: &[u8]) -> anyhow::Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    ensure!(second & 0x80 == 0, "a server does not mask");
    Ok(match (second & 0x7F, rest) {
        (126, [a, b, ..]) => Some((*first, 4, usize::from(u16::from_be_bytes([*a, *b])))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let len = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            Some((*first, 10, usize::try_from(len)?))
        }
        (126 | 127, _) => None,
        (len, _) => Some((*first, 2, usize::from(len))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &str) -> Vec<u8> {
        let accept = String::from_utf8_lossy(ACCEPT);
        format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n{headers}\r\n").into()
    }

    #[test]
    fn compression_is_agreed_on_where_it_was_offered_and_nowhere_else() {
        let plain = answer("");
        let compressed = answer(&format!("Sec-WebSocket-Extensions: {OFFER}\r\n"));
        assert_eq!(accepted(&plain, false).unwrap(), Some(plain.len()));
        assert_eq!(accepted(&compressed, true).unwrap(), Some(compressed.len()));
        assert!(accepted(&plain, true).is_err());
        assert!(accepted(&compressed, false).is_err());
        let with_memory = answer("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        assert!(accepted(&with_memory, true).is_err());
    }

    #[test]
    fn an_answer_is_waited_for_to_its_end() {
        let plain = answer("");
        assert_eq!(accepted(&plain[..plain.len() - 1], false).unwrap(), None);
        assert_eq!(accepted(&[&plain[..], b"\x81"].concat(), false).unwrap(), Some(plain.len()));
        assert!(accepted(b"HTTP/1.1 429 Too Many Requests\r\n\r\n", false).is_err());
    }
}
