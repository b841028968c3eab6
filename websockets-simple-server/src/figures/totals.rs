//! What is counted as it happens: once for each handshake and connection, never for a message.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use websockets_simple_core::{Disconnect, OverflowPolicy, Statistics, figures::Timing};

use crate::figures::{
    AuthenticationResult, CloseFigure, HandshakeFigures, HeartbeatVerdict, RefusalReason, RenewalResult,
    TrafficFigures, closes::CloseKind,
};

/// Failures of the user service in a row after which it is said to fail.
const FAILURES: u32 = 5;

/// How long it is said to fail after the last of them.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// The counters of a server.
#[derive(Debug)]
pub(crate) struct Totals {
    counts: Mutex<Counts>,
    handshaking: AtomicUsize,
}

/// What was counted until some moment.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) handshakes: HandshakeFigures,
    pub(crate) refusals: BTreeMap<RefusalReason, u64>,
    closes: BTreeMap<(CloseKind, &'static str), CloseFigure>,
    pub(crate) heartbeats: BTreeMap<HeartbeatVerdict, u64>,
    /// That of the connections that have ended.
    pub(crate) traffic: TrafficFigures,
    pub(crate) authentications: BTreeMap<AuthenticationResult, Timing>,
    pub(crate) renewals: BTreeMap<RenewalResult, u64>,
    pub(crate) revocations: u64,
    /// Failures of the user service in a row, and when the last one was.
    failures: (u32, Option<Instant>),
}

/// A handshake that is under way.
#[derive(Debug)]
pub(crate) struct Handshaking(Arc<Totals>);

impl Totals {
    pub(crate) fn new(policy: OverflowPolicy) -> Arc<Self> {
        let counts = Counts {
            handshakes: HandshakeFigures::default(),
            refusals: RefusalReason::ALL.iter().map(|reason| (*reason, 0)).collect(),
            closes: BTreeMap::new(),
            heartbeats: HeartbeatVerdict::ALL.iter().map(|verdict| (*verdict, 0)).collect(),
            traffic: TrafficFigures { policy, ..TrafficFigures::default() },
            authentications: AuthenticationResult::ALL
                .iter()
                .map(|result| (*result, Timing::default()))
                .collect(),
            renewals: RenewalResult::ALL.iter().map(|result| (*result, 0)).collect(),
            revocations: 0,
            failures: (0, None),
        };
        Arc::new(Self { counts: Mutex::new(counts), handshaking: AtomicUsize::new(0) })
    }

    /// A handshake has begun.
    pub(crate) fn handshake(self: &Arc<Self>) -> Handshaking {
        self.handshaking.fetch_add(1, Ordering::Relaxed);
        Handshaking(Arc::clone(self))
    }

    pub(crate) fn handshaking(&self) -> usize {
        self.handshaking.load(Ordering::Relaxed)
    }

    /// A handshake has become a connection.
    pub(crate) fn opened(&self) {
        self.count(|counts| counts.handshakes.opened += 1);
    }

    pub(crate) fn refused(&self, reason: RefusalReason) {
        self.count(|counts| {
            counts.handshakes.refused += 1;
            *counts.refusals.entry(reason).or_default() += 1;
        });
    }

    /// A handshake has failed before there was a request.
    pub(crate) fn failed(&self) {
        self.count(|counts| counts.handshakes.failed += 1);
    }

    /// A peer has hung up without a request.
    pub(crate) fn idle(&self) {
        self.count(|counts| counts.handshakes.idle += 1);
    }

    /// A user service was asked.
    pub(crate) fn authenticated(&self, result: AuthenticationResult, time: Duration) {
        self.count(|counts| {
            counts.authentications.entry(result).or_default().add(time);
            counts.failures = match result {
                AuthenticationResult::Failed => (counts.failures.0.saturating_add(1), Some(Instant::now())),
                AuthenticationResult::Authenticated | AuthenticationResult::Unauthorized => (0, None),
            };
        });
    }

