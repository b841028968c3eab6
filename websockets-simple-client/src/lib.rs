//! A WebSocket client with packets, events, tokens, TLS and back-pressure, for `websockets-simple-server`, any RFC 6455
//! server, and deployed servers of the .NET library WebsocketsSimple.
//!
//! ```no_run
//! use websockets_simple_client::{ClientParams, WebsocketClient};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = WebsocketClient::new(ClientParams::new("localhost", 8080))?;
//! client.on_message(|_connection, message| async move { println!("{message}") });
//! client.connect().await?;
//! client.send_text("hello").await?; // the text as it is
//! client.disconnect().await;
//! # Ok(()) }
//! ```
//!
//! **`send("hi")` sends a packet**, the JSON `{"Data":"hi","Timestamp":".."}` of the .NET library: raw text goes by
//! [`send_text`](WebsocketClient::send_text), any serializable value as [`Json`]`(&value)`.
//!
//! # The first ten types
//!
//! | type | what it is |
//! |---|---|
//! | [`WebsocketClient`] | connect, handlers, send, groups, disconnect; and connect again. [`connect`] opens one by its URL |
//! | [`ClientParams`] | where to connect to, and every option |
//! | [`ClientConnection`] | one connection: send, close, what was negotiated |
//! | [`Message`] | what is received: text or binary |
//! | [`Json`] | any serializable value, in every `send` |
//! | [`ClientEvent`] | everything that happens, where [`on_message`](WebsocketClient::on_message) and the like are not enough |
//! | [`ConnectError`] | why a client could not connect |
//! | [`SendError`] | why a message was not sent |
//! | [`Disconnect`] | how a connection ended |
//! | [`CloseCode`] | the code of a Close, and whether to connect again after it |
//!
//! # Chapters
//!
//! | to | read |
//! |---|---|
//! | send strings, JSON, packets, bytes, long messages; slow readers | [`messages`] |
//! | handle messages, connections, errors; handlers with state; streams | [`events`] |
//! | set timeouts, tokens and their renewal, heartbeat, compatibility; go through proxies | [`params`] |
//! | tell errors apart | [`errors`] |
//! | TLS | [`tls`] |
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
//! | `deflate` | | compressed messages: `ClientParams::compression` |
//! | `proxy` | | proxies of HTTP and SOCKS5: `ClientParams::proxy` |
//! | `metrics` | | `ClientFigures::record`, for the recorder of the crate `metrics` |
//! | `pkcs12` | | certificates of the client from `.pfx` and `.p12` files |
//! | `test-util` | | a network in memory, faults, raw peers and expectations, for tests |
//!
//! # How it works
//!
//! ```text
//! params -> check -> dial (byte stream, TLS, handshake) -> driver -> handler(event)
//!                                                           ^
//! client.send(m) -> encode, write now or queue --------------
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(docsrs, doc(auto_cfg(hide(feature = "rustls"))))]

mod client;
mod config;
mod connection;
mod dial;
mod error;
mod event;

#[cfg(feature = "test-util")]
pub mod test_util;

/// For the fuzz targets alone.
#[cfg(all(fuzzing, feature = "proxy"))]
pub mod fuzzing {
    use tokio::io::{AsyncRead, AsyncWrite};

    use crate::{config::ProxyKind, dial::proxy, error::ProxyError};

    /// Reads what a proxy answers.
    ///
    /// # Errors
    ///
    /// If that is no consent.
    pub async fn proxy_answer<S: AsyncRead + AsyncWrite + Unpin>(
        stream: S,
        is_http: bool,
        with_credentials: bool,
    ) -> Result<(), ProxyError> {
        let kind = if is_http { ProxyKind::Http } else { ProxyKind::Socks5 };
        proxy::answered(stream, kind, with_credentials).await
    }
}

