//! What travels: text or binary.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use packet::{DecodeError, DefaultPacket, Packet};

mod packet;

/// Text of a message: immutable, cheap to clone, dereferences to `str`.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text(Utf8Bytes);

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn from_utf8(bytes: Bytes) -> Option<Self> {
        Utf8Bytes::try_from(bytes).ok().map(Self)
    }

    pub(crate) fn from_decoder(text: Utf8Bytes) -> Self {
        Self(text)
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// One message, as it is on the wire.
///
/// # Examples
///
/// ```
/// use websockets_simple_core::{Message, Packet, ReadJson};
///
/// let message = Message::text(r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#);
/// assert_eq!(message.packet::<websockets_simple_core::DefaultPacket>().unwrap().data(), "hello");
///
/// let message = Message::json(&[1, 2, 3]).unwrap();
/// assert_eq!(message.json::<Vec<u8>>().unwrap(), [1, 2, 3]);
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

impl Message {
    /// Raw text, sent as it is.
    #[must_use]
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// Raw bytes, sent as they are.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

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

    /// Reads this message as a packet and nothing else.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when this is a binary message, text that is not a `P`, or a packet with blank data.
    pub fn try_packet<P: Packet>(&self) -> Result<P, DecodeError> {
        packet::strict(self)
    }

    /// The text, when this is a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload as bytes, whichever kind it is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Payload length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a text message.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    pub(crate) fn into_payload(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Message {
    /// Shows the beginning: a message may be a megabyte, and events are printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 128;
        let rest = self.len().saturating_sub(SHOWN);
        match self {
            Self::Text(text) => write!(f, "Text({:?}", &text[..text.floor_char_boundary(SHOWN)])?,
            Self::Binary(bytes) => write!(f, "Binary({:?}", bytes.slice(..bytes.len().min(SHOWN)))?,
        }
        if rest > 0 {
            write!(f, " and {rest} more bytes")?;
        }
        f.write_str(")")
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
    /// [`DecodeError`] when this is a binary message, or text that is no JSON of a `T`.
    fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError>;
}

impl ReadJson for Message {
    fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        packet::json(self)
    }
}

/// A value that has no form on the wire.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON")]
pub struct EncodeError(#[source] pub(crate) serde_json::Error);

/// What a `send` takes.
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

    #[expect(unnameable_types, reason = "sealed: nobody outside implements IntoMessage")]
    pub trait Sealed {}

    impl Sealed for Message {}
    impl Sealed for &Message {}
    impl<P: Packet> Sealed for &P {}
    impl Sealed for &str {}
    impl Sealed for &String {}
    impl Sealed for String {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_shows_its_beginning_only() {
        let shown = format!("{:?}", Message::text("é".repeat(1000)));
        assert!(shown.len() < 400 && shown.ends_with("and 1872 more bytes)"), "{shown}");
        assert_eq!(format!("{:?}", Message::binary(&b"\x00a"[..])), r#"Binary(b"\0a")"#);
    }
}
