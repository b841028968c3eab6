//! Signals: messages that name their receivers in a JSON object.

use std::{net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use websockets_simple_core::{BroadcastReport, Message};

use crate::{
    addressing::Audience,
    config::{BroadcastError, ClientId},
    connection::Connection,
    net::RequestHead,
    users::Identity,
};

pub use crate::config::{SignalDefault, SignalReach};
pub(crate) use channel_events::ChannelEvents;
pub use channel_events::{ChannelEvent, ChannelEventKind, DuplicateEvent, EventMetadata};
pub use routes::RouteError;
pub(crate) use routes::Routes;

mod channel_events;
mod routes;

/// A message of a client that names its receivers, handled by a [route](crate::Server::route) or
/// [rebroadcast](crate::SignalDefault::Rebroadcast).
#[derive(Debug)]
#[non_exhaustive]
pub struct Signal<I: Identity> {
    /// The content.
    pub data: SignalData,
    /// The connection of the sender.
    pub connection: Connection<I>,
    /// The pattern of the route that the sender's channel matches; the channel itself if there is no route.
    pub pattern: Arc<str>,
    /// The names in braces in the pattern and the parts of the channel that they match, in order.
    pub captures: Vec<(String, String)>,
    /// When the message was read from the socket.
    pub timestamp: DateTime<Utc>,
}

/// The content of a signal: `{"message": .., "path": .., "group": .., "clientId": .., "direct": ..}`, of which only
/// `message` is required. Names are ASCII case-insensitive, other members are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SignalData {
    /// Any JSON.
    pub message: Value,
    /// The channel of the receivers.
    pub path: Option<String>,
    /// The group of the receivers.
    pub group: Option<String>,
    /// The client id of the receiver.
    pub client_id: Option<String>,
    /// Whether only the sender receives it.
    pub direct: bool,
}

/// Why a message is not a valid signal, or why a signal was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The signal names another channel than that of its sender, which [`SignalReach::OwnChannel`] does not allow.
    #[error("the signal addresses another channel")]
    BeyondChannel,
    /// The client id is invalid, or its signature is.
    #[error("the client id is invalid")]
    ClientId,
    /// The message is binary.
    #[error("the message is not a text")]
    Binary,
    /// The message is not the JSON of a signal.
    #[error("the message is not a valid signal")]
    Json(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A [`BroadcastLevel`](crate::BroadcastLevel) requires a more specific target.
    #[error("the target of the signal is not specific enough")]
    Level(#[source] BroadcastError),
}

impl SignalError {
    fn json(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}

impl SignalData {
    /// Parses a message.
    ///
    /// # Errors
    ///
    /// [`SignalError::Binary`] or [`SignalError::Json`] if the message is not a valid signal.
    pub fn read(message: &Message) -> Result<Self, SignalError> {
        #[derive(Deserialize)]
        struct Members(serde_json::Map<String, Value>);

        let text = message.as_text().ok_or(SignalError::Binary)?;
        let Members(members) = serde_json::from_str(text).map_err(SignalError::json)?;
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
            read.map_err(SignalError::json)?;
        }
        if has_message {
            Ok(data)
        } else {
            Err(SignalError::json(serde::de::Error::missing_field("message")))
        }
    }

    /// The message for the receivers: a JSON string as its text, any other value as JSON.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match &self.message {
            Value::String(text) => Message::text(text.clone()),
            other => Message::text(other.to_string()),
        }
    }
}

impl<I: Identity> Signal<I> {
    /// The head of the request that opened the sender's connection.
    #[must_use]
    pub fn head(&self) -> &RequestHead {
        self.connection.request()
    }

    /// The local address that the sender connected to.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.connection.endpoint()
    }

    /// The channel of the sender.
    #[must_use]
    pub fn path(&self) -> &str {
        self.connection.channel()
    }

    /// Sends the message to its receivers: to the sender if it is direct, otherwise to the connections of the channel
    /// that it names. If it names a group or a client id, only those of them receive it that are in the group or have
    /// the id. A signal without a channel goes to the sender's channel, or with [`SignalReach::AnyChannel`] to all
    /// channels. [`SignalDefault::Rebroadcast`] does the same.
    ///
    /// # Errors
    ///
    /// [`SignalError`]; no message was sent.
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

    /// Reads a client id, either signed or plain.
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
            assert_eq!(read(wrong), Err("the message is not a valid signal".to_owned()), "{wrong}");
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
