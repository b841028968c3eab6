//! One frame as it goes on the wire, encoded once and shared by everybody it is sent to.

use std::io::IoSlice;

use bytes::{BufMut, Bytes, BytesMut};

use crate::Message;

/// Which end of a connection this is. Only a client masks what it sends (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

/// Up to this payload size header and payload share one buffer; a larger payload is not copied.
const JOINED: usize = 4096;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// An encoded frame. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Header, and the payload too unless it is large.
    first: Bytes,
    /// A large unmasked payload.
    rest: Bytes,
}

impl Frame {
    /// A whole message in one frame.
    #[must_use]
    pub fn message(message: &Message, side: Side) -> Self {
        let opcode = if message.is_text() { TEXT } else { BINARY };
        let payload = message.as_bytes();
        match side {
            Side::Server if payload.len() > JOINED => {
                let mut head = BytesMut::with_capacity(10);
                put_header(&mut head, FIN | opcode, payload.len(), None);
                Self { first: head.freeze(), rest: message.clone().into_payload() }
            }
            _ => Self::encode(FIN | opcode, payload, side),
        }
    }

    /// A part of a message: the first names its kind, the others continue it, the last ends it.
    #[must_use]
    pub(crate) fn part(payload: &[u8], text: bool, first: bool, last: bool, side: Side) -> Self {
        let opcode = match (first, text) {
            (true, true) => TEXT,
            (true, false) => BINARY,
            (false, _) => 0,
        };
        Self::encode(if last { FIN | opcode } else { opcode }, payload, side)
    }

    /// A ping frame without payload.
    #[must_use]
    pub(crate) fn ping(side: Side) -> Self {
        Self::encode(FIN | PING, &[], side)
    }

    /// A Close frame with a code and no reason.
    #[must_use]
    pub(crate) fn close(code: u16, side: Side) -> Self {
        Self::encode(FIN | CLOSE, &code.to_be_bytes(), side)
    }

    /// Bytes that the protocol engine encoded.
    #[must_use]
    pub(crate) fn raw(bytes: Vec<u8>) -> Self {
        Self { first: bytes.into(), rest: Bytes::new() }
    }

    /// Length on the wire, header included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty, its header takes two bytes")]
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Whether this goes on with a message that an earlier frame began.
    pub(crate) fn continues(&self) -> bool {
        self.first.first().is_some_and(|first| first & 0x0F == 0)
    }

    /// Appends what is left of this frame after its first `skip` bytes.
    pub(crate) fn slices<'a>(&'a self, skip: usize, into: &mut Vec<IoSlice<'a>>) {
        for part in
            [&self.first[skip.min(self.first.len())..], &self.rest[skip.saturating_sub(self.first.len())..]]
        {
            if !part.is_empty() {
                into.push(IoSlice::new(part));
            }
        }
    }

    fn encode(first_byte: u8, payload: &[u8], side: Side) -> Self {
        let mut bytes = BytesMut::with_capacity(payload.len() + 14);
        let key = (side == Side::Client).then(rand::random::<[u8; 4]>);
        put_header(&mut bytes, first_byte, payload.len(), key);
        let start = bytes.len();
        bytes.put_slice(payload);
        if let Some(key) = key {
            mask(&mut bytes[start..], key);
        }
        Self { first: bytes.freeze(), rest: Bytes::new() }
    }
}

/// The header of RFC 6455 section 5.2.
fn put_header(into: &mut BytesMut, first_byte: u8, len: usize, key: Option<[u8; 4]>) {
    into.put_u8(first_byte);
    let masked = if key.is_some() { MASKED } else { 0 };
    match len {
        0..=125 => into.put_u8(masked | len as u8),
        126..=0xFFFF => {
            into.put_u8(masked | 126);
            into.put_u16(len as u16);
        }
        _ => {
            into.put_u8(masked | 127);
            into.put_u64(len as u64);
        }
    }
    if let Some(key) = key {
        into.put_slice(&key);
    }
}

fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = [a, b, c, d, a, b, c, d];
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        for (byte, key) in chunk.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(wide) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(frame: &Frame) -> Vec<u8> {
        let mut slices = Vec::new();
        frame.slices(0, &mut slices);
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
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
            let frame = Frame::message(&Message::binary(vec![7; len]), Side::Server);
            let bytes = bytes(&frame);
            assert_eq!(bytes[..header.len()], header[..]);
            assert_eq!(bytes.len(), header.len() + len);
            assert_eq!(frame.len(), bytes.len());
        }
    }

    #[test]
    fn a_large_payload_is_shared_and_not_copied() {
        let payload = Bytes::from(vec![1; JOINED + 1]);
        let frame = Frame::message(&Message::binary(payload.clone()), Side::Server);
        assert_eq!(frame.rest.as_ptr(), payload.as_ptr());
    }

    #[test]
    fn non_ascii_text_is_measured_in_bytes() {
        let frame = Frame::message(&Message::text("héllo raw"), Side::Server);
        assert_eq!(bytes(&frame), b"\x81\x0ah\xc3\xa9llo raw");
    }

    #[test]
    fn a_client_masks_and_the_mask_undoes_itself() {
        for len in [0, 1, 7, 8, 9, 200] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let frame = bytes(&Frame::message(&Message::binary(payload.clone()), Side::Client));
            let start = frame.len() - len;
            assert_eq!(frame[1] & MASKED, MASKED);
            let key = frame[start - 4..start].try_into().unwrap();
            let mut unmasked = frame[start..].to_vec();
            mask(&mut unmasked, key);
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn what_is_left_of_a_frame_can_start_anywhere() {
        let frame = Frame::message(&Message::binary(vec![9; JOINED + 1]), Side::Server);
        let whole = bytes(&frame);
        for skip in [0, 1, 4, 5, 100, whole.len()] {
            let mut slices = Vec::new();
            frame.slices(skip, &mut slices);
            let left: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(left, whole[skip..]);
        }
    }
}
