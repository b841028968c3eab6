//! A WebSocket server with users, channels, groups, authentication, limits and back-pressure, for
//! `websockets-simple-client`, browsers, any RFC 6455 client, and deployed clients of the .NET library WebsocketsSimple.
//!
//! ```no_run
//! use websockets_simple_server::{Event, ServerParams, WebsocketServer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebsocketServer::new(ServerParams::new(8080));
//! server.on(|event| async move {
//!     if let Event::Message(event) = event {
//!         let others = event.connection.server().to_all().except(&event.connection);
//!         let _ = others.send(event.message);
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
//! END   the driver ends once, for one reason -> unregister -> Disconnected(reason)
//! ```
//!
//! # Where to read on
//!
//! | topic | begin at |
//! |---|---|
//! | start, stop, listen | [`Server`], [`ServerParams`], [`Endpoint`] |
//! | events, handlers, streams | [`Event`], [`Server::on`], [`Handler`], [`Server::events`] |
//! | users and their tokens | [`WebsocketServerAuth`], [`UserService`], [`MemoryUsers`], [`Chain`], [`Ticketed`] |
//! | expiry, renewal, revocation | [`ServerParams::expiry`], [`UserService::revocations`], [`Server::revoke`] |
//! | whom a message goes to | [`Audience`], [`Placement`], [`Connection::join`], [`ClientId`] |
//! | signals: what clients address | [`Server::route`], [`Signal`], [`SignalDefault`] |
//! | sending and slow readers | [`Connection::send`], [`OverflowPolicy`], [`BroadcastReport`] |
//! | limits and heartbeat | [`Limits`], [`Heartbeat`], [`TrustedProxies`] |
//! | an HTTP server of the application | [`Server::upgrade`], [`ServerParams::fallback`] |
//! | .NET peers | [`Compatibility`], [`DefaultPacket`], [`dotnet`] |
//!
//! The same by task, with programs: the
//! [guide](https://github.com/websockets-simple/websockets-simple/blob/main/docs/guide.md) and the other pages of `docs`.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `tls` | yes | `wss://` through rustls with aws-lc-rs |
//! | `tls-ring` | | the same with ring; counts only where `tls` is off |
//! | `pkcs12` | | certificates from `.pfx` and `.p12` files |
//! | `axum` | | connections out of the routes of an axum application; its router behind the server's own port |
//! | `jwt`, `jwks` | | `JwtUsers`: JSON Web Tokens with given keys, or with those that an issuer publishes |
//! | `introspection` | | `IntrospectedUsers`: OAuth 2.0 token introspection; includes `cache` |
//! | `cache` | | `Cached`: answers of a user service, kept for a while |
//! | `sqlx` | | `SqlUsers`; `sqlx-sqlite` or `sqlx-postgres` alone for one of the databases |
//!
//! [`WebsocketServer`] and [`WebsocketServerAuth`] are [`Server`] with and without users: a type parameter is all that
//! differs, and you need not write it out.

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
pub use net::{ClientCertificates, ServerTls, TlsHandshakeError};
pub use net::{
    ForwardedHeader, HandshakeRequest, InvalidNetwork, ProxyProtocol, RequestHead, TrustedProxies,
};

pub use run::StartError;
pub use server::{ConnectedUser, Server, WebsocketServer, WebsocketServerAuth};
pub use signals::{
    ChannelEvent, ChannelEventKind, DuplicateEvent, EventMetadata, RawJson, RouteError, Signal, SignalData,
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
