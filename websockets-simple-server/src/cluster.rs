//! One server on several nodes: what goes between them, and how.

pub use bus::{Bus, BusCommand, BusEvent, PublishError, Subject};
pub use memory_bus::MemoryBus;
pub use port::{BusInbox, BusLink, BusPort};
#[cfg(feature = "redis")]
pub use redis_bus::{RedisBus, RedisUrlError};

mod bus;
mod memory_bus;
mod port;
#[cfg(feature = "redis")]
mod redis_bus;
