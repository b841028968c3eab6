//! A node of a bus, driven by hand.

use std::sync::Arc;

use tokio::task::JoinHandle;
use websockets_simple_server::{Bus, BusEvent, BusPort};

use crate::within;

/// A port, and a bus that is run. Dropped, it is gone as if its process were killed.
#[derive(Debug)]
pub struct BusNode {
    /// Where it is told what to do, and where it is heard.
    pub port: Arc<BusPort>,
    running: JoinHandle<()>,
}

impl BusNode {
    /// Runs a bus, of which so many bytes wait to be sent and to be read.
    #[must_use]
    pub fn run(bus: impl Bus, outgoing: usize, incoming: usize) -> Self {
        let port = Arc::new(BusPort::new(outgoing, incoming));
        let link = port.link();
        Self { port, running: tokio::spawn(async move { bus.run(link).await }) }
    }

    /// The next event.
    pub async fn event(&self) -> BusEvent {
        within(self.port.next_event()).await
    }

    /// Passes over all that is heard until it is connected.
    pub async fn up(&self) {
        while self.event().await != BusEvent::Up {}
    }

    /// Passes over all that is heard until it is not connected. Why that is.
    pub async fn down(&self) -> String {
        loop {
            if let BusEvent::Down(why) = self.event().await {
                return why.to_string();
            }
        }
    }

    /// The next message, with nothing else before it.
    ///
    /// # Panics
    ///
    /// When something else comes.
    pub async fn message(&self) -> hyper::body::Bytes {
        match self.event().await {
            BusEvent::Message(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    ///
    /// When its bus has panicked.
    pub async fn close(mut self) {
        self.port.close();
        within(&mut self.running).await.expect("the bus does not panic");
    }
}

impl Drop for BusNode {
    fn drop(&mut self) {
        self.running.abort();
    }
}
