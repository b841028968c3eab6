//! What asks a server over HTTP whether it is to be given clients, as a load balancer does.

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle, time::interval};
use websockets_simple_tests::{crowd::now, raw::RawPeer};

/// Health checks at a pace.
pub(crate) struct HealthChecks {
    took: JoinHandle<Vec<u32>>,
    stop: oneshot::Sender<()>,
}

impl HealthChecks {
    /// Asks at a pace, on a connection of its own each time. Each answer has to be that the server is ready.
    pub(crate) fn start(addr: SocketAddr, pace: Duration) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let took = tokio::spawn(async move {
            let (mut pace, mut took) = (interval(pace), Vec::new());
            loop {
                tokio::select! {
                    _ = &mut stopped => return took,
                    _ = pace.tick() => {}
                }
                let at = now();
                let mut peer = RawPeer::connect(addr).await;
                peer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
                let head = peer.head().await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                took.push(u32::try_from((now() - at) / 1000).unwrap());
            }
        });
        Self { took, stop }
    }

    /// Ends them. Returns the microseconds that each took.
    pub(crate) async fn stop(self) -> Vec<u32> {
        // One that has panicked says so below.
        let _ = self.stop.send(());
        self.took.await.unwrap()
    }
}
