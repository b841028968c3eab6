//! What users send and receive: messages from values, values from messages.

use serde::{Serialize, de::DeserializeOwned};

use crate::protocol::Message;

pub use packet::{DecodeError, DefaultPacket, Packet};

mod packet;

impl Message {
    /// Any serializable value as JSON text.
    ///
    /// # Errors
    ///
    /// When the value has no JSON form, such as a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Ok(Self::text(serde_json::to_string(value).map_err(EncodeError)?))
    }

    /// Reads this message as a packet the way the .NET library does: text that is not a `P`, or has blank
    /// data, becomes [`P::from_text`](Packet::from_text) of the whole text.
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
    /// [`DecodeError`] when this is a binary message, text that is not a `P`, or a packet with blank data.
    pub fn try_packet<P: Packet>(&self) -> Result<P, DecodeError> {
        packet::strict(self)
    }
}

/// Reading a message as JSON: the counterpart of [`Message::json`].
///
/// A trait of its own because an inherent method cannot share its name with the associated function that
/// writes; both are then called `json`, as a user expects.
pub trait ReadJson {
    /// Reads this message as JSON.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when this is a binary message, or text that is not the JSON of a `T`.
    fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError>;
}

impl ReadJson for Message {
    fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        packet::json(self)
    }
}

/// A value that cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON")]
pub struct EncodeError(#[source] pub(crate) serde_json::Error);

/// A value that `send` accepts.
///
/// * a reference to a packet: sent as its JSON;
/// * `&str`, `&String`, `String`: wrapped into a [`DefaultPacket`] stamped now, as the .NET library does;
/// * a [`Message`]: sent raw.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent",
    note = "pass a packet by reference: `send(&packet)`",
    note = "any other serializable value goes as `Message::json(&value)?`, raw text as `Message::text(..)`"
)]
pub trait IntoMessage: sealed::Sealed {
    /// Turns the value into the message that is sent.
    ///
    /// # Errors
    ///
    /// When a packet has no JSON form.
    fn into_message(self) -> Result<Message, EncodeError>;
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
        Message::json(self)
    }
}

impl IntoMessage for &str {
    fn into_message(self) -> Result<Message, EncodeError> {
        Message::json(&DefaultPacket::from_text(self))
    }
}

impl IntoMessage for &String {
    fn into_message(self) -> Result<Message, EncodeError> {
        self.as_str().into_message()
    }
}

impl IntoMessage for String {
    fn into_message(self) -> Result<Message, EncodeError> {
        self.as_str().into_message()
    }
}

mod sealed {
    use super::{Message, Packet};

    #[expect(unnameable_types, reason = "sealed: no other crate implements IntoMessage")]
    pub trait Sealed {}

    impl Sealed for Message {}
    impl Sealed for &Message {}
    impl<P: Packet> Sealed for &P {}
    impl Sealed for &str {}
    impl Sealed for &String {}
    impl Sealed for String {}
}
