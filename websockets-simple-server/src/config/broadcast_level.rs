//! How specific a broadcast must be.

use std::{collections::BTreeMap, fmt};

use websockets_simple_core::EncodeError;

/// How specific the target of a broadcast must be, as a guard against an accidental message to all connections.
///
/// Set for all channels with [`ServerParams::broadcast_level`](crate::ServerParams::broadcast_level) and for one with
/// [`broadcast_level_of`](crate::ServerParams::broadcast_level_of). A broadcast to several channels must satisfy the
/// level of each, and one to all channels every level that is set. A message to a user or to one connection satisfies
/// every level.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum BroadcastLevel {
    /// A channel, or all channels.
    #[default]
    Name,
    /// A group or a client id.
    Group,
    /// A client id.
    ClientId,
}

impl fmt::Display for BroadcastLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a channel",
            Self::Group => "a group or a client id",
            Self::ClientId => "a client id",
        })
    }
}

/// Why a broadcast failed. No message was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The value cannot be encoded.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// The [level](BroadcastLevel) of a channel requires a more specific target.
    #[error("a send to the channel `{channel}` must name {needed}")]
    Level {
        /// The channel.
        channel: String,
        /// What the target must name.
        needed: BroadcastLevel,
    },
    /// The target is all channels, and the level of channels without their own requires a more specific target.
    #[error("a send must name {needed}")]
    LevelOfAll {
        /// What the target must name.
        needed: BroadcastLevel,
    },
}

/// The broadcast levels of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    pub(crate) of_all: BroadcastLevel,
    pub(crate) of: BTreeMap<Box<str>, BroadcastLevel>,
}

impl Levels {
    /// Whether a broadcast to these channels (all if empty) may be sent, if its target names `named`.
    pub(crate) fn check(&self, channels: &[Box<str>], named: BroadcastLevel) -> Result<(), BroadcastError> {
        if named == BroadcastLevel::ClientId {
            return Ok(());
        }
        let satisfy = |channel: &str, needed| {
            let refused = || BroadcastError::Level { channel: channel.to_owned(), needed };
            if needed > named { Err(refused()) } else { Ok(()) }
        };
        if channels.is_empty() {
            self.of.iter().try_for_each(|(channel, needed)| satisfy(channel, *needed))?;
            let needed = self.of_all;
            return if needed > named { Err(BroadcastError::LevelOfAll { needed }) } else { Ok(()) };
        }
        let needed = |channel: &str| self.of.get(channel).copied().unwrap_or(self.of_all);
        channels.iter().try_for_each(|channel| satisfy(channel, needed(channel)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BroadcastLevel::{ClientId, Group, Name};

    fn refusal(levels: &Levels, channels: &[&str], named: BroadcastLevel) -> String {
        let channels: Vec<Box<str>> = channels.iter().map(|&channel| channel.into()).collect();
        levels.check(&channels, named).map_or_else(|error| error.to_string(), |()| "sent".to_owned())
    }

    #[test]
    fn a_send_has_to_satisfy_the_level_of_each_channel() {
        let of = BTreeMap::from([("/a".into(), Group), ("/b".into(), ClientId), ("/c".into(), Name)]);
        let levels = Levels { of_all: Group, of };
        assert_eq!(
            refusal(&levels, &["/a"], Name),
            "a send to the channel `/a` must name a group or a client id"
        );
        assert_eq!(refusal(&levels, &["/a"], Group), "sent");
        assert_eq!(
            refusal(&levels, &["/a", "/b"], Group),
            "a send to the channel `/b` must name a client id"
        );
        assert_eq!(refusal(&levels, &["/c"], Name), "sent");
        let other = "a send to the channel `/x` must name a group or a client id";
        assert_eq!(refusal(&levels, &["/c", "/x"], Name), other);
        assert_eq!(refusal(&levels, &["/b", "/x"], ClientId), "sent");
    }

    #[test]
    fn a_send_to_all_has_to_satisfy_every_level_there_is() {
        assert_eq!(refusal(&Levels::default(), &[], Name), "sent");
        let levels = Levels { of_all: Group, of: BTreeMap::new() };
        assert_eq!(refusal(&levels, &[], Name), "a send must name a group or a client id");
        assert_eq!(refusal(&levels, &[], ClientId), "sent");
        let levels = Levels { of_all: Name, of: BTreeMap::from([("/b".into(), ClientId)]) };
        assert_eq!(refusal(&levels, &[], Group), "a send to the channel `/b` must name a client id");
    }
}
