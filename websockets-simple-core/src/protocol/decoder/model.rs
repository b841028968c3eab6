//! A slow model of what a peer may send: RFC 6455 sections 5 and 7.4, RFC 3629 section 4. It has the whole input at once,
//! and says of each step with which byte it can be told.
//!
//! A frame is judged with the last byte of its header, text with its first byte that no text can have there, a part of a
//! message with the byte that has no room in it, the rest of a message or control frame with its last byte.

use super::{
    replay::{Replay, Step},
    *,
};

/// Panics unless the decoder takes each step with the piece that holds the byte by which it can be told.
pub(crate) fn check(replay: &Replay<'_>, input: &[u8]) {
    let mut expected = steps(replay, input).into_iter().peekable();
    let (pieces, _) = replay.run(input);
    for piece in &pieces {
        let due = std::iter::from_fn(|| expected.next_if(|(at, _)| piece.bytes.contains(at)));
        let due: Vec<_> = due.map(|(_, step)| step).collect();
        assert_eq!(piece.steps, due, "bytes {:?} of {input:x?}, {replay:?}", piece.bytes);
    }
    assert_eq!(expected.next(), None, "after {input:x?}, {replay:?}");
}

/// A header, and how many bytes it has.
struct Head {
    size: usize,
    fin: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// The seven bits, then the bytes of an extended length.
    len7: u8,
    len: u64,
}

/// A message that is not complete: whether it is text, its bytes with their places, and how many of them were told in
/// parts.
type Begun = (bool, Vec<(usize, u8)>, usize);

/// Section 5.2, field by field.
fn head(input: &[u8]) -> Option<Head> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    let len7 = second % 128;
    let extended = match len7 {
        126 => input.get(2..4)?,
        127 => input.get(2..10)?,
        _ => &[],
    };
    let len = extended.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
    let mut size = 2 + extended.len();
    let mask = match second / 128 {
        0 => None,
        _ => {
            size += 4;
            Some(input.get(size - 4..size)?.try_into().ok()?)
        }
    };
    let len = if extended.is_empty() { u64::from(len7) } else { len };
    Some(Head { size, fin: first >= 128, reserved: first >> 4 & 7, opcode: first % 16, mask, len7, len })
}

/// The close code for a header that breaks a rule. `begun` are the bytes of a message that is not complete.
fn broken_rule(head: &Head, side: Side, message_size: usize, begun: Option<usize>) -> Option<u16> {
    let is_control = head.opcode >= 8;
    let rules = [
        // 5.2: reserved bits without an extension, reserved opcodes.
        (head.reserved != 0, 1002),
        (!matches!(head.opcode, 0 | 1 | 2 | 8 | 9 | 10), 1002),
        // 5.1: who masks.
        (head.mask.is_some() != (side == Side::Server), 1002),
        // 5.2: the minimal number of bytes, and a most significant bit of 0.
        (head.len7 == 126 && head.len < 126, 1002),
        (head.len7 == 127 && (head.len < 65_536 || head.len >= 1 << 63), 1002),
        // 5.5: control frames.
        (is_control && (!head.fin || head.len > 125), 1002),
        // 5.4: fragments.
        (head.opcode == 0 && begun.is_none(), 1002),
        (matches!(head.opcode, 1 | 2) && begun.is_some(), 1002),
        // 10.4: the limit, on one frame and on the sum of the fragments.
        (!is_control && head.len.saturating_add(begun.unwrap_or(0) as u64) > message_size as u64, 1009),
    ];
    rules.iter().find(|(is_broken, _)| *is_broken).map(|(_, code)| *code)
}

