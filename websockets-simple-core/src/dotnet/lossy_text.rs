//! Text from peers that cut it inside a character.
//!
//! .NET servers count characters where they should count bytes, so their non-ASCII texts end too early, often
//! in the middle of a character. RFC 6455 makes that a fatal error. This walks over the frame headers of the
//! input and turns text frames into binary ones before the decoder sees them, and then the messages back into
//! text, with U+FFFD for what is broken.

use std::collections::VecDeque;

use crate::protocol::{Message, Text};

const OPCODE: u8 = 0x0F;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// Room for the kinds of this many messages is kept.
const KEPT: usize = 64;

/// Where in a frame the next input begins, and which messages were text.
#[derive(Debug, Default)]
pub(crate) struct LossyText {
    /// Header bytes seen so far.
    header: [u8; 14],
    seen: usize,
    /// Payload bytes still to come.
    payload: u64,
    /// Of each message whose first frame has begun, whether it is text: at most one for two bytes of an input, as
    /// the decoder takes all of that before the next.
    texts: VecDeque<bool>,
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
            if self.seen == 0 {
                match input[0] & OPCODE {
                    TEXT => {
                        input[0] = input[0] & !OPCODE | BINARY;
                        self.texts.push_back(true);
                    }
                    BINARY => self.texts.push_back(false),
                    _ => {}
                }
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

    /// The next message as it was sent.
    pub(crate) fn repaired(&mut self, message: Message) -> Message {
        let text = self.texts.pop_front().unwrap_or_default();
        if self.texts.is_empty() && self.texts.capacity() > KEPT {
            self.texts = VecDeque::new();
        }
        match message {
            Message::Binary(bytes) if text => {
                Message::Text(Text::from(String::from_utf8_lossy(&bytes).into_owned()))
            }
            message => message,
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
    fn a_text_cut_inside_a_character_is_repaired_and_binary_messages_stay_as_they_are() {
        let cut = Message::binary(&b"\xe6\x97"[..]);
        let mut lossy_text = LossyText::default();
        // The parts of a message are one message, and a ping between them is none.
        let mut input: Vec<u8> =
            [&frame(1, 2)[..], &frame(2, 2), b"\x01\x00", &frame(9, 0), &frame(0, 2)].concat();
        lossy_text.walk(&mut input);
        assert_eq!(lossy_text.repaired(cut.clone()).as_text(), Some("\u{FFFD}"));
        assert_eq!(lossy_text.repaired(cut.clone()), cut);
        assert_eq!(lossy_text.repaired(cut).as_text(), Some("\u{FFFD}"));
    }

    #[test]
    fn what_a_burst_of_messages_needed_is_given_back() {
        let mut lossy_text = LossyText::default();
        lossy_text.walk(&mut frame(1, 0).repeat(10_000));
        assert_eq!(lossy_text.texts.len(), 10_000);
        for _ in 0..10_000 {
            lossy_text.repaired(Message::binary(Vec::new()));
        }
        assert_eq!(lossy_text.texts.capacity(), 0);
    }
}
