//! A WebSocket client with packets, events, tokens, TLS and back-pressure, for `websockets-simple-server`, any RFC 6455
//! server, and deployed servers of the .NET library WebsocketsSimple.
//!
//! ```no_run
//! use websockets_simple_client::{ClientEvent, ClientParams, WebsocketClient};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
//! client.on(|event| async move {
//!     if let ClientEvent::Message(event) = event {
//!         println!("{:?}", event.message);
//!     }
//! });
//! client.connect().await?;
//! client.send("hello").await?;
//! client.disconnect().await;
//! # Ok(()) }
//! ```
//!
//! ```text
//! params -> check -> dial (resolve, TCP, TLS, handshake) -> driver -> handler(event)
//!                                                            ^
//! client.send(m) -> encode, write now or queue ---------------
//! ```
//!
//! # Where to read on
//!
//! | topic | begin at |
//! |---|---|
//! | connect, disconnect, errors | [`WebsocketClient`], [`ClientParams`], [`ConnectError`] |
//! | events, handlers, streams | [`ClientEvent`], [`WebsocketClient::on`], [`Handler`], [`WebsocketClient::events`] |
//! | packets and messages | [`Packet`], [`DefaultPacket`], [`Message`], [`Json`] |
//! | tokens and their renewal | [`ClientParams::token`], [`TokenProvider`], [`TokenPlacement`] |
//! | sending and slow readers | [`WebsocketClient::send`], [`OverflowPolicy`], [`SendStatus`] |
//! | groups | [`WebsocketClient::join`], [`GroupError`] |
//! | how connections end | [`Disconnect`], [`EndedBy`], [`CloseCode`] |
//! | .NET peers | [`Compatibility`], [`dotnet`] |
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
//! | `pkcs12` | | certificates of the client from `.pfx` and `.p12` files |

mod client;
mod config;
mod connection;
mod dial;
mod error;
mod event;

pub use async_trait::async_trait;
pub use client::WebsocketClient;
pub use config::{ClientParams, TokenPlacement, TokenProvider};
pub use connection::ClientConnection;
pub use dial::TlsInfo;
pub use error::{ConnectError, GroupError, ParamsError, TlsFailure};
pub use event::ClientEvent;
#[cfg(feature = "rustls")]
pub use websockets_simple_core::tls::{TlsError, TlsIdentity, TlsVersions};
pub use websockets_simple_core::{
    Attempt, CloseCode, Compatibility, ConnectionEvent, ConnectionEventKind, DecodeError, DefaultPacket,
    Direction, Disconnect, EncodeError, EndedBy, ErrorEvent, ErrorStage, EventError, EventId, Events,
    Handler, Heartbeat, HeartbeatMode, IntoMessage, InvalidCloseCode, Json, Message, MessageEvent,
    MessageWriter, OverflowPolicy, Packet, PartKind, SendError, SendStatus, Sending, Statistics,
    SubscribeOptions, Subscription, SubscriptionGuard, Text, Token, WithState, chrono, dotnet,
};
