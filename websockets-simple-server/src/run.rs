//! One run of a server: bind, accept, watch over its tasks, stop.

pub use error::StartError;
pub(crate) use shared::{RunState, SessionGuard, Shared, StopWaiter};

pub(crate) mod accept;
mod error;
mod shared;
