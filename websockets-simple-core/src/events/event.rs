//! The events of connections.
//!
//! `C` is the handle of the connection at the end that raised the event, `R` says there why an attempt failed.

use std::{
    any::Any,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};

use crate::{
    events::disconnect::Disconnect,
    protocol::{Message, MessagePart},
};

/// The id of an event: unique in the process, and ascending in the order in which events are raised.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId(u64);

impl EventId {
    /// The next id of this process.
    #[doc(hidden)]
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the peer.
    Received,
    /// To the peer: accepted for sending, which does not mean that the peer has it.
    Sent,
}

/// A message was received or accepted for sending.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageEvent<C> {
    /// Unique, ascending.
    pub id: EventId,
    /// When the message was read from the socket or accepted for sending.
    pub timestamp: DateTime<Utc>,
    /// Which way it went.
    pub direction: Direction,
    /// The message.
    pub message: Message,
    /// Sent events that were dropped since the last one because their consumer fell behind. For a received message 0, but
    /// for the first one of a client that had received more than its read-ahead before anybody subscribed to messages:
    /// these are the messages that were dropped for that.
    pub missed: u64,
    /// The connection of the message.
    pub connection: C,
}

impl<C> MessageEvent<C> {
    /// An event raised at `timestamp`.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        direction: Direction,
        message: Message,
        missed: u64,
        connection: C,
        timestamp: DateTime<Utc>,
    ) -> Self {
        Self { id: EventId::new(), timestamp, direction, message, missed, connection }
    }
}

/// A part of a message was received, on a connection that receives large messages in [parts](crate::MessageParts).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessagePartEvent<C> {
    /// Unique, ascending.
    pub id: EventId,
    /// When the last byte of the part was read from the socket.
    pub timestamp: DateTime<Utc>,
    /// The part.
    pub part: MessagePart,
    /// The connection of the message.
    pub connection: C,
}

impl<C> MessagePartEvent<C> {
    /// An event raised at `timestamp`.
    #[doc(hidden)]
    #[must_use]
    pub fn new(part: MessagePart, connection: C, timestamp: DateTime<Utc>) -> Self {
        Self { id: EventId::new(), timestamp, part, connection }
    }
}

/// A connection began or ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionEvent<C, R = String> {
    /// Unique, ascending.
    pub id: EventId,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// What happened.
    pub kind: ConnectionEventKind<C, R>,
    /// What lives as long as this event.
    _kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl<C, R> ConnectionEvent<C, R> {
    /// An event raised at `timestamp`.
    #[doc(hidden)]
    #[must_use]
    pub fn new(kind: ConnectionEventKind<C, R>, timestamp: DateTime<Utc>) -> Self {
        Self { id: EventId::new(), timestamp, kind, _kept: None }
    }

    /// Keeps a value as long as the event or a clone of it lives.
    #[must_use]
    pub fn keeping(mut self, kept: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        self._kept = kept;
        self
    }
}

/// The stages of a connection: `Connecting`, then `Connected` and one `Disconnected`, or one `Refused`. A request whose
/// head cannot be read is `Refused` without `Connecting`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionEventKind<C, R = String> {
    /// The request head was read (server) or is about to be sent (client).
    Connecting(Attempt),
    /// The connection is open.
    Connected(C),
    /// The attempt failed. The second field says why: a text on a server, the error of the connect on a client. Both are
    /// shown with `Display`.
    Refused(Attempt, R),
    /// The connection ended. Follows every `Connected` exactly once.
    Disconnected(C, Disconnect),
}

/// A connection that is not open yet. Holds nothing that could carry a token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Address of the peer, as far as it is known.
    pub peer_addr: Option<SocketAddr>,
    /// Address of the client, as far as it is known: that of the peer, unless the peer is a proxy.
    pub client_addr: Option<IpAddr>,
    /// The requested path, `/` if the path was the token or could not be read.
    pub path: Arc<str>,
    /// Whether Connecting reached all subscribers.
    is_announced: bool,
}

impl Attempt {
    /// Describes an attempt.
    #[doc(hidden)]
    #[must_use]
    pub fn new(peer_addr: Option<SocketAddr>, path: impl Into<Arc<str>>) -> Self {
        let client_addr = peer_addr.map(|peer| peer.ip().to_canonical());
        Self { peer_addr, client_addr, path: path.into(), is_announced: true }
    }

    /// Marks an attempt whose Connecting was not raised, or not to all subscribers: its Refused is counted instead of
    /// kept by an event stream without room.
    #[must_use]
    pub fn unannounced(mut self) -> Self {
        self.is_announced = false;
        self
    }

    /// Marks an attempt whose Connecting has reached all subscribers.
    #[doc(hidden)]
    pub fn announce(&mut self) {
        self.is_announced = true;
    }

    /// Whether Connecting reached all subscribers.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.is_announced
    }

    /// Sets the address of the client, if the peer is a proxy.
    #[doc(hidden)]
    #[must_use]
    pub fn of_client(mut self, client: Option<IpAddr>) -> Self {
        self.client_addr = client;
        self
    }
}