#[doc(no_inline)]
pub use async_trait::async_trait;
pub use client::{WeakClient, WebsocketClient, connect};
pub use config::{ClientParams, Loss, LossCause, Reconnect, Verdict};
pub use connection::{ClientConnection, ClientFigures, ClientState, States};
pub use error::ConnectError;
pub use event::ClientEvent;
#[doc(no_inline)]
pub use url::Url;
#[doc(no_inline)]
pub use websockets_simple_core::chrono;
#[doc(inline)]
pub use websockets_simple_core::{CloseCode, Disconnect, Json, Message, SendError, dotnet};

// Everything else, for those who do not care in which module it is.
#[doc(hidden)]
pub use crate::{errors::*, events::*, messages::*, params::*, tls::*};

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
pub mod messages {
    pub use crate::client::{Contents, Messages};
    #[doc(no_inline)]
    pub use crate::{Json, Message};
    #[doc(inline)]
    pub use websockets_simple_core::{
        DecodeError, DefaultPacket, EncodeError, IntoMessage, MessagePart, MessageParts, MessageWriter,
        OverflowPolicy, Packet, PartKind, SendSink, SendStatus, Sending, Statistics, Text, Uncompressed,
    };
}

/// What happens: events, handlers of them, streams of them, and how connections end.
///
/// | to get | call |
/// |---|---|
/// | parts of messages that are too large to be kept whole | [`on_message_part`](crate::WebsocketClient::on_message_part), with [`ClientParams::message_parts`](crate::ClientParams::message_parts) |
/// | messages, connections that open or end, errors | [`on_message`](crate::WebsocketClient::on_message), [`on_connect`](crate::WebsocketClient::on_connect), [`on_disconnect`](crate::WebsocketClient::on_disconnect), [`on_error`](crate::WebsocketClient::on_error) |
/// | the same for handlers that share a value | [`with_state`](crate::WebsocketClient::with_state) |
/// | every event, in a closure | [`on`](crate::WebsocketClient::on) |
/// | every event, in a type that implements [`Handler`] | [`subscribe`](crate::WebsocketClient::subscribe) |
/// | every event, as a bounded stream | [`events`](crate::WebsocketClient::events) |
/// | messages alone, or what they contain, as a bounded stream | [`messages`](crate::WebsocketClient::messages), [`packets`](crate::WebsocketClient::packets), [`values`](crate::WebsocketClient::values) |
pub mod events {
    #[doc(no_inline)]
    pub use crate::{ClientEvent, ClientFigures, ClientState, CloseCode, Disconnect, States};
    #[doc(inline)]
    pub use websockets_simple_core::{
        Attempt, ConnectionEvent, ConnectionEventKind, Direction, EndedBy, ErrorEvent, ErrorStage,
        EventError, EventId, Events, Handler, InvalidCloseCode, MessageEvent, MessagePartEvent,
        SubscribeOptions, Subscription, SubscriptionGuard, WithState,
    };
}

/// Where a client connects to and on which way, and its options: timeouts, tokens, heartbeat, compatibility with .NET
/// peers.
pub mod params {
    #[cfg(feature = "proxy")]
    pub use crate::config::Proxy;
    pub use crate::config::{
        AttemptInfo, Connector, Io, IssuedToken, NoAttempt, NotAuthorized, Offline, Remembered, Resolver,
        Target, TokenPlacement, TokenProvider, TokenReason,
    };
    #[doc(no_inline)]
    pub use crate::{ClientParams, Loss, LossCause, Reconnect, Verdict};
    #[cfg(feature = "deflate")]
    #[doc(inline)]
    pub use websockets_simple_core::Compression;
    #[doc(inline)]
    pub use websockets_simple_core::{Compatibility, Heartbeat, HeartbeatMode, Token};
}

/// What can go wrong with a client: its parameters, a connect, a send, a request for a group.
pub mod errors {
    pub use crate::error::{GroupError, OpenError, ParamsError, ProxyError, TlsFailure};
    #[doc(no_inline)]
    pub use crate::{ConnectError, SendError};
}

/// What was negotiated, and certificates of the client.
///
/// The trusted roots, pins and versions are set on [`ClientParams`].
pub mod tls {
    pub use crate::dial::TlsInfo;
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
    #[doc(inline)]
    pub use websockets_simple_core::tls::{TlsError, TlsIdentity, TlsVersions};
}
