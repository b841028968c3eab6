//! Users, and the services that authenticate them.
//!
//! | users with | service |
//! |---|---|
//! | tokens that the program knows | [`MemoryUsers`] |
//! | tokens in SQLite or PostgreSQL | `SqlUsers`, feature `sqlx` |
//! | JSON Web Tokens | `JwtUsers`, feature `jwt` or `jwks` |
//! | opaque tokens of an OAuth 2.0 server | `IntrospectedUsers`, feature `introspection` |
//! | tickets that are good once, for browsers | [`Ticketed`], [`Tickets`] |
//! | several of these, or answers that are remembered | [`Chain`], `Cached` |
//! | anything else | your own [`UserService`] |
//!
//! Credentials that expire are renewed over the open connection
//! ([`ServerParams::expiry`](crate::ServerParams::expiry)); revoked ones close their connections
//! ([`UserService::revocations`], [`revoke`](crate::WebsocketServerAuth::revoke)).

pub(crate) use admission::{Admission, AdmissionError, AdmitAll, AdmitUsers, result_of};
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
#[doc(inline)]
pub use websockets_simple_core::Token;

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
