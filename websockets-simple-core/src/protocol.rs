//! RFC 6455 and what the two libraries say to each other in it: no clock, no socket, no tokio.

pub(crate) use buffer_pool::PoolGuard;
pub(crate) use close_code::fit_reason;
pub use close_code::{CloseCode, Disconnect, EndedBy, InvalidCloseCode};
pub use control::{Control, Controls, MalformedControl, SUBPROTOCOL};
pub use decoder::ProtocolError;
pub(crate) use decoder::{Decoded, Decoder, Fault};
pub use frame::{Frame, Side};
pub use group_name::{GroupName, InvalidGroupName};

pub(crate) mod buffer_pool;
mod close_code;
mod control;
pub(crate) mod decoder;
mod frame;
mod group_name;
