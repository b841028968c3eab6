//! One frame as it goes on the wire, encoded once and shared by all receivers.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::{
    Message,
    header::{BINARY, CLOSE, CONTINUATION, FIN, Header, MASKED, OPCODE, PING, PONG, TEXT},
    mask::apply_mask,
};

/// Which end of a connection this is. Only a client masks what it sends (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

/// Kinds of frames that the connection sends by itself. They are exempt from the capacity of the outbox: at most one of
/// each kind waits there, a bounded number of control messages, and ten pings that make a .NET v7 peer read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InternalFrame {
    Close,
    /// A control message of the library.
    Control,
    Ping,
    Pong,
    /// A text of the heartbeat: a ping, a pong, or the text that precedes its Close.
    Text,
}

impl InternalFrame {
    /// The number of kinds.
    pub(crate) const KINDS: usize = 5;
}

/// One frame as it goes on the wire. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    header: [u8; Header::LONGEST],
    header_len: u8,
    payload: Bytes,
}

impl Frame {
    /// A whole message in one frame. A server's frame shares the payload of the message.
    #[must_use]
    pub fn message(message: Message, side: Side) -> Self {
        let opcode = if message.is_text() { TEXT } else { BINARY };
        match side {
            Side::Server => Self::new(FIN | opcode, message.into_payload(), None),
            Side::Client => Self::encode(FIN | opcode, message.as_bytes(), side),
        }
    }

    /// A whole message in one frame, from its compressed payload.
    #[cfg(feature = "deflate")]
    pub(crate) fn deflated(payload: &[u8], is_text: bool, side: Side) -> Self {
        Self::encode(FIN | super::header::RSV1 | if is_text { TEXT } else { BINARY }, payload, side)
    }

    /// A part of a message: the first names its kind, the others continue it, the last ends it.
    #[must_use]
    pub(crate) fn part(payload: &[u8], text: bool, first: bool, last: bool, side: Side) -> Self {
        let opcode = match (first, text) {
            (true, true) => TEXT,
            (true, false) => BINARY,
            (false, _) => CONTINUATION,
        };
        Self::encode(if last { FIN | opcode } else { opcode }, payload, side)
    }

    /// A ping frame without payload.
    #[must_use]
    pub(crate) fn ping(side: Side) -> Self {
        Self::encode(FIN | PING, &[], side)
    }

    /// The answer to a ping: its payload (RFC 6455 section 5.5.3).
    #[must_use]
    pub(crate) fn pong(payload: &[u8], side: Side) -> Self {
        Self::encode(FIN | PONG, payload, side)
    }

    /// A Close frame. The reason is at most 123 bytes long.
    #[must_use]
    pub(crate) fn close(code: u16, reason: &str, side: Side) -> Self {
        Self::encode(FIN | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat(), side)
    }

    /// A Close frame without a code.
    #[must_use]
    pub(crate) fn close_without_code(side: Side) -> Self {
        Self::encode(FIN | CLOSE, &[], side)
    }

    /// Length on the wire, header included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty, its header takes two bytes")]
    pub fn len(&self) -> usize {
        usize::from(self.0.header_len) + self.0.payload.len()
    }

    /// The payload as it is on the wire.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// Lets go of the frame: its payload, if nobody else holds it.
    pub(crate) fn into_payload(self) -> Option<Bytes> {
        Arc::into_inner(self.0).map(|encoded| encoded.payload)
    }

    /// Whether this is a text message, or its first frame.
    pub(crate) fn is_text(&self) -> bool {
        self.header().first().is_some_and(|first| first & OPCODE == TEXT)
    }

    /// Whether both share the same bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether this continues a message that an earlier frame began.
    pub(crate) fn continues(&self) -> bool {
        self.header().first().is_some_and(|first| first & OPCODE == CONTINUATION)
    }

    /// Whether this is the last frame of a message.
    pub(crate) fn is_last(&self) -> bool {
        self.header().first().is_some_and(|first| first & FIN != 0)
    }

    /// What is left of this frame after its first `skip` bytes: of the header and of the payload.
    pub(crate) fn after(&self, skip: usize) -> [&[u8]; 2] {
        let header = self.header();
        [&header[skip.min(header.len())..], &self.0.payload[skip.saturating_sub(header.len())..]]
    }

    fn header(&self) -> &[u8] {
        &self.0.header[..usize::from(self.0.header_len)]
    }

    fn encode(first_byte: u8, payload: &[u8], side: Side) -> Self {
        match side {
            Side::Server => Self::new(first_byte, Bytes::copy_from_slice(payload), None),
            Side::Client => {
                let key = rand::random();
                let mut payload = payload.to_vec();
                apply_mask(&mut payload, key);
                Self::new(first_byte, payload.into(), Some(key))
            }
        }
    }

    /// Puts a header in front of a payload that is masked already.
    fn new(first_byte: u8, payload: Bytes, key: Option<[u8; 4]>) -> Self {
        let (mut header, mut used) = ([0; Header::LONGEST], 0);
        put_header(first_byte, payload.len(), key, |bytes| {
            header[used..used + bytes.len()].copy_from_slice(bytes);
            used += bytes.len();
        });
        Self(Arc::new(Encoded { header, header_len: used as u8, payload }))
    }

