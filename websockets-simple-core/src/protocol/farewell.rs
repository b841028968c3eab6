//! What a server says after the upgrade only to close at once: browsers see the reason of a refusal no other way.

use crate::protocol::{
    decoder::{Decoded, Decoder, TextPolicy},
    frame::Side,
    message::Message,
};

/// Largest text, in bytes.
const LONGEST: usize = 4 * 1024;

/// Reads the text and the Close of a server that refuses a client after the upgrade. Pings are not answered.
#[derive(Debug)]
pub struct Farewell {
    decoder: Decoder,
    text: Option<String>,
    close: Option<(Option<u16>, String)>,
}

impl Farewell {
    /// Nothing was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self { decoder: Decoder::new(Side::Client, LONGEST, TextPolicy::Lossy), text: None, close: None }
    }

    /// Reads what follows. True when nothing more is to come: the server has closed, or broken RFC 6455.
    pub fn read(&mut self, input: &[u8]) -> bool {
        let mut input = input.to_vec();
        let mut input = &mut input[..];
        loop {
            match self.decoder.step(&mut input, |_, _| {}) {
                Decoded::Message(Message::Text(text)) => self.text = Some(text.as_str().to_owned()),
                Decoded::Close(code, reason) => self.close = Some((code, reason)),
                Decoded::Fault(_) | Decoded::Over => return true,
                Decoded::Starved => return false,
                Decoded::Fragment
                | Decoded::Inflated(..)
                | Decoded::Part(_)
                | Decoded::LastPart(_)
                | Decoded::Message(_)
                | Decoded::Ping
                | Decoded::Pong => {}
            }
        }
    }

    /// The last text, or the reason of the Close if there was none.
    #[must_use]
    pub fn text(&self) -> &str {
        match (&self.text, &self.close) {
            (Some(text), _) | (None, Some((_, text))) => text,
            (None, None) => "",
        }
    }

    /// The code of the Close, once it has come and if it has one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.close.as_ref()?.0
    }
}

impl Default for Farewell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_read_however_it_is_cut_and_ends_with_the_close() {
        let bytes = b"\x89\x01p\x01\x02no\x80\x01t\x88\x05\x03\xf0why\x81\x04late";
        for cut in 1..bytes.len() {
            let mut farewell = Farewell::new();
            assert!(bytes.chunks(cut).any(|piece| farewell.read(piece)), "{cut}");
            assert_eq!((farewell.text(), farewell.code()), ("not", Some(1008)), "{cut}");
        }
    }

    #[test]
    fn without_a_text_the_reason_stands_for_it_and_a_fault_ends_it() {
        let mut farewell = Farewell::new();
        assert!(farewell.read(b"\x88\x05\x03\xf0why"));
        assert_eq!(farewell.text(), "why");
        let mut farewell = Farewell::new();
        assert!(farewell.read(b"\xff\x00"));
        assert_eq!((farewell.text(), farewell.code()), ("", None));
    }
}
