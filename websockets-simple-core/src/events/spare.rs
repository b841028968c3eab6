//! Memory that a thread keeps for the next event, read or write.

use std::{cell::Cell, thread::LocalKey};

/// Takes what the thread keeps, if anything. A thread that ends keeps nothing: destructors of other thread-locals may
/// still send, or drop a runtime.
pub(crate) fn take<T: Default>(spare: &'static LocalKey<Cell<T>>) -> T {
    spare.try_with(Cell::take).unwrap_or_default()
}

/// Keeps this for the next [`take`].
pub(crate) fn keep<T>(spare: &'static LocalKey<Cell<T>>, kept: T) {
    let _ = spare.try_with(|spare| spare.set(kept));
}
