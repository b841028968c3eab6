//! Compressed messages. What a server compressed once for all receivers is decompressed and checked once.

use std::collections::VecDeque;

use anyhow::{Context, ensure};
use flate2::{Decompress, FlushDecompress, Status};

use crate::load::template::Template;

/// What a message ends with before it is sent (RFC 7692 section 7.2.1).
const END: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Messages that are remembered: more than are ever on their way.
const MOST: usize = 64;

/// See the module.
pub struct Inflated {
    /// Payloads that were decompressed and checked, with their tags.
    known: VecDeque<(Vec<u8>, u64)>,
    /// Where the message is expected that follows the last one.
    next: usize,
    inflate: Decompress,
}

impl Inflated {
    pub fn new() -> Self {
        Self { known: VecDeque::new(), next: 0, inflate: Decompress::new(false) }
    }

    /// The tag of a compressed message, if that is one of ours.
    pub fn tag(&mut self, payload: &[u8], template: &Template) -> anyhow::Result<u64> {
        let known = self.known.len();
        for at in (self.next..known).chain(0..self.next.min(known)) {
            if self.known[at].0 == payload {
                self.next = at + 1;
                return Ok(self.known[at].1);
            }
        }
        let tag = template.tag(&self.inflate(payload, template.size())?)?;
        if self.known.len() == MOST {
            self.known.pop_front();
        }
        self.known.push_back((payload.to_vec(), tag));
        self.next = self.known.len();
        Ok(tag)
    }

    fn inflate(&mut self, payload: &[u8], size: usize) -> anyhow::Result<Vec<u8>> {
        let input = [payload, &END].concat();
        let mut rest = &input[..];
        let mut out = Vec::with_capacity(size + 1);
        // Another stream follows a final block.
        while !rest.is_empty() {
            self.inflate.reset(false);
            let status = self.inflate.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let status = status.context("a message that cannot be decompressed")?;
            rest = &rest[self.inflate.total_in() as usize..];
            ensure!(status == Status::StreamEnd || rest.is_empty(), "a message that cannot be decompressed");
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// A message as a server sends it, without its header.
    fn deflated(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 64);
        Compress::new(Compression::fast(), false)
            .compress_vec(payload, &mut out, FlushCompress::Sync)
            .unwrap();
        out.truncate(out.len() - END.len());
        out
    }

    /// The same as servers send it that end each message by a final block (RFC 7692 section 7.2.3.4).
    fn deflated_to_an_end(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 64);
        Compress::new(Compression::fast(), false)
            .compress_vec(payload, &mut out, FlushCompress::Finish)
            .unwrap();
        out.push(0);
        out
    }

    fn payload(template: &Template, tag: u64) -> Vec<u8> {
        let text = format!("{tag:016x}");
        let filler = (16..template.size()).map(|at| b'a' + (at % 23) as u8);
        text.bytes().chain(filler).collect()
    }

    #[test]
    fn compressed_messages_have_their_tags_the_first_and_every_other_time() {
        let template = Template::text(4096).unwrap();
        let mut inflated = Inflated::new();
        for round in 0..3 {
            for tag in 0..100 {
                for frame in [deflated, deflated_to_an_end].map(|deflated| deflated(&payload(&template, tag)))
                {
                    assert_eq!(inflated.tag(&frame, &template).unwrap(), tag, "round {round}");
                }
            }
        }
        assert!(inflated.known.len() <= MOST);
    }

    #[test]
    fn a_compressed_message_that_changed_is_an_error() {
        let template = Template::text(4096).unwrap();
        let mut inflated = Inflated::new();
        let good = payload(&template, 3);
        let mut changed = good.clone();
        changed[2000] ^= 1;
        assert!(inflated.tag(&deflated(&changed), &template).is_err());
        assert!(inflated.tag(&deflated(&good[..4095]), &template).is_err());
        assert!(inflated.tag(&deflated(&[&good[..], b"x"].concat()), &template).is_err());
        let frame = deflated(&good);
        assert!(inflated.tag(&frame[..frame.len() / 2], &template).is_err());
        assert_eq!(inflated.tag(&frame, &template).unwrap(), 3);
    }
}
