//! What both ends of websockets-simple share: messages, packets, events, and the machinery of one open WebSocket.
//!
//! Users depend on `websockets-simple-client` or `websockets-simple-server`, which re-export what they need. Who builds
//! another end of their own begins at [`ConnectionDriver`]. This crate opens no socket and spawns no task.
//!
//! ```text
//! IN    bytes -> ConnectionDriver -> decoder -> Message -> ConnectionObserver
//! OUT   Message -> Frame (encoded once) -> Outbox -> bytes
//! END   one EndCause -> Disconnect
//! ```
//!
//! # Where to read on
//!
//! | topic | begin at |
//! |---|---|
//! | packets and messages | [`Packet`], [`Message`], [`Json`], [`IntoMessage`] |
//! | values as the .NET library writes them | [`dotnet`], [`Compatibility`] |
//! | events and subscriptions | [`ConnectionEvent`], [`MessageEvent`], [`ErrorEvent`], [`Handler`], [`Subscriptions`] |
//! | how connections end | [`EndCause`], [`Disconnect`], [`CloseCode`] |
//! | one open WebSocket | [`ConnectionDriver`], [`ConnectionShared`], [`ConnectionObserver`], [`Transport`] |
//! | sending | [`Outbox`], [`OverflowPolicy`], [`Frame`], [`Flusher`] |
//! | when a client connects again | [`Reconnector`] |
//! | control messages of the two libraries | [`Control`], [`SUBPROTOCOL`] |
//! | figures for monitoring | [`figures`] |
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `deflate` | | compressed messages (permessage-deflate, RFC 7692) |
//! | `tls` | | TLS identities and certificates through rustls with aws-lc-rs |
//! | `tls-ring` | | the same with ring; counts only where `tls` is off |
//! | `test-util` | | a network in memory, faults, raw peers and expectations, for tests |
//! | `metrics` | | figures for the recorder of the crate `metrics` |
//! | `pkcs12` | | `.pfx` and `.p12` files, where `tls` or `tls-ring` is on |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod compatibility;
mod connection;
mod events;
mod message;
mod outbox;
mod protocol;
mod reconnect;
mod token;
mod transport;

pub mod dotnet;
pub mod figures;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(feature = "rustls")]
pub mod tls;

// For users of either end.
pub use chrono;
pub use compatibility::{Compatibility, Pacing};
pub use connection::{Heartbeat, HeartbeatMode, Statistics};
pub use events::{
    Attempt, ConnectionEvent, ConnectionEventKind, Direction, Disconnect, EndedBy, ErrorEvent, ErrorStage,
    EventError, EventId, Events, Handler, HandlerFuture, MessageEvent, MessagePartEvent, Messages, Moment,
    SubscribeOptions, Subscription, SubscriptionGuard, WithState,
};
pub use message::{DecodeError, DefaultPacket, EncodeError, IntoMessage, Json, Packet, Uncompressed};
pub use outbox::{
    BroadcastReport, MessageWriter, OverflowPolicy, PartKind, Remote, SendError, SendSink, SendStatus,
    Sending,
};
pub use protocol::{
    Capabilities, Capability, CloseCode, Control, Controls, GroupName, InvalidCloseCode, InvalidGroupName,
    MalformedControl, Message, MessagePart, MessageParts, SUBPROTOCOL, Text,
};
#[cfg(feature = "deflate")]
pub use protocol::{CompressedBytes, Compression, CompressionFigures};
pub use token::Token;

// For those who build an end.
pub use connection::{
    ConnectionConfig, ConnectionDriver, ConnectionObserver, ConnectionShared, ControlOutcome, LifeQuestion,
    Question, current_owner, inside, new_owner,
};
pub use events::{
    CatchPanic, Demand, Dispatcher, EndCause, EventPart, EventType, Flow, GroupChange, HeldHandler,
    MessageSink, Panicked, Subscriptions, catch_panic, deadline, wall_clock,
};
pub use outbox::{Encoding, Flusher, Outbox, OutboxConfig, OwnedSending, SendHandle, charge_sends};
pub use protocol::{Agreement, Farewell, Frame, ProtocolError, Side, TextPolicy, handshake_words};
#[cfg(feature = "deflate")]
pub use protocol::{ExtensionError, MalformedExtensions, OFFER, compression_figures};
pub use reconnect::{Happened, Next, ReconnectPolicy, ReconnectState, Reconnector};
pub use transport::Transport;

/// For the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    #[cfg(feature = "deflate")]
    use crate::protocol::deflate::oracles;
    use crate::{
        Controls, Message, Side, TextPolicy,
        protocol::decoder::{differential, model, replay::Replay},
    };

    /// Reads what may be a control message.
    pub fn control(controls: &Controls, message: &Message) {
        let _ = controls.read(message);
    }

    /// Compares the decoder with tungstenite's. The first bytes say how the rest is cut.
    pub fn decoder(data: &[u8]) {
        let Some((&[kind, first, second, third], input)) = data.split_first_chunk() else { return };
        let side = if kind & 1 == 0 { Side::Server } else { Side::Client };
        let cuts = [first, second, third].map(|cut| usize::from(cut) << (kind >> 6));
        differential::compare(side, 128 << (kind >> 2 & 15), input, &cuts);
    }

    /// Decompresses any bytes, and reads them by decoders that agreed on compression. The first bytes say how.
    #[cfg(feature = "deflate")]
    pub fn inflate(data: &[u8]) {
        oracles::inflate(data);
    }

    /// Answers any offer of extensions, and takes any answer.
    #[cfg(feature = "deflate")]
    pub fn offer(data: &[u8]) {
        oracles::offer(data);
    }

    /// Compresses any bytes and decompresses them. The first bytes say how.
    #[cfg(feature = "deflate")]
    pub fn roundtrip(data: &[u8]) {
        oracles::roundtrip(data);
    }

    /// Compares the decoder with the slow model, as [`decoder`].
    pub fn model(data: &[u8]) {
        let Some((&[kind, first, second, third], input)) = data.split_first_chunk() else { return };
        let side = if kind & 1 == 0 { Side::Server } else { Side::Client };
        let text = if kind & 2 == 0 { TextPolicy::Strict } else { TextPolicy::Lossy };
        let cuts = [first, second, third].map(|cut| usize::from(cut) << (kind >> 6));
        let message_size = 128 << (kind >> 2 & 15);
        let part_size = (third & 1 == 1).then(|| 4 + usize::from(third));
        let replay = Replay { side, message_size, text, part_size, cuts: &cuts, compression: None };
        model::check(&replay, input);
    }
}
