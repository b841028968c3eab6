//! What happens to messages in channels without a route.

use std::collections::BTreeMap;

/// What happens to messages in a channel without a [route](crate::Server::route). Message events are raised in any
/// case.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignalDefault {
    /// Nothing happens.
    #[default]
    Ignore,
    /// Each message is sent back to its sender unchanged.
    Echo,
    /// Each message must be a signal, and is sent to the connections that it addresses, see
    /// [`Signal::rebroadcast`](crate::Signal::rebroadcast).
    Rebroadcast,
}

/// Which connections a client may address with a signal.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignalReach {
    /// Connections in its own channel. A signal that names another channel is an error.
    #[default]
    OwnChannel,
    /// Connections in the channel that the signal names, or in all channels if it names none.
    AnyChannel,
}

/// What a server does with messages without a route, per channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct SignalDefaults {
    pub(crate) of_all: SignalDefault,
    pub(crate) of: BTreeMap<Box<str>, SignalDefault>,
    pub(crate) reach: SignalReach,
}

impl SignalDefaults {
    /// Whether any channel has another default than [`SignalDefault::Ignore`].
    pub(crate) fn are_any(&self) -> bool {
        self.of.values().chain([&self.of_all]).any(|what| *what != SignalDefault::Ignore)
    }

    pub(crate) fn of(&self, channel: &str) -> SignalDefault {
        self.of.get(channel).copied().unwrap_or(self.of_all)
    }
}
