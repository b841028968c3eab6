//! What tests of applications need: a network in memory that a client dials, faults of its lines, peers made of raw bytes,
//! and expectations with a deadline.
//!
//! A [`Dialer`] is a [`Connector`]. It follows tokio's clock: with `#[tokio::test(start_paused = true)]` hours of
//! heartbeats and reconnects take milliseconds.
//!
//! ```
//! use websockets_simple_client::{
//!     ClientParams, WebsocketClient,
//!     test_util::{Expect, RawFrame, RawPeer, network, unmasked},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (dialer, mut incoming) = network();
//! let client = WebsocketClient::new(ClientParams::new("server", 80).connector(dialer))?;
//! let mut events = client.events();
//! let (connected, mut peer) = tokio::join!(client.connect(), async {
//!     RawPeer::answer(incoming.accept().await.expect("it dials"), "").await.1
//! });
//! connected?;
//! peer.write(&unmasked(0x81, b"welcome")).await;
//! events.expect_text("welcome").await;
//! client.send_text("thanks").await?;
//! assert_eq!(peer.next().await, Some(RawFrame::text("thanks")));
//! # Ok(()) }
//! ```

use std::io;

use async_trait::async_trait;

#[doc(inline)]
pub use websockets_simple_core::test_util::{
    Dialer, End, Expect, Faults, Faulty, Incoming, KEY, Line, PATIENCE, RawFrame, RawPeer, Way, masked,
    network, request, unmasked, within,
};

use crate::config::{Connector, Io, Target};

#[async_trait]
impl Connector for Dialer {
    async fn connect(&self, _target: &Target) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(self.dial().await?))
    }
}
