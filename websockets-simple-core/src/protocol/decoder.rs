//! The protocol decoder: from bytes to messages, control frames and faults. It never touches a socket.
//!
//! tungstenite's context checks everything that RFC 6455 requires of a receiver, joins fragments and answers pings and
//! Close. Nearly all traffic is whole data messages in one well-formed frame. These are taken out of the input in
//! place, so that a connection has a context only while something else is going on. The tests compare the two ways.

use std::{
    io::{self, Read, Write},
    mem,
};

use bytes::Bytes;
use tungstenite::{
    self,
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode as TungsteniteCode,
    },
};

use crate::protocol::{
    buffer_pool,
    close_code::CloseCode,
    frame::{Frame, InternalFrame, Side},
    header::Header,
    mask::apply_mask,
    message::Message,
    text::Text,
};

/// Bytes that the context takes from the input at a time. Small, because it zeroes that many each time.
const READ_PIECE: usize = 1024;

/// The first memory of a message that is read in parts; later it gets a multiple of what has arrived.
const FIRST_PIECE: usize = 16 * 1024;

/// Below this many missing bytes a message does not get a read of its own.
const WORTH_A_READ: usize = 16 * 1024;

/// The result of one step through the input.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// The input is used up.
    Starved,
    Message(Message),
    Ping,
    Pong,
    /// The peer's Close, with its code and reason.
    Close(Option<u16>, String),
    /// Both sides have closed.
    Over,
    Fault(Fault),
}

/// How the peer broke the protocol, and the close code for it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: CloseCode,
    pub(crate) error: ProtocolError,
}

/// The peer broke RFC 6455 or exceeded the message size limit. The wording may change.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ProtocolError {
    text: String,
}

/// Decodes the input of one connection into messages, control frames and faults.
#[derive(Debug)]
pub(crate) struct Decoder {
    side: Side,
    message_size: usize,
    place: Place,
    /// A fragmented message is in progress: the context has its beginning.
    fragmented: bool,
    /// A Close was sent or received: only the context knows what may still come.
    closing: bool,
    context: Option<Box<Context>>,
}

/// Where in the input the decoder is.
#[derive(Debug)]
enum Place {
    /// Between frames, or in a header of which these bytes have come.
    Between([u8; Header::LONGEST], u8),
    /// In a frame that the context sees, with this many bytes of it to come.
    Context(u64),
    /// In the payload of a whole message.
    Message(Box<Partial>),
}

/// A message that has arrived in part, still masked.
#[derive(Debug)]
struct Partial {
    header: Header,
    payload: Vec<u8>,
    missing: usize,
}

#[derive(Debug)]
struct Context {
    protocol: WebSocketContext,
    output: Vec<u8>,
}

