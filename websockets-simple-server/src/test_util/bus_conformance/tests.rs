use super::*;
use crate::cluster::MemoryBus;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_of_one_process_keeps_all_rules() {
    let bus = MemoryBus::new();
    let all = bus.clone();
    bus_conformance(move || bus.clone()).left(move || std::future::ready(all.subjects())).run().await;
}
