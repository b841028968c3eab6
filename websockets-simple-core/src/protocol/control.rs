//! Control messages: what the libraries of both ends send each other beside the messages of their users.
//!
//! A control message is a text message of a connection whose ends agreed on the subprotocol [`SUBPROTOCOL`]. The server
//! begins with a `hello` that carries a word of 128 random bits; every later text that begins with that word is for the
//! library and never becomes an event. Other clients of the server do not know the word, so no user can forge a control
//! message for another user by having a text passed on.

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    protocol::{group_name::GroupName, message::Message},
    token::Token,
};

/// The subprotocol by which a peer says that it understands control messages.
pub const SUBPROTOCOL: &str = "websockets-simple";

/// How every control message begins, up to its word.
const BEGIN: &str = "{\"websockets-simple\":\"";

/// Characters of the word: 16 bytes in base64url.
const WORD: usize = 22;

/// Bytes of the longest control message that is read: a token, and the JSON around it.
const LONGEST: usize = 16 * 1024;

/// A control message: what the libraries of both ends send each other beside the messages of their users.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Control {
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
    /// From the server: the token was not accepted. The text says why; the old credentials expire as before.
    Refused(String),
    /// From the server: the token was accepted.
    Renewed {
        /// When the new credentials expire, if ever.
        at: Option<DateTime<Utc>>,
    },
    /// From the client: a new token of the same user.
    Token(Token),
}

/// Encodes and reads the control messages of one connection.
pub struct Controls {
    /// How each of them begins, the comma behind the word included.
    prefix: String,
}

/// A text that begins like a control message and cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed control message")]
pub struct MalformedControl;