/// The stream as the context sees it: input from a slice, output into a buffer.
struct Feed<'a, 'b> {
    input: &'a mut &'b [u8],
    output: &'a mut Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(side: Side, message_size: usize) -> Self {
        Self { side, message_size, place: Place::START, fragmented: false, closing: false, context: None }
    }

    /// Takes one step through `input`, which is unmasked in place. Control frames to be sent go to `reply`.
    pub(crate) fn step(
        &mut self,
        input: &mut &mut [u8],
        mut reply: impl FnMut(Frame, InternalFrame),
    ) -> Decoded {
        loop {
            match &mut self.place {
                Place::Between(..) if self.closing => {
                    let Place::Between(held, len) = mem::replace(&mut self.place, Place::Context(u64::MAX))
                    else {
                        continue;
                    };
                    let step = self.consult(&mut &held[..usize::from(len)], &mut reply);
                    if !matches!(step, Decoded::Starved) {
                        return step;
                    }
                }
                Place::Between(held, len) => {
                    if input.is_empty() {
                        return Decoded::Starved;
                    }
                    let known = usize::from(*len);
                    // Nearly always the whole header is there.
                    let whole = if known == 0 { Header::read(input) } else { None };
                    let (header, used) = match whole {
                        Some((header, used)) => {
                            held[..used].copy_from_slice(&input[..used]);
                            skip(input, used);
                            (header, used)
                        }
                        None => {
                            let more = input.len().min(held.len() - known);
                            held[known..known + more].copy_from_slice(&input[..more]);
                            let Some((header, used)) = Header::read(&held[..known + more]) else {
                                *len += more as u8;
                                skip(input, more);
                                return Decoded::Starved;
                            };
                            skip(input, used - known);
                            (header, used)
                        }
                    };
                    let bytes = *held;
                    if self.is_plain(&header) {
                        if let Some(step) = self.begin(header, input) {
                            return step;
                        }
                        continue;
                    }
                    self.place = Place::Context(header.payload.saturating_add(used as u64));
                    if header.opcode() < 0x8 {
                        self.fragmented = !header.is_final();
                    }
                    let step = self.consult(&mut &bytes[..used], &mut reply);
                    if !matches!(step, Decoded::Starved) {
                        return step;
                    }
                }
                Place::Context(left) => {
                    let before = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    let mut now = &input[..before];
                    let step = self.consult(&mut now, &mut reply);
                    let used = before - now.len();
                    skip(input, used);
                    if !matches!(step, Decoded::Starved) || matches!(self.place, Place::Context(1..)) {
                        return step;
                    }
                }
                Place::Message(partial) => {
                    let more = partial.missing.min(input.len());
                    partial.reserve(more);
                    partial.payload.extend_from_slice(&input[..more]);
                    partial.missing -= more;
                    skip(input, more);
                    return self.finish();
                }
            }
        }
    }

    /// The payload of a large message that is on its way, and how many bytes of it are missing: they can be read into
    /// it without passing through [`step`](Self::step), and are then counted with [`took`](Self::took).
    pub(crate) fn large(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        match &mut self.place {
            Place::Message(partial) if partial.missing >= WORTH_A_READ => {
                partial.reserve(0);
                Some((&mut partial.payload, partial.missing))
            }
            _ => None,
        }
    }

    /// `len` bytes were read into the payload of a large message.
    pub(crate) fn took(&mut self, len: usize) -> Decoded {
        if let Place::Message(partial) = &mut self.place {
            partial.missing -= len;
        }
        self.finish()
    }

    /// The Close frame to send, unless one was sent or received before.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) -> Option<Frame> {
        self.closing = true;
        self.context().close(code, reason)
    }

    /// Whether a frame is a whole data message with a valid header.
    fn is_plain(&self, header: &Header) -> bool {
        !self.fragmented
            && header.is_whole_message()
            && header.is_shortest
            && header.key.is_some() == (self.side == Side::Server)
            && header.payload <= self.message_size as u64
    }

    /// Takes a message out of the input if all of it is there, or begins to collect it.
    fn begin(&mut self, header: Header, input: &mut &mut [u8]) -> Option<Decoded> {
        let len = header.payload as usize;
        if len <= input.len() {
            self.place = Place::START;
            let (payload, rest) = mem::take(input).split_at_mut(len);
            *input = rest;
            if let Some(key) = header.key {
                apply_mask(payload, key);
            }
            return Some(message(&header, Bytes::copy_from_slice(payload)));
        }
        self.place = Place::Message(Box::new(Partial {
            header,
            payload: buffer_pool::take(len).unwrap_or_default(),
            missing: len,
        }));
        None
    }

    /// The message that was in progress, if nothing of it is missing.
    fn finish(&mut self) -> Decoded {
        let Place::Message(partial) = &mut self.place else { return Decoded::Starved };
        if partial.missing > 0 {
            return Decoded::Starved;
        }
        let mut payload = mem::take(&mut partial.payload);
        let header = partial.header;
        self.place = Place::START;
        if let Some(key) = header.key {
            apply_mask(&mut payload, key);
        }
        message(&header, buffer_pool::payload(payload))
    }

    /// Lets the context take one step, and drops it when it has nothing to remember.
    fn consult(&mut self, input: &mut &[u8], reply: &mut impl FnMut(Frame, InternalFrame)) -> Decoded {
        let before = input.len();
        let Context { protocol, output } = self.context();
        let read = protocol.read(&mut Feed { input, output });
        if matches!(read, Ok(tungstenite::Message::Ping(_))) {
            // Otherwise the answer would wait for the next step.
            let _ = protocol.flush(&mut Feed { input: &mut &[][..], output });
        }
        if !output.is_empty() {
            let bytes = mem::take(output);
            let internal = if bytes[0] & 0x0F == 0x8 { InternalFrame::Close } else { InternalFrame::Pong };
            reply(Frame::raw(bytes), internal);
        }
        let step = Decoded::from(read);
        if matches!(step, Decoded::Close(..)) {
            self.closing = true;
        }
        let in_frame = match &mut self.place {
            Place::Context(u64::MAX) => true,
            Place::Context(left) => {
                *left -= (before - input.len()) as u64;
                *left > 0
            }
            _ => false,
        };
        if !in_frame {
            self.place = Place::START;
            if !self.fragmented && !self.closing {
                self.context = None;
            }
        }
        step
    }

    fn context(&mut self) -> &mut Context {
        let Self { side, message_size, context, .. } = self;
        context.get_or_insert_with(|| Box::new(Context::new(*side, *message_size)))
    }
}

