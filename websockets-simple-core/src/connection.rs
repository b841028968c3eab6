//! One open WebSocket: its driver, and what its handles share with it.

pub use config::ConnectionConfig;
pub use driver::ConnectionDriver;
pub use heartbeat::{Heartbeat, HeartbeatMode};
pub use inbox::{current_owner, inside, new_owner};
pub use observer::{ConnectionObserver, ControlOutcome};
pub use questions::Question;
pub use shared::{ConnectionShared, Statistics};
pub use sign_of_life::LifeQuestion;

mod closing;
mod config;
mod driver;
mod heartbeat;
mod inbox;
mod kept_buffers;
mod observer;
mod ping_watch;
mod questions;
mod rate;
mod shared;
mod sign_of_life;
