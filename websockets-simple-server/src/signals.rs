//! Messages that are addressed: a JSON object that says what, and to whom.

use std::{net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use websockets_simple_core::{BroadcastReport, Message};

use crate::{
    addressing::Audience,
    config::{BroadcastError, ClientId, SignalReach},
    connection::Connection,
    net::RequestHead,
    users::Identity,
};

pub(crate) use channel_events::ChannelEvents;
pub use channel_events::{ChannelEvent, ChannelEventKind, DuplicateEvent, EventMetadata};
pub use routes::RouteError;
pub(crate) use routes::Routes;

mod channel_events;
mod routes;

/// What a client sent to the route of its channel, or is sent on without one; see [`Server::route`](crate::Server::route).
#[derive(Debug)]
#[non_exhaustive]
pub struct Signal<I: Identity> {
    /// What it says.
    pub data: SignalData,
    /// Who sent it.
    pub connection: Connection<I>,
    /// The pattern that its channel matches; the channel itself where there is no route.
    pub pattern: Arc<str>,
    /// What the parts of the pattern in braces stand for, in order.
    pub captures: Vec<(String, String)>,
    /// When it was read from the socket.
    pub timestamp: DateTime<Utc>,
}

/// The content of a signal: `{"message": .., "path": .., "group": .., "clientId": .., "direct": ..}`, of which only
/// `message` has to be there. Names are compared without regard to ASCII case, other members are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SignalData {
    /// Any JSON.
    pub message: Value,
    /// The channel it is for.
    pub path: Option<String>,
    /// The group it is for.
    pub group: Option<String>,
    /// The connection it is for.
    pub client_id: Option<String>,
    /// Whether it is only for who sent it.
    pub direct: bool,
}

/// Why a message is no signal, or a signal was sent to nobody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// It reaches beyond the channel of its sender, and [`SignalReach::OwnChannel`] does not let it.
    #[error("it is for another channel than that of its sender")]
    BeyondChannel,
    /// The client id is none, or its signature is wrong.
    #[error("it is for a client with an id that is none")]
    ClientId,
    /// It is binary.
    #[error("it is not a text")]
    Binary,
    /// It is not JSON of the right form.
    #[error("it is not the JSON of a signal")]
    Json(#[source] serde_json::Error),
    /// A [`BroadcastLevel`](crate::BroadcastLevel) wants more to be named.
    #[error("it names too few receivers")]
    Level(#[source] BroadcastError),
}

impl SignalData {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`SignalError::Binary`], [`SignalError::Json`].
    pub fn read(message: &Message) -> Result<Self, SignalError> {
        #[derive(Deserialize)]
        struct Members(serde_json::Map<String, Value>);

        let text = message.as_text().ok_or(SignalError::Binary)?;
        let Members(members) = serde_json::from_str(text).map_err(SignalError::Json)?;
        let mut data = Self::default();
        let mut has_message = false;
        for (name, value) in members {
            let read = match &*name.to_ascii_lowercase() {
                "message" => {
                    has_message = true;
                    data.message = value;
                    Ok(())
                }
                "path" => Option::deserialize(value).map(|path| data.path = path),
                "group" => Option::deserialize(value).map(|group| data.group = group),
                "clientid" => Option::deserialize(value).map(|id| data.client_id = id),
                "direct" => Option::deserialize(value).map(|direct| data.direct = direct.unwrap_or_default()),
                _ => Ok(()),
            };
            read.map_err(SignalError::Json)?;
        }
        if has_message {
            Ok(data)
        } else {
            Err(SignalError::Json(serde::de::Error::missing_field("message")))
        }
    }

    /// What others are sent: a text as it is, anything else as JSON.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match &self.message {
            Value::String(text) => Message::text(text.clone()),
            other => Message::text(other.to_string()),
        }
    }
}

impl<I: Identity> Signal<I> {
    /// The head of the request that opened the connection.
    #[must_use]
    pub fn head(&self) -> &RequestHead {
        self.connection.request()
    }

