//! How long the buffers of large messages are kept for a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::PoolGuard;

/// How long buffers are kept for a connection after its last large message.
const IDLE: Duration = Duration::from_secs(1);

/// Keeps buffers while a connection receives large messages.
#[derive(Debug)]
pub(crate) struct KeptBuffers {
    until: Instant,
    _guard: PoolGuard,
}

impl KeptBuffers {
    /// Keeps them from `now` on, when a large message was received.
    pub(crate) fn new(now: Instant) -> Self {
        Self { until: now + IDLE, _guard: PoolGuard::new() }
    }

    /// Another large message was received.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.until = now + IDLE;
    }

    /// When the buffers need not be kept any more.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buffers_are_kept_for_a_second_after_the_last_large_message() {
        let begun = Instant::now();
        let mut kept = KeptBuffers::new(begun);
        assert_eq!(kept.until(), begun + IDLE);
        let later = begun + Duration::from_secs(7);
        kept.renew(later);
        assert_eq!(kept.until(), later + IDLE);
    }
}
