//! The configuration of a server.

pub use broadcast_level::{BroadcastError, BroadcastLevel};
pub use check::ParamsError;
pub use client_id::{ClientId, InvalidClientId};
pub use endpoint::Endpoint;
pub(crate) use fallback::{BodyError, FallbackBody};
pub use id_signing::{IdSigning, InvalidSignature};
pub use limits::Limits;
pub use operations::{Guard, Operations};
pub use params::{ServerParams, TokenPlacements, UnauthorizedDelivery};
pub use scope::Scope;
pub use signal_defaults::{SignalDefault, SignalReach};

mod addressing;
mod broadcast_level;
mod check;
mod client_id;
#[cfg(feature = "deflate")]
mod compression;
mod endpoint;
mod fallback;
mod heartbeat;
mod id_signing;
mod identity_headers;
mod limits;
mod message_parts;
mod operations;
mod params;
mod per_request;
mod scope;
mod signal_defaults;
