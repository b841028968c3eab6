//! Three nodes over a server of a bus.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use websockets_simple_tests::{
    bus_server::{BusServer, BusServerKind},
    cluster::process::{NodeProcess, Told},
    within,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cluster-node");

/// Three nodes, which hear each other.
pub(crate) struct Trio {
    pub(crate) bus: BusServer,
    pub(crate) nodes: [Arc<NodeProcess>; 3],
}

impl Trio {
    pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

    pub(crate) async fn start(kind: BusServerKind, lease: Duration) -> Self {
        let bus = BusServer::start(kind).await;
        let url = bus.url();
        let node = async |name| Arc::new(NodeProcess::start(PROGRAM, &url, name, lease).await);
        let [a, b, c] = Self::NAMES;
        let trio = Self { bus, nodes: [node(a).await, node(b).await, node(c).await] };
        trio.all_ready().await;
        trio
    }

    /// Waits until each hears all.
    pub(crate) async fn all_ready(&self) {
        for node in &self.nodes {
            eventually(async || node.knows(&Self::NAMES).await).await;
        }
    }

    /// How many events each has told so far.
    pub(crate) fn marks(&self) -> [usize; 3] {
        self.nodes.each_ref().map(|node| node.mark())
    }
}

/// Waits until something has become true. Returns when it was.
pub(crate) async fn eventually(mut is_true: impl AsyncFnMut() -> bool) -> Instant {
    within(async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    })
    .await
}

/// Lets this time pass since a moment.
pub(crate) async fn sleep_from(since: Instant, time: Duration) {
    tokio::time::sleep_until((since + time).into()).await;
}

/// The users, or nodes, of the events of this name.
pub(crate) fn named(told: &[Told], event: &str, of: &str) -> Vec<String> {
    let those = told.iter().filter(|told| told.what["event"] == event);
    those.map(|told| told.what[of].as_str().unwrap_or_default().to_owned()).collect()
}
