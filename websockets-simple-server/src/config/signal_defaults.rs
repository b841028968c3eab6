//! What happens to signals of channels without a route.

use std::collections::BTreeMap;

/// What happens to messages of a channel without a [route](crate::Server::route). They are events as well, whichever it is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignalDefault {
    /// Nothing.
    #[default]
    Ignore,
    /// They are sent back as they came.
    Echo,
    /// They have to be signals, and are sent on to whom they name, see
    /// [`Signal::rebroadcast`](crate::Signal::rebroadcast).
    Rebroadcast,
}

/// Whom a client may address with a signal.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignalReach {
    /// Connections of its own channel. A signal that names another is an error.
    #[default]
    OwnChannel,
    /// Connections of the channel that it names; all, if it names none.
    AnyChannel,
}

/// The defaults of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct SignalDefaults {
    pub(crate) of_all: SignalDefault,
    pub(crate) of: BTreeMap<Box<str>, SignalDefault>,
    pub(crate) reach: SignalReach,
}

impl SignalDefaults {
    /// Whether anything happens anywhere.
    pub(crate) fn are_any(&self) -> bool {
        self.of.values().chain([&self.of_all]).any(|what| *what != SignalDefault::Ignore)
    }

    pub(crate) fn of(&self, channel: &str) -> SignalDefault {
        self.of.get(channel).copied().unwrap_or(self.of_all)
    }
}
