//! One run of a server: bind, accept, supervise its tasks, stop.

#[cfg(feature = "cluster")]
pub(crate) use cluster::ClusterNode;
pub use drain::Drain;
pub use error::StartError;
pub(crate) use shared::Shared;
pub(crate) use shutdown::{SessionGuard, SessionStage, SessionTask, StopWaiter};
pub(crate) use start::start;
pub(crate) use stop::Stop;

mod accept;
#[cfg(feature = "cluster")]
mod cluster;
mod drain;
mod error;
mod figures;
mod shared;
mod shutdown;
mod snapshot;
mod start;
mod stop;
mod supervisor;
mod watchers;
