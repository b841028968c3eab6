//! Control messages: what the libraries of both ends send each other beside the messages of their users.
//!
//! A control message is a text message of a connection whose ends agreed on the subprotocol [`SUBPROTOCOL`]. The server
//! begins with a `hello` that carries a word of 128 random bits; every later text that begins with that word is for the
//! library and never becomes an event. Other clients of the server do not know the word, so no user can forge a control
//! message for another user by having a text passed on.

use std::{borrow::Cow, fmt, sync::OnceLock, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    protocol::{
        capabilities::{Capabilities, Capability},
        group_name::GroupName,
        message::Message,
    },
    token::Token,
};

#[cfg(test)]
mod tests;

/// The subprotocol by which a peer says that it understands control messages.
pub const SUBPROTOCOL: &str = "websockets-simple";

/// How every control message begins, up to its word.
const BEGIN: &str = "{\"websockets-simple\":\"";

/// Characters of the word: 16 bytes in base64url.
const WORD: usize = 22;

/// Bytes of the longest control message that is read: a token, and the JSON around it.
const LONGEST: usize = 16 * 1024;

/// What this library calls itself to the other end.
const AGENT: &str =
    concat!("websockets-simple/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// Longest time over which a server can spread its clients, in seconds: none of them stays away for longer.
const LONGEST_SPREAD: u16 = 3600;

/// A control message: what the libraries of both ends send each other beside the messages of their users.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Control {
    /// From the server: the answer to the probe of this number.
    Alive(u64),
    /// From the server: it closes the connection, as it stops or restarts.
    Closing {
        /// Over how long its clients should come back, each at a random time within it.
        spread: Duration,
    },
    /// From the server: the credentials expire, and the connection is closed unless a new token is sent.
    Expiring {
        /// When they expire.
        at: DateTime<Utc>,
        /// How long after that the connection stays open.
        grace: Duration,
    },
    /// From the server: the request to join or leave the group was refused.
    GroupRefused {
        /// The group of the request.
        group: GroupName,
        /// Why it was refused.
        reason: String,
    },
    /// From the server, before all others: from here on both ends may send control messages.
    Hello,
    /// From the client: a request to join this group of its channel.
    Join(GroupName),
    /// From the server: the client is in this group.
    Joined(GroupName),
    /// From the client: a request to leave this group.
    Leave(GroupName),
    /// From the server: the client is not in this group.
    Left(GroupName),
    /// From the client: it wants a sign of life.
    Probe(u64),
    /// From the server: the token was not accepted. The text says why; the old credentials expire as before.
    Refused(String),
    /// From the server: the token was accepted.
    Renewed {
        /// When the new credentials expire, if ever.
        at: Option<DateTime<Utc>>,
    },
    /// From the client, the answer to a `hello` that names capabilities: what it understands of them.
    Speaks(Capabilities),
    /// From the client: a new token of the same user.
    Token(Token),
}

/// Encodes and reads the control messages of one connection.
pub struct Controls {
    /// How each of them begins, the comma behind the word included.
    prefix: String,
    /// What the other end has named.
    named: OnceLock<Capabilities>,
    /// Over how many seconds the server, which closes, wants its clients back.
    spread: OnceLock<u16>,
}

/// A text that begins like a control message and cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed control message")]
pub struct MalformedControl;

/// A control message without its word, as it is on the wire.
#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Wire {
    Alive {
        n: u64,
    },
    Closing {
        spread_seconds: u64,
    },
    Expiring {
        expires_at: DateTime<Utc>,
        grace_seconds: u64,
    },
    #[serde(rename = "group_refused")]
    GroupRefused {
        group: GroupName,
        reason: String,
    },
    Hello {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        speaks: Option<Vec<Cow<'static, str>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Cow<'static, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ping_seconds: Option<u64>,
    },
    Join {
        group: GroupName,
    },
    Joined {
        group: GroupName,
    },
    Leave {
        group: GroupName,
    },
    Left {
        group: GroupName,
    },
    Probe {
        n: u64,
    },
    Refused {
        reason: String,
    },
    Renewed {
        expires_at: Option<DateTime<Utc>>,
    },
    Speaks {
        what: Vec<Cow<'static, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Cow<'static, str>>,
    },
    Token {
        token: String,
    },
    /// Of a later version: ignored.
    #[serde(other, skip_serializing)]
    Unknown,
}

impl Controls {
    /// For a new connection, with a new random word.
    #[must_use]
    pub fn new() -> Self {
        let word = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        Self::of_prefix(format!("{BEGIN}{word}\","))
    }

    fn of_prefix(prefix: String) -> Self {
        Self { prefix, named: OnceLock::new(), spread: OnceLock::new() }
    }

    /// The first message of the connection. `ping` is the time between two pings of the server, where it pings.
    #[must_use]
    pub fn hello(&self, ping: Option<Duration>) -> Message {
        self.encode(&Wire::Hello {
            speaks: Some(names(Capabilities::ALL)),
            agent: Some(AGENT.into()),
            ping_seconds: ping.map(|ping| ping.as_secs() + u64::from(ping.subsec_nanos() > 0)),
        })
    }

    /// For the connection that begins with this message, if the message is a `hello`.
    #[must_use]
    pub fn of_hello(message: &Message) -> Option<Self> {
        let text = message.as_text()?;
        let end = BEGIN.len() + WORD;
        let word = text.get(BEGIN.len()..end)?;
        BASE64_URL_SAFE_NO_PAD.decode(word).ok()?;
        let prefix =
            text.get(..end + 2).filter(|prefix| prefix.starts_with(BEGIN) && prefix.ends_with("\","))?;
        let controls = Self::of_prefix(prefix.to_owned());
        let Ok(Wire::Hello { speaks, .. }) = controls.decode(text)? else { return None };
        if let Some(speaks) = speaks {
            controls.name(capabilities(&speaks));
        }
        Some(controls)
    }

