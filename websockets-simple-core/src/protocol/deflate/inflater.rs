//! Decompresses messages, up to a limit.

use flate2::{Decompress, FlushDecompress, Status};

use crate::protocol::{decoder::FaultKind, deflate::deflater::TAIL};

/// The first memory of a message, and the least by which it grows.
const FIRST_PIECE: usize = 1024;

/// Most deflate streams that one message may consist of. RFC 7692 section 7.2.3.4 allows one with a final block to be
/// followed by another; each costs a reset.
const MOST_STREAMS: usize = 64;

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

    /// Decompresses a message as it was on the wire. Never makes more than `limit` bytes of it, and one.
    pub(super) fn inflate(&mut self, message: &[u8], limit: usize) -> Result<Vec<u8>, FaultKind> {
        let mut output = Vec::new();
        let mut streams = 1;
        for mut rest in [message, &TAIL] {
            let ended = loop {
                let ended = self.step(&mut rest, &mut output, limit)?;
                if ended {
                    streams += 1;
                    if streams > MOST_STREAMS {
                        return Err(FaultKind::Deflate);
                    }
                    self.0.reset(false);
                }
                if rest.is_empty() && (ended || output.len() < output.capacity()) {
                    break ended;
                }
            };
            if ended {
                // The next message begins a stream of its own.
                break;
            }
        }
        Ok(output)
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
