//! What a server holds now, read when somebody asks.

use std::{cmp::Reverse, net::IpAddr, sync::Arc, time::Duration};

use chrono::Utc;
use tokio::time::MissedTickBehavior;

#[cfg(feature = "cluster")]
use crate::{
    cluster::{NodePresence, internal::OWN},
    run::ClusterNode,
};
use crate::{
    connection::Connection,
    figures::RefusalReason,
    handshake::cut,
    run::{shared::Shared, stop::Stop},
    snapshot::{ChannelSnapshot, ConnectionSnapshot, Sample, ServerSnapshot},
    users::Identity,
};

/// The time between two samples.
const STEP: Duration = Duration::from_secs(10);

impl<I: Identity> Shared<I> {
    pub(crate) fn snapshot(&self, limit: usize) -> ServerSnapshot {
        let recent = self.recent.as_deref();
        let mut refusals = recent.map(|recent| recent.refusals()).unwrap_or_default();
        let mut errors = recent.map(|recent| recent.errors()).unwrap_or_default();
        refusals.truncate(limit);
        errors.truncate(limit);
        let channels = self.registry.largest_channels(limit).into_iter();
        ServerSnapshot {
            at: Utc::now(),
            health: self.health(),
            figures: self.figures(),
            channels: channels
                .map(|(name, connections)| ChannelSnapshot { channel: cut(&name).to_owned(), connections })
                .collect(),
            slow_readers: self.slow_readers(limit),
            #[cfg(feature = "cluster")]
            nodes: self.nodes().0,
            refusals,
            errors,
            history: recent.map(|recent| recent.samples()).unwrap_or_default(),
        }
    }

    /// Those for whom the most bytes wait.
    fn slow_readers(&self, limit: usize) -> Vec<ConnectionSnapshot> {
        let (open, local) = (self.registry.all(), self.unlisted.all());
        let queued = |connection| {
            let connection: &Connection<I> = connection;
            let bytes = connection.0.core.statistics().queued_bytes;
            (bytes > 0).then_some((bytes, connection))
        };
        let mut slow: Vec<_> = open.iter().chain(&local).filter_map(queued).collect();
        slow.sort_unstable_by_key(|(bytes, connection)| (Reverse(*bytes), connection.0.serial));
        slow.truncate(limit);
        slow.into_iter().map(|(_, connection)| self.of_connection(connection)).collect()
    }

    fn of_connection(&self, connection: &Connection<I>) -> ConnectionSnapshot {
        let statistics = connection.0.core.statistics();
        let user = connection.0.origin.user.as_ref().filter(|_| self.params.logs_users);
        ConnectionSnapshot {
            id: connection.id().to_string(),
            channel: cut(connection.channel()).to_owned(),
            client: connection.client_addr(),
            user: user.map(|user| format!("{:?}", user.id())),
            age: (Utc::now() - connection.connected_since()).to_std().unwrap_or_default(),
            queued_bytes: statistics.queued_bytes,
            messages_received: statistics.messages_received,
            messages_sent: statistics.messages_sent,
        }
    }

    /// The nodes, this one first, and how old what is known of them is.
    #[cfg(feature = "cluster")]
    pub(crate) fn nodes(&self) -> (Vec<NodePresence>, Duration) {
        let Some(ClusterNode { state, .. }) = self.cluster.get() else { return Default::default() };
        let directory = state.directory();
        let counts = directory.view.connections();
        let own = NodePresence {
            info: state.node.clone(),
            is_here: true,
            age: Duration::ZERO,
            connections: counts.get(&OWN).copied().unwrap_or_default(),
        };
        let others = directory.nodes().map(|(place, entry)| NodePresence {
            info: entry.info.clone(),
            is_here: false,
            age: entry.heard.elapsed(),
            connections: counts.get(&place).copied().unwrap_or_default(),
        });
        let nodes: Vec<_> = [own].into_iter().chain(others).collect();
        let age = directory.age().max(state.deaf_for());
        (nodes, age)
    }

    /// Counts a refused handshake.
    pub(crate) fn refused(&self, reason: RefusalReason, client: Option<IpAddr>) {
        self.totals.refused(reason);
        if let Some(recent) = &self.recent {
            recent.refused(reason, client);
        }
    }
}

/// Notes every ten seconds how much there is.
pub(super) async fn sample<I: Identity>(shared: Arc<Shared<I>>, stop: Stop) {
    let Some(recent) = &shared.recent else { return };
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.closes_all() => return,
            _ = steps.tick() => {}
        }
        let (counts, open) = shared.totals.read(|| shared.registry.count());
        let (opened, refused) = (counts.handshakes.opened, counts.handshakes.refused);
        recent.sampled(Sample { at: Utc::now(), open, opened, refused });
    }
}
