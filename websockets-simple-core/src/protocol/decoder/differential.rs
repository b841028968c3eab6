//! The decoder compared with tungstenite's context alone: the same messages, faults, codes and answers for any bytes,
//! cut anywhere.

use super::*;

/// tungstenite's context, fed with everything.
struct Reference(Context);

/// What a decoder made of its input so far, as text.
#[derive(Debug, Default, Eq, PartialEq)]
struct Outcome {
    steps: Vec<String>,
    replies: Vec<Vec<u8>>,
    over: bool,
}

/// Panics where the two differ. `input` is cut into pieces of the sizes in `cuts`, which are repeated; before the piece
/// `close_before` our side sends Close.
pub(crate) fn compare(
    side: Side,
    message_size: usize,
    input: &[u8],
    cuts: &[usize],
    close_before: Option<usize>,
) {
    let mut decoder = Decoder::new(side, message_size);
    let mut reference = Reference::new(side, message_size);
    let (mut ours, mut theirs) = (Outcome::default(), Outcome::default());
    let mut cuts = cuts.iter().cycle();
    let mut rest = input;
    for piece in 0.. {
        if close_before == Some(piece) {
            let frames =
                [decoder.close(CloseCode::NORMAL, "enough"), reference.close(CloseCode::NORMAL, "enough")];
            let [ours, theirs] = frames.map(|frame| frame.map(|frame| unmasked(&frame)));
            assert_eq!(ours, theirs, "the Close frames");
        }
        let len = cuts.next().map_or(rest.len(), |cut| (*cut).max(1)).min(rest.len());
        let (now, later) = rest.split_at(len);
        rest = later;
        decoder.take(now, piece % 2 == 0, &mut ours);
        reference.take(now, &mut theirs);
        assert_eq!(ours, theirs, "after piece {piece} of {len} bytes");
        if ours.over || rest.is_empty() {
            return;
        }
    }
}

impl Decoder {
    /// Runs one piece of input; `directly` reads large messages straight into their payload.
    fn take(&mut self, piece: &[u8], directly: bool, outcome: &mut Outcome) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            let mut replies = Vec::new();
            let step = match self.large() {
                Some((payload, missing)) if directly && !input.is_empty() => {
                    let len = missing.min(payload.capacity() - payload.len()).min(input.len());
                    payload.extend_from_slice(&input[..len]);
                    skip(&mut input, len);
                    match self.took(len) {
                        Decoded::Starved if !input.is_empty() => continue,
                        step => step,
                    }
                }
                _ => self.step(&mut input, |frame, internal| replies.push((frame, internal))),
            };
            if !outcome.note(&step, &replies) {
                return;
            }
        }
    }
}

impl Reference {
    fn new(side: Side, message_size: usize) -> Self {
        Self(Context::new(side, message_size))
    }

    fn take(&mut self, mut input: &[u8], outcome: &mut Outcome) {
        loop {
            let Context { protocol, output } = &mut self.0;
            let step = Decoded::from(protocol.read(&mut Feed { input: &mut input, output }));
            let mut replies = Vec::new();
            if !output.is_empty() {
                let internal =
                    if output[0] & 0x0F == 0x8 { InternalFrame::Close } else { InternalFrame::Pong };
                replies.push((Frame::raw(mem::take(output)), internal));
            }
            if !outcome.note(&step, &replies) {
                return;
            }
        }
    }

    fn close(&mut self, code: CloseCode, reason: &str) -> Option<Frame> {
        self.0.close(code, reason)
    }
}

impl Outcome {
    /// Whether the same input may give more steps.
    fn note(&mut self, step: &Decoded, replies: &[(Frame, InternalFrame)]) -> bool {
        self.replies.extend(replies.iter().map(|(frame, _)| unmasked(frame)));
        match step {
            Decoded::Starved => return false,
            Decoded::Over | Decoded::Fault(_) => self.over = true,
            _ => {}
        }
        self.steps.push(match step {
            Decoded::Message(message) => format!("{} {:?}", message.is_text(), message.as_bytes()),
            step => format!("{step:?}"),
        });
        !self.over
    }
}

/// The bytes of a frame; those of a client without the mask, which is random.
fn unmasked(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.after(0).concat();
    if let Some((Header { key: Some(key), .. }, len)) = Header::read(&bytes) {
        bytes[len - 4..len].fill(0);
        apply_mask(&mut bytes[len..], key);
    }
    bytes
}
