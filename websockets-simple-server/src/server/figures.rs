//! The figures of a server.

use std::sync::atomic::Ordering;

use super::Server;
use crate::{
    figures::{ConnectionFigures, RoundTrips, ServerFigures},
    users::Identity,
};

impl<I: Identity> Server<I> {
    /// What the server has done since it was made, and what it holds now. It is summed up when it is asked for: the
    /// connections that have ended are one number, the others are read one by one, which takes some 50 ns each. Nothing is
    /// counted twice or left out meanwhile, so what counts never goes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServer::new(ServerParams::local());
    /// server.start().await?;
    /// let figures = server.figures();
    /// println!("{} open, {} refused", figures.connections.open, figures.handshakes.refused);
    /// println!("{}", serde_json::to_string_pretty(&figures)?);
    /// # server.stop().await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn figures(&self) -> ServerFigures {
        let shared = &self.shared;
        let (counts, (open, ending, local)) = shared.totals.read(|| {
            let mut local = shared.unlisted.all();
            local.retain(|connection| !connection.0.is_summed.load(Ordering::Relaxed));
            (shared.registry.all(), shared.registry.draining(), local)
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
        let (channels, groups) = shared.registry.channel_and_group_count();
        ServerFigures {
            connections: ConnectionFigures {
                handshaking: shared.totals.handshaking(),
                open: open.len(),
                local: local.len(),
                ending: ending.len(),
            },
            handshakes: counts.handshakes,
            closes: counts.closes(),
            refusals: counts.refusals,
            traffic,
            queued_bytes,
            largest_queue,
            round_trips: RoundTrips::of(times),
            authentications: counts.authentications,
            renewals: counts.renewals,
            revocations: counts.revocations,
            channels,
            groups,
            events_missed: shared.subscriptions.missed(),
            #[cfg(feature = "cluster")]
            cluster: shared.cluster.get().map(|_| self.cluster().figures()),
        }
    }
}
