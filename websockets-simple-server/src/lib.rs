//! A WebSocket server with users, channels, groups, authentication, limits and back-pressure, for
//! `websockets-simple-client`, browsers, any RFC 6455 client, and deployed clients of the .NET library WebsocketsSimple.
//!
//! ```no_run
//! use websockets_simple_server::{ServerParams, WebsocketServer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebsocketServer::new(ServerParams::new(8080));
//! server.on_connect(|connection| async move {
//!     let _ = connection.send_text("welcome").await; // the text as it is
//! });
//! server.on_message(|connection, message| async move {
//!     let _ = connection.to_channel().except(&connection).send(message); // to the others
//! });
//! server.start().await?;
//! # Ok(()) }
//! ```
//!
//! **`send("hi")` sends a packet**, the JSON `{"Data":"hi","Timestamp":".."}` of the .NET library: raw text goes by
//! [`send_text`](Connection::send_text), any serializable value as [`Json`]`(&value)`.
//!
//! # The first ten types
//!
//! | type | what it is |
//! |---|---|
//! | [`WebsocketServer`] | a server that admits all clients: start, handlers, broadcasts, stop |
//! | [`WebsocketServerAuth`] | the same with users, who are admitted by their tokens |
//! | [`ServerParams`] | where a server listens, and every option |
//! | [`Limits`] | what a client may take: sizes, rates, connections, times |
//! | [`Connection`] | one open WebSocket: send, join groups, close |
//! | [`Message`] | what is received: text or binary |
//! | [`Json`] | any serializable value, in every `send` |
//! | [`Audience`] | whom a message goes to: a channel, a group, a user, with exceptions |
//! | [`MemoryUsers`] | users and their tokens |
//! | [`Event`] | everything that happens, where [`on_message`](Server::on_message) and the like are not enough |
//!
//! # Chapters
//!
//! | to | read |
//! |---|---|
//! | send strings, JSON, packets, bytes, long messages; slow readers | [`messages`] |
//! | handle messages, connections, errors; handlers with state; streams | [`events`] |
//! | send to channels, groups, users and single connections | [`addressing`] |
//! | listen, and set limits, heartbeat, proxies, compatibility | [`params`] |
//! | authenticate, revoke, let credentials expire | [`users`] |
//! | serve WebSockets from axum or hyper, a connection as a loop | [`upgrade`] |
//! | let clients address each other | [`signals`] |
#![cfg_attr(feature = "cluster", doc = "| run one server on several nodes | [`cluster`] |")]
#![cfg_attr(feature = "rustls", doc = "| TLS | [`tls`] |")]
//! | .NET peers | [`dotnet`], [`Compatibility`] |
//!
//! The modules are there to find things: each name can also be imported from the root of the crate. The same by task, with
//! programs: the [guide](https://github.com/websockets-simple/websockets-simple/blob/main/docs/guide.md) and the other
//! pages of `docs`.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `tls` | yes | `wss://` through rustls with aws-lc-rs |
//! | `tls-ring` | | the same with ring; counts only where `tls` is off |
//! | `pkcs12` | | certificates from `.pfx` and `.p12` files |
//! | `deflate` | | compressed messages: `ServerParams::compression` |
//! | `axum` | | connections out of the routes of an axum application; its router behind the server's own port |
//! | `http2` | | WebSockets over HTTP/2 (RFC 8441): through the application's HTTP server, and on endpoints that ask for it |
//! | `jwt`, `jwks` | | `JwtUsers`: JSON Web Tokens with given keys, or with those that an issuer publishes |
//! | `introspection` | | `IntrospectedUsers`: OAuth 2.0 token introspection; includes `cache` |
//! | `cache` | | `Cached`: answers of a user service, kept for a while |
//! | `cluster` | | one server on several nodes, over a bus: of the process, or your own |
//! | `metrics` | | `Server::record_figures`, for the recorder of the crate `metrics` |
//! | `nats`, `redis` | | `cluster`, with `NatsBus`, with `RedisBus` |
//! | `sqlx` | | `SqlUsers`; `sqlx-sqlite` or `sqlx-postgres` alone for one of the databases |
//! | `redis` | | `RedisBus`: a bus between the nodes of a cluster over Redis or Valkey; `rediss://` with `tls` or `tls-ring` |
//! | `test-util` | | a network in memory, scripted users, faults, raw peers, expectations, and rules for buses, for tests |
//!
//! # How it works
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
//! [`WebsocketServer`] and [`WebsocketServerAuth`] are [`Server`] without and with users: a type parameter is all that
//! differs, and you need not write it out.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(docsrs, doc(auto_cfg(hide(feature = "rustls"))))]

mod config;
mod connection;
mod handshake;
mod http;
mod net;
mod run;
mod server;

pub mod addressing;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod figures;
pub mod signals;
pub mod snapshot;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod users;

/// For the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::net::proxy_protocol::{self, Next};

    /// Lets a node of a cluster hear what may be messages of others.
    #[cfg(feature = "cluster")]
    pub fn envelope(bytes: &[u8]) {
        crate::cluster::fuzzing::node_hears(bytes);
    }

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

#[doc(inline)]
pub use addressing::Audience;
#[doc(no_inline)]
pub use async_trait::async_trait;
pub use config::{Limits, ServerParams};
pub use connection::{Connection, Event};
pub use server::{ConnectedUser, Server, WebsocketServer, WebsocketServerAuth};
#[doc(inline)]
pub use users::MemoryUsers;
#[doc(no_inline)]
pub use websockets_simple_core::chrono;
#[doc(inline)]
pub use websockets_simple_core::{Json, Message, dotnet};

