//! Several frames for one write.

use std::{cell::Cell, collections::VecDeque, io::IoSlice, mem};

use crate::{
    events::spare,
    outbox::{coalesce::COALESCED, queue::QueuedFrame},
};

/// Frames up to this size are copied together: cheaper than a vectored write with a piece for each of them.
pub(super) const SMALL: usize = 2048;

/// Most pieces of one vectored write.
const PIECES: usize = 32;

/// Passes the first `frames` of a queue to one write: small ones copied together, large ones by reference.
pub(super) fn gather<T>(
    queue: &VecDeque<QueuedFrame>,
    mut skip: usize,
    frames: usize,
    write: impl FnOnce(&[IoSlice<'_>]) -> T,
) -> T {
    let mut small = spare::take(&BUFFER);
    let mut entries = queue.iter().take(frames);
    let mut next = entries.next();
    while let Some(queued) = next
        && queued.frame.len() <= SMALL
        && small.len() + SMALL <= COALESCED
    {
        for piece in queued.frame.after(mem::take(&mut skip)) {
            small.extend_from_slice(piece);
        }
        next = entries.next();
    }
    let taken = if next.is_none() {
        write(&[IoSlice::new(&small)])
    } else {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut used = 0;
        let mut refer_to = |piece| {
            pieces[used] = IoSlice::new(piece);
            used += 1;
        };
        if !small.is_empty() {
            refer_to(&small[..]);
        }
        // At most two pieces for each frame, and one for the small frames.
        for queued in next.into_iter().chain(entries).take((PIECES - 1) / 2) {
            let after = queued.frame.after(mem::take(&mut skip));
            after.into_iter().filter(|piece| !piece.is_empty()).for_each(&mut refer_to);
        }
        write(&pieces[..used])
    };
    small.clear();
    spare::keep(&BUFFER, small);
    taken
}

thread_local! {
    /// The buffer in which a thread joins small frames.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
