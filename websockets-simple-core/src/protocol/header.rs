//! Frame headers (RFC 6455 section 5.2).

pub(crate) const OPCODE: u8 = 0x0F;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
pub(crate) const MASKED: u8 = 0x80;
/// Of the first frame of a message that is compressed (RFC 7692 section 6).
pub(crate) const RSV1: u8 = 0x40;
/// The bits that no extension of ours gives a meaning.
const RESERVED: u8 = 0x30;

/// The header of a frame that was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    first: u8,
    pub(crate) key: Option<[u8; 4]>,
    /// Bytes of the payload.
    pub(crate) payload: u64,
    /// Whether the length is encoded in as few bytes as possible.
    pub(crate) is_shortest: bool,
}

impl Header {
    /// Bytes of the longest header.
    pub(crate) const LONGEST: usize = 14;

    /// Reads the header that `input` begins with, and its length; `None` if not all of it is there.
    pub(crate) fn read(input: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = input.split_first_chunk()?;
        let (payload, rest, least) = match second & !MASKED {
            126 => {
                let (len, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*len)), rest, 126)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*len), rest, 0x1_0000)
            }
            len => (u64::from(len), rest, 0),
        };
        let (key, rest) = match second & MASKED {
            0 => (None, rest),
            _ => {
                let (key, rest) = rest.split_first_chunk()?;
                (Some(*key), rest)
            }
        };
        Some((Self { first, key, payload, is_shortest: payload >= least }, input.len() - rest.len()))
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.first & OPCODE
    }

    pub(crate) fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    pub(crate) fn has_reserved_bits(&self) -> bool {
        self.first & RESERVED != 0
    }

    /// Whether this begins a compressed message, if that was agreed on (RFC 7692 section 6).
    pub(crate) fn is_compressed(&self) -> bool {
        self.first & RSV1 != 0
    }

    pub(crate) fn is_text(&self) -> bool {
        self.opcode() == TEXT
    }
}