/// Something failed. Each failure is raised once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorEvent<C> {
    /// Unique, ascending.
    pub id: EventId,
    /// When it failed.
    pub timestamp: DateTime<Utc>,
    /// Where it failed.
    pub stage: ErrorStage,
    /// What failed.
    pub error: EventError,
    /// Address of the peer, as far as it is known.
    pub peer_addr: Option<SocketAddr>,
    /// The connection, once there was one.
    pub connection: Option<C>,
    /// Error events, and Refused events without a Connecting, that were dropped since the last error event: because the
    /// consumer of a [stream](crate::Events) fell behind, or because too many handlers of errors without a connection
    /// were running. On a client also Connecting and other Refused events.
    pub missed: u64,
}

impl<C> ErrorEvent<C> {
    /// An event raised at `timestamp`.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        stage: ErrorStage,
        error: EventError,
        peer_addr: Option<SocketAddr>,
        connection: Option<C>,
        timestamp: DateTime<Utc>,
    ) -> Self {
        Self { id: EventId::new(), timestamp, stage, error, peer_addr, connection, missed: 0 }
    }
}

/// Where a failure happened.
///
/// `Display` says it in a word or two, to be put before a colon and the error: `accept`, `event stream`, `group`,
/// `handler`, `handshake`, `heartbeat`, `limit`, `overflow`, `protocol`, `send`, `signal`, `task`, `TLS`,
/// `token provider`, `transport`, `user service`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorStage {
    /// Taking a connection from the listener.
    Accept,
    /// An event stream is not read while it holds events.
    EventStream,
    /// A group could not be joined again on a new connection.
    Group,
    /// A handler, or another function of the application, panicked.
    HandlerPanic,
    /// The opening handshake.
    Handshake,
    /// The peer gave no sign of life: nothing came since a ping, or its own pings have stopped.
    Heartbeat,
    /// The peer exceeded a limit.
    Limit,
    /// The outbox of the peer was full.
    Overflow,
    /// The peer broke RFC 6455.
    Protocol,
    /// Writing to the socket.
    Send,
    /// A message is not a valid signal, or has no allowed receiver; or an ordinary request bears the id of a connection
    /// with a wrong signature.
    Signal,
    /// A long-lived task of the server, which is started again.
    Task,
    /// The TLS handshake.
    Tls,
    /// A token for the renewal of credentials is missing, or was not accepted.
    TokenProvider,
    /// Reading from the socket.
    Transport,
    /// The user service failed or took too long.
    UserService,
}

impl fmt::Display for ErrorStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::EventStream => "event stream",
            Self::Group => "group",
            Self::HandlerPanic => "handler",
            Self::Handshake => "handshake",
            Self::Heartbeat => "heartbeat",
            Self::Limit => "limit",
            Self::Overflow => "overflow",
            Self::Protocol => "protocol",
            Self::Send => "send",
            Self::Signal => "signal",
            Self::Task => "task",
            Self::Tls => "TLS",
            Self::TokenProvider => "token provider",
            Self::Transport => "transport",
            Self::UserService => "user service",
        })
    }
}

/// The cause of an [`ErrorEvent`], cheap to clone. Its wording may change. What a program acts on is its type, where it
/// has one: that of a failed connect is the `ConnectError` of the client.
#[derive(Clone)]
pub struct EventError(Arc<dyn std::error::Error + Send + Sync>);

impl EventError {
    /// Wraps an error, or a text.
    #[doc(hidden)]
    #[must_use]
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// An error that others have as well.
    #[doc(hidden)]
    #[must_use]
    pub fn shared(error: Arc<dyn std::error::Error + Send + Sync>) -> Self {
        Self(error)
    }
}

impl EventError {
    /// The cause as an `E`, if it is of this type.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for EventError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_stage_is_shown_in_words_of_its_own_which_its_documentation_lists() {
        use ErrorStage as Stage;
        let mut all = vec![Stage::Accept];
        let next = |stage| match stage {
            Stage::Accept => Some(Stage::EventStream),
            Stage::EventStream => Some(Stage::Group),
            Stage::Group => Some(Stage::HandlerPanic),
            Stage::HandlerPanic => Some(Stage::Handshake),
            Stage::Handshake => Some(Stage::Heartbeat),
            Stage::Heartbeat => Some(Stage::Limit),
            Stage::Limit => Some(Stage::Overflow),
            Stage::Overflow => Some(Stage::Protocol),
            Stage::Protocol => Some(Stage::Send),
            Stage::Send => Some(Stage::Signal),
            Stage::Signal => Some(Stage::Task),
            Stage::Task => Some(Stage::Tls),
            Stage::Tls => Some(Stage::TokenProvider),
            Stage::TokenProvider => Some(Stage::Transport),
            Stage::Transport => Some(Stage::UserService),
            Stage::UserService => None,
        };
        while let Some(stage) = next(all[all.len() - 1]) {
            all.push(stage);
        }
        let shown: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), all.len(), "no two are the same: {shown:?}");
        let docs: Vec<_> = include_str!("event.rs")
            .lines()
            .skip_while(|line| !line.starts_with("/// Where a failure happened."))
            .map_while(|line| line.strip_prefix("///"))
            .collect();
        let docs = docs.concat();
        let listed: BTreeSet<String> = docs.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert_eq!(listed, shown);
        assert_eq!(format!("{:>8}", Stage::Send), "    send");
    }
}
