//! One run of a server: bind, accept, watch over its tasks, stop.

pub(crate) use shared::{RunState, SessionGuard, Shared, StopWaiter};

pub(crate) mod accept;
mod shared;
