//! Connections out of the application's own HTTP server, and its pages on ours.

#[cfg(feature = "axum")]
pub use axum::Caller;
#[cfg(feature = "axum")]
pub(crate) use axum::peer_addr;
pub use upgrade::Upgrade;

#[cfg(feature = "axum")]
mod axum;
mod mounted;
mod upgrade;
