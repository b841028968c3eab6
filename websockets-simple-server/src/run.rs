//! One run of a server: bind, accept, watch over its tasks, stop.

pub use shared::StopReport;
pub(crate) use shared::{InSession, Life, Shared, WaitingInside};

pub(crate) mod accept;
mod shared;
