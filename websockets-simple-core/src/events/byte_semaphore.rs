//! Room in an event stream, counted in bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// A semaphore of bytes whose bound can be lifted and restored. An event larger than the capacity takes all of it.
#[derive(Debug)]
pub(crate) struct ByteSemaphore {
    capacity: usize,
    room: Semaphore,
    /// Permits added while the bound is lifted.
    lifted: AtomicUsize,
    /// Bytes that passed while the bound was lifted: giving them back makes no room.
    debt: AtomicUsize,
}

impl ByteSemaphore {
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Self {
            capacity,
            room: Semaphore::new(capacity),
            lifted: AtomicUsize::new(0),
            debt: AtomicUsize::new(0),
        }
    }

    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        self.room.try_acquire_many(self.share(bytes)).map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Waits for room, first come first served.
    pub(crate) async fn take(&self, bytes: usize) {
        if let Ok(permit) = self.room.acquire_many(self.share(bytes)).await {
            permit.forget();
        }
    }

    pub(crate) fn give(&self, bytes: usize) {
        let bytes = self.share(bytes) as usize;
        let debt = self
            .debt
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |debt| Some(debt.saturating_sub(bytes)))
            .unwrap_or(0);
        self.room.add_permits(bytes.saturating_sub(debt));
    }

    /// Bytes that are taken now; 0 while the bound is lifted.
    pub(crate) fn taken(&self) -> usize {
        self.capacity.saturating_sub(self.room.available_permits())
    }

    /// Lifts the bound, or restores it.
    pub(crate) fn lift(&self, lift: bool) {
        const PLENTY: usize = Semaphore::MAX_PERMITS / 2;
        if lift {
            if self.lifted.swap(PLENTY, Ordering::AcqRel) == 0 {
                self.room.add_permits(PLENTY);
            }
        } else {
            let lifted = self.lifted.swap(0, Ordering::AcqRel);
            let forgotten = self.room.forget_permits(lifted);
            self.debt.fetch_add(lifted - forgotten, Ordering::AcqRel);
        }
    }

    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.capacity)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_larger_than_the_whole_takes_the_whole() {
        let semaphore = ByteSemaphore::new(10);
        assert!(semaphore.try_take(25));
        assert!(!semaphore.try_take(1));
        semaphore.give(25);
        assert!(semaphore.try_take(10));
    }

    #[tokio::test]
    async fn a_lifted_bound_lets_those_who_wait_through_and_can_be_restored() {
        let semaphore = ByteSemaphore::new(10);
        assert!(semaphore.try_take(10));
        semaphore.lift(true);
        semaphore.take(10).await;
        semaphore.give(10);
        semaphore.give(10);
        semaphore.lift(false);
        assert!(semaphore.try_take(10));
        assert!(!semaphore.try_take(1));
    }

    #[tokio::test]
    async fn what_was_let_through_unbounded_does_not_widen_the_bound_when_it_is_given_back() {
        let semaphore = ByteSemaphore::new(10);
        assert!(semaphore.try_take(10));
        semaphore.lift(true);
        semaphore.take(10).await;
        semaphore.lift(false);
        semaphore.give(10);
        semaphore.give(10);
        assert!(semaphore.try_take(10));
        assert!(!semaphore.try_take(1));
    }
}
