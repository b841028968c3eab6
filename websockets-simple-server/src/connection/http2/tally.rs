//! What an HTTP/2 connection is used for: how many streams it has, and how many came to nothing.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use websockets_simple_core::deadline;

/// The use of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Tally(watch::Sender<Use>);

#[derive(Clone, Copy, Debug)]
struct Use {
    streams: usize,
    /// Until when it may have no stream, from the last one on.
    until: Instant,
    /// How long it may have none.
    patience: Duration,
    /// Whether a request has come.
    asked: bool,
    fruitless: usize,
}

impl Tally {
    /// Of a connection whose first request has to come by this time, and another one so long after the last stream.
    pub(super) fn new(until: Instant, patience: Duration) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Use { streams: 0, until, patience, asked: false, fruitless: 0 })))
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        self.0.send_modify(|now| now.asked = true);
    }

    pub(super) fn was_asked(&self) -> bool {
        self.0.borrow().asked
    }

    /// Counts as many streams as come to nothing.
    pub(super) fn expect_nothing(&self, streams: usize) {
        self.0.send_modify(|now| now.fruitless += streams);
    }

    /// A stream that comes to nothing unless the promise is kept.
    pub(super) fn promise(self: &Arc<Self>) -> Promise {
        Promise(Some(Arc::clone(self)))
    }

    pub(super) fn opened(&self) {
        self.0.send_modify(|now| now.streams += 1);
    }

    pub(super) fn closed(&self) {
        self.0.send_modify(|now| {
            now.streams -= 1;
            now.until = deadline(Instant::now(), now.patience);
        });
    }

    /// No more streams are waited for: without any it ends within this time.
    pub(super) fn leave_within(&self, patience: Duration) {
        self.0.send_modify(|now| {
            now.until = deadline(Instant::now(), patience);
            now.patience = patience;
        });
    }

    /// Resolves when it has had no stream for too long.
    pub(super) async fn unused(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let Use { streams, until, .. } = *changes.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(until), if streams == 0 => return,
                // There is a sender as long as this borrows it.
                _ = changes.changed() => {}
            }
        }
    }

    /// Resolves when as many streams came to nothing.
    pub(super) async fn nothing_came_of(&self, streams: usize) {
        let _ = self.0.subscribe().wait_for(|now| now.fruitless >= streams).await;
    }
}

/// That something comes of a stream.
#[derive(Debug)]
pub(super) struct Promise(Option<Arc<Tally>>);

impl Promise {
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(tally) = &self.0 {
            tally.expect_nothing(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn it_is_unused_so_long_after_the_last_stream() {
        let begun = Instant::now();
        let tally = Tally::new(begun + Duration::from_secs(3), PATIENCE);
        tally.unused().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        tally.opened();
        tally.opened();
        let unused = tokio::spawn({
            let tally = Arc::clone(&tally);
            async move {
                tally.unused().await;
                begun.elapsed()
            }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        tally.closed();
        tokio::time::sleep(Duration::from_secs(100)).await;
        tally.closed();
        assert_eq!(unused.await.unwrap(), Duration::from_secs(213));
        tally.leave_within(Duration::from_secs(1));
        tally.unused().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(214));
    }

    #[tokio::test]
    async fn what_is_dropped_before_its_promise_is_kept_came_to_nothing() {
        let tally = Tally::new(Instant::now(), PATIENCE);
        tally.promise().keep();
        drop((tally.promise(), tally.promise()));
        tally.nothing_came_of(2).await;
        assert_eq!(tally.0.borrow().fruitless, 2);
    }
}
