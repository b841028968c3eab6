//! What both ends agreed on, and what it means for a message.

use bytes::Bytes;

use crate::protocol::{
    decoder::FaultKind,
    deflate::{
        deflater::Deflater,
        inflater::Inflater,
        states::{self, StatesGuard},
    },
    frame::{Frame, Side},
};

/// Messages that are longer are compressed at [`MOST_FOR_LARGE`] at most. So none of a megabyte takes more than some 30
/// ms, whoever has chosen its bytes: up to this level it is 30 ns for each of the worst, and 2,000 ns at level 9.
const LARGE: usize = 16 * 1024;
const MOST_FOR_LARGE: u8 = 5;

/// When messages are compressed, where the peer agrees to it, and how much time that may take.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::Compression;
///
/// let compression = Compression::new().threshold(512).level(6);
/// assert_eq!(compression, Compression::default().level(6).threshold(512));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Compression {
    threshold: u32,
    level: u8,
}

impl Compression {
    /// Messages of 1 KiB and more, at level 1.
    #[must_use]
    pub const fn new() -> Self {
        Self { threshold: 1024, level: 1 }
    }

    /// The shortest message that is compressed, in bytes; 1 KiB by default. Below it a message loses a few hundred
    /// bytes at most, for some microseconds.
    #[must_use]
    pub const fn threshold(mut self, bytes: u32) -> Self {
        self.threshold = bytes;
        self
    }

    /// The level of zlib, from 1, the fastest and the default, to 9, the shortest. Messages of more than 16 KiB are
    /// compressed at level 5 at most: those above it gain a few percent, and take up to two seconds for a megabyte that
    /// was made for that.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Whether the level is one that zlib has.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        matches!(self.level, 1..=9)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::new()
    }
}

/// What both ends agreed on, and what this end compresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Agreement {
    threshold: u32,
    level: u8,
    /// The peer keeps this many bytes of a message while it reads it, as a power of 2.
    pub(super) peer_bits: u8,
    /// The peer's messages may refer to earlier ones.
    keeps_window: bool,
}

/// A way to compress: messages of the same form are the same bytes on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Form {
    level: u8,
    bits: u8,
}

impl Agreement {
    pub(super) fn new(compression: Compression, peer_bits: u8, keeps_window: bool) -> Self {
        let Compression { threshold, level } = compression;
        Self { threshold, level, peer_bits, keeps_window }
    }

    /// The form in which a message of this length goes to the peer; `None` if it goes as it is.
    pub(crate) fn form(&self, len: usize) -> Option<Form> {
        if len < (self.threshold as usize).max(1) {
            return None;
        }
        // No distance is longer than the message: a short one is the same for each window.
        let bits = if len <= 1 << self.peer_bits { 15 } else { self.peer_bits };
        let level = if len > LARGE { self.level.min(MOST_FOR_LARGE) } else { self.level };
        (bits >= Deflater::LEAST_BITS).then_some(Form { level, bits })
    }
}

impl Form {
    /// How much work it is to compress so many bytes, in bytes of the lowest level.
    pub(crate) fn work(self, len: usize) -> usize {
        len.saturating_mul(self.level.into())
    }

    /// The message in a compressed frame; `None` if it does not get shorter.
    pub(crate) fn frame(self, payload: &[u8], is_text: bool, side: Side) -> Option<Frame> {
        states::deflate(self.level, self.bits, payload, |deflated| Frame::deflated(deflated, is_text, side))
    }
}

/// How a connection decompresses what it receives.
#[derive(Debug)]
pub(crate) struct Inflation {
    _guard: StatesGuard,
    /// In a box, as few connections have one.
    window: Option<Box<Inflater>>,
}

impl Inflation {
    pub(crate) fn new(agreement: Agreement) -> Self {
        Self { _guard: StatesGuard::new(), window: agreement.keeps_window.then(|| Box::new(Inflater::new())) }
    }

    /// Bytes that a message of `limit` bytes may take while it is compressed: what cannot be compressed grows.
    pub(crate) fn most_compressed(limit: u64) -> u64 {
        limit.saturating_add(limit / 64).saturating_add(1024)
    }

    pub(crate) fn inflate(&mut self, message: &[u8], limit: usize) -> Result<Bytes, FaultKind> {
        let inflated = match &mut self.window {
            Some(window) => {
                window.inflate(message, limit).inspect(|plain| states::inflated(plain.len(), message.len()))
            }
            None => states::inflate(message, limit),
        };
        inflated.map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_compressed_at_a_level_that_cannot_take_long() {
        let agreement = |level| Agreement::new(Compression::new().level(level), 15, false);
        for (level, large) in [(1, 1), (5, 5), (6, 5), (9, 5)] {
            assert_eq!(agreement(level).form(LARGE), Some(Form { level, bits: 15 }));
            assert_eq!(agreement(level).form(LARGE + 1), Some(Form { level: large, bits: 15 }));
        }
    }

    #[test]
    fn a_connection_holds_a_few_bytes_of_it() {
        // In each outbox, with the feature.
        assert_eq!(size_of::<Option<Agreement>>(), 8);
        // And where compression was agreed on.
        assert_eq!(size_of::<Inflation>(), 8);
    }
}
