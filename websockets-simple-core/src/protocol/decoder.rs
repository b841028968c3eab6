//! The protocol decoder: from bytes to messages, control frames and faults. It never touches a socket.
//!
//! A frame is judged at the last byte of its header (`rules.rs`), before anything of its payload is kept. Nearly all
//! traffic is whole data messages in one frame: these are taken out of the input in place. All else is joined in
//! `assembly.rs`, in the memory that the user gets. Large payloads are read into it from the socket; text is judged at its
//! first impossible byte, so it is copied there as it is checked. Messages that are received in parts are cut there.

use std::{mem, num::NonZeroU32};

use bytes::Bytes;

use crate::protocol::{
    close_code::CloseCode,
    deflate::{Agreement, Inflation},
    frame::{Frame, InternalFrame, Side},
    header::Header,
    mask::apply_mask,
    message::Message,
    message_part::{MessagePart, MessageParts},
    text::Text,
};

use assembly::{Assembled, Assembly, Kind};
use control_frame::ControlFrame;
use rules::{FrameKind, Rules};

pub use fault::ProtocolError;
pub(crate) use fault::{Fault, FaultKind};

mod assembly;
mod control_frame;
mod fault;
mod rules;
mod text_pieces;

/// Below this many missing bytes a payload does not get a read of its own.
const WORTH_A_READ: usize = 16 * 1024;

/// The result of one step through the input. All but `Starved`, `Over` and `Part` stand for one frame.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// The input is used up.
    Starved,
    Message(Message),
    /// A message that was compressed, and the number of bytes by which it grew.
    Inflated(Message, usize),
    /// A fragment of a message that its last fragment completes, or a compressed message that comes after our Close.
    Fragment,
    /// A part of a message that is received in parts, inside of a frame.
    Part(Box<MessagePart>),
    /// The last part of such a message, with its last frame.
    LastPart(Box<MessagePart>),
    Ping,
    Pong,
    /// The peer's Close, with its code and reason.
    Close(Option<u16>, String),
    /// The peer has closed or broken the protocol: what follows is not read.
    Over,
    Fault(Fault),
}

/// What becomes of text that is not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextPolicy {
    /// The peer is closed with 1007 (RFC 6455 section 8.1).
    Strict,
    /// U+FFFD takes the place of what is broken: some .NET peers cut text inside a character.
    Lossy,
}

/// Decodes the input of one connection into messages, control frames and faults.
#[derive(Debug)]
pub(crate) struct Decoder {
    side: Side,
    text: TextPolicy,
    message_size: u64,
    /// Messages of more bytes are received in parts.
    part_size: Option<NonZeroU32>,
    /// Set if compression was agreed on.
    inflation: Option<Box<Inflation>>,
    /// We have sent Close: pings are not answered any more.
    sent_close: bool,
    place: Place,
    /// A message of which the last byte has not come.
    assembly: Option<Box<Assembly>>,
}

/// Where in the input the decoder is.
#[derive(Debug)]
enum Place {
    /// Between frames, or in a header of which these bytes have come.
    Between([u8; Header::LONGEST], u8),
    /// In the payload of a frame that goes to the assembly.
    Payload(Box<Payload>),
    Control(Box<ControlFrame>),
    /// Nothing more is read.
    Over,
}

/// What is left of a payload.
#[derive(Debug)]
struct Payload {
    /// Turned to the next byte.
    key: Option<[u8; 4]>,
    missing: u64,
    is_last: bool,
}

impl Payload {
    /// Nothing of it has come.
    fn new(header: &Header) -> Self {
        Self { key: header.key, missing: header.payload, is_last: header.is_final() }
    }

    /// Unmasks what has come of it.
    fn came(&mut self, piece: &mut [u8]) {
        if let Some(key) = &mut self.key {
            apply_mask(piece, *key);
            key.rotate_left(piece.len() % 4);
        }
        self.missing -= piece.len() as u64;
    }

    /// How many bytes of it the assembly takes now.
    fn most(&self, assembly: &Assembly) -> usize {
        usize::try_from(self.missing).unwrap_or(usize::MAX).min(assembly.room())
    }
}

impl Decoder {
    pub(crate) fn new(side: Side, message_size: usize, text: TextPolicy) -> Self {
        let message_size = message_size as u64;
        let (place, assembly) = (Place::START, None);
        Self {
            side,
            text,
            message_size,
            part_size: None,
            inflation: None,
            sent_close: false,
            place,
            assembly,
        }
    }

    /// Receives messages in parts, if they are larger than a part.
    pub(crate) fn receive_parts(&mut self, parts: MessageParts) {
        self.part_size = u32::try_from(parts.part_size()).ok().and_then(NonZeroU32::new);
        self.message_size = parts.message_size();
    }

    /// Reads compressed messages, if that was agreed on.
    pub(crate) fn with_compression(mut self, agreement: Option<Agreement>) -> Self {
        self.inflation = agreement.map(|agreement| Box::new(Inflation::new(agreement)));
        self
    }

