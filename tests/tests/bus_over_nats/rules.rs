//! The rules that every bus is held to.

use websockets_simple_server::NatsBus;
use websockets_simple_tests::bus_server::{BusServerKind, keeps_the_rules};

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_over_nats_2_9_keeps_the_rules() {
    keeps_the_rules(BusServerKind::Nats29, |url| NatsBus::new(url).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_over_nats_2_15_keeps_the_rules() {
    keeps_the_rules(BusServerKind::Nats215, |url| NatsBus::new(url).unwrap()).await;
}

#[tokio::test]
async fn the_bus_over_nats_keeps_the_rules_on_one_thread() {
    keeps_the_rules(BusServerKind::Nats215, |url| NatsBus::new(url).unwrap()).await;
}
