//! What a node of a cluster has done.

use serde::Serialize;
use websockets_simple_core::figures::Figure;

/// What a node of a cluster has done, since the server was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterFigures {
    /// Whether it hears the others now.
    pub is_up: bool,
    /// Messages for connections of other nodes that the bus has taken. One send is one of them, but for one to several
    /// channels, or to a user at several nodes.
    pub handed: u64,
    /// Those that it has not taken, as it was not connected.
    pub down: u64,
    /// Those that it has not taken, as too much waited for it.
    pub full: u64,
    /// Those that were too large for it.
    pub too_large: u64,
    /// Messages that were heard from other nodes, for connections of this one or not.
    pub heard: u64,
    /// Messages of other nodes that never came.
    pub missed: u64,
    /// Messages that came twice, or after they had been given up, and were dropped.
    pub late: u64,
    /// Messages that were not believed.
    pub invalid: u64,
    /// Messages that came faster than they were read, and were dropped. Those of them that are numbered are `missed` as
    /// well.
    pub overflowed: u64,
    /// The other nodes.
    pub nodes: usize,
    /// Subjects that are subscribed to.
    pub subscriptions: usize,
}

impl ClusterFigures {
    pub(super) fn list(&self) -> [Figure; 4] {
        [
            Figure::gauge("ws_cluster_up", "1 if this node hears the others, otherwise 0.")
                .of(f64::from(u8::from(self.is_up))),
            Figure::gauge("ws_cluster_other_nodes", "Other nodes that are known.").of(self.nodes as f64),
            Figure::gauge("ws_cluster_subscriptions", "Subjects of the bus that are subscribed to.")
                .of(self.subscriptions as f64),
            Figure::counter("ws_cluster_messages_total", "Messages between nodes, by what came of them.").by(
                "result",
                [
                    ("handed", self.handed as f64),
                    ("down", self.down as f64),
                    ("full", self.full as f64),
                    ("too_large", self.too_large as f64),
                    ("heard", self.heard as f64),
                    ("missed", self.missed as f64),
                    ("late", self.late as f64),
                    ("invalid", self.invalid as f64),
                    ("overflowed", self.overflowed as f64),
                ],
            ),
        ]
    }
}
