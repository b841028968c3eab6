//! A WebSocket server with users, channels, limits and back-pressure.
//!
//! ```no_run
//! use websockets_simple_server::{ConnectionEventKind, Event, ServerParams, WebsocketServer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebsocketServer::new(ServerParams::new(8080));
//! server.on(|event| async move {
//!     match event {
//!         Event::Connection(event) => println!("{:?}", event.kind),
//!         Event::Message(event) => {
//!             let everybody = event.connection.server().to_all();
//!             let _ = everybody.except(&event.connection).send(event.message);
//!         }
//!         _ => {}
//!     }
//! });
//! server.start().await?;
//! # Ok(()) }
//! ```
//!
//! ```text
//! IN    accept -> handshake -> admission -> registry -> Connected -> link -> handler(event)
//!                 (deadline)   (UserService)                        (in the connection's own task)
//!
//! OUT   connection.send(m)         ->                            encode once, write now;
//!       server.to_user(id).send(m) -> connections of the user -> queue only what the    -> bytes
//!       server.broadcast(m)        -> all connections            socket did not take
//!
//! END   link ends once, for one reason -> unregister -> Disconnected(reason)
//! ```
//!
//! What differs between [`WebsocketServer`] and [`WebsocketServerAuth`] is one type parameter of [`Server`];
//! you need not write it out.

mod accept;
mod admission;
mod audience;
#[cfg(feature = "cache")]
mod cached;
mod chain;
mod connection;
mod credentials;
mod current_user;
mod endpoint;
mod error;
mod event;
mod expiry;
mod forwarded;
mod handshake;
mod head;
#[cfg(feature = "jwt")]
mod jwt;
mod limits;
mod loan;
mod memory_users;
mod params;
mod peer;
mod refusal;
mod registry;
mod revocation;
mod server;
mod session;
mod shared;
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
mod sql_users;
mod tickets;
#[cfg(feature = "rustls")]
mod tls;
mod trusted_proxies;
mod upgrade;
mod user_service;

pub use admission::{Anonymous, Identity, User};
pub use async_trait::async_trait;
pub use audience::Audience;
#[cfg(feature = "cache")]
pub use cached::Cached;
pub use chain::Chain;
pub use connection::{Connection, ConnectionId};
pub use endpoint::Endpoint;
pub use error::StartError;
pub use event::{Event, ServerEvent, ServerEventKind};
pub use head::RequestHead;
#[cfg(feature = "jwks")]
pub use jwt::{Jwks, JwksError};
#[cfg(feature = "jwt")]
pub use jwt::{JwtAlgorithm, JwtKey, JwtKeyError, JwtUsers};
pub use limits::Limits;
pub use memory_users::MemoryUsers;
pub use params::{ServerParams, TokenPlacements, UnauthorizedDelivery};
pub use revocation::{Revocation, Revocations};
pub use server::{ConnectedUser, Inbound, Server, WebsocketServer, WebsocketServerAuth};
pub use shared::StopReport;
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use sql_users::{IssueToken, SqlUsers, SqlUsersError, TokenInfo};
pub use tickets::Tickets;
#[cfg(feature = "rustls")]
pub use tls::{ClientCertificates, ServerTls};
pub use trusted_proxies::{ForwardedHeader, InvalidNetwork, TrustedProxies};
pub use upgrade::Upgrade;
pub use user_service::{Authenticated, Credentials, HandshakeRequest, UserId, UserService, UserServiceError};
#[cfg(feature = "rustls")]
pub use websockets_simple_core::tls::{AlternativeName, PeerCertificate, TlsError, TlsIdentity, TlsVersions};
pub use websockets_simple_core::{
    Attempt, CloseCode, Compatibility, ConnectionEvent, ConnectionEventKind, DecodeError, DefaultPacket,
    Delivery, Direction, Disconnect, EncodeError, EndedBy, ErrorEvent, ErrorStage, EventError, EventId,
    Events, Handler, Heartbeat, HeartbeatMode, IntoMessage, InvalidCloseCode, Message, MessageEvent,
    OverflowPolicy, Packet, PartKind, Parts, ReadJson, SendError, SendStatus, Sending, Statistics,
    SubscribeOptions, Subscription, SubscriptionGuard, Text, Token, dotnet,
};
