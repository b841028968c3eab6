//! A binary message in one frame that arrives in parts.

use crate::protocol::{buffer_pool, header::Header};

/// The first memory of a message that is read in parts; later it gets a multiple of what has arrived.
pub(super) const FIRST_PIECE: usize = 16 * 1024;

/// A message that has arrived in part, still masked.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    pub(super) missing: usize,
}

impl Partial {
    /// Nothing of the `len` bytes has come.
    pub(super) fn new(header: Header, len: usize) -> Self {
        Self { header, payload: buffer_pool::take(len).unwrap_or_default(), missing: len }
    }

    /// Makes room for `more` bytes, or at least one.
    pub(super) fn reserve(&mut self, more: usize) {
        let (len, room) = (self.payload.len(), self.payload.capacity());
        self.payload.reserve_exact(missing_room(len, room, more, self.missing));
    }
}

/// How much to add to the room of a message of which `len` bytes have come and `missing` have not, so that it holds
/// `more` of them, and at least one; 0 if it does. The room is sixteen times what has arrived, and at least [`FIRST_PIECE`]: an announced
/// length alone allocates no more. The system backs it with memory only as it is filled.
pub(super) fn missing_room(len: usize, room: usize, more: usize, missing: usize) -> usize {
    if room - len >= more.max(1) {
        return 0;
    }
    let come = len + more;
    ((16 * come).max(FIRST_PIECE) - len).min(missing)
}
