//! The packet of the chat.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use websockets_simple_server::{DecodeError, DefaultPacket, Message};

/// Characters of an error that are sent back.
const MAX_REASON: usize = 200;

/// The packet of the chat; the field `type` says which kind it is.
///
/// Clients send `say`, `private`, `tell`, `enter`, `exit`, `list` and `who`; the server sends all but `enter`, `exit`,
/// `list` and `who`. `from` is filled in by the server, whatever a client wrote there. Clients without the subprotocol
/// [`SUBPROTOCOL`](super::SUBPROTOCOL) receive the line of the classic chat, which [`Display`](fmt::Display) gives.
///
/// # Examples
///
/// ```
/// use websockets_simple_examples::chat::ChatPacket;
///
/// let said = ChatPacket::Say { from: Some("Ronald".into()), text: "hello".into() };
/// assert_eq!(serde_json::to_string(&said)?, r#"{"type":"say","from":"Ronald","text":"hello"}"#);
/// assert_eq!(said.to_string(), "Ronald says: hello");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ChatPacket {
    /// Enters a room, which is created if it does not exist.
    Enter {
        /// The name of the room.
        room: String,
    },
    /// A person entered a room with their first device. Sent to the people in the room.
    Entered {
        /// The name of the room.
        room: String,
        /// The name of the person.
        name: String,
    },
    /// The request of the receiver failed.
    Error {
        /// The reason.
        reason: String,
    },
    /// Leaves a room.
    Exit {
        /// The name of the room.
        room: String,
    },
    /// A person left a room with their last device. Sent to the people in the room.
    Exited {
        /// The name of the room.
        room: String,
        /// The name of the person.
        name: String,
    },
    /// A person came with their first device.
    Joined {
        /// The name of the person.
        name: String,
    },
    /// A person went with their last device.
    Left {
        /// The name of the person.
        name: String,
    },
    /// Asks for the list of rooms. The answer is sent again whenever it changes.
    List,
    /// The answer to `who`.
    Online {
        /// The names of all people, in alphabetical order.
        names: Vec<String>,
    },
    /// A text for one person, sent to all devices of the receiver and of the sender.
    Private {
        /// The sender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The receiver.
        to: String,
        /// The text.
        text: String,
    },
    /// The answer to `list`.
    Rooms {
        /// All rooms that are not empty, in alphabetical order.
        rooms: Vec<SideRoom>,
    },
    /// A text for all people, the sender included.
    Say {
        /// The sender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The text.
        text: String,
    },
    /// A text for the people in a room, the sender included.
    Tell {
        /// The sender.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The name of the room.
        room: String,
        /// The text.
        text: String,
    },
    /// The first packet for every device: the name by which the others know the person.
    Welcome {
        /// The name.
        name: String,
    },
    /// Asks for the names of all people.
    Who,
}

/// A room besides the common one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SideRoom {
    /// The name of the room.
    pub name: String,
    /// The names of the people in it, in alphabetical order.
    pub people: Vec<String>,
}

/// Why a message of a client is not a valid message of the chat.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misheard {
    /// The message is binary; the chat uses text.
    #[error("binary messages are not understood")]
    Binary,
    /// The message looks like a packet of the chat but is not a valid one.
    #[error("this is not a chat packet")]
    NotAPacket(#[source] DecodeError),
}

impl ChatPacket {
    /// Decodes a message of a client: a tagged packet, or any other text, which counts as `say`.
    ///
    /// A text counts as a tagged packet if it is a JSON object with a `type`, or begins like one. The default packet of
    /// the library is unwrapped to its text.
    ///
    /// # Errors
    ///
    /// [`Misheard`] when the message is binary, or counts as a tagged packet and is not a valid one.
    pub fn heard(message: &Message) -> Result<Self, Misheard> {
        let text = message.as_text().ok_or(Misheard::Binary)?;
        if claims_to_be_tagged(text) {
            return message.json().map_err(Misheard::NotAPacket);
        }
        let packet = message.packet::<DefaultPacket>().map_err(|_| Misheard::Binary)?;
        Ok(Self::Say { from: None, text: packet.data })
    }
}

fn claims_to_be_tagged(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Tagged {
        #[serde(rename = "type")]
        _kind: IgnoredAny,
    }
    match serde_json::from_str::<Tagged>(text) {
        Ok(_) => text.trim_start().starts_with('{'),
        // A duplicate `type`, or truncated JSON.
        Err(_) => text
            .trim_start()
            .strip_prefix('{')
            .is_some_and(|inside| inside.trim_start().starts_with("\"type\"")),
    }
}

impl Misheard {
    /// The reason that is sent back to the sender.
    #[must_use]
    pub fn reason(&self) -> String {
        let innermost = self.source().and_then(Error::source);
        let reason = innermost.map_or_else(|| self.to_string(), |source| format!("{self}: {source}"));
        // A source may quote what was sent, which can be long.
        one_line(&reason).chars().take(MAX_REASON).collect()
    }
}

/// The text with every line break and control character replaced by a blank, so that a text of one person can neither
/// look like a line of another nor control a terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.trim_end().chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