    /// Takes one step through `input`, which is unmasked in place. Answers to pings go to `reply`; that to a Close is
    /// asked for with [`close_reply`](Self::close_reply).
    pub(crate) fn step(
        &mut self,
        input: &mut &mut [u8],
        mut reply: impl FnMut(Frame, InternalFrame),
    ) -> Decoded {
        loop {
            let step = match &mut self.place {
                Place::Over => Some(Decoded::Over),
                _ if input.is_empty() => Some(Decoded::Starved),
                Place::Between(..) => self.header(input, &mut reply),
                Place::Payload(..) => self.payload(input),
                Place::Control(control) => {
                    let piece = take(input, control.missing());
                    control.push(piece);
                    self.finish_control(&mut reply)
                }
            };
            if let Some(step) = step {
                self.end_after(&step);
                return step;
            }
        }
    }

    /// The memory of a large payload that is on its way, and how many bytes of it can be read into that without passing
    /// through [`step`](Self::step). They are then counted with [`took`](Self::took).
    pub(crate) fn large(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let Self { place: Place::Payload(payload), assembly: Some(assembly), .. } = self else { return None };
        let most = payload.most(assembly);
        if most < WORTH_A_READ {
            return None;
        }
        Some((assembly.memory(0, most, payload.is_last)?, most))
    }

    /// How many bytes of a large text are missing, which passes through [`step`](Self::step) to be checked.
    pub(crate) fn large_text(&self) -> Option<usize> {
        let Self { place: Place::Payload(payload), assembly: Some(assembly), .. } = self else { return None };
        let most = payload.most(assembly);
        (most >= WORTH_A_READ && assembly.is_text()).then_some(most)
    }

    /// `len` bytes were read into the memory of a large payload.
    pub(crate) fn took(&mut self, len: usize) -> Decoded {
        if let Self { place: Place::Payload(payload), assembly: Some(assembly), .. } = self {
            payload.came(assembly.came(len));
        }
        let step = self.finish_frame().unwrap_or(Decoded::Starved);
        self.end_after(&step);
        step
    }

    /// Reads nothing after a fault or a Close.
    #[inline]
    fn end_after(&mut self, step: &Decoded) {
        if matches!(step, Decoded::Fault(_) | Decoded::Close(..)) {
            self.place = Place::Over;
            self.assembly = None;
        }
    }

