//! Text that is checked as it comes: RFC 3629.

use std::str;

use crate::protocol::decoder::{TextPolicy, fault::FaultKind};

/// How much of a text is known to be UTF-8. The first impossible byte is the last one that is read.
#[derive(Debug)]
pub(super) struct TextCheck {
    policy: TextPolicy,
    /// Bytes at the beginning of the text that are whole characters. Those behind them, at most three, begin one.
    checked: usize,
}

impl TextCheck {
    /// Nothing has come.
    pub(super) fn new(policy: TextPolicy) -> Self {
        Self { policy, checked: 0 }
    }

    /// Checks what has come of `text` since the last time.
    pub(super) fn extend(&mut self, text: &mut Vec<u8>) -> Result<(), FaultKind> {
        let Err(error) = str::from_utf8(&text[self.checked..]) else {
            self.checked = text.len();
            return Ok(());
        };
        self.checked += error.valid_up_to();
        match (error.error_len(), self.policy) {
            (None, _) => {}
            (Some(_), TextPolicy::Strict) => return Err(FaultKind::NotUtf8),
            (Some(_), TextPolicy::Lossy) => self.repair(text),
        }
        Ok(())
    }

    /// The number of bytes that are whole characters. A text that begins with what is behind them follows.
    pub(super) fn take(&mut self) -> usize {
        std::mem::take(&mut self.checked)
    }

    /// The text has ended: a character that has no end is broken, and no text in the strict sense.
    pub(super) fn finish(&self, text: &mut Vec<u8>) {
        if self.policy == TextPolicy::Lossy && self.checked < text.len() {
            text.truncate(self.checked);
            push_replacement(text);
        }
    }

    /// Replaces what is broken behind the checked bytes.
    fn repair(&mut self, text: &mut Vec<u8>) {
        let unchecked = text.split_off(self.checked);
        let mut chunks = unchecked.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.extend_from_slice(chunk.valid().as_bytes());
            self.checked = text.len();
            let broken = chunk.invalid();
            if chunks.peek().is_none() && begins_character(broken) {
                text.extend_from_slice(broken);
            } else {
                push_replacement(text);
                self.checked = text.len();
            }
        }
    }
}

/// Whether more may make a character of it; also of nothing.
fn begins_character(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), str::is_empty)
}

fn push_replacement(text: &mut Vec<u8>) {
    text.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(bytes: &[u8], cuts: &[usize], policy: TextPolicy) -> Result<Vec<u8>, FaultKind> {
        let (mut check, mut text) = (TextCheck::new(policy), Vec::new());
        let mut cuts = cuts.iter().cycle();
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            let (piece, later) = rest.split_at(len);
            rest = later;
            text.extend_from_slice(piece);
            check.extend(&mut text)?;
            assert!(text.len() - check.checked <= 3 && begins_character(&text[check.checked..]));
        }
        check.finish(&mut text);
        Ok(text)
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
            let strict = joined(&bytes, &cuts, TextPolicy::Strict).ok();
            let strict = strict.and_then(|text| String::from_utf8(text).ok());
            prop_assert_eq!(strict, String::from_utf8(bytes.clone()).ok());
            let lossy = joined(&bytes, &cuts, TextPolicy::Lossy).expect("it is repaired");
            prop_assert_eq!(lossy, String::from_utf8_lossy(&bytes).into_owned().into_bytes());
        }
    }

    #[test]
    fn text_fails_at_the_first_byte_that_cannot_be_right() {
        let (mut check, mut text) = (TextCheck::new(TextPolicy::Strict), b"\xF4".to_vec());
        assert!(check.extend(&mut text).is_ok());
        // RFC 3629 ends at U+10FFFF, which begins with F4 8F.
        text.push(0x90);
        assert_eq!(check.extend(&mut text), Err(FaultKind::NotUtf8));
    }
}
