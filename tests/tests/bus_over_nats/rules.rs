//! The rules that every bus is held to.

use std::sync::Arc;

use tokio::sync::Mutex;
use websockets_simple_server::{NatsBus, test_util::bus_conformance};
use websockets_simple_tests::bus_server::{BusServer, BusServerKind};

async fn keeps_the_rules(kind: BusServerKind) {
    let server = BusServer::start(kind).await;
    let url = server.url();
    let server = Arc::new(Mutex::new(server));
    let counted = Arc::clone(&server);
    bus_conformance(move || NatsBus::new(&url).unwrap())
        .outage(move |down| {
            let server = Arc::clone(&server);
            async move {
                let mut server = server.lock().await;
                if down { server.kill().await } else { server.restart().await }
            }
        })
        .left(move || {
            let server = Arc::clone(&counted);
            async move {
                let server = server.lock().await;
                server.subscriptions().await + server.connections().await
            }
        })
        .run()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_over_nats_2_9_keeps_the_rules() {
    keeps_the_rules(BusServerKind::Nats29).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_over_nats_2_15_keeps_the_rules() {
    keeps_the_rules(BusServerKind::Nats215).await;
}

#[tokio::test]
async fn the_bus_over_nats_keeps_the_rules_on_one_thread() {
    keeps_the_rules(BusServerKind::Nats215).await;
}
