//! Every value of the first two bytes of a frame, in every state, against the rules as RFC 6455 has them.

use super::*;

/// What a row is about.
struct Frame {
    first: u8,
    second: u8,
    side: Side,
    is_begun: bool,
    /// Whether compression was agreed on.
    is_agreed: bool,
}

impl Frame {
    fn opcode(&self) -> u8 {
        self.first & 15
    }

    fn fin(&self) -> bool {
        self.first & 128 != 0
    }

    fn len(&self) -> u8 {
        self.second & 127
    }
}

/// Section, rule, close code. The first row that fits is the judgement.
type Row = (&'static str, fn(&Frame) -> bool, u16);

const ROWS: &[Row] = &[
    ("5.1: a client masks", |it| it.side == Side::Server && it.second < 128, 1002),
    ("5.1: a server does not", |it| it.side == Side::Client && it.second >= 128, 1002),
    ("5.2: RSV1, not agreed", |it| it.first & 0x40 != 0 && !it.is_agreed, 1002),
    ("RFC 7692 6: RSV1 begins no message", |it| it.first & 0x40 != 0 && !matches!(it.opcode(), 1 | 2), 1002),
    ("5.2: RSV2", |it| it.first & 0x20 != 0, 1002),
    ("5.2: RSV3", |it| it.first & 0x10 != 0, 1002),
    ("5.2: reserved for data", |it| (3..=7).contains(&it.opcode()), 1002),
    ("5.2: reserved for control", |it| (0xB..=0xF).contains(&it.opcode()), 1002),
    ("5.4: continues nothing", |it| it.opcode() == 0 && !it.is_begun, 1002),
    ("5.4: inside of a message", |it| matches!(it.opcode(), 1 | 2) && it.is_begun, 1002),
    ("5.5: control in fragments", |it| it.opcode() >= 8 && !it.fin(), 1002),
    ("5.5: long control", |it| it.opcode() >= 8 && it.len() > 125, 1002),
    ("10.4: beyond the limit", |it| it.len() == 127, 1009),
];

/// What came before, and whether a message has begun.
type Before = (&'static [u8], bool);

const BEFORE: [Before; 3] = [(b"", false), (b"\x01\x01a", true), (b"\x02\x01a", true)];

/// Side, what came before, and whether compression was agreed on.
fn states() -> Vec<(Side, Before, Option<Agreement>)> {
    let agreements: &[Option<Agreement>] = &[
        None,
        #[cfg(feature = "deflate")]
        crate::protocol::Compression::new().confirm([&b"permessage-deflate"[..]]).expect("an answer"),
    ];
    let sides = [Side::Client, Side::Server].into_iter();
    sides
        .flat_map(|side| BEFORE.map(|before| (side, before)))
        .flat_map(|(side, before)| agreements.iter().map(move |agreement| (side, before, *agreement)))
        .collect()
}

/// A header with these bytes: an extended length of 200, or of 65,536.
fn header(first: u8, second: u8) -> Vec<u8> {
    let len: &[u8] = match second & 127 {
        126 => &[0, 200],
        127 => &[0, 0, 0, 0, 0, 1, 0, 0],
        _ => &[],
    };
    let key: &[u8] = if second & 128 != 0 { &[0; 4] } else { &[] };
    [&[first, second], len, key].concat()
}

fn masked(side: Side, frames: &[u8]) -> Vec<u8> {
    match (side, frames) {
        (Side::Server, [first, second, payload @ ..]) => {
            [&[*first, second | 128, 0, 0, 0, 0], payload].concat()
        }
        _ => frames.to_vec(),
    }
}

#[test]
fn every_first_two_bytes_are_judged_by_the_rules_at_the_last_byte_of_the_header() {
    for [first, second] in (0..=u16::MAX).map(u16::to_be_bytes) {
        let bytes = header(first, second);
        let (read, _) = Header::read(&bytes).expect("a whole header");
        for (side, (before, is_begun), agreement) in states() {
            let is_agreed = agreement.is_some();
            let frame = Frame { first, second, side, is_begun, is_agreed };
            let broken = ROWS.iter().find(|(_, fits, _)| fits(&frame));
            let code = broken.map(|(_, _, code)| *code);
            let assembled = is_begun.then_some((1, false));
            let rules = Rules { side, message_size: 500, compression: is_agreed, assembled };
            let kind = match (frame.opcode(), frame.fin()) {
                (8.., _) => FrameKind::Control,
                (0, _) => FrameKind::Next,
                (_, true) => FrameKind::Whole,
                (_, false) => FrameKind::First,
            };
            let judged = rules.judge(&read).map_err(|fault| fault.code.get());
            assert_eq!(judged, code.map_or(Ok(kind), Err), "{first:#x} {second:#x} {side:?} {before:x?}");
            for is_closing in [false, true] {
                let mut decoder = Decoder::new(side, 500, TextPolicy::Strict).with_compression(agreement);
                let _ = run(&mut decoder, &masked(side, before));
                if is_closing {
                    let _ = decoder.close(CloseCode::NORMAL, "");
                }
                let (last, all_but) = bytes.split_last().expect("two bytes at least");
                assert!(
                    run(&mut decoder, all_but).0.is_empty(),
                    "{first:#x} {second:#x}: judged before its end"
                );
                let (steps, replies) = run(&mut decoder, &[*last]);
                let told = match &steps[..] {
                    [Decoded::Fault(fault)] => Some(fault.code.get()),
                    // Nothing of the payload is there.
                    [] if frame.len() > 0 => None,
                    [step] | [step, Decoded::Over] if frame.len() == 0 => {
                        let is_right = match (frame.opcode(), frame.fin()) {
                            (8, _) => matches!(step, Decoded::Close(None, _)),
                            (9, _) => matches!(step, Decoded::Ping),
                            (10, _) => matches!(step, Decoded::Pong),
                            (_, true) if first & 0x40 != 0 && is_closing => matches!(step, Decoded::Fragment),
                            (_, true) if first & 0x40 != 0 => matches!(step, Decoded::Inflated(_, 0)),
                            (_, true) => matches!(step, Decoded::Message(_)),
                            (_, false) => matches!(step, Decoded::Fragment),
                        };
                        assert!(is_right, "{first:#x} {second:#x} {before:x?}: {step:?}");
                        None
                    }
                    steps => panic!("{first:#x} {second:#x} {side:?} {before:x?}: {steps:?}"),
                };
                assert_eq!(
                    told,
                    code,
                    "{first:#x} {second:#x} {side:?} {before:x?}: {broken:?}",
                    broken = broken.map(|row| row.0)
                );
                // 5.5.2, and nothing follows our own Close.
                let is_answered = code.is_none() && (first, frame.len(), is_closing) == (0x89, 0, false);
                assert_eq!(replies.len(), usize::from(is_answered), "{first:#x} {second:#x}");
            }
        }
    }
}

#[test]
fn every_row_of_the_rules_decides_something() {
    for (name, fits, _) in ROWS {
        let is_first = |first, second, side, (is_begun, is_agreed)| {
            let frame = Frame { first, second, side, is_begun, is_agreed };
            ROWS.iter().find(|(_, fits, _)| fits(&frame)).is_some_and(|row| row.0 == *name) && fits(&frame)
        };
        let decides = (0..=u16::MAX).map(u16::to_be_bytes).any(|[first, second]| {
            let states = [(false, false), (false, true), (true, false), (true, true)];
            [Side::Client, Side::Server]
                .iter()
                .any(|side| states.iter().any(|state| is_first(first, second, *side, *state)))
        });
        assert!(decides, "{name}");
    }
}