    /// The address of ours that the connection came to.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.connection.endpoint()
    }

    /// The channel of who sent it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.connection.channel()
    }

    /// Sends the message on to whom it is for: its sender if it is direct, else the channel, the group and the client
    /// that it names, the sender's own channel if it names none. As the default
    /// [`SignalDefault::Rebroadcast`](crate::SignalDefault::Rebroadcast) does, within the same [`SignalReach`].
    ///
    /// # Errors
    ///
    /// [`SignalError`]; nothing was sent then.
    pub fn rebroadcast(&self) -> Result<BroadcastReport, SignalError> {
        self.receivers()?.send(self.data.to_message()).map_err(SignalError::Level)
    }

    fn receivers(&self) -> Result<Audience<I>, SignalError> {
        let (connection, data) = (&self.connection, &self.data);
        let shared = &connection.0.shared;
        let all = Audience::all(shared);
        if data.direct {
            return Ok(all.client(connection.id()));
        }
        let audience = match (shared.params.signals.reach, &data.path) {
            (SignalReach::AnyChannel, None) => all,
            (SignalReach::AnyChannel, Some(path)) => all.channel(path),
            (SignalReach::OwnChannel, Some(path)) if path != connection.channel() => {
                return Err(SignalError::BeyondChannel);
            }
            (SignalReach::OwnChannel, _) => all.channel(connection.channel()),
        };
        let audience = match &data.group {
            Some(group) => audience.group(group),
            None => audience,
        };
        Ok(match &data.client_id {
            Some(id) => audience.client(&self.client(id).ok_or(SignalError::ClientId)?),
            None => audience,
        })
    }

    /// A client that is named as the application knows it, or as the client does.
    fn client(&self, id: &str) -> Option<ClientId> {
        let connection = &self.connection;
        let is_signed = id.starts_with("s:");
        match connection.0.shared.params.id_signing.as_ref().filter(|_| is_signed) {
            Some(signing) => {
                signing.verify(id, connection.client_addr(), connection.header("user-agent")).ok()
            }
            None => ClientId::new(id).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<SignalData, String> {
        SignalData::read(&Message::text(text.to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_signal_is_a_message_and_whom_it_is_for() {
        let all = r#"{"message":"hi","path":"/a","group":"g","clientId":"c","direct":true,"other":1}"#;
        let data = read(all).unwrap();
        let SignalData { message, path, group, client_id, direct } = data;
        assert_eq!(message, json!("hi"));
        assert_eq!((path.as_deref(), group.as_deref()), (Some("/a"), Some("g")));
        assert_eq!((client_id.as_deref(), direct), (Some("c"), true));
        let only = SignalData { message: json!({"a": 1}), ..SignalData::default() };
        assert_eq!(read(r#"{"Message":{"a":1}}"#), Ok(only.clone()));
        assert_eq!(read(r#"{"message":{"a":1},"path":null,"direct":null,"ClientId":null}"#), Ok(only));
        assert_eq!(read(r#"{"message":null}"#), Ok(SignalData::default()));
    }

    #[test]
    fn what_is_no_signal_is_an_error_that_quotes_nothing() {
        for wrong in [
            "",
            "hello",
            "[]",
            "null",
            "{}",
            r#"{"path":"/a"}"#,
            r#"{"message":"hi","path":7}"#,
            r#"{"message":"hi","direct":"yes"}"#,
            r#"{"message":"hi""#,
        ] {
            assert_eq!(read(wrong), Err("it is not the JSON of a signal".to_owned()), "{wrong}");
        }
        let binary = SignalData::read(&Message::binary(b"{}".to_vec()));
        assert!(matches!(binary, Err(SignalError::Binary)));
    }

    proptest! {
        #[test]
        fn whatever_a_signal_says_is_read_back_and_nothing_makes_it_panic(
            text in any::<String>(), path in any::<Option<String>>(), direct in any::<bool>()
        ) {
            let _ = read(&text);
            let data = SignalData { message: json!(text), path, direct, ..SignalData::default() };
            let json = json!({"message": data.message, "path": data.path, "direct": data.direct});
            let sent = data.to_message();
            prop_assert_eq!(sent.as_text(), Some(&*text));
            prop_assert_eq!(read(&json.to_string()), Ok(data));
        }
    }

    #[test]
    fn texts_are_sent_on_as_they_are_and_the_rest_as_json() {
        let sent = |message| SignalData { message, ..SignalData::default() }.to_message();
        assert_eq!(sent(json!("a \"b\"")).as_text(), Some("a \"b\""));
        assert_eq!(sent(json!({"a": [1, null]})).as_text(), Some(r#"{"a":[1,null]}"#));
        assert_eq!(sent(json!(7)).as_text(), Some("7"));
    }
}
