//! A lock that whoever takes it over and over leaves to others in between.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::yield_now,
    time::{Duration, Instant},
};

/// How long others are waited for, so that they cannot keep somebody from it for ever.
const PATIENCE: Duration = Duration::from_millis(2);

/// A lock that whoever takes it over and over leaves to others in between. Who was released by a plain one would find it
/// taken again, by the thread that has just released it.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    of: Mutex<T>,
    waiting: AtomicUsize,
}

impl<T> Turns<T> {
    pub(crate) fn new(of: T) -> Self {
        Self { of: Mutex::new(of), waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self.of.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.waiting.fetch_add(1, Relaxed);
                let guard = self.of.lock().unwrap_or_else(PoisonError::into_inner);
                self.waiting.fetch_sub(1, Relaxed);
                guard
            }
        }
    }

    /// The lock after those who wait for it: for one turn of several.
    pub(crate) fn lock_after_others(&self) -> MutexGuard<'_, T> {
        if self.waiting.load(Relaxed) > 0 {
            let begun = Instant::now();
            while self.waiting.load(Relaxed) > 0 && begun.elapsed() < PATIENCE {
                yield_now();
            }
        }
        self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_has_the_next_turn() {
        let (turns, mut had) = (Turns::new(0), Vec::new());
        for round in 0..20 {
            std::thread::scope(|scope| {
                let mut held = turns.lock();
                scope.spawn(|| *turns.lock() = round);
                while turns.waiting.load(Relaxed) == 0 {
                    yield_now();
                }
                *held = -1;
                drop(held);
                had.push(*turns.lock_after_others() == round);
            });
        }
        assert!(had.contains(&true), "{had:?}");
    }
}
