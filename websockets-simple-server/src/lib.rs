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
//! IN    accept -> handshake -> admission -> registry -> Connected -> driver -> handler(event)
//!                 (deadline)   (UserService)                        (in the connection's own task)
//!
//! OUT   connection.send(m)         ->                            encode once, write now;
//!       server.to_user(id).send(m) -> connections of the user -> queue only what the    -> bytes
//!       server.broadcast(m)        -> all connections            socket did not take
//!
//! END   driver ends once, for one reason -> unregister -> Disconnected(reason)
//! ```
//!
//! What differs between [`WebsocketServer`] and [`WebsocketServerAuth`] is one type parameter of [`Server`];
//! you need not write it out.

mod addressing;
mod config;
mod connection;
mod handshake;
mod http;
mod net;
mod run;
mod server;
mod signals;
mod users;

/// For the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::net::proxy_protocol::{self, Next};

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

pub use addressing::{Audience, Placement};
pub use async_trait::async_trait;
pub use config::{
    BroadcastError, BroadcastLevel, ClientId, Endpoint, IdSigning, InvalidClientId, InvalidSignature, Limits,
    ParamsError, Scope, ServerParams, SignalDefault, SignalReach, TokenPlacements, UnauthorizedDelivery,
};
pub use connection::{Connection, Event, Inbound, ServerEvent, ServerEventKind, StopReport};
#[cfg(feature = "axum")]
pub use http::Caller;
pub use http::Upgrade;
#[cfg(unix)]
pub use net::UnixSocket;
#[cfg(feature = "rustls")]
pub use net::{ClientCertificates, ServerTls};
pub use net::{
    ForwardedHeader, HandshakeRequest, InvalidNetwork, ProxyProtocol, RequestHead, TrustedProxies,
};

pub use run::StartError;
pub use server::{ConnectedUser, Server, WebsocketServer, WebsocketServerAuth};
pub use signals::{
    ChannelEvent, ChannelEventKind, DuplicateEvent, EventMetadata, RouteError, Signal, SignalData,
    SignalError,
};
#[cfg(feature = "cache")]
pub use users::Cached;
#[cfg(any(feature = "introspection", feature = "jwks"))]
pub use users::IssuerUrlError;
#[cfg(feature = "jwks")]
pub use users::Jwks;
pub use users::{
    Anonymous, Authenticated, Chain, Credentials, Identity, MemoryUsers, Revocation, Revocations, Ticketed,
    Tickets, User, UserId, UserService, UserServiceError,
};
#[cfg(feature = "introspection")]
pub use users::{ClientAuthentication, IntrospectedUsers};
#[cfg(any(feature = "sqlx-postgres", feature = "sqlx-sqlite"))]
pub use users::{IssueToken, SqlUsers, SqlUsersError, TokenInfo};
#[cfg(feature = "jwt")]
pub use users::{JwtAlgorithm, JwtKey, JwtKeyError, JwtUsers};
#[cfg(feature = "rustls")]
pub use websockets_simple_core::tls::{AlternativeName, PeerCertificate, TlsError, TlsIdentity, TlsVersions};
pub use websockets_simple_core::{
    Attempt, BroadcastReport, CloseCode, Compatibility, ConnectionEvent, ConnectionEventKind, DecodeError,
    DefaultPacket, Direction, Disconnect, EncodeError, EndedBy, ErrorEvent, ErrorStage, EventError, EventId,
    Events, Handler, Heartbeat, HeartbeatMode, IntoMessage, InvalidCloseCode, Message, MessageEvent,
    MessageWriter, OverflowPolicy, Packet, PartKind, ReadJson, SendError, SendStatus, Sending, Statistics,
    SubscribeOptions, Subscription, SubscriptionGuard, Text, Token, dotnet,
};
