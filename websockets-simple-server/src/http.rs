//! Connections through the application's HTTP server, and axum routers on the server's own endpoints.

#[cfg(feature = "axum")]
pub use axum::Caller;
#[cfg(feature = "axum")]
pub(crate) use axum::peer_addr;
pub use upgrade::Upgrade;

#[cfg(feature = "axum")]
mod axum;
mod upgrade;
