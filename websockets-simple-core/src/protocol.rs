//! RFC 6455 and the control messages between the two libraries: no clock, no socket, no tokio.

pub(crate) use buffer_pool::PoolGuard;
pub use capabilities::{Capabilities, Capability};
pub use close_code::{CloseCode, InvalidCloseCode};
pub(crate) use close_code::{fit_reason, passes};
pub use control::{Control, Controls, MalformedControl, SUBPROTOCOL};
pub(crate) use decoder::{Decoded, Decoder, Fault};
pub use decoder::{ProtocolError, TextPolicy};
pub use deflate::Agreement;
pub(crate) use deflate::Form;
#[cfg(feature = "deflate")]
pub use deflate::{
    CompressedBytes, Compression, CompressionFigures, ExtensionError, MalformedExtensions, OFFER,
    compression_figures,
};
pub use farewell::Farewell;
pub(crate) use frame::InternalFrame;
pub use frame::{Frame, Side};
pub use group_name::{GroupName, InvalidGroupName};
pub use message::Message;
pub use message_part::{MessagePart, MessageParts};
pub use text::Text;

pub(crate) mod buffer_pool;
mod capabilities;
mod close_code;
mod control;
pub(crate) mod decoder;
pub(crate) mod deflate;
mod farewell;
mod frame;
mod group_name;
pub mod handshake_words;
mod header;
mod mask;
mod message;
mod message_part;
mod text;
