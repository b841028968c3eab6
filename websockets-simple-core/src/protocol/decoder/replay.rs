//! Runs the decoder over an input that is cut into pieces, for the oracles.

use std::ops::Range;

use super::*;

/// What came out of some input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Whether it is text, and its bytes.
    Message(bool, Vec<u8>),
    Fragment,
    /// Part of a message: whether it is text, its bytes, whether it is the first, whether the last.
    Part(bool, Vec<u8>, bool, bool),
    Ping,
    Pong,
    Close(Option<u16>, String),
    Fault(u16),
}

/// What the decoder is told, and how its input is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay<'a> {
    pub(crate) side: Side,
    pub(crate) message_size: usize,
    pub(crate) text: TextPolicy,
    /// Most bytes of a part, if messages are received in parts.
    pub(crate) part_size: Option<usize>,
    /// Sizes of pieces, which are repeated.
    pub(crate) cuts: &'a [usize],
    pub(crate) compression: Option<Agreement>,
}

/// The steps of one piece of the input.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Range<usize>,
    pub(super) steps: Vec<Step>,
}

impl Replay<'_> {
    /// The pieces up to that of a fault or a Close, which are the last steps; and the fault.
    pub(super) fn run(&self, input: &[u8]) -> (Vec<Piece>, Option<FaultKind>) {
        let decoder = Decoder::new(self.side, self.message_size, self.text);
        let mut decoder = decoder.with_compression(self.compression);
        if let Some(part_size) = self.part_size {
            decoder.receive_parts(MessageParts::new(part_size, self.message_size as u64));
        }
        let mut cuts = self.cuts.iter().cycle();
        let (mut pieces, mut begin, mut fault) = (Vec::new(), 0, None);
        while begin < input.len() && !matches!(decoder.place, Place::Over) {
            let rest = input.len() - begin;
            let len = cuts.next().map_or(rest, |cut| (*cut).max(1)).min(rest);
            let bytes = begin..begin + len;
            begin = bytes.end;
            let mut now = input[bytes.clone()].to_vec();
            let steps = piece(&mut decoder, &mut now, pieces.len() % 2 == 0, &mut fault);
            pieces.push(Piece { bytes, steps });
        }
        (pieces, fault)
    }
}

#[cfg(feature = "deflate")]
impl Replay<'_> {
    /// All steps of the input.
    pub(crate) fn steps(&self, input: &[u8]) -> Vec<Step> {
        self.run(input).0.into_iter().flat_map(|piece| piece.steps).collect()
    }
}

/// The steps of one piece, which is read as a driver does: `straight` into the payload of a large message.
fn piece(
    decoder: &mut Decoder,
    mut now: &mut [u8],
    straight: bool,
    fault: &mut Option<FaultKind>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let mut replies = 0;
        let step = match decoder.large() {
            Some((payload, missing)) if straight && !now.is_empty() => {
                let len = missing.min(payload.capacity() - payload.len()).min(now.len());
                payload.extend_from_slice(take(&mut now, len));
                match decoder.took(len) {
                    Decoded::Starved if !now.is_empty() => continue,
                    step => step,
                }
            }
            _ => decoder.step(&mut now, |_, _| replies += 1),
        };
        assert_eq!(replies, usize::from(matches!(step, Decoded::Ping)), "each ping is answered");
        steps.push(match step {
            Decoded::Starved => {
                assert!(now.is_empty(), "{} bytes are left", now.len());
                return steps;
            }
            Decoded::Over => return steps,
            Decoded::Fragment => Step::Fragment,
            Decoded::Message(message) | Decoded::Inflated(message, _) => {
                Step::Message(message.is_text(), message.as_bytes().to_vec())
            }
            Decoded::Part(part) | Decoded::LastPart(part) => {
                let payload = part.payload.as_bytes().to_vec();
                Step::Part(part.payload.is_text(), payload, part.first, part.last)
            }
            Decoded::Ping => Step::Ping,
            Decoded::Pong => Step::Pong,
            Decoded::Close(code, reason) => Step::Close(code, reason),
            Decoded::Fault(found) => {
                *fault = Some(found.kind());
                Step::Fault(found.code.get())
            }
        });
    }
}
