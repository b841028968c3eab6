//! A message that arrives in fragments (RFC 6455 section 5.4), or text that arrives in pieces.

use crate::protocol::{
    buffer_pool,
    decoder::{
        TextPolicy,
        fault::{Fault, FaultKind},
        partial::missing_room,
    },
    message::Message,
    text::Text,
};

/// What has come of a message in pieces. Its memory grows with what has come and not with what was announced.
#[derive(Debug)]
pub(super) enum Assembly {
    Binary(Vec<u8>),
    /// A compressed message, and whether it is text.
    Compressed(Vec<u8>, bool),
    Text(TextAssembly),
}

/// Text that is checked piece by piece, so that the first impossible byte is the last one that is read.
#[derive(Debug)]
pub(super) struct TextAssembly {
    policy: TextPolicy,
    text: String,
    /// Bytes of payload, if the text is in one frame.
    announced: usize,
    /// Bytes of payload, of which a broken one may have become three of U+FFFD.
    come: usize,
    /// The beginning of a character whose end has not come.
    carry: [u8; 4],
    carried: usize,
}

impl Assembly {
    pub(super) fn new(is_text: bool, policy: TextPolicy) -> Self {
        if is_text {
            Self::Text(TextAssembly::new(policy, String::new(), 0))
        } else {
            Self::Binary(Vec::new())
        }
    }

    /// For text of `len` bytes in one frame.
    pub(super) fn text_of(len: usize, policy: TextPolicy) -> Self {
        // Taken memory is empty.
        let text = buffer_pool::take(len).and_then(|memory| String::from_utf8(memory).ok());
        Self::Text(TextAssembly::new(policy, text.unwrap_or_default(), len))
    }

    /// Bytes of payload that have come.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Compressed(bytes, _) => bytes.len(),
            Self::Text(text) => text.come,
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Binary(bytes) | Self::Compressed(bytes, _) => bytes.extend_from_slice(piece),
            Self::Text(text) => text.push(piece)?,
        }
        Ok(())
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(..))
    }

    /// The message, after its last fragment; the payload of a compressed one.
    pub(super) fn finish(self) -> Result<Message, Fault> {
        Ok(match self {
            Self::Binary(bytes) | Self::Compressed(bytes, _) => Message::Binary(buffer_pool::payload(bytes)),
            Self::Text(text) => Message::Text(text.finish()?),
        })
    }
}

impl TextAssembly {
    fn new(policy: TextPolicy, text: String, announced: usize) -> Self {
        Self { policy, text, announced, come: 0, carry: [0; 4], carried: 0 }
    }

    fn push(&mut self, mut piece: &[u8]) -> Result<(), FaultKind> {
        if let Some(missing) = self.announced.checked_sub(self.come) {
            let (len, more) = (self.text.len(), self.carried + piece.len());
            self.text.reserve_exact(missing_room(len, self.text.capacity(), more, missing + self.carried));
        }
        self.come += piece.len();
        while self.carried > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            self.carry[self.carried] = byte;
            match std::str::from_utf8(&self.carry[..=self.carried]) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.carried = 0;
                    piece = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.carried += 1;
                    piece = rest;
                }
                // What was carried can have no end. This byte may begin something else.
                Err(_) => {
                    self.broken()?;
                    self.carried = 0;
                }
            }
        }
        if piece.is_empty() {
            return Ok(());
        }
        let (whole, mut begun) = piece.split_at(piece.len() - begun_character(piece));
        match (std::str::from_utf8(whole), self.policy) {
            (Ok(text), _) => self.text.push_str(text),
            (Err(_), TextPolicy::Strict) => return Err(FaultKind::NotUtf8),
            (Err(_), TextPolicy::Lossy) => self.text.push_str(&String::from_utf8_lossy(whole)),
        }
        // It may be impossible already.
        while let Err(error) = std::str::from_utf8(begun)
            && let Some(len) = error.error_len()
        {
            self.broken()?;
            begun = &begun[len..];
        }
        self.carry[..begun.len()].copy_from_slice(begun);
        self.carried = begun.len();
        Ok(())
    }

    fn finish(mut self) -> Result<Text, FaultKind> {
        if self.carried > 0 {
            self.broken()?;
        }
        Ok(Text::of_memory(self.text))
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    fn broken(&mut self) -> Result<(), FaultKind> {
        match self.policy {
            TextPolicy::Strict => Err(FaultKind::NotUtf8),
            TextPolicy::Lossy => {
                self.text.push(char::REPLACEMENT_CHARACTER);
                Ok(())
            }
        }
    }
}

/// How many bytes at the end of a piece begin a character that has more bytes, judged by the first of them.
fn begun_character(piece: &[u8]) -> usize {
    for (before, byte) in piece.iter().rev().take(3).enumerate() {
        let len = match byte {
            0x80..0xC0 => continue,
            0..0x80 => 1,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0.. => 4,
        };
        return if len > before + 1 { before + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(bytes: &[u8], cuts: &[usize], policy: TextPolicy) -> Result<String, Fault> {
        let mut assembly = Assembly::new(true, policy);
        let mut cuts = cuts.iter().cycle();
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            let (piece, later) = rest.split_at(len);
            rest = later;
            assembly.push(piece)?;
        }
        assembly.finish().map(|message| message.as_text().unwrap_or_default().to_owned())
    }

    /// Bytes that are nearly UTF-8.
    fn nearly_utf8() -> impl Strategy<Value = Vec<u8>> {
        let pieces = ["a", "é", "日本", "😀"].map(|text| text.as_bytes().to_vec());
        let broken = [&b"\xE6\x97"[..], b"\xF0\x9F", b"\xFF", b"\xC0\x80", b"\xED\xA0\x80", b"\xF4\x90"];
        let piece = prop_oneof![
            4 => prop::sample::select(pieces.to_vec()),
            1 => prop::sample::select(broken.map(<[u8]>::to_vec).to_vec()),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn text_in_pieces_is_what_it_is_as_a_whole(
            bytes in prop_oneof![nearly_utf8(), any::<Vec<u8>>()],
            cuts in prop::collection::vec(1usize..6, 1..4),
        ) {
            let strict = joined(&bytes, &cuts, TextPolicy::Strict).map_err(|fault| fault.kind());
            prop_assert_eq!(strict, String::from_utf8(bytes.clone()).map_err(|_| FaultKind::NotUtf8));
            let lossy = joined(&bytes, &cuts, TextPolicy::Lossy).unwrap_or_default();
            prop_assert_eq!(lossy, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_piece_is_cut_where_a_character_begins_that_has_no_end() {
        for (piece, begun) in [
            (&b""[..], 0),
            (b"a", 0),
            (b"a\xC3", 1),
            ("é".as_bytes(), 0),
            (b"\xE6", 1),
            (b"a\xE6\x97", 2),
            ("日".as_bytes(), 0),
            (b"\xF0\x9F\x98", 3),
            ("😀".as_bytes(), 0),
            (b"\x80\x80\x80\x80", 0),
        ] {
            assert_eq!(begun_character(piece), begun, "{piece:x?}");
        }
    }

    #[test]
    fn text_fails_at_the_first_byte_that_cannot_be_right() {
        let mut assembly = Assembly::new(true, TextPolicy::Strict);
        assert!(assembly.push(b"\xF4").is_ok());
        // RFC 3629 ends at U+10FFFF, which begins with F4 8F.
        assert_eq!(assembly.push(b"\x90").map_err(|fault| fault.kind()), Err(FaultKind::NotUtf8));
    }
}
