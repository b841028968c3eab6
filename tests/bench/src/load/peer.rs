//! One connection of the load generator: messages out with as few writes as possible, frames in, all checked.

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice, Read, Write},
    net::SocketAddr,
    rc::Rc,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use mio::{Interest, Registry, Token, net::TcpStream};

/// The key of the example in RFC 6455 section 1.3, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Any key masks; a fixed one lets a frame be made once.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Digits of the tag that every message begins with.
const TAG: usize = 16;

/// Messages that one write takes at most.
const MESSAGES_PER_WRITE: usize = 32;

/// What all messages of a run have in common: a tag, then the same filler.
pub struct Template {
    header: Vec<u8>,
    filler: Vec<u8>,
    masked_filler: Vec<u8>,
}

impl Template {
    pub fn new(size: usize) -> anyhow::Result<Rc<Self>> {
        ensure!(size >= TAG, "a message has at least {TAG} bytes");
        let filler: Vec<u8> = (TAG..size).map(|at| b'a' + (at % 23) as u8).collect();
        let masked_filler = filler.iter().zip((TAG..).map(|at| MASK[at % 4])).map(|(a, b)| a ^ b).collect();
        let mut header = vec![0x81];
        match size {
            0..126 => header.push(0x80 | size as u8),
            126..65536 => {
                header.push(0x80 | 126);
                header.extend((size as u16).to_be_bytes());
            }
            _ => {
                header.push(0x80 | 127);
                header.extend((size as u64).to_be_bytes());
            }
        }
        header.extend(MASK);
        Ok(Rc::new(Self { header, filler, masked_filler }))
    }

    fn head(&self, tag: u64) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.header.len() + TAG);
        head.extend(&self.header);
        let digits = (0..TAG).map(|at| b"0123456789abcdef"[(tag >> (60 - 4 * at)) as usize & 15]);
        head.extend(digits.zip(MASK.iter().cycle()).map(|(digit, key)| digit ^ key));
        head
    }

    /// The tag of a message, if that is one of ours.
    fn tag(&self, payload: &[u8]) -> anyhow::Result<u64> {
        let (digits, filler) = payload.split_at_checked(TAG).context("a message without a tag")?;
        ensure!(filler == self.filler, "the contents of a message changed on the way");
        u64::from_str_radix(std::str::from_utf8(digits)?, 16).context("a message without a tag")
    }
}

/// See the module.
pub struct Peer {
    pub stream: TcpStream,
    template: Rc<Template>,
    /// Messages to write, the front one perhaps in part.
    out: VecDeque<Vec<u8>>,
    written: usize,
    /// Input up to a frame that is not complete.
    partial: Vec<u8>,
    /// When each message that is on its way was sent, the oldest first.
    pub sent_at: VecDeque<Instant>,
}

/// The request that opens a connection. Whoever wants a user takes the token.
pub fn request(path: &str, user: usize) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer peer-{user}\r\n\r\n"
    )
}

/// Whether `input` begins with the answer that opens a connection; its length.
pub fn accepted(input: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(input.len() < 8192, "an endless answer");
        return Ok(None);
    };
    let head = &input[..end];
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "refused: {}", String::from_utf8_lossy(head));
    ensure!(head.windows(ACCEPT.len()).any(|part| part == ACCEPT), "a wrong Sec-WebSocket-Accept");
    Ok(Some(end + 4))
}

impl Peer {
    /// Connects and shakes hands, one after the other.
    pub fn connect(
        addr: SocketAddr,
        path: &str,
        user: usize,
        template: &Rc<Template>,
    ) -> anyhow::Result<Self> {
        let mut stream = std::net::TcpStream::connect(addr).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.write_all(request(path, user).as_bytes())?;
        let (mut input, mut buffer) = (Vec::new(), [0; 1024]);
        let head = loop {
            let len = stream.read(&mut buffer)?;
            ensure!(len > 0, "hung up during the handshake");
            input.extend(&buffer[..len]);
            if let Some(head) = accepted(&input)? {
                break head;
            }
        };
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            template: Rc::clone(template),
            out: VecDeque::new(),
            written: 0,
            partial: input.split_off(head),
            sent_at: VecDeque::new(),
        })
    }

    pub fn register(&mut self, registry: &Registry, token: usize) -> anyhow::Result<()> {
        registry.register(&mut self.stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(())
    }

    /// Puts a message behind those that wait to be written.
    pub fn push(&mut self, tag: u64) {
        self.out.push_back(self.template.head(tag));
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        while !self.out.is_empty() {
            let filler = &self.template.masked_filler;
            let mut slices = Vec::with_capacity(2 * MESSAGES_PER_WRITE);
            let mut skip = self.written;
            for head in self.out.iter().take(MESSAGES_PER_WRITE) {
                let in_head = skip.min(head.len());
                slices.push(IoSlice::new(&head[in_head..]));
                slices.push(IoSlice::new(&filler[skip - in_head..]));
                skip = 0;
            }
            match self.stream.write_vectored(&slices) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("writing"),
            }
            while let Some(front) = self.out.front() {
                let len = front.len() + filler.len();
                if self.written < len {
                    break;
                }
                self.written -= len;
                self.out.pop_front();
            }
        }
        Ok(())
    }

    /// Reads everything there is; `got` is told the tag of each message. Answers reads and messages.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        mut got: impl FnMut(&mut Self, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<(u64, u64)> {
        let (mut reads, mut messages) = (0, 0);
        loop {
            let len = match self.stream.read(buffer) {
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
        while let Some((opcode, start, len)) = frame(&input[at..])? {
            let Some(payload) = input.get(at + start..at + start + len) else { break };
            match opcode {
                0x1 => {
                    let template = Rc::clone(&self.template);
                    *messages += 1;
                    got(self, template.tag(payload)?)?;
                }
                0x9 => ensure!(len == 0, "a ping with a payload was not expected"),
                0x8 => bail!("the server closed: {}", String::from_utf8_lossy(payload)),
                opcode => bail!("a frame with opcode {opcode} was not expected"),
            }
            at += start + len;
        }
        Ok(at)
    }
}

/// Opcode, header length and payload length of the frame that `input` begins with.
fn frame(input: &[u8]) -> anyhow::Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    ensure!(first & 0xF0 == 0x80, "a fragment or reserved bits were not expected");
    let opcode = first & 0x0F;
    ensure!(second & 0x80 == 0, "a server does not mask");
    Ok(match (second & 0x7F, rest) {
        (126, [a, b, ..]) => Some((opcode, 4, usize::from(u16::from_be_bytes([*a, *b])))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let len = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            Some((opcode, 10, usize::try_from(len)?))
        }
        (126 | 127, _) => None,
        (len, _) => Some((opcode, 2, usize::from(len))),
    })
}
