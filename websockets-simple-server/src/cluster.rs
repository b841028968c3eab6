//! One server on several nodes: what goes between them, and how.

pub use bus::{Bus, BusCommand, BusEvent, PublishError, Subject};
pub use memory_bus::MemoryBus;
#[cfg(feature = "nats")]
pub use nats::{NatsBus, NatsUrlError};
pub use port::{BusInbox, BusLink, BusPort};

mod bus;
mod memory_bus;
#[cfg(feature = "nats")]
mod nats;
mod port;
