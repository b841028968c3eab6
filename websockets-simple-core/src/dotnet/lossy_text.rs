//! Text from peers that cut it inside a character.
//!
//! The .NET v6 server counts characters where it should count bytes, so its non-ASCII texts end too early, often
//! in the middle of a character. RFC 6455 makes that a fatal error. This walks over the frame headers of the
//! input and turns text frames into binary ones before the decoder sees them; the driver then reads their
//! bytes as text, with U+FFFD for what is broken. Such a peer sends no binary messages of its own.

use crate::protocol::{Message, Text};

const OPCODE: u8 = 0x0F;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// Where in a frame the next input begins.
#[derive(Debug, Default)]
pub(crate) struct LossyText {
    /// Header bytes seen so far.
    header: [u8; 14],
    seen: usize,
    /// Payload bytes still to come.
    payload: u64,
}

impl LossyText {
    /// Rewrites the opcodes in the next piece of input.
    pub(crate) fn walk(&mut self, mut input: &mut [u8]) {
        while !input.is_empty() {
            if self.payload > 0 {
                let skip = usize::try_from(self.payload).unwrap_or(usize::MAX).min(input.len());
                self.payload -= skip as u64;
                input = &mut input[skip..];
                continue;
            }
            if self.seen == 0 && input[0] & OPCODE == TEXT {
                input[0] = input[0] & !OPCODE | BINARY;
            }
            self.header[self.seen] = input[0];
            self.seen += 1;
            input = &mut input[1..];
            if let Some(payload) = self.complete() {
                self.payload = payload;
                self.seen = 0;
            }
        }
    }

    /// The payload length once the header is complete.
    fn complete(&self) -> Option<u64> {
        let second = *self.header.get(1).filter(|_| self.seen >= 2)?;
        let masked = if second & 0x80 == 0 { 0 } else { 4 };
        let wide = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.seen < 2 + wide + masked {
            return None;
        }
        let len = &self.header[2..2 + wide];
        Some(match wide {
            0 => u64::from(second & 0x7F),
            _ => len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        })
    }
}

/// The text of a message whose opcode was rewritten.
pub(crate) fn repaired(message: Message) -> Message {
    match message {
        Message::Binary(bytes) => Message::Text(Text::from(String::from_utf8_lossy(&bytes).into_owned())),
        text @ Message::Text(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match len {
            0..=125 => frame.push(len as u8),
            126..=0xFFFF => {
                frame.push(126);
                frame.extend((len as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        // A payload that looks like text headers all over.
        frame.extend(std::iter::repeat_n(0x81, len));
        frame
    }

    proptest! {
        #[test]
        fn only_opcodes_change_however_the_input_is_cut(
            frames in prop::collection::vec((prop::sample::select(vec![0u8, 1, 2, 8, 9, 10]), 0usize..300), 0..20),
            cut in 1usize..50,
        ) {
            let mut input: Vec<u8> = frames.iter().flat_map(|(opcode, len)| frame(*opcode, *len)).collect();
            let expected: Vec<u8> = frames
                .iter()
                .flat_map(|(opcode, len)| frame(if *opcode == 1 { 2 } else { *opcode }, *len))
                .collect();
            let mut lossy_text = LossyText::default();
            for piece in input.chunks_mut(cut) {
                lossy_text.walk(piece);
            }
            prop_assert_eq!(input, expected);
        }

        #[test]
        fn any_bytes_whatever_are_walked_without_a_panic(mut input: Vec<u8>) {
            LossyText::default().walk(&mut input);
        }
    }

    #[test]
    fn a_text_cut_inside_a_character_is_repaired() {
        let cut = Message::binary(&b"\xe6\x97"[..]);
        assert_eq!(repaired(cut).as_text(), Some("\u{FFFD}"));
    }
}
