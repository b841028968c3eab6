//! What users send and receive: messages from values, values from messages.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::Message;

pub use json::Json;
pub use packet::{DecodeError, DefaultPacket, Packet};

mod json;
mod packet;

impl Message {
    /// Makes a text message of any serializable value, as its JSON: to send one value to many, encoded once. To send
    /// it once, [`Json`] is shorter.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the value has no JSON form, such as a map whose keys are not strings.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Ok(Self::text(serde_json::to_string(value).map_err(EncodeError::new)?))
    }

    /// Reads this message as JSON, strictly as serde does; strings in it may be borrowed from the message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if this is a binary message, or text that is not the JSON of a `T`.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        packet::json(self)
    }

    /// Reads this message as a packet the way the .NET library does: text that is not a `P`, or has blank
    /// data, becomes [`P::from_text`](Packet::from_text) of the whole text. JSON that meets this fate is logged at the
    /// level DEBUG, with the reason; [`try_packet`](Self::try_packet) returns it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Binary`] when this is a binary message, which is never a packet.
    pub fn packet<P: Packet>(&self) -> Result<P, DecodeError> {
        packet::lenient(self)
    }

    /// Reads this message as a packet, without a fallback.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when this is a binary message, text that is not a `P`, or a packet with blank data. It says where
    /// the text differs.
    ///
    /// # Examples
    ///
    /// ```
    /// # extern crate websockets_simple_core as websockets_simple_server;
    /// use websockets_simple_server::{DefaultPacket, Message};
    ///
    /// let error = Message::text("{\n  \"Data\": []\n}").try_packet::<DefaultPacket>().unwrap_err();
    /// assert_eq!(error.to_string(), "the text is not JSON of the requested type: line 2, column 11");
    /// ```
    pub fn try_packet<P: Packet>(&self) -> Result<P, DecodeError> {
        packet::strict(self)
    }
}

/// A value that cannot be encoded. The source says why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the value cannot be encoded")]
pub struct EncodeError(#[source] Arc<dyn Error + Send + Sync>);

impl EncodeError {
    /// Wraps the error of an encoder, or a text.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into().into())
    }
}

/// A value that `send` accepts.
///
/// | value | is sent as |
/// |---|---|
/// | `&str`, `String`, `&String` | a [`DefaultPacket`] stamped now, as the .NET library does |
/// | [`Json`]`(&value)` | the JSON of the value, whatever its type |
/// | a reference to a [`Packet`] | its JSON |
/// | [`Message`], `&Message` | itself |
/// | `Vec<u8>`, [`Bytes`], `&[u8]` | a binary message |
///
/// For messages of your own, implement it: for the type if it is sent once, for a reference to it if it is kept. The
/// call that sends encodes the value before it takes a lock, so an implementation may take its time, and a panic in it
/// is one of the caller.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::{EncodeError, IntoMessage, Message};
///
/// struct Position { x: f32, y: f32 }
///
/// impl IntoMessage for &Position {
///     fn into_message(self) -> Result<Message, EncodeError> {
///         Ok(Message::from([self.x.to_be_bytes(), self.y.to_be_bytes()].concat()))
///     }
/// }
///
/// // `connection.send(&position).await` sends this:
/// let message = (&Position { x: 1.0, y: 2.0 }).into_message()?;
/// assert_eq!(message.as_bytes(), [63, 128, 0, 0, 64, 0, 0, 0]);
/// # Ok::<(), EncodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as it is",
    label = "any serializable value is sent in the wrapper `Json`: `Json(&value)`",
    note = "raw text is sent with `send_text`, a packet by reference",
    note = "a type of your own can implement `IntoMessage`"
)]
pub trait IntoMessage {
    /// Turns the value into the message that is sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the value has no form on the wire.
    fn into_message(self) -> Result<Message, EncodeError>;

    /// Whether the message may be compressed, where both ends agreed to that; by default it may. [`Uncompressed`] is
    /// the wrapper that says no.
    fn may_be_compressed(&self) -> bool {
        true
    }
}

/// Sends a value as it is, also where both ends agreed on compression.
///
/// Whoever sees the length of a compressed message learns how often its parts repeat: with a secret and a text of
/// somebody else's choice in one message, that is a way to guess the secret (the attacks CRIME and BREACH; RFC 7692
/// section 8). Messages are compressed each on its own, so one that holds no secret, or nothing of others, is safe.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::{IntoMessage, Json, Uncompressed};
///
/// let page = [("csrf", "bfa5c1"), ("search", "what the user typed")];
/// assert!(!Uncompressed(Json(&page)).may_be_compressed());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Uncompressed<T>(pub T);

impl<T: IntoMessage> IntoMessage for Uncompressed<T> {
    fn into_message(self) -> Result<Message, EncodeError> {
        self.0.into_message()
    }

    fn may_be_compressed(&self) -> bool {
        false
    }
}

impl IntoMessage for Message {
    fn into_message(self) -> Result<Message, EncodeError> {
        Ok(self)
    }
}

impl IntoMessage for &Message {
    fn into_message(self) -> Result<Message, EncodeError> {
        Ok(self.clone())
    }
}

impl<P: Packet> IntoMessage for &P {
    fn into_message(self) -> Result<Message, EncodeError> {
        Message::from_json(self)
    }
}

impl IntoMessage for &str {
    fn into_message(self) -> Result<Message, EncodeError> {
        Message::from_json(&DefaultPacket::from_text(self))
    }
}

impl IntoMessage for &String {
    fn into_message(self) -> Result<Message, EncodeError> {
        self.as_str().into_message()
    }
}

impl IntoMessage for String {
    fn into_message(self) -> Result<Message, EncodeError> {
        Message::from_json(&DefaultPacket::new(self))
    }
}

impl IntoMessage for Vec<u8> {
    fn into_message(self) -> Result<Message, EncodeError> {
        Ok(Message::binary(self))
    }
}

impl IntoMessage for Bytes {
    fn into_message(self) -> Result<Message, EncodeError> {
        Ok(Message::binary(self))
    }
}

impl IntoMessage for &[u8] {
    fn into_message(self) -> Result<Message, EncodeError> {
        Ok(Message::binary(self.to_vec()))
    }
}

#[cfg(test)]
mod tests;
