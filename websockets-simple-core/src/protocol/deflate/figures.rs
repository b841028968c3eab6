//! What compression has saved.

use serde::Serialize;

/// What compression has saved, of all messages of this process that went compressed: its servers and clients share the
/// compressors. A broadcast is compressed once, and counts once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CompressionFigures {
    /// Messages that were sent.
    pub sent: CompressedBytes,
    /// Messages that were received.
    pub received: CompressedBytes,
}

/// How long messages are, and how long they were on the wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CompressedBytes {
    /// Bytes of the messages.
    pub plain: u64,
    /// Bytes of the same messages, compressed.
    pub compressed: u64,
}

impl CompressedBytes {
    pub(super) fn add(&mut self, plain: usize, compressed: usize) {
        self.plain += plain as u64;
        self.compressed += compressed as u64;
    }
}
