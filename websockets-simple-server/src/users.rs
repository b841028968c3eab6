//! User services, which authenticate clients, and their results.

pub(crate) use admission::{Admission, AdmissionError, AdmitAll, AdmitUsers};
pub use admission::{Anonymous, Identity, User};
#[cfg(feature = "cache")]
pub use cached::Cached;
pub use chain::Chain;
#[cfg(any(feature = "introspection", feature = "jwks"))]
pub use fetch::IssuerUrlError;
#[cfg(feature = "introspection")]
pub use introspection::{ClientAuthentication, IntrospectedUsers};
#[cfg(feature = "jwks")]
pub use jwt::Jwks;
#[cfg(feature = "jwt")]
pub use jwt::{JwtAlgorithm, JwtKey, JwtKeyError, JwtUsers};
pub use memory::MemoryUsers;
pub(crate) use revocation::RecentRevocations;
pub use revocation::{Revocation, Revocations};
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use sql::{IssueToken, SqlUsers, SqlUsersError, TokenInfo};
pub use ticketed::Ticketed;
pub use tickets::Tickets;
pub use user_service::{Authenticated, Credentials, UserId, UserService, UserServiceError};

mod admission;
#[cfg(feature = "cache")]
mod cached;
mod chain;
#[cfg(any(feature = "introspection", feature = "jwt"))]
mod claims;
#[cfg(any(feature = "introspection", feature = "jwks"))]
mod fetch;
#[cfg(feature = "introspection")]
mod introspection;
#[cfg(feature = "jwt")]
mod jwt;
mod memory;
mod revocation;
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
mod sql;
mod ticketed;
mod tickets;
mod token_hash;
mod user_service;
