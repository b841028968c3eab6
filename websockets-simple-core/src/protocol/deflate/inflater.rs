//! Decompresses messages, up to a limit.

use flate2::{Decompress, FlushDecompress, Status};

use crate::protocol::{decoder::FaultKind, deflate::deflater::TAIL};

/// The first memory of a message, and the least by which it grows.
const FIRST_PIECE: usize = 1024;

/// Most deflate streams that one message may consist of. RFC 7692 section 7.2.3.4 allows one with a final block to be
/// followed by another; each costs a reset.
const MOST_STREAMS: usize = 64;

/// An empty final block: it is read only where no other block is unfinished.
const FINAL: [u8; 2] = [0x03, 0x00];

/// A decompressor. The state takes some 47 KiB, whatever the window is.
#[derive(Debug)]
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Self {
        // The largest window reads what was written for any.
        Self(Decompress::new_with_window_bits(false, 15))
    }

    /// Forgets the messages before.
    pub(super) fn reset(&mut self) {
        self.0.reset(false);
    }

    /// Decompresses a message that may refer to those before it, as it was on the wire. Never makes more than `limit`
    /// bytes of it, and one. The memory of the result is as large as its length, by which those who keep it count it.
    pub(super) fn inflate(&mut self, message: &[u8], limit: usize) -> Result<Vec<u8>, FaultKind> {
        let mut output = Vec::new();
        // Some send an empty message so, instead of with an empty block (RFC 7692 section 7.2.3.6).
        if message.is_empty() {
            return Ok(output);
        }
        // A sender has to leave it out (section 7.2.1). Where it did not, it is there already.
        let message = message.strip_suffix(&TAIL).unwrap_or(message);
        let mut streams = 1;
        if !self.read(message, &mut output, limit, &mut streams)? {
            let len = output.len();
            self.read(&TAIL, &mut output, limit, &mut streams)?;
            // The tail is the rest of an empty block, unless the message ends inside of another block.
            if output.len() > len {
                return Err(FaultKind::Deflate);
            }
        }
        output.shrink_to_fit();
        Ok(output)
    }

    /// Decompresses a message that refers to none before it, and to which none after it refers.
    pub(super) fn inflate_alone(&mut self, message: &[u8], limit: usize) -> Result<Vec<u8>, FaultKind> {
        self.reset();
        let inflated = self.inflate(message, limit)?;
        let before = self.0.total_out();
        let end = self.0.decompress(&FINAL, &mut [0], FlushDecompress::Sync);
        let is_whole =
            message.is_empty() || matches!(end, Ok(Status::StreamEnd)) && self.0.total_out() == before;
        if is_whole { Ok(inflated) } else { Err(FaultKind::Deflate) }
    }

    /// Reads a part of a message. True if a stream ends with it.
    fn read(
        &mut self,
        mut rest: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
        streams: &mut usize,
    ) -> Result<bool, FaultKind> {
        loop {
            let ended = self.step(&mut rest, output, limit)?;
            if ended {
                *streams += 1;
                if *streams > MOST_STREAMS {
                    return Err(FaultKind::Deflate);
                }
                // What comes next begins a stream of its own.
                self.0.reset(false);
            }
            if rest.is_empty() && (ended || output.len() < output.capacity()) {
                return Ok(ended);
            }
        }
    }

    /// Reads on until there is no room or nothing left; true if a stream has ended. Fails if it does neither, so that
    /// no input makes the caller spin.
    fn step(&mut self, rest: &mut &[u8], output: &mut Vec<u8>, limit: usize) -> Result<bool, FaultKind> {
        if output.len() == output.capacity() {
            // One byte more tells a message of the limit from a longer one.
            let room = limit.saturating_add(1) - output.len();
            let more = output.len().max(2 * rest.len()).max(FIRST_PIECE);
            output.reserve_exact(more.min(room));
        }
        let before = (self.0.total_in(), output.len());
        let status =
            self.0.decompress_vec(rest, output, FlushDecompress::Sync).map_err(|_| FaultKind::Deflate)?;
        if output.len() > limit {
            return Err(FaultKind::TooBig { limit: limit as u64 });
        }
        let read = usize::try_from(self.0.total_in() - before.0).unwrap_or(rest.len());
        *rest = &rest[read.min(rest.len())..];
        let is_stuck = (read, output.len()) == (0, before.1) && output.len() < output.capacity();
        if is_stuck && !rest.is_empty() {
            return Err(FaultKind::Deflate);
        }
        Ok(status == Status::StreamEnd)
    }
}

#[cfg(test)]
mod tests;