    /// Whether the user service has failed several times in a row, and not long ago: a server that is given no clients
    /// asks it nothing, and would otherwise not find that it works again.
    pub(crate) fn is_user_service_failing(&self) -> bool {
        self.count(|Counts { failures: (count, last), .. }| {
            *count >= FAILURES && last.is_some_and(|last| last.elapsed() < FORGOTTEN_AFTER)
        })
    }

    pub(crate) fn renewed(&self, result: RenewalResult) {
        self.count(|counts| *counts.renewals.entry(result).or_default() += 1);
    }

    pub(crate) fn revoked(&self) {
        self.count(|counts| counts.revocations += 1);
    }

    /// A connection has ended. It is summed up with all others from now on, and `leave` takes it from those that are
    /// summed up one by one: whoever reads the figures finds it in one of the two.
    pub(crate) fn ended(&self, end: Option<&Disconnect>, statistics: &Statistics, leave: impl FnOnce()) {
        self.count(|counts| {
            counts.traffic.add(statistics);
            if let Some(end) = end {
                let (code, by) = (CloseKind::of(end), end.by);
                let close = CloseFigure { code, by, count: 0 };
                counts.closes.entry((code, by.label())).or_insert(close).count += 1;
                if let Some(verdict) = HeartbeatVerdict::of(end) {
                    *counts.heartbeats.entry(verdict).or_default() += 1;
                }
            }
            leave();
        });
    }

    /// What was counted, and what `read` finds at the same moment.
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> T) -> (Counts, T) {
        self.count(|counts| (counts.clone(), read()))
    }

    fn count<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    pub(crate) fn closes(&self) -> Vec<CloseFigure> {
        self.closes.values().copied().collect()
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.0.handshaking.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use websockets_simple_core::EndedBy;

    use super::*;

    #[test]
    fn a_connection_that_has_ended_is_counted_with_how_it_ended() {
        let totals = Totals::new(OverflowPolicy::default());
        let mut statistics = Statistics::default();
        (statistics.messages_received, statistics.bytes_sent) = (2, 5);
        let ends = [(EndedBy::Peer, Some(1000)), (EndedBy::Peer, Some(1000)), (EndedBy::Transport, None)];
        for (by, code) in ends {
            totals.ended(Some(&Disconnect::new(by, code, "", true)), &statistics, || {});
        }
        let (counts, ()) = totals.read(|| {});
        assert_eq!((counts.traffic.messages_received, counts.traffic.bytes_sent), (6, 15));
        let closes: Vec<_> = counts.closes().iter().map(|close| (close.by, close.count)).collect();
        assert_eq!(closes, [(EndedBy::Transport, 1), (EndedBy::Peer, 2)]);
    }

    #[test]
    fn a_handshake_is_under_way_until_it_is_dropped() {
        let totals = Totals::new(OverflowPolicy::default());
        let (one, other) = (totals.handshake(), totals.handshake());
        assert_eq!(totals.handshaking(), 2);
        drop((one, other));
        assert_eq!(totals.handshaking(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_service_that_has_failed_often_is_asked_again_after_a_while() {
        let totals = Totals::new(OverflowPolicy::default());
        let answers = |result, times| {
            for _ in 0..times {
                totals.authenticated(result, Duration::ZERO);
            }
            totals.is_user_service_failing()
        };
        assert!(!answers(AuthenticationResult::Failed, FAILURES - 1));
        assert!(!answers(AuthenticationResult::Unauthorized, 1), "it knows something");
        assert!(answers(AuthenticationResult::Failed, FAILURES));
        tokio::time::advance(FORGOTTEN_AFTER).await;
        assert!(!totals.is_user_service_failing());
        assert!(answers(AuthenticationResult::Failed, 1), "and it does not work yet");
        assert!(!answers(AuthenticationResult::Authenticated, 1));
    }
}
