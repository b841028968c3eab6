//! Connections out of the application's own HTTP server, and its pages on ours.

#[cfg(feature = "axum")]
pub use axum::Caller;
#[cfg(feature = "axum")]
pub(crate) use axum::peer_addr;
pub(crate) use fallback::Fallback;
pub use upgrade::Upgrade;

#[cfg(feature = "axum")]
mod axum;
mod fallback;
mod mounted;
mod upgrade;