    /// The Close frame to send, unless one was sent before.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) -> Option<Frame> {
        let is_first = !mem::replace(&mut self.sent_close, true);
        is_first.then(|| Frame::close(code.get(), reason, self.side))
    }

    /// The answer to the peer's Close, unless ours was sent before: the same code and reason (RFC 6455 section 5.5.1).
    pub(crate) fn close_reply(&mut self, code: Option<u16>, reason: &str) -> Option<Frame> {
        let is_first = !mem::replace(&mut self.sent_close, true);
        is_first.then(|| match code {
            Some(code) => Frame::close(code, reason, self.side),
            None => Frame::close_without_code(self.side),
        })
    }

    /// Reads a header, and begins with the frame that it announces.
    fn header(
        &mut self,
        input: &mut &mut [u8],
        reply: &mut impl FnMut(Frame, InternalFrame),
    ) -> Option<Decoded> {
        let Place::Between(held, len) = &mut self.place else { return None };
        let known = usize::from(*len);
        // Nearly always the whole header is there.
        let whole = if known == 0 { Header::read(input) } else { None };
        let header = match whole {
            Some((header, used)) => {
                take(input, used);
                header
            }
            None => {
                let more = input.len().min(held.len() - known);
                held[known..known + more].copy_from_slice(&input[..more]);
                let Some((header, used)) = Header::read(&held[..known + more]) else {
                    *len += more as u8;
                    take(input, more);
                    return Some(Decoded::Starved);
                };
                take(input, used - known);
                header
            }
        };
        let rules = Rules {
            side: self.side,
            message_size: self.message_size,
            compression: self.inflation.is_some(),
            assembled: self.assembly.as_ref().map(|assembly| (assembly.len(), assembly.is_compressed())),
        };
        let kind = match rules.judge(&header) {
            Ok(kind) => kind,
            Err(fault) => return Some(Decoded::Fault(fault)),
        };
        match kind {
            FrameKind::Whole => self.begin(header, input),
            FrameKind::First => self.assemble(&header, None, input),
            FrameKind::Next => {
                self.place = Place::Payload(Box::new(Payload::new(&header)));
                self.payload(input)
            }
            FrameKind::Control => {
                let mut control = ControlFrame::new(&header);
                let piece = take(input, control.missing());
                control.push(piece);
                self.place = Place::Control(Box::new(control));
                self.finish_control(reply)
            }
        }
    }

    /// Takes a message out of the input if all of it is there, or begins to collect it.
    fn begin(&mut self, header: Header, input: &mut &mut [u8]) -> Option<Decoded> {
        let is_in_parts = |part_size: NonZeroU32| header.payload > u64::from(part_size.get());
        if !header.is_compressed() && self.part_size.is_some_and(is_in_parts) {
            return self.assemble(&header, Some(header.payload), input);
        }
        // It was judged, and is not longer than the largest message.
        let len = header.payload as usize;
        if len <= input.len() {
            self.place = Place::START;
            let payload = take(input, len);
            if let Some(key) = header.key {
                apply_mask(payload, key);
            }
            return Some(match header.is_compressed() {
                true => self.inflated(header.is_text(), payload),
                false if header.is_text() => text(payload, self.text),
                false => Decoded::Message(Message::Binary(Bytes::copy_from_slice(payload))),
            });
        }
        self.assemble(&header, Some(header.payload), input)
    }

    /// Begins a message that comes in pieces, with its first frame; with its length if that is the only one.
    fn assemble(&mut self, header: &Header, len: Option<u64>, input: &mut &mut [u8]) -> Option<Decoded> {
        let (kind, part_size) = match (header.is_compressed(), header.is_text()) {
            (true, is_text) => (Kind::Compressed(is_text), None),
            (false, true) => (Kind::Text(self.text), self.part_size),
            (false, false) => (Kind::Binary, self.part_size),
        };
        let part_size = part_size.map(|size| size.get() as usize);
        self.assembly = Some(Box::new(Assembly::new(kind, len, part_size)));
        self.place = Place::Payload(Box::new(Payload::new(header)));
        self.payload(input)
    }

    /// Joins what the input has of a payload to its message.
    fn payload(&mut self, input: &mut &mut [u8]) -> Option<Decoded> {
        let Self { place: Place::Payload(payload), assembly: Some(assembly), .. } = self else { return None };
        if assembly.room() == 0 && payload.missing > 0 && !input.is_empty() {
            let rest = payload.is_last.then_some(payload.missing);
            return Some(Decoded::Part(Box::new(assembly.part(rest))));
        }
        let most = payload.most(assembly);
        let piece = take(input, most);
        payload.came(piece);
        if let Err(fault) = assembly.push(piece, most, payload.is_last) {
            return Some(Decoded::Fault(fault));
        }
        self.finish_frame()
    }

    /// What follows if nothing of a frame's payload is missing.
    fn finish_frame(&mut self) -> Option<Decoded> {
        let Place::Payload(payload) = &self.place else { return None };
        if payload.missing > 0 {
            return None;
        }
        let is_last = payload.is_last;
        self.place = Place::START;
        if !is_last {
            return Some(Decoded::Fragment);
        }
        Some(match self.assembly.take()?.finish() {
            Ok(Assembled::Message(message)) => Decoded::Message(message),
            Ok(Assembled::LastPart(part)) => Decoded::LastPart(Box::new(part)),
            Ok(Assembled::Compressed(payload, is_text)) => self.inflated(is_text, &payload),
            Err(kind) => Decoded::Fault(kind.into()),
        })
    }

    /// The message that a compressed payload is. After our Close it would be thrown away, so nothing is made of it.
    fn inflated(&mut self, is_text: bool, compressed: &[u8]) -> Decoded {
        if self.sent_close {
            return Decoded::Fragment;
        }
        let Some(inflation) = &mut self.inflation else {
            return Decoded::Fault(FaultKind::ReservedBits.into());
        };
        let limit = usize::try_from(self.message_size).unwrap_or(usize::MAX);
        let payload = match inflation.inflate(compressed, limit) {
            Ok(payload) => payload,
            Err(kind) => return Decoded::Fault(kind.into()),
        };
        let grown = payload.len().saturating_sub(compressed.len());
        if !is_text {
            return Decoded::Inflated(Message::Binary(payload), grown);
        }
        match text(&payload, self.text) {
            Decoded::Message(message) => Decoded::Inflated(message, grown),
            fault => fault,
        }
    }

    /// Answers a control frame, if nothing of it is missing.
    fn finish_control(&mut self, reply: &mut impl FnMut(Frame, InternalFrame)) -> Option<Decoded> {
        let Place::Control(control) = &mut self.place else { return None };
        if control.missing() > 0 {
            return None;
        }
        control.unmask();
        let decoded = control.decoded();
        if matches!(decoded, Decoded::Ping) && !self.sent_close {
            reply(Frame::pong(control.payload(), self.side), InternalFrame::Pong);
        }
        self.place = Place::START;
        Some(decoded)
    }
}

impl Place {
    const START: Self = Self::Between([0; Header::LONGEST], 0);
}

/// Takes at most `most` bytes off the front of the input.
fn take<'a>(input: &mut &'a mut [u8], most: usize) -> &'a mut [u8] {
    let most = most.min(input.len());
    let (piece, rest) = mem::take(input).split_at_mut(most);
    *input = rest;
    piece
}

/// A text message that has come whole.
#[inline]
fn text(payload: &[u8], policy: TextPolicy) -> Decoded {
    let text = match policy {
        TextPolicy::Strict => Text::from_utf8(payload),
        TextPolicy::Lossy => Some(Text::from_utf8_lossy(payload)),
    };
    match text {
        Some(text) => Decoded::Message(Message::Text(text)),
        None => Decoded::Fault(FaultKind::NotUtf8.into()),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod differential;
#[cfg(any(test, fuzzing))]
pub(crate) mod model;
#[cfg(any(test, fuzzing))]
pub(crate) mod replay;

#[cfg(test)]
mod tests;
