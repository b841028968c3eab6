//! What all messages of a run have in common, and what tells them apart: a tag.

use std::rc::Rc;

use anyhow::{Context, ensure};

/// Any key masks; a fixed one lets a frame be made once.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Digits of the tag of a message.
const TAG: usize = 16;

/// Bits of the header of a frame.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// See the module.
pub struct Template {
    /// What comes before the tag, and what comes behind it.
    before: Vec<u8>,
    behind: Vec<u8>,
    /// The frames up to the tag, and what is left of them behind it.
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Template {
    /// A text without a meaning.
    pub fn text(size: usize) -> anyhow::Result<Rc<Self>> {
        Self::fragmented(size, 1)
    }

    /// A text without a meaning, in fragments of the same size.
    pub fn fragmented(size: usize, fragments: usize) -> anyhow::Result<Rc<Self>> {
        ensure!(size >= TAG, "a message has at least {TAG} bytes");
        let behind = (TAG..size).map(|at| b'a' + (at % 23) as u8).collect();
        Self::new(Vec::new(), behind, fragments)
    }

    /// JSON as servers send it: the last lines of a chat.
    pub fn json(size: usize) -> anyhow::Result<Rc<Self>> {
        const WORDS: [&str; 16] = [
            "the", "deploy", "is", "through", "and", "green", "who", "looks", "at", "latency", "of", "room",
            "seven", "tomorrow", "thanks", "please",
        ];
        const CLOSE: &[u8] = br#""}"#;
        let before = br#"{"id":""#.to_vec();
        let mut behind = br#"","lines":["#.to_vec();
        // Any numbers do, as long as they are the same in every run.
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut number = |upto: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % upto
        };
        loop {
            let words: Vec<_> = (0..4 + number(9)).map(|_| WORDS[number(16) as usize]).collect();
            let (user, second) = (number(1_000_000), number(60));
            let line = format!(
                r#"{{"user":{user},"at":"2026-11-29T15:03:{second:02}Z","text":"{}"}},"#,
                words.join(" ")
            );
            if before.len() + TAG + behind.len() + line.len() + 64 > size {
                break;
            }
            behind.extend(line.bytes());
        }
        behind.pop();
        behind.extend(br#"],"more":""#);
        let filled = before.len() + TAG + behind.len() + CLOSE.len();
        behind.resize(behind.len() + size.checked_sub(filled).context("too short for JSON")?, b'-');
        behind.extend(CLOSE);
        Self::new(before, behind, 1)
    }

    fn new(before: Vec<u8>, behind: Vec<u8>, fragments: usize) -> anyhow::Result<Rc<Self>> {
        let payload = [&before[..], &[0; TAG], &behind[..]].concat();
        let each = payload.len().div_ceil(fragments);
        ensure!(each >= before.len() + TAG, "the tag has to be in the first fragment");
        let parts = payload.chunks(each).count();
        let mut wire = Vec::new();
        for (at, part) in payload.chunks(each).enumerate() {
            let opcode = if at == 0 { 0x1 } else { 0x0 };
            let fin = if at + 1 == parts { FIN } else { 0 };
            header(&mut wire, fin | opcode, part.len());
            wire.extend(part.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
        let mut start = Vec::new();
        header(&mut start, 0, each.min(payload.len()));
        let tail = wire.split_off(start.len() + before.len() + TAG);
        wire.truncate(start.len() + before.len());
        Ok(Rc::new(Self { before, behind, head: wire, tail }))
    }

    /// The begin of a message, tag included.
    pub fn head(&self, tag: u64) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.head.len() + TAG);
        head.extend(&self.head);
        let digits = (0..TAG).map(|at| b"0123456789abcdef"[(tag >> (60 - 4 * at)) as usize & 15]);
        let keys = MASK.iter().cycle().skip(self.before.len() % 4);
        head.extend(digits.zip(keys).map(|(digit, key)| digit ^ key));
        head
    }

    /// The rest of every message.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Length of a message, without headers.
    pub fn size(&self) -> usize {
        self.before.len() + TAG + self.behind.len()
    }

    /// The tag of a message, if that is one of ours.
    pub fn tag(&self, payload: &[u8]) -> anyhow::Result<u64> {
        let rest = payload.strip_prefix(&self.before[..]).context("a message that begins differently")?;
        let (digits, behind) = rest.split_at_checked(TAG).context("a message without a tag")?;
        ensure!(behind == self.behind, "the contents of a message changed on the way");
        u64::from_str_radix(std::str::from_utf8(digits)?, 16).context("a message without a tag")
    }
}

/// The header of a masked frame.
fn header(out: &mut Vec<u8>, first: u8, len: usize) {
    out.push(first);
    match len {
        0..126 => out.push(MASKED | len as u8),
        126..65536 => {
            out.push(MASKED | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(MASKED | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a message: first byte and unmasked payload.
    fn frames(template: &Template, tag: u64) -> Vec<(u8, Vec<u8>)> {
        let wire = [template.head(tag), template.tail().to_vec()].concat();
        let (mut at, mut frames) = (0, Vec::new());
        while at < wire.len() {
            let (extended, len) = match wire[at + 1] & 0x7F {
                126 => (2, usize::from(u16::from_be_bytes([wire[at + 2], wire[at + 3]]))),
                127 => (8, u64::from_be_bytes(wire[at + 2..at + 10].try_into().unwrap()) as usize),
                len => (0, usize::from(len)),
            };
            let start = at + 6 + extended;
            assert_eq!(wire[start - 4..start], MASK);
            let payload = wire[start..start + len].iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b);
            frames.push((wire[at], payload.collect()));
            at = start + len;
        }
        frames
    }

    #[test]
    fn a_text_is_one_frame_with_its_tag() {
        for size in [16, 64, 125, 126, 65_535, 65_536] {
            let template = Template::text(size).unwrap();
            let frames = frames(&template, 0xABC);
            assert_eq!((frames.len(), frames[0].0, frames[0].1.len()), (1, 0x81, size));
            assert_eq!(template.tag(&frames[0].1).unwrap(), 0xABC);
        }
        assert!(Template::text(15).is_err());
    }

    #[test]
    fn fragments_are_the_message_once_they_are_joined() {
        for (size, fragments) in [(4096, 4), (65_536, 8), (100, 3)] {
            let template = Template::fragmented(size, fragments).unwrap();
            let frames = frames(&template, 7);
            assert_eq!(frames.len(), fragments);
            assert_eq!((frames[0].0, frames[1].0, frames[fragments - 1].0), (0x01, 0x00, 0x80));
            let joined: Vec<u8> = frames.into_iter().flat_map(|(_, payload)| payload).collect();
            assert_eq!((joined.len(), template.tag(&joined).unwrap()), (size, 7));
        }
    }

    #[test]
    fn json_is_json_of_the_size_that_was_asked_for() {
        let template = Template::json(4096).unwrap();
        let frames = frames(&template, u64::MAX);
        assert_eq!(frames[0].1.len(), 4096);
        let json: serde_json::Value = serde_json::from_slice(&frames[0].1).unwrap();
        assert_eq!(json["id"], "ffffffffffffffff");
        assert!(json["lines"].as_array().unwrap().len() > 20);
        assert_eq!(template.tag(&frames[0].1).unwrap(), u64::MAX);
    }

    #[test]
    fn a_message_that_changed_has_no_tag() {
        let template = Template::text(64).unwrap();
        let (_, mut payload) = frames(&template, 7).remove(0);
        payload[40] ^= 1;
        assert!(template.tag(&payload).is_err());
        assert!(template.tag(&payload[..40]).is_err());
    }
}
