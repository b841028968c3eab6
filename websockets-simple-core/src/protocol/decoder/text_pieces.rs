//! Text that arrives in pieces, checked as it comes: RFC 3629.

use std::mem;

use crate::protocol::{
    decoder::{TextPolicy, fault::FaultKind},
    text::utf8,
};

/// Text that is checked piece by piece, so that the first impossible byte is the last one that is read.
#[derive(Debug)]
pub(super) struct TextPieces {
    policy: TextPolicy,
    text: String,
    /// The beginning of a character whose end has not come.
    carry: [u8; 4],
    carried: usize,
}

impl TextPieces {
    /// Nothing has come. `memory`, which is empty, is used for the text.
    pub(super) fn new(policy: TextPolicy, memory: Vec<u8>) -> Self {
        Self { policy, text: empty(memory), carry: [0; 4], carried: 0 }
    }

    /// The text up to its last whole character, to have room made in it for what comes.
    pub(super) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// Adds a piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), FaultKind> {
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
        match (utf8(whole), self.policy) {
            (Some(text), _) => self.text.push_str(text),
            (None, TextPolicy::Strict) => return Err(FaultKind::NotUtf8),
            (None, TextPolicy::Lossy) => self.text.push_str(&String::from_utf8_lossy(whole)),
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

    /// Bytes that begin a character whose end has not come.
    pub(super) fn carried(&self) -> usize {
        self.carried
    }

    /// The text up to its last whole character. What follows uses `memory`, which is empty.
    pub(super) fn take(&mut self, memory: Vec<u8>) -> String {
        mem::replace(&mut self.text, empty(memory))
    }

    /// The text, after its last piece.
    pub(super) fn finish(mut self) -> Result<String, FaultKind> {
        if self.carried > 0 {
            self.broken()?;
        }
        Ok(self.text)
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

/// The text of memory that is empty.
fn empty(memory: Vec<u8>) -> String {
    String::from_utf8(memory).unwrap_or_default()
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

    fn joined(bytes: &[u8], cuts: &[usize], policy: TextPolicy) -> Result<String, FaultKind> {
        let mut text = TextPieces::new(policy, Vec::new());
        let mut cuts = cuts.iter().cycle();
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            let (piece, later) = rest.split_at(len);
            rest = later;
            text.push(piece)?;
        }
        text.finish()
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
            let strict = joined(&bytes, &cuts, TextPolicy::Strict);
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
        let mut text = TextPieces::new(TextPolicy::Strict, Vec::new());
        assert!(text.push(b"\xF4").is_ok());
        // RFC 3629 ends at U+10FFFF, which begins with F4 8F.
        assert_eq!(text.push(b"\x90"), Err(FaultKind::NotUtf8));
    }
}