// Everything else, for those who do not care in which module it is.
#[doc(hidden)]
pub use crate::{
    addressing::*, events::*, figures::*, messages::*, params::*, signals::*, snapshot::*, upgrade::*,
    users::*,
};
#[cfg(feature = "cluster")]
#[doc(hidden)]
pub use cluster::*;
#[cfg(feature = "cluster")]
pub use server::{ChannelPresence, Cluster, ClusterStatus, Member, Presence, Seen};
#[cfg(feature = "rustls")]
#[doc(hidden)]
pub use tls::*;

/// What is sent and received: strings, JSON, packets, bytes, long messages in parts; what happens to slow readers.
///
/// | call | on the wire |
/// |---|---|
/// | `send("hi")` | a packet of the .NET library: `{"Data":"hi","Timestamp":".."}` |
/// | `send_text("hi")` | `hi` |
/// | `send(Json(&value))` | the JSON of any serializable value; read with [`message.json::<T>()`](crate::Message::json) |
/// | `send(&packet)` | the JSON of a [`Packet`]; read with [`message.packet::<P>()`](crate::Message::packet) |
/// | `send(message)`, `send(bytes)` | a [`Message`] unchanged; bytes as a binary message |
/// | `send(value)` | what the type's own [`IntoMessage`] makes of it |
///
/// Each of them is a method of [`Connection`] and of [`Audience`];
/// [`Server::broadcast`](crate::Server::broadcast) is the one for all.
pub mod messages {
    pub use crate::config::BroadcastError;
    #[doc(no_inline)]
    pub use crate::{Json, Message};
    #[doc(inline)]
    pub use websockets_simple_core::{
        BroadcastReport, DecodeError, DefaultPacket, EncodeError, IntoMessage, MessagePart, MessageParts,
        MessageWriter, OverflowPolicy, Packet, PartKind, Remote, SendError, SendSink, SendStatus, Sending,
        Statistics, Text, Uncompressed,
    };
}

/// What happens: events, handlers of them, streams of them, and how connections end.
///
/// | to get | call |
/// |---|---|
/// | parts of messages that are too large to be kept whole | [`on_message_part`](crate::Server::on_message_part), with [`ServerParams::message_parts`](crate::ServerParams::message_parts) |
/// | messages, connections that open or end, errors | [`on_message`](crate::Server::on_message), [`on_connect`](crate::Server::on_connect), [`on_disconnect`](crate::Server::on_disconnect), [`on_error`](crate::Server::on_error) |
/// | the same for handlers that share a value | [`with_state`](crate::Server::with_state) |
/// | every event, in a closure | [`on`](crate::Server::on) |
/// | every event, in a type that implements [`Handler`] | [`subscribe`](crate::Server::subscribe) |
/// | every event, as a bounded stream | [`events`](crate::Server::events) |
/// | messages before they become events | [`with_inbound`](crate::Server::with_inbound) |
/// | connections of one channel, by a name that can be unregistered | [`register`](crate::Server::register) |
pub mod events {
    #[doc(no_inline)]
    pub use crate::Event;
    pub use crate::connection::{
        GroupEvent, GroupEventKind, Inbound, ServerEvent, ServerEventKind, StopReport,
    };
    #[doc(inline)]
    pub use websockets_simple_core::{
        Attempt, CloseCode, ConnectionEvent, ConnectionEventKind, Direction, Disconnect, EndedBy, ErrorEvent,
        ErrorStage, EventError, EventId, Events, Handler, InvalidCloseCode, MessageEvent, MessagePartEvent,
        SubscribeOptions, Subscription, SubscriptionGuard, WithState,
    };
}

/// Where a server listens, and its options: limits, heartbeat, proxies, compatibility with .NET peers.
pub mod params {
    pub use crate::config::{
        Endpoint, Guard, Operations, ParamsError, TokenPlacements, UnauthorizedDelivery,
    };
    #[cfg(unix)]
    pub use crate::net::UnixSocket;
    pub use crate::net::{ForwardedHeader, InvalidNetwork, ProxyProtocol, TrustedProxies};
    pub use crate::run::{Drain, StartError};
    #[doc(no_inline)]
    pub use crate::{Limits, ServerParams};
    #[cfg(feature = "deflate")]
    #[doc(inline)]
    pub use websockets_simple_core::Compression;
    #[doc(inline)]
    pub use websockets_simple_core::{Compatibility, Heartbeat, HeartbeatMode};
}

/// Connections out of the requests of an HTTP server of the application, such as axum or hyper, or over streams that it
/// brings.
///
/// Begin at [`Server::upgrade`](crate::Server::upgrade) and [`ServerParams::mounted`](crate::ServerParams::mounted). A
/// connection of one future, which receives in a loop: [`Upgrade::local`]. Pages on the server's own port:
/// [`ServerParams::fallback`](crate::ServerParams::fallback). Any other byte stream, such as a pipe in a test:
/// [`Server::serve`](crate::Server::serve).
pub mod upgrade {
    pub use crate::config::Scope;
    pub use crate::connection::{LocalConnection, ServeError};
    #[cfg(feature = "axum")]
    pub use crate::http::Caller;
    pub use crate::http::Upgrade;
    pub use crate::net::{HandshakeRequest, RequestHead};
    pub use crate::server::Serve;
    #[doc(inline)]
    pub use websockets_simple_core::Messages;
}

/// Certificates: of the server, by name and reloaded when files change, and those that are asked of clients.
///
/// Begin at [`ServerTls`], which an [`Endpoint`] takes.
#[cfg(feature = "rustls")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
pub mod tls {
    pub use crate::net::{ClientCertificates, ServerTls, TlsHandshakeError};
    #[doc(inline)]
    pub use websockets_simple_core::tls::{
        AlternativeName, PeerCertificate, TlsError, TlsIdentity, TlsVersions,
    };
}
