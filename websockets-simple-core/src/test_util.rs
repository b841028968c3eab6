//! What tests of applications need: a network in memory, faults of its lines, peers made of raw bytes, and expectations
//! with a deadline.
//!
//! It follows tokio's clock: with `#[tokio::test(start_paused = true)]` hours of heartbeats and reconnects take
//! milliseconds.

pub use expect::{Expect, PATIENCE, within};
pub use faults::{End, Faults, Faulty, Way};
pub use network::{Dialer, Incoming, Line, network};
pub use raw_frame::{RawFrame, masked, unmasked};
pub use raw_peer::{KEY, RawPeer, request};

mod expect;
mod faults;
mod network;
mod raw_frame;
mod raw_peer;
