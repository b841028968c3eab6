//! One server on several nodes, over a bus of the process.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use websockets_simple_server::{ClusterParams, MemoryBus};
use websockets_simple_tests::cluster::{all_started, each_audience, server};

fn params(bus: &MemoryBus) -> ClusterParams {
    ClusterParams::new("chat", bus.clone()).key("a key of the cluster, of 16 bytes or more")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_audience_reaches_exactly_whom_it_names_at_every_node() {
    let bus = MemoryBus::new();
    let nodes = [server(params(&bus)), server(params(&bus)), server(params(&bus))];
    all_started(&nodes).await;
    each_audience(&nodes).await;
    for node in &nodes {
        let figures = node.cluster().figures();
        assert_eq!((figures.missed, figures.late, figures.invalid), (0, 0, 0), "{figures:?}");
        node.stop().await;
    }
    assert_eq!(bus.subjects(), 0, "nothing is left behind");
}