/// The steps of the input, each with the place of the byte by which it can be told.
fn steps(replay: &Replay<'_>, input: &[u8]) -> Vec<(usize, Step)> {
    let is_strict = replay.text == TextPolicy::Strict;
    let mut steps = Vec::new();
    let mut begun: Option<Begun> = None;
    let mut begin = 0;
    while let Some(head) = head(&input[begin..]) {
        let len = begun.as_ref().map(|(_, bytes, _)| bytes.len());
        if let Some(code) = broken_rule(&head, replay.side, replay.message_size, len) {
            steps.push((begin + head.size - 1, Step::Fault(code)));
            return steps;
        }
        let payload_begin = begin + head.size;
        let unmasked = |(at, byte): (usize, &u8)| {
            (payload_begin + at, head.mask.map_or(*byte, |mask| byte ^ mask[at % 4]))
        };
        let payload: Vec<(usize, u8)> =
            input[payload_begin..].iter().take(head.len as usize).enumerate().map(unmasked).collect();
        let is_whole = payload.len() as u64 == head.len;
        let last = payload_begin + payload.len() - 1;
        begin = last + 1;
        if head.opcode >= 8 {
            if !is_whole {
                return steps;
            }
            let payload: Vec<u8> = payload.iter().map(|(_, byte)| *byte).collect();
            let step = match head.opcode {
                8 => close(&payload),
                9 => Step::Ping,
                _ => Step::Pong,
            };
            let is_end = matches!(step, Step::Close(..) | Step::Fault(_));
            steps.push((last, step));
            if is_end {
                return steps;
            }
            continue;
        }
        let (is_text, mut bytes, mut told) = begun.take().unwrap_or((head.opcode == 1, Vec::new(), 0));
        bytes.extend(payload);
        let plain: Vec<u8> = bytes.iter().map(|(_, byte)| *byte).collect();
        let reading = if is_text && is_strict { utf8(&plain) } else { Utf8::Whole };
        let right = if let Utf8::ImpossibleAt(at) = reading { at + 1 } else { bytes.len() };
        while let Some(size) = replay.part_size
            && told + size < right
        {
            let end = told + size - if is_text { begun_character(&plain[told..told + size]) } else { 0 };
            steps.push((bytes[told + size].0, part(is_text, &plain[told..end], told == 0, false)));
            told = end;
        }
        if let Utf8::ImpossibleAt(at) = reading {
            steps.push((bytes[at].0, Step::Fault(1007)));
            return steps;
        }
        if !is_whole {
            return steps;
        }
        let step = match (head.fin, reading) {
            (false, _) => {
                begun = Some((is_text, bytes, told));
                Step::Fragment
            }
            (true, Utf8::Incomplete) => Step::Fault(1007),
            (true, _) if told > 0 => part(is_text, &plain[told..], false, true),
            (true, _) if is_text => Step::Message(true, String::from_utf8_lossy(&plain).into_owned().into()),
            (true, _) => Step::Message(false, plain),
        };
        let is_end = matches!(step, Step::Fault(_));
        steps.push((last, step));
        if is_end {
            return steps;
        }
    }
    steps
}

/// A part of a message, and what becomes of text that is broken.
fn part(is_text: bool, bytes: &[u8], first: bool, last: bool) -> Step {
    let bytes = if is_text { String::from_utf8_lossy(bytes).into_owned().into() } else { bytes.to_vec() };
    Step::Part(is_text, bytes, first, last)
}

/// How many bytes at the end begin a character that may still become whole.
fn begun_character(bytes: &[u8]) -> usize {
    (1..=3).find(|len| utf8(&bytes[bytes.len() - len..]) == Utf8::Incomplete).unwrap_or(0)
}

/// Sections 5.5.1 and 7.4.
fn close(payload: &[u8]) -> Step {
    let (code, reason) = match payload {
        [] => return Step::Close(None, String::new()),
        [_] => return Step::Fault(1002),
        [high, low, reason @ ..] => (u16::from(*high) * 256 + u16::from(*low), reason),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Step::Fault(1002);
    }
    match utf8(reason) {
        Utf8::Whole => Step::Close(Some(code), String::from_utf8_lossy(reason).into_owned()),
        _ => Step::Fault(1007),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Utf8 {
    Whole,
    Incomplete,
    ImpossibleAt(usize),
}

/// The syntax of RFC 3629 section 4, to the letter: the ranges of the bytes of each kind of character.
fn utf8(bytes: &[u8]) -> Utf8 {
    const TAIL: (u8, u8) = (0x80, 0xBF);
    const CHARACTERS: &[&[(u8, u8)]] = &[
        &[(0x00, 0x7F)],
        &[(0xC2, 0xDF), TAIL],
        &[(0xE0, 0xE0), (0xA0, 0xBF), TAIL],
        &[(0xE1, 0xEC), TAIL, TAIL],
        &[(0xED, 0xED), (0x80, 0x9F), TAIL],
        &[(0xEE, 0xEF), TAIL, TAIL],
        &[(0xF0, 0xF0), (0x90, 0xBF), TAIL, TAIL],
        &[(0xF1, 0xF3), TAIL, TAIL, TAIL],
        &[(0xF4, 0xF4), (0x80, 0x8F), TAIL, TAIL],
    ];
    let is_in = |byte: u8, (least, most): (u8, u8)| (least..=most).contains(&byte);
    let mut at = 0;
    while at < bytes.len() {
        let Some(character) = CHARACTERS.iter().find(|character| is_in(bytes[at], character[0])) else {
            return Utf8::ImpossibleAt(at);
        };
        for range in *character {
            match bytes.get(at) {
                None => return Utf8::Incomplete,
                Some(byte) if is_in(*byte, *range) => at += 1,
                Some(_) => return Utf8::ImpossibleAt(at),
            }
        }
    }
    Utf8::Whole
}
