//! What a send must name at least.

use std::{collections::BTreeMap, fmt};

use websockets_simple_core::EncodeError;

/// What a send to several connections must name at least, against a message to everybody by mistake.
///
/// Set for all channels with [`ServerParams::broadcast_level`](crate::ServerParams::broadcast_level) and for one with
/// [`broadcast_level_of`](crate::ServerParams::broadcast_level_of). A send that reaches into several channels must
/// satisfy each, and one to everybody all that are set. A send to a user, or to one connection, names enough for any.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum BroadcastLevel {
    /// A channel, or all of them.
    #[default]
    Name,
    /// A group or the id of a client.
    Group,
    /// The id of a client.
    ClientId,
}

impl fmt::Display for BroadcastLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a channel",
            Self::Group => "a group or the id of a client",
            Self::ClientId => "the id of a client",
        })
    }
}

/// Why a message was sent to nobody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The value has no form on the wire.
    #[error("the message cannot be encoded")]
    Encode(#[from] EncodeError),
    /// It was to reach a channel where more has to be named.
    #[error("a send to the channel `{channel}` has to name {needed}")]
    Level {
        /// The channel.
        channel: String,
        /// What has to be named there.
        needed: BroadcastLevel,
    },
    /// It was to reach all channels, and more has to be named where no channel has a level of its own.
    #[error("a send has to name {needed}")]
    LevelOfAll {
        /// What has to be named.
        needed: BroadcastLevel,
    },
}

/// The levels of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    pub(crate) of_all: BroadcastLevel,
    pub(crate) of: BTreeMap<Box<str>, BroadcastLevel>,
}

impl Levels {
    /// Whether a send may reach these channels, all if there are none, that names so much.
    pub(crate) fn check(&self, channels: &[Box<str>], named: BroadcastLevel) -> Result<(), BroadcastError> {
        // Names enough for any.
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
            "a send to the channel `/a` has to name a group or the id of a client"
        );
        assert_eq!(refusal(&levels, &["/a"], Group), "sent");
        assert_eq!(
            refusal(&levels, &["/a", "/b"], Group),
            "a send to the channel `/b` has to name the id of a client"
        );
        assert_eq!(refusal(&levels, &["/c"], Name), "sent");
        let other = "a send to the channel `/x` has to name a group or the id of a client";
        assert_eq!(refusal(&levels, &["/c", "/x"], Name), other);
        assert_eq!(refusal(&levels, &["/b", "/x"], ClientId), "sent");
    }

    #[test]
    fn a_send_to_all_has_to_satisfy_every_level_there_is() {
        assert_eq!(refusal(&Levels::default(), &[], Name), "sent");
        let levels = Levels { of_all: Group, of: BTreeMap::new() };
        assert_eq!(refusal(&levels, &[], Name), "a send has to name a group or the id of a client");
        assert_eq!(refusal(&levels, &[], ClientId), "sent");
        let levels = Levels { of_all: Name, of: BTreeMap::from([("/b".into(), ClientId)]) };
        assert_eq!(refusal(&levels, &[], Group), "a send to the channel `/b` has to name the id of a client");
    }
}