impl Context {
    fn new(side: Side, message_size: usize) -> Self {
        let role = match side {
            Side::Client => Role::Client,
            Side::Server => Role::Server,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_PIECE)
            .write_buffer_size(0)
            .max_message_size(Some(message_size))
            .max_frame_size(Some(message_size));
        Self { protocol: WebSocketContext::new(role, Some(config)), output: Vec::new() }
    }

    fn close(&mut self, code: CloseCode, reason: &str) -> Option<Frame> {
        let close = CloseFrame { code: TungsteniteCode::from(code.get()), reason: reason.into() };
        let Self { protocol, output } = self;
        // An error here is `ConnectionClosed`, which means that nothing is left to send.
        let _ = protocol.close(&mut Feed { input: &mut &[][..], output }, Some(close));
        let bytes = mem::take(output);
        (!bytes.is_empty()).then(|| Frame::raw(bytes))
    }
}

impl Place {
    const START: Self = Self::Between([0; Header::LONGEST], 0);
}

impl Partial {
    /// Makes room for `more` bytes, or at least one. The room is sixteen times what has arrived, and at least
    /// [`FIRST_PIECE`]: an announced length alone allocates no more. The system backs it with memory only as it is
    /// filled.
    fn reserve(&mut self, more: usize) {
        if self.payload.capacity() - self.payload.len() < more.max(1) {
            let come = self.payload.len() + more;
            let piece = (16 * come).max(FIRST_PIECE) - self.payload.len();
            self.payload.reserve_exact(piece.min(self.missing));
        }
    }
}

fn skip(input: &mut &mut [u8], len: usize) {
    *input = &mut mem::take(input)[len..];
}

fn message(header: &Header, payload: Bytes) -> Decoded {
    if !header.is_text() {
        return Decoded::Message(Message::Binary(payload));
    }
    match Text::from_utf8(payload) {
        Some(text) => Decoded::Message(Message::Text(text)),
        None => Decoded::Fault(Fault::not_utf8()),
    }
}

impl From<tungstenite::Result<tungstenite::Message>> for Decoded {
    fn from(read: tungstenite::Result<tungstenite::Message>) -> Self {
        match read {
            Ok(tungstenite::Message::Text(text)) => Self::Message(Message::Text(Text::from_decoder(text))),
            Ok(tungstenite::Message::Binary(bytes)) => Self::Message(Message::Binary(bytes)),
            Ok(tungstenite::Message::Ping(_)) => Self::Ping,
            Ok(tungstenite::Message::Pong(_)) => Self::Pong,
            Ok(tungstenite::Message::Close(close)) => match close {
                Some(close) => Self::Close(Some(close.code.into()), close.reason.as_str().to_owned()),
                None => Self::Close(None, String::new()),
            },
            Ok(tungstenite::Message::Frame(_)) => Self::Starved,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Self::Starved,
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Self::Over,
            Err(error) => Self::Fault(Fault::from(error)),
        }
    }
}

impl Fault {
    /// Does not quote the text, which may be private.
    fn not_utf8() -> Self {
        let error = ProtocolError { text: "text that is not UTF-8".to_owned() };
        Self { code: CloseCode::INVALID_DATA, error }
    }
}

impl From<tungstenite::Error> for Fault {
    fn from(error: tungstenite::Error) -> Self {
        let code = match &error {
            tungstenite::Error::Utf8(_) => return Self::not_utf8(),
            tungstenite::Error::Capacity(_) => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL,
        };
        Self { code, error: ProtocolError { text: error.to_string() } }
    }
}

impl Read for Feed<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buf)
    }
}

impl Write for Feed<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod differential;

#[cfg(test)]
mod tests;
