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
mod broadcast_level;
#[cfg(feature = "cache")]
mod cached;
mod chain;
mod channel_events;
#[cfg(any(feature = "introspection", feature = "jwt"))]
mod claims;
mod client_id;
mod connection;
mod credentials;
mod current_user;
mod deadline;
mod endpoint;
mod error;
mod event;
mod expiry;
mod fallback;
#[cfg(any(feature = "introspection", feature = "jwks"))]
mod fetch;
mod forwarded;
mod group_rule;
mod handshake;
mod head;
#[cfg(feature = "introspection")]
mod introspection;
#[cfg(feature = "jwt")]
mod jwt;
mod limits;
mod listener;
mod loan;
mod locals;
mod memory_users;
mod params;
mod peer;
mod placement;
mod proxy_protocol;
mod refusal;
mod registry;
mod revocation;
#[cfg(feature = "axum")]
mod router;
mod scope;
mod server;
mod session;
mod shared;
mod signals;
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
mod sql_users;
mod ticketed;
mod tickets;
#[cfg(feature = "rustls")]
mod tls;
mod trusted_proxies;
#[cfg(unix)]
mod unix_socket;
mod upgrade;
mod user_service;

/// For the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::proxy_protocol::{self, Next};

    /// Reads what may be a header of the PROXY protocol, giving as many bytes as are asked for and there are.
    pub fn proxy_protocol(bytes: &[u8]) {
        let mut held = 0;
        while let Some(Next::More(more)) = proxy_protocol::next(&bytes[..held]) {
            assert!(
                more > 0 && held + more <= proxy_protocol::LONGEST,
                "it asks for what cannot belong to a header"
            );
            held += more;
            if held > bytes.len() {
                return;
            }
        }
    }
}

pub use admission::{Anonymous, Identity, User};
pub use async_trait::async_trait;
pub use audience::Audience;
pub use broadcast_level::{BroadcastError, BroadcastLevel};
#[cfg(feature = "cache")]
pub use cached::Cached;
pub use chain::Chain;
pub use channel_events::{ChannelEvent, ChannelEventKind, DuplicateEvent, EventMetadata};
pub use client_id::{ClientId, IdSigning, InvalidClientId, InvalidSignature};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::StartError;
pub use event::{Event, ServerEvent, ServerEventKind};
#[cfg(any(feature = "introspection", feature = "jwks"))]
pub use fetch::IssuerUrlError;
pub use head::RequestHead;
#[cfg(feature = "introspection")]
pub use introspection::{ClientAuthentication, IntrospectedUsers};
#[cfg(feature = "jwks")]
pub use jwt::Jwks;
#[cfg(feature = "jwt")]
pub use jwt::{JwtAlgorithm, JwtKey, JwtKeyError, JwtUsers};
pub use limits::Limits;
pub use memory_users::MemoryUsers;
pub use params::{ServerParams, TokenPlacements, UnauthorizedDelivery};
pub use placement::Placement;
pub use proxy_protocol::ProxyProtocol;
pub use revocation::{Revocation, Revocations};
#[cfg(feature = "axum")]
pub use router::Caller;
pub use scope::Scope;
pub use server::{ConnectedUser, Inbound, Server, WebsocketServer, WebsocketServerAuth};
pub use shared::StopReport;
pub use signals::{RouteError, Signal, SignalData, SignalDefault, SignalError, SignalReach};
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use sql_users::{IssueToken, SqlUsers, SqlUsersError, TokenInfo};
pub use ticketed::Ticketed;
pub use tickets::Tickets;
#[cfg(feature = "rustls")]
pub use tls::{ClientCertificates, ServerTls};
pub use trusted_proxies::{ForwardedHeader, InvalidNetwork, TrustedProxies};
#[cfg(unix)]
pub use unix_socket::UnixSocket;
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
