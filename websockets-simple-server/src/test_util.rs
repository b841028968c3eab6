//! What tests of applications need: a network in memory that a server serves, a user service that does as it is told, and
//! what both ends have: faults of lines, peers made of raw bytes, expectations with a deadline. With the feature `cluster`:
//! faults of a bus, and the rules that every bus has to keep.
//!
//! It follows tokio's clock: with `#[tokio::test(start_paused = true)]` hours of heartbeats and reconnects take
//! milliseconds.
//!
//! ```
//! use websockets_simple_server::{
//!     ServerParams, WebsocketServer,
//!     test_util::{Expect, RawPeer, ServeNetwork, network},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebsocketServer::new(ServerParams::mounted());
//! let mut events = server.events();
//! server.start().await?;
//! let (dialer, incoming) = network();
//! let _serving = server.serve_network(incoming);
//!
//! let mut peer = RawPeer::new(dialer.dial().await?);
//! peer.request("/news", "").await;
//! let connection = events.expect_connected().await;
//! assert_eq!(connection.channel(), "/news");
//! peer.text("hello").await;
//! events.expect_text("hello").await;
//! # Ok(()) }
//! ```

#[doc(inline)]
pub use websockets_simple_core::test_util::{
    Dialer, End, Expect, Faults, Faulty, Incoming, KEY, Line, PATIENCE, RawFrame, RawPeer, Way, masked,
    network, request, unmasked, within,
};

#[cfg(feature = "cluster")]
pub use bus_conformance::{BusConformance, BusRule, bus_conformance};
#[cfg(feature = "cluster")]
pub use bus_faults::BusFaults;
#[cfg(feature = "cluster")]
pub use faulty_bus::FaultyBus;
pub use scripted_users::{Answer, ScriptedUsers};
pub use serve_network::{ServeNetwork, Serving};

#[cfg(feature = "cluster")]
mod bus_conformance;
#[cfg(feature = "cluster")]
mod bus_faults;
#[cfg(feature = "cluster")]
mod faulty_bus;
mod scripted_users;
mod serve_network;
