//! One run of a server: bind, accept, supervise its tasks, stop.

pub use drain::Drain;
pub use error::StartError;
pub(crate) use shared::Shared;
pub(crate) use shutdown::{SessionGuard, SessionStage, SessionTask, StopWaiter};
pub(crate) use start::start;
pub(crate) use stop::Stop;

mod accept;
mod drain;
mod error;
mod shared;
mod shutdown;
mod start;
mod stop;
mod supervisor;
mod watchers;
