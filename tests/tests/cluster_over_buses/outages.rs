//! A bus that is gone for a while.

use std::time::{Duration, Instant};

use serde_json::json;
use websockets_simple_tests::{bus_server::BusServerKind, cluster::process::LEASE};

use crate::{
    S,
    load::{Load, Loaded},
    trio::{Trio, named, sleep_from},
};

/// How it is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outage {
    /// Its process is killed, and started again.
    Kill,
    /// It is suspended.
    Stop,
}

/// The server of a bus is gone for so long, under load.
pub(crate) async fn outage(kind: BusServerKind, outage: Outage, time: Duration) {
    let mut trio = Trio::start(kind, LEASE).await;
    let load = Load::begin(&trio).await;
    tokio::time::sleep(S).await;
    let marks = trio.marks();
    let gone = Instant::now();
    match outage {
        Outage::Kill => trio.bus.kill().await,
        Outage::Stop => trio.bus.stop().await,
    }
    sleep_from(gone, time).await;
    match outage {
        Outage::Kill => trio.bus.restart().await,
        Outage::Stop => trio.bus.cont(),
    }
    let back = Instant::now();
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for (node, mark) in trio.nodes.iter().zip(marks) {
        down.push(node.until(mark, &json!({ "event": "Down" })).await.at - gone);
        up.push(node.until(mark, &json!({ "event": "Up" })).await.at.saturating_duration_since(back));
    }
    trio.all_ready().await;
    let ready = back.elapsed();
    tokio::time::sleep(S).await;
    let Loaded { handed, down: refused, missed } = load.end(&trio).await;
    println!(
        "{kind:?}, {outage:?} for {time:?}: down after {down:.1?}, up {up:.1?} after the return, all ready after {ready:.1?}; {handed} messages handed, {refused} were not, {missed} missed"
    );
    assert!(up.iter().all(|up| *up <= 2 * S), "{up:?}");
    assert!(handed > 0 && refused > 0);
    for (node, mark) in trio.nodes.iter().zip(marks) {
        let told = node.told(mark);
        assert_eq!(named(&told, "NodeLeft", "node"), Vec::<String>::new());
        assert_eq!(named(&told, "Left", "user"), Vec::<String>::new());
    }
}
