//! Signals: messages that name their receivers in a JSON object.

use std::{net::SocketAddr, sync::Arc};

use chrono::{DateTime, Utc};
use websockets_simple_core::{BroadcastReport, EncodeError};

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
pub use data::{RawJson, SignalData};
pub use routes::RouteError;
pub(crate) use routes::Routes;

mod channel_events;
mod data;
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
    /// The message for the receivers cannot be encoded.
    #[error("the message of the signal cannot be encoded")]
    Encode(#[source] EncodeError),
    /// The message is not the JSON of a signal.
    #[error("the message is not a valid signal")]
    Json(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A [`BroadcastLevel`](crate::BroadcastLevel) requires a more specific target.
    #[error("the target of the signal is not specific enough")]
    Level(#[source] BroadcastError),
}

impl From<BroadcastError> for SignalError {
    fn from(error: BroadcastError) -> Self {
        match error {
            BroadcastError::Encode(error) => Self::Encode(error),
            BroadcastError::Level { .. } | BroadcastError::LevelOfAll { .. } => Self::Level(error),
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
        Ok(self.receivers()?.send(self.data.to_message())?)
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
    use websockets_simple_core::{IntoMessage, Json};

    use super::*;
    use crate::config::BroadcastLevel;

    #[test]
    fn each_failure_of_a_broadcast_has_a_text_of_its_own() {
        let needed = BroadcastLevel::Group;
        let keys_are_no_strings = std::collections::BTreeMap::from([([1, 2], 3)]);
        let encode = Json(&keys_are_no_strings).into_message().unwrap_err();
        for (failure, text) in [
            (BroadcastError::LevelOfAll { needed }, "the target of the signal is not specific enough"),
            (
                BroadcastError::Level { channel: "/a".to_owned(), needed },
                "the target of the signal is not specific enough",
            ),
            (BroadcastError::Encode(encode), "the message of the signal cannot be encoded"),
        ] {
            let error = SignalError::from(failure);
            assert_eq!(error.to_string(), text);
            assert!(std::error::Error::source(&error).is_some());
        }
    }
}
