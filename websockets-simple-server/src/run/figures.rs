//! What a server says of itself: summed up when somebody asks.

use std::sync::atomic::Ordering;

#[cfg(feature = "cluster")]
use crate::{cluster::internal::Status, figures::ClusterFigures};
use crate::{
    connection::Connection,
    figures::{ConnectionFigures, Health, NotReady, RoundTrips, ServerFigures},
    run::shared::{RunState, Shared},
    users::Identity,
};

impl<I: Identity> Shared<I> {
    pub(crate) fn figures(&self) -> ServerFigures {
        // No handle is dropped in there: with the last one of a connection goes the id of a user, which is code of the
        // application.
        let (counts, (open, ending, (local, _summed))) = self.totals.read(|| {
            let is_open = |connection: &Connection<I>| !connection.0.is_summed.load(Ordering::Relaxed);
            let local: (Vec<_>, Vec<_>) = self.unlisted.all().into_iter().partition(is_open);
            (self.registry.all(), self.registry.draining(), local)
        });
        let (mut traffic, mut times) = (counts.traffic, Vec::new());
        let (mut queued_bytes, mut largest_queue) = (0, 0);
        for connection in open.iter().chain(ending.iter()).chain(&local) {
            let statistics = connection.0.core.statistics();
            traffic.add(&statistics);
            times.extend(statistics.round_trip);
            queued_bytes += statistics.queued_bytes;
            largest_queue = largest_queue.max(statistics.queued_bytes);
        }
        let (channels, groups) = self.registry.channel_and_group_count();
        ServerFigures {
            connections: ConnectionFigures {
                handshaking: self.totals.handshaking(),
                open: open.len(),
                local: local.len(),
                ending: ending.len(),
            },
            handshakes: counts.handshakes,
            closes: counts.closes(),
            refusals: counts.refusals,
            heartbeats: counts.heartbeats,
            traffic,
            queued_bytes,
            largest_queue,
            round_trips: RoundTrips::of(times),
            authentications: counts.authentications,
            tickets: self.admission.tickets(),
            renewals: counts.renewals,
            revocations: counts.revocations,
            channels,
            groups,
            events_missed: self.subscriptions.missed(),
            #[cfg(feature = "deflate")]
            compression: websockets_simple_core::compression_figures(),
            #[cfg(feature = "cluster")]
            cluster: self.cluster_figures(),
        }
    }

    /// `None` without a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn cluster_figures(&self) -> Option<ClusterFigures> {
        let state = &self.cluster.get()?.state;
        let counts = &state.counts;
        Some(ClusterFigures {
            is_up: matches!(state.status(), Status::Up(_)),
            handed: counts.handed.load(Ordering::Relaxed),
            down: counts.down.load(Ordering::Relaxed),
            full: counts.full.load(Ordering::Relaxed),
            too_large: counts.too_large.load(Ordering::Relaxed),
            heard: counts.heard.load(Ordering::Relaxed),
            missed: counts.missed.load(Ordering::Relaxed),
            late: counts.late.load(Ordering::Relaxed),
            invalid: counts.invalid.load(Ordering::Relaxed),
            overflowed: counts.overflowed.load(Ordering::Relaxed),
            nodes: state.directory().nodes().count(),
            subscriptions: state.port.subscriptions(),
        })
    }

    pub(crate) fn health(&self) -> Health {
        let (live, runs) = match &*self.state() {
            RunState::Running(run) if run.handle.stop.has_begun() => {
                (run.is_alive(), Some(NotReady::Stopping))
            }
            RunState::Running(run) => (run.is_alive(), None),
            RunState::Stopped | RunState::Starting(_) => (true, Some(NotReady::AtRest)),
        };
        let mut why = Vec::from_iter(runs);
        if self.is_withdrawn.load(Ordering::Relaxed) {
            why.push(NotReady::Withdrawn);
        }
        if self.limiter.is_full() {
            why.push(NotReady::Full);
        }
        if self.totals.is_user_service_failing() {
            why.push(NotReady::UserService);
        }
        #[cfg(feature = "cluster")]
        if runs.is_none() && !self.is_cluster_ready() {
            why.push(NotReady::Cluster);
        }
        Health { live, why }
    }

    /// Whether it hears the other nodes, and knows who is connected to each of them. True without a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn is_cluster_ready(&self) -> bool {
        self.cluster.get().is_none_or(|cluster| {
            let state = &cluster.state;
            matches!(state.status(), Status::Up(_)) && state.is_synced.load(Ordering::Relaxed)
        })
    }
}