    /// Appends a whole message in one frame, as it goes on the wire.
    pub(crate) fn append(bytes: &mut Vec<u8>, message: &Message, side: Side) {
        let opcode = if message.is_text() { TEXT } else { BINARY };
        let payload = message.as_bytes();
        let key = (side == Side::Client).then(rand::random);
        put_header(FIN | opcode, payload.len(), key, |header| bytes.extend_from_slice(header));
        let begin = bytes.len();
        bytes.extend_from_slice(payload);
        if let Some(key) = key {
            apply_mask(&mut bytes[begin..], key);
        }
    }

    /// The length of a message on the wire, header included.
    pub(crate) fn len_of(message: &Message, side: Side) -> usize {
        let len = message.len();
        let header = match len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        len + header + if side == Side::Client { 4 } else { 0 }
    }

    /// The frame that `bytes` begin with, and its length; `None` at their end.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (read, used) = Header::read(bytes)?;
        let len = used.checked_add(usize::try_from(read.payload).ok()?)?;
        let payload = Bytes::copy_from_slice(bytes.get(used..len)?);
        let mut header = [0; Header::LONGEST];
        header[..used].copy_from_slice(&bytes[..used]);
        Some((Self(Arc::new(Encoded { header, header_len: used as u8, payload })), len))
    }
}

/// Hands over a header as RFC 6455 section 5.2 has it, piece by piece.
#[inline]
fn put_header(first_byte: u8, len: usize, key: Option<[u8; 4]>, mut put: impl FnMut(&[u8])) {
    let masked = if key.is_some() { MASKED } else { 0 };
    match len {
        0..=125 => put(&[first_byte, masked | len as u8]),
        126..=0xFFFF => {
            let [a, b] = (len as u16).to_be_bytes();
            put(&[first_byte, masked | 126, a, b]);
        }
        _ => {
            put(&[first_byte, masked | 127]);
            put(&(len as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        put(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(frame: &Frame) -> Vec<u8> {
        frame.after(0).concat()
    }

    #[test]
    fn every_length_gets_the_shortest_header() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (0xFFFF, vec![0x82, 126, 0xFF, 0xFF]),
            (0x1_0000, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = Frame::message(Message::binary(vec![7; len]), Side::Server);
            let bytes = bytes(&frame);
            assert_eq!(bytes[..header.len()], header[..]);
            assert_eq!(bytes.len(), header.len() + len);
            assert_eq!(frame.len(), bytes.len());
        }
    }

    #[test]
    fn frames_that_were_appended_are_the_same_when_they_are_read_again() {
        for side in [Side::Client, Side::Server] {
            let messages = [0, 1, 125, 126, 0xFFFF, 0x1_0000].map(|len| match len % 2 {
                0 => Message::binary(vec![7; len]),
                _ => Message::text("x".repeat(len)),
            });
            let mut bytes = Vec::new();
            for message in &messages {
                let begin = bytes.len();
                Frame::append(&mut bytes, message, side);
                assert_eq!(bytes.len() - begin, Frame::len_of(message, side));
            }
            let mut rest = &bytes[..];
            for message in &messages {
                let (frame, len) = Frame::read(rest).unwrap();
                assert_eq!(frame.after(0).concat(), rest[..len]);
                assert_eq!((frame.len(), frame.is_text()), (len, message.is_text()));
                if side == Side::Server {
                    assert!(frame.payload() == message.as_bytes());
                }
                rest = &rest[len..];
            }
            assert!(Frame::read(rest).is_none());
        }
    }

    #[test]
    fn a_frame_is_the_same_as_its_clones_and_no_other() {
        let frame = |text: &'static str| Frame::message(Message::text(text), Side::Server);
        let hello = frame("hello");
        assert!(hello.is_same(&hello.clone()) && !hello.is_same(&frame("hello")));
    }

    #[test]
    fn only_parts_after_the_first_continue_a_message() {
        let part = |first, last| Frame::part(b"x", true, first, last, Side::Server).continues();
        assert_eq!([part(true, false), part(true, true)], [false; 2]);
        assert_eq!([part(false, false), part(false, true)], [true; 2]);
        assert!(!Frame::message(Message::text("x"), Side::Server).continues());
    }

    #[test]
    fn a_server_shares_the_payload_and_does_not_copy_it() {
        let payload = Bytes::from(vec![1; 100]);
        let frame = Frame::message(Message::binary(payload.clone()), Side::Server);
        assert_eq!(frame.0.payload.as_ptr(), payload.as_ptr());
    }

    #[test]
    fn non_ascii_text_is_measured_in_bytes() {
        let frame = Frame::message(Message::text("héllo raw"), Side::Server);
        assert_eq!(bytes(&frame), b"\x81\x0ah\xc3\xa9llo raw");
    }

    #[test]
    fn a_client_masks_and_the_mask_undoes_itself() {
        for len in [0, 1, 7, 8, 9, 200] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let frame = bytes(&Frame::message(Message::binary(payload.clone()), Side::Client));
            let start = frame.len() - len;
            assert_eq!(frame[1] & MASKED, MASKED);
            let key = frame[start - 4..start].try_into().unwrap();
            let mut unmasked = frame[start..].to_vec();
            apply_mask(&mut unmasked, key);
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn what_is_left_of_a_frame_can_start_anywhere() {
        let frame = Frame::message(Message::binary(vec![9; 5000]), Side::Server);
        let whole = bytes(&frame);
        for skip in [0, 1, 4, 5, 100, whole.len()] {
            assert_eq!(frame.after(skip).concat(), whole[skip..]);
        }
    }
}
