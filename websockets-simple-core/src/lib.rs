//! What both ends of websockets-simple share.
//!
//! Users depend on `websockets-simple-client` or `websockets-simple-server`, which re-export the
//! types of the first group. The second group is the machinery of one open connection, for those
//! who build another end of their own.
//!
//! ```text
//! IN    bytes -> Link -> protocol engine -> Message -> Recipient
//! OUT   Message -> Frame (encoded once) -> Outbox -> bytes
//! END   one reason -> Disconnect
//! ```
//!
//! This crate opens no socket and spawns no task.

mod clock;
mod close;
mod closing;
mod compatibility;
mod control;
mod delivery;
mod engine;
mod event;
mod flusher;
mod frame;
mod group_name;
mod handling;
mod heartbeat;
mod line;
mod link;
mod memory;
mod message;
mod notices;
mod outbox;
mod packet;
mod parts;
mod permits;
mod rate;
mod repair;
mod sending;
mod subscription;
mod token;
mod transport;
mod turn;
mod waiting;

pub mod dotnet;
#[cfg(feature = "rustls")]
pub mod tls;

// For users of either end.
pub use clock::Moment;
pub use close::{CloseCode, Disconnect, EndedBy, InvalidCloseCode};
pub use compatibility::Compatibility;
pub use control::{Control, Controls, MalformedControl, SUBPROTOCOL};
pub use event::{
    Attempt, ConnectionEvent, ConnectionEventKind, Direction, ErrorEvent, ErrorStage, EventError, EventId,
    MessageEvent,
};
pub use group_name::{GroupName, InvalidGroupName};
pub use handling::Handling;
pub use heartbeat::{Heartbeat, HeartbeatMode};
pub use line::{Delivery, Statistics};
pub use message::{EncodeError, IntoMessage, Message, ReadJson, Text};
pub use packet::{DecodeError, DefaultPacket, Packet};
pub use parts::{PartKind, Parts};
pub use sending::{OverflowPolicy, SendError, SendStatus, Sending};
pub use subscription::{Events, Handler, SubscribeOptions, Subscription, SubscriptionGuard};
pub use token::Token;

// For those who build an end.
pub use delivery::{Recipient, current_owner, new_owner};
pub use engine::ProtocolError;
pub use flusher::Flusher;
pub use frame::{Frame, Side};
pub use line::{Line, encode};
pub use link::{Link, LinkConfig};
pub use outbox::OutboxConfig;
pub use subscription::{Entry, Flow, Narrator, Observable, Subscriptions};
pub use transport::{ReadNow, Transport, WriteNow};
pub use turn::spent;

/// For the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::{Controls, Message, Side, engine::differential};

    /// Reads what may be a control message.
    pub fn control(controls: &Controls, message: &Message) {
        let _ = controls.read(message);
    }

    /// Holds the two ways of reading against each other. The first bytes say how the rest is cut.
    pub fn engine(data: &[u8]) {
        let Some((&[kind, close, first, second, third], input)) = data.split_first_chunk() else { return };
        let side = if kind & 1 == 0 { Side::Server } else { Side::Client };
        let cuts = [first, second, third].map(|cut| usize::from(cut) << (kind >> 6));
        let close_before = (close < 32).then_some(usize::from(close));
        differential::compare(side, 1 << (kind >> 2 & 15), input, &cuts, close_before);
    }
}
