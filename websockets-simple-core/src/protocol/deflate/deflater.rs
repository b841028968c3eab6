//! Compresses one message after the other, each on its own.

use flate2::{Compress, Compression as Level, FlushCompress, Status};

/// What ends each message on the way out, and is left out of it (RFC 7692 section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// A flush may take this much of the output, and is repeated if there is less (zlib's manual, `deflate`).
const LEAST_ROOM: usize = 16;

/// Output beyond this size is not kept for the next message.
const KEPT_OUTPUT: usize = 64 * 1024;

/// A compressor and its output. The state takes some 370 KiB.
#[derive(Debug)]
pub(super) struct Deflater {
    level: u8,
    bits: u8,
    compress: Compress,
    output: Vec<u8>,
}

impl Deflater {
    /// zlib has no window of 8 bits.
    pub(super) const LEAST_BITS: u8 = 9;

    /// `bits` is at least [`LEAST_BITS`](Self::LEAST_BITS) and at most 15, and `level` at most 9.
    pub(super) fn new(level: u8, bits: u8) -> Self {
        let bits = bits.clamp(Self::LEAST_BITS, 15);
        let compress = Compress::new_with_window_bits(Level::new(u32::from(level.min(9))), false, bits);
        Self { level, bits, compress, output: Vec::new() }
    }

    pub(super) fn is_for(&self, level: u8, bits: u8) -> bool {
        (self.level, self.bits) == (level, bits)
    }

    /// The message as it goes on the wire; `None` if it does not get shorter. It is compressed to its end even so: a
    /// reset in the middle of a flush takes room away from zlib-rs 0.6.8, which panics when none is left.
    pub(super) fn deflate(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.compress.reset();
        self.output.clear();
        self.output.reserve((message.len() / 2).max(256));
        loop {
            let read = usize::try_from(self.compress.total_in()).ok()?;
            let status = self.compress.compress_vec(&message[read..], &mut self.output, FlushCompress::Sync);
            if !matches!(status, Ok(Status::Ok | Status::BufError)) {
                return None;
            }
            // Of a message of 4 GiB and more it takes only a part at a time.
            let read_all = self.compress.total_in() == message.len() as u64;
            if read_all && self.output.capacity() - self.output.len() >= LEAST_ROOM {
                break;
            }
            self.output.reserve(self.output.len().max(LEAST_ROOM));
        }
        let deflated = self.output.strip_suffix(&TAIL)?;
        (deflated.len() < message.len()).then_some(deflated)
    }

    /// Gives back the memory that only large messages need.
    pub(super) fn rest(&mut self) {
        if self.output.capacity() > KEPT_OUTPUT {
            self.output = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_compressed_as_if_there_had_been_none_before() {
        let message = "one two three ".repeat(100);
        let first = Deflater::new(1, 15).deflate(message.as_bytes()).map(<[u8]>::to_vec);
        let mut used = Deflater::new(1, 15);
        for before in [message.as_bytes(), &[7; 100_000], b"x"] {
            let _ = used.deflate(before);
            assert_eq!(used.deflate(message.as_bytes()).map(<[u8]>::to_vec), first);
        }
        assert!(first.is_some_and(|deflated| deflated.len() < 100));
    }

    #[test]
    fn what_does_not_get_shorter_is_not_compressed() {
        for level in [1, 6, 9] {
            let mut deflater = Deflater::new(level, 15);
            for len in [1, 16, 1000, 100_000] {
                let noise: Vec<u8> = (0..len).map(|_| rand::random()).collect();
                assert_eq!(deflater.deflate(&noise), None, "level {level}, {len} bytes");
            }
        }
    }

    #[test]
    fn output_for_large_messages_is_not_kept() {
        let mut deflater = Deflater::new(1, 15);
        let letters: Vec<u8> = (0..1_000_000).map(|_| rand::random::<u8>() % 16).collect();
        assert!(deflater.deflate(&letters).is_some());
        deflater.rest();
        assert_eq!(deflater.output.capacity(), 0);
    }
}
