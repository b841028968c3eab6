//! Buffers of large messages, reused while such traffic lasts: fresh memory costs a page fault for every 4 KiB, and
//! filling it in steps costs copies.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

/// Messages from this size on use the pool.
pub(crate) const LARGE: usize = 64 * 1024;

/// Most bytes and most buffers that all connections of a process keep together.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
const KEPT: usize = 16;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// The kept buffers, the oldest first, and the number of guards.
struct Pool {
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
    guards: usize,
}

/// Keeps the pool while it lives: a connection holds one while it receives large messages. With the last guard all
/// kept memory is freed.
#[derive(Debug)]
pub(crate) struct PoolGuard(());

impl PoolGuard {
    pub(crate) fn new() -> Self {
        with_pool(|pool| pool.guards += 1);
        Self(())
    }
}

impl Drop for PoolGuard {
    fn drop(&mut self) {
        with_pool(Pool::end_guard);
    }
}

/// A kept buffer for a message of that size, if there is one: empty, and at most four times as large.
pub(crate) fn take(size: usize) -> Option<Vec<u8>> {
    (size >= LARGE).then(|| with_pool(|pool| pool.take(size)))?
}

/// Keeps memory that [`take`] may give again.
pub(crate) fn keep(memory: Vec<u8>) {
    with_pool(|pool| pool.keep(memory));
}

/// A payload whose memory returns to the pool when it is dropped, if it is large.
pub(crate) fn payload(memory: Vec<u8>) -> Bytes {
    if memory.capacity() < LARGE { memory.into() } else { Bytes::from_owner(Kept(memory)) }
}

/// Gives its memory to the pool when the message is dropped.
struct Kept(Vec<u8>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        keep(mem::take(&mut self.0));
    }
}

/// Text whose memory goes to the pool when it is dropped.
pub(crate) struct KeptText(String);

impl KeptText {
    /// The text back, if its memory is not worth keeping.
    pub(crate) fn new(text: String) -> Result<Self, String> {
        if text.capacity() < LARGE { Err(text) } else { Ok(Self(text)) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for KeptText {
    fn drop(&mut self) {
        keep(mem::take(&mut self.0).into_bytes());
    }
}

fn with_pool<T>(f: impl FnOnce(&mut Pool) -> T) -> T {
    f(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Pool {
    const fn new() -> Self {
        Self { kept: VecDeque::new(), bytes: 0, guards: 0 }
    }

    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let fits = |memory: &Vec<u8>| (size..=4 * size).contains(&memory.capacity());
        // The latest is the likeliest to be in a cache.
        let at = self.kept.iter().rposition(fits)?;
        let memory = self.kept.remove(at)?;
        self.bytes -= memory.capacity();
        Some(memory)
    }

    fn keep(&mut self, mut memory: Vec<u8>) {
        if self.guards == 0 {
            return;
        }
        memory.clear();
        self.bytes += memory.capacity();
        self.kept.push_back(memory);
        while (self.bytes > KEPT_BYTES || self.kept.len() > KEPT)
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.capacity();
        }
    }

    fn end_guard(&mut self) {
        self.guards -= 1;
        if self.guards == 0 {
            self.kept = VecDeque::new();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        Pool { guards: 1, ..Pool::new() }
    }

    #[test]
    fn the_latest_memory_that_fits_is_used_again_and_comes_empty() {
        let mut pool = pool();
        for byte in [1, 2] {
            pool.keep(vec![byte; LARGE]);
        }
        let second = pool.kept[1].as_ptr();
        let taken = pool.take(LARGE - 1).unwrap();
        assert_eq!((taken.as_ptr(), taken.len(), taken.capacity()), (second, 0, LARGE));
        assert_eq!((pool.kept.len(), pool.bytes), (1, LARGE));
    }

    #[test]
    fn memory_that_is_too_small_or_far_too_large_stays() {
        let mut pool = pool();
        pool.keep(vec![0; 4 * LARGE]);
        assert!(pool.take(4 * LARGE + 1).is_none() && pool.take(LARGE - 1).is_none());
        assert!(pool.take(LARGE).is_some());
    }

    #[test]
    fn beyond_its_bounds_the_pool_lets_the_oldest_go() {
        let mut pool = pool();
        (0..KEPT + 1).for_each(|extra| pool.keep(Vec::with_capacity(LARGE + extra)));
        assert_eq!((pool.kept.len(), pool.kept[0].capacity()), (KEPT, LARGE + 1));
        pool.keep(Vec::with_capacity(KEPT_BYTES));
        assert_eq!((pool.kept.len(), pool.bytes), (1, KEPT_BYTES));
        pool.keep(Vec::with_capacity(KEPT_BYTES + 1));
        assert_eq!((pool.kept.len(), pool.bytes), (0, 0));
    }

    #[test]
    fn without_a_guard_nothing_is_kept() {
        let mut pool = Pool { guards: 2, ..Pool::new() };
        pool.keep(vec![0; LARGE]);
        pool.end_guard();
        assert_eq!(pool.bytes, LARGE);
        pool.end_guard();
        assert_eq!((pool.kept.capacity(), pool.bytes), (0, 0));
        pool.keep(vec![0; LARGE]);
        assert!(pool.kept.is_empty());
    }
}
