//! The rules that every bus is held to, over a server that is killed and restarted meanwhile.

use std::sync::Arc;

use tokio::sync::Mutex;
use websockets_simple_server::{Bus, test_util::bus_conformance};

use super::{BusServer, BusServerKind};

/// Holds a bus over a server of this kind to the rules. `bus` makes one for the address of the server.
///
/// # Panics
///
/// When it breaks one.
pub async fn keeps_the_rules<B: Bus>(kind: BusServerKind, bus: impl Fn(&str) -> B + Send + Sync + 'static) {
    let server = BusServer::start(kind).await;
    let url = server.url();
    let server = Arc::new(Mutex::new(server));
    let counted = Arc::clone(&server);
    bus_conformance(move || bus(&url))
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