    /// What the other end has named; `None` if it has named nothing.
    #[must_use]
    pub fn named(&self) -> Option<Capabilities> {
        self.named.get().copied()
    }

    /// The other end names its capabilities. Only the first time counts.
    pub(crate) fn name(&self, named: Capabilities) {
        let _ = self.named.set(named);
    }

    /// Whether the other end understands this control message.
    pub(crate) fn may_say(&self, control: &Control) -> bool {
        let needed = match control {
            Control::Closing { .. } => Capability::Closing,
            Control::Probe(_) => Capability::Probe,
            _ => return true,
        };
        self.named().is_some_and(|named| named.has(needed))
    }

    /// The server says that it closes. Only the first time counts.
    pub(crate) fn closes(&self, spread: Duration) {
        let seconds = u16::try_from(spread.as_secs()).unwrap_or(LONGEST_SPREAD);
        let _ = self.spread.set(seconds.min(LONGEST_SPREAD));
    }

    /// Over how long a server that closes wants its clients back, if it has said so: at most an hour.
    pub(crate) fn closing_spread(&self) -> Option<Duration> {
        self.spread.get().map(|seconds| Duration::from_secs((*seconds).into()))
    }

    /// Encodes a control message.
    #[must_use]
    pub fn message(&self, control: &Control) -> Message {
        self.encode(&match control {
            Control::Alive(n) => Wire::Alive { n: *n },
            Control::Closing { spread } => Wire::Closing { spread_seconds: spread.as_secs() },
            Control::Expiring { at, grace } => {
                Wire::Expiring { expires_at: *at, grace_seconds: grace.as_secs() }
            }
            Control::GroupRefused { group, reason } => {
                Wire::GroupRefused { group: group.clone(), reason: reason.clone() }
            }
            Control::Hello => Wire::Hello { speaks: None, agent: None, ping_seconds: None },
            Control::Join(group) => Wire::Join { group: group.clone() },
            Control::Joined(group) => Wire::Joined { group: group.clone() },
            Control::Leave(group) => Wire::Leave { group: group.clone() },
            Control::Left(group) => Wire::Left { group: group.clone() },
            Control::Probe(n) => Wire::Probe { n: *n },
            Control::Refused(reason) => Wire::Refused { reason: reason.clone() },
            Control::Renewed { at } => Wire::Renewed { expires_at: *at },
            Control::Speaks(named) => Wire::Speaks { what: names(*named), agent: Some(AGENT.into()) },
            Control::Token(token) => Wire::Token { token: token.expose().to_owned() },
        })
    }

    /// Reads a received message. `None` if it is no control message, `Ok(None)` if this version ignores it.
    pub(crate) fn read(&self, message: &Message) -> Option<Result<Option<Control>, MalformedControl>> {
        let wire = match self.decode(message.as_text()?)? {
            Ok(wire) => wire,
            Err(malformed) => return Some(Err(malformed)),
        };
        Some(Ok(match wire {
            Wire::Alive { n } => Some(Control::Alive(n)),
            Wire::Closing { spread_seconds } => {
                Some(Control::Closing { spread: Duration::from_secs(spread_seconds) })
            }
            Wire::Expiring { expires_at, grace_seconds } => {
                Some(Control::Expiring { at: expires_at, grace: Duration::from_secs(grace_seconds) })
            }
            Wire::GroupRefused { group, reason } => Some(Control::GroupRefused { group, reason }),
            Wire::Join { group } => Some(Control::Join(group)),
            Wire::Joined { group } => Some(Control::Joined(group)),
            Wire::Leave { group } => Some(Control::Leave(group)),
            Wire::Left { group } => Some(Control::Left(group)),
            Wire::Probe { n } => Some(Control::Probe(n)),
            Wire::Refused { reason } => Some(Control::Refused(reason)),
            Wire::Renewed { expires_at } => Some(Control::Renewed { at: expires_at }),
            Wire::Speaks { what, .. } => Some(Control::Speaks(capabilities(&what))),
            Wire::Token { token } => Some(Control::Token(Token::new(token))),
            // A second hello has no meaning.
            Wire::Hello { .. } | Wire::Unknown => None,
        }))
    }

    fn encode(&self, wire: &Wire) -> Message {
        // Strings and times always have a JSON form. The prefix already has its opening brace.
        let json = serde_json::to_string(wire).unwrap_or_default();
        Message::text(format!("{}{}", self.prefix, json.trim_start_matches('{')))
    }

    fn decode(&self, text: &str) -> Option<Result<Wire, MalformedControl>> {
        let rest = text.strip_prefix(&self.prefix)?;
        if text.len() > LONGEST {
            return Some(Err(MalformedControl));
        }
        Some(serde_json::from_str(&format!("{{{rest}")).map_err(|_| MalformedControl))
    }
}

fn names(capabilities: Capabilities) -> Vec<Cow<'static, str>> {
    capabilities.names().map(Cow::Borrowed).collect()
}

fn capabilities(names: &[Cow<'static, str>]) -> Capabilities {
    Capabilities::of_names(names.iter().map(|name| &**name))
}

impl Default for Controls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Controls {
    /// Leaves out the word, with which control messages could be forged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").finish_non_exhaustive()
    }
}