impl fmt::Display for ChatPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let somebody = |from: &Option<String>| from.clone().unwrap_or_else(|| "Somebody".to_owned());
        match self {
            Self::Enter { room } => write!(f, "Let me into {room}."),
            Self::Entered { room, name } => write!(f, "{name} entered {room}."),
            Self::Error { reason } => write!(f, "Error: {reason}"),
            Self::Exit { room } => write!(f, "Let me out of {room}."),
            Self::Exited { room, name } => write!(f, "{name} left {room}."),
            Self::Joined { name } => write!(f, "{name} joined."),
            Self::Left { name } => write!(f, "{name} left."),
            Self::List => f.write_str("Which rooms are there?"),
            Self::Online { names } => write!(f, "Online: {}.", names.join(", ")),
            Self::Private { from, to, text } => write!(f, "{} says to {to}: {text}", somebody(from)),
            Self::Rooms { rooms } if rooms.is_empty() => f.write_str("There are no rooms."),
            Self::Rooms { rooms } => {
                let rooms = rooms.iter().map(|room| format!("{} ({})", room.name, room.people.join(", ")));
                write!(f, "Rooms: {}.", rooms.collect::<Vec<_>>().join(", "))
            }
            Self::Say { from, text } => write!(f, "{} says: {text}", somebody(from)),
            Self::Tell { from, room, text } => write!(f, "{} says in {room}: {text}", somebody(from)),
            Self::Welcome { name } => write!(f, "Welcome {name}."),
            Self::Who => f.write_str("Who is there?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Result<ChatPacket, Misheard> {
        ChatPacket::heard(&Message::text(text))
    }

    fn said(text: &str) -> ChatPacket {
        ChatPacket::Say { from: None, text: text.to_owned() }
    }

    #[test]
    fn every_packet_is_one_json_object_with_a_type() {
        let name = || "Ronald".to_owned();
        let packets = [
            (ChatPacket::Error { reason: "no".into() }, r#"{"type":"error","reason":"no"}"#),
            (ChatPacket::Joined { name: name() }, r#"{"type":"joined","name":"Ronald"}"#),
            (ChatPacket::Left { name: name() }, r#"{"type":"left","name":"Ronald"}"#),
            (ChatPacket::Online { names: vec![name()] }, r#"{"type":"online","names":["Ronald"]}"#),
            (
                ChatPacket::Private { from: Some(name()), to: "John".into(), text: "é".into() },
                r#"{"type":"private","from":"Ronald","to":"John","text":"é"}"#,
            ),
            (said("hi"), r#"{"type":"say","text":"hi"}"#),
            (ChatPacket::Enter { room: "rust".into() }, r#"{"type":"enter","room":"rust"}"#),
            (ChatPacket::List, r#"{"type":"list"}"#),
            (
                ChatPacket::Rooms { rooms: vec![SideRoom { name: "rust".into(), people: vec![name()] }] },
                r#"{"type":"rooms","rooms":[{"name":"rust","people":["Ronald"]}]}"#,
            ),
            (
                ChatPacket::Tell { from: None, room: "rust".into(), text: "hi".into() },
                r#"{"type":"tell","room":"rust","text":"hi"}"#,
            ),
            (ChatPacket::Welcome { name: name() }, r#"{"type":"welcome","name":"Ronald"}"#),
            (ChatPacket::Who, r#"{"type":"who"}"#),
        ];
        for (packet, json) in packets {
            assert_eq!(serde_json::to_string(&packet).unwrap(), json);
            assert_eq!(heard(json).unwrap(), packet);
        }
    }

    #[test]
    fn text_that_is_no_tagged_packet_is_said_as_it_is() {
        for text in ["hello", "{hello}", "[1,2]", "5", r#"{"kind":"say"}"#, r#"["type"]"#, " spaced "] {
            assert_eq!(heard(text).unwrap(), said(text), "{text}");
        }
    }

    #[test]
    fn the_default_packet_is_unwrapped() {
        let text = r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#;
        assert_eq!(heard(text).unwrap(), said("hello"));
    }

    #[test]
    fn what_claims_to_be_a_packet_and_is_none_is_an_error() {
        let malformed = [
            r#"{"type":"shout","text":"hi"}"#,
            r#"{"type":"say"}"#,
            r#"{"type":"say","text":5}"#,
            r#"{"type":"say","text":"hi""#,
            r#"{"type":"private","text":"to nobody"}"#,
            r#"{"type":7}"#,
            r#" { "type" : "who" "#,
            r#"{"text":"hi","type":null}"#,
        ];
        for text in malformed {
            assert!(matches!(heard(text), Err(Misheard::NotAPacket(_))), "{text}");
        }
        assert!(matches!(ChatPacket::heard(&Message::binary(&b"hi"[..])), Err(Misheard::Binary)));
    }

    #[test]
    fn the_reason_of_an_error_is_short_and_on_one_line() {
        let long = format!(r#"{{"type":"{}\n"}}"#, "x".repeat(10_000));
        let reason = heard(&long).unwrap_err().reason();
        assert!(reason.starts_with("this is not a chat packet: unknown variant"), "{reason}");
        assert_eq!(reason.chars().count(), MAX_REASON);
    }

    #[test]
    fn what_is_said_cannot_look_like_another_line() {
        assert_eq!(one_line("hi\r\nJohn left.\u{2028}\u{1b}[2J\n"), "hi  John left.  [2J");
    }
}