/// A control message without its word, as it is on the wire.
#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Wire {
    Expiring {
        expires_at: DateTime<Utc>,
        grace_seconds: u64,
    },
    #[serde(rename = "group_refused")]
    GroupRefused {
        group: GroupName,
        reason: String,
    },
    Hello,
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
    Refused {
        reason: String,
    },
    Renewed {
        expires_at: Option<DateTime<Utc>>,
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
        Self { prefix: format!("{BEGIN}{}\",", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())) }
    }

    /// The first message of the connection.
    #[must_use]
    pub fn hello(&self) -> Message {
        self.message(&Control::Hello)
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
        let controls = Self { prefix: prefix.to_owned() };
        matches!(controls.decode(text)?, Ok(Wire::Hello)).then_some(controls)
    }

    /// Encodes a control message.
    #[must_use]
    pub fn message(&self, control: &Control) -> Message {
        self.encode(&match control {
            Control::Expiring { at, grace } => {
                Wire::Expiring { expires_at: *at, grace_seconds: grace.as_secs() }
            }
            Control::GroupRefused { group, reason } => {
                Wire::GroupRefused { group: group.clone(), reason: reason.clone() }
            }
            Control::Hello => Wire::Hello,
            Control::Join(group) => Wire::Join { group: group.clone() },
            Control::Joined(group) => Wire::Joined { group: group.clone() },
            Control::Leave(group) => Wire::Leave { group: group.clone() },
            Control::Left(group) => Wire::Left { group: group.clone() },
            Control::Refused(reason) => Wire::Refused { reason: reason.clone() },
            Control::Renewed { at } => Wire::Renewed { expires_at: *at },
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
            Wire::Expiring { expires_at, grace_seconds } => {
                Some(Control::Expiring { at: expires_at, grace: Duration::from_secs(grace_seconds) })
            }
            Wire::GroupRefused { group, reason } => Some(Control::GroupRefused { group, reason }),
            Wire::Join { group } => Some(Control::Join(group)),
            Wire::Joined { group } => Some(Control::Joined(group)),
            Wire::Leave { group } => Some(Control::Leave(group)),
            Wire::Left { group } => Some(Control::Left(group)),
            Wire::Refused { reason } => Some(Control::Refused(reason)),
            Wire::Renewed { expires_at } => Some(Control::Renewed { at: expires_at }),
            Wire::Token { token } => Some(Control::Token(Token::new(token))),
            // A second hello has no meaning.
            Wire::Hello | Wire::Unknown => None,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(controls: &Controls, message: &Message) -> String {
        format!("{:?}", controls.read(message))
    }

    #[test]
    fn what_one_end_says_the_other_understands() {
        let server = Controls::new();
        let client = Controls::of_hello(&server.hello()).unwrap();
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let grace = Duration::from_secs(30);
        let group = || GroupName::new("\"red\" & grün").unwrap();
        for control in [
            Control::Expiring { at, grace },
            Control::GroupRefused { group: group(), reason: "not\there".to_owned() },
            Control::Join(group()),
            Control::Joined(group()),
            Control::Leave(group()),
            Control::Left(group()),
            Control::Refused("of \"another\" user".to_owned()),
            Control::Renewed { at: None },
            Control::Renewed { at: Some(at) },
        ] {
            let message = server.message(&control);
            assert_eq!(read(&client, &message), format!("Some(Ok(Some({control:?})))"));
        }
        let token = client.message(&Control::Token(Token::new("se\"cret")));
        match server.read(&token) {
            Some(Ok(Some(Control::Token(token)))) => assert_eq!(token.expose(), "se\"cret"),
            other => panic!("{other:?}"),
        }
        assert!(!format!("{:?}", server.read(&token)).contains("cret"));
    }

    #[test]
    fn the_wire_has_the_form_that_is_documented() {
        let controls = Controls { prefix: format!("{BEGIN}AAAAAAAAAAAAAAAAAAAAAA\",") };
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let expiring = controls.message(&Control::Expiring { at, grace: Duration::from_secs(30) });
        let red = || GroupName::new("red").unwrap();
        let refused = Control::GroupRefused { group: red(), reason: "no".to_owned() };
        for (message, json) in [
            (controls.hello(), r#""type":"hello"}"#),
            (expiring, r#""type":"expiring","expires_at":"2027-01-15T08:00:00Z","grace_seconds":30}"#),
            (controls.message(&Control::Token(Token::new("abc"))), r#""type":"token","token":"abc"}"#),
            (controls.message(&Control::Join(red())), r#""type":"join","group":"red"}"#),
            (controls.message(&Control::Joined(red())), r#""type":"joined","group":"red"}"#),
            (controls.message(&Control::Leave(red())), r#""type":"leave","group":"red"}"#),
            (controls.message(&Control::Left(red())), r#""type":"left","group":"red"}"#),
            (controls.message(&refused), r#""type":"group_refused","group":"red","reason":"no"}"#),
        ] {
            let expected = format!(r#"{{"websockets-simple":"AAAAAAAAAAAAAAAAAAAAAA",{json}"#);
            assert_eq!(message.as_text(), Some(expected.as_str()));
            let value: serde_json::Value = serde_json::from_str(&expected).unwrap();
            assert_eq!(value["websockets-simple"], "AAAAAAAAAAAAAAAAAAAAAA");
        }
    }

    #[test]
    fn a_message_with_another_word_or_none_is_a_message_of_the_user() {
        let (ours, theirs) = (Controls::new(), Controls::new());
        let expiring = theirs.message(&Control::Renewed { at: None });
        assert!(ours.read(&expiring).is_none());
        assert!(ours.read(&Message::text("{\"websockets-simple\":\"\",\"type\":\"renewed\"}")).is_none());
        assert!(ours.read(&Message::binary(expiring.into_payload())).is_none());
    }

    #[test]
    fn only_a_whole_hello_begins_control_messages_and_its_word_is_not_shown() {
        let hello = Controls::new().hello().as_text().unwrap().to_owned();
        let controls = Controls::of_hello(&Message::text(hello.clone())).unwrap();
        assert_eq!(format!("{controls:?}"), "Controls { .. }");
        let other = hello.replace("websockets-simple", "websockets-sample");
        for wrong in [other, hello.replacen("\",", "\";", 1), hello[..BEGIN.len() + WORD].to_owned()] {
            assert!(Controls::of_hello(&Message::text(wrong.clone())).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_begins_like_one_and_is_none_is_malformed_and_what_is_newer_is_ignored() {
        let controls = Controls::new();
        let text = |rest: &str| Message::text(format!("{}{rest}", controls.prefix));
        for rest in ["", "}", "\"type\":\"token\"}", "\"type\":\"token\",\"token\":7}", "\"type\":7}"] {
            assert_eq!(read(&controls, &text(rest)), "Some(Err(MalformedControl))", "{rest}");
        }
        for name in ["", "a\\u0007", &"x".repeat(129)] {
            for kind in ["join", "joined", "leave", "left", "group_refused"] {
                let rest = format!("\"type\":\"{kind}\",\"group\":\"{name}\",\"reason\":\"\"}}");
                assert_eq!(read(&controls, &text(&rest)), "Some(Err(MalformedControl))", "{rest}");
            }
        }
        let token = |len: usize| text(&format!("\"type\":\"token\",\"token\":\"{}\"}}", "x".repeat(len)));
        let longest = LONGEST - token(0).len();
        assert!(read(&controls, &token(longest)).starts_with("Some(Ok(Some(Token("));
        assert_eq!(read(&controls, &token(longest + 1)), "Some(Err(MalformedControl))");
        assert_eq!(read(&controls, &text("\"type\":\"of tomorrow\",\"more\":[1]}")), "Some(Ok(None))");
    }

    proptest! {
        #[test]
        fn every_name_of_a_group_gets_across(name in "\\PC{0,140}", reason: String) {
            let controls = Controls::new();
            let json = serde_json::to_string(&name).unwrap();
            let said = Message::text(format!("{}\"type\":\"join\",\"group\":{json}}}", controls.prefix));
            match GroupName::new(&name) {
                Ok(group) => {
                    let refused = Control::GroupRefused { group: group.clone(), reason };
                    let refusal = controls.message(&refused);
                    prop_assume!(refusal.len() <= LONGEST);
                    prop_assert_eq!(read(&controls, &refusal), format!("Some(Ok(Some({refused:?})))"));
                    let join = Control::Join(group);
                    prop_assert_eq!(&controls.message(&join), &said);
                    prop_assert_eq!(read(&controls, &said), format!("Some(Ok(Some({join:?})))"));
                }
                Err(_) => prop_assert_eq!(read(&controls, &said), "Some(Err(MalformedControl))"),
            }
        }

        #[test]
        fn whatever_is_said_is_read_or_refused(said: String, rest: String) {
            let controls = Controls::new();
            let of_hello = Controls::of_hello(&Message::text(said.as_str()));
            prop_assert!(of_hello.is_none());
            prop_assert!(controls.read(&Message::text(said)).is_none());
            let behind_the_word = Message::text(format!("{}{rest}", controls.prefix));
            prop_assert!(controls.read(&behind_the_word).is_some());
        }
    }

    #[test]
    fn only_a_hello_begins_control_messages() {
        let controls = Controls::new();
        let hello = controls.hello();
        assert!(Controls::of_hello(&controls.message(&Control::Renewed { at: None })).is_none());
        for text in [
            "",
            "hello",
            "{\"websockets-simple\":\"short\",\"type\":\"hello\"}",
            "{\"websockets-simple\":\"!!!!!!!!!!!!!!!!!!!!!!\",\"type\":\"hello\"}",
            "{\"websockets-simple\":\"äääääääääää\",\"type\":\"hello\"}",
        ] {
            assert!(Controls::of_hello(&Message::text(text)).is_none(), "{text}");
        }
        assert!(Controls::of_hello(&Message::binary(hello.into_payload())).is_none());
    }
}
