//! What frames carry: text or binary.

use std::fmt;

use bytes::Bytes;

use crate::protocol::text::Text;

/// One text or binary message, as it is on the wire.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::{DefaultPacket, Message};
///
/// let message = Message::from(r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#);
/// assert_eq!(message.packet::<DefaultPacket>()?.data, "hello");
/// assert_eq!(Message::from("[1, 2, 3]").json::<Vec<u8>>()?, [1, 2, 3]);
/// assert_eq!(Message::from("hello").to_string(), "hello");
/// assert!(Message::from(vec![1, 2, 3]).is_binary());
/// # Ok::<(), Box<dyn std::error::Error>>(())
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

/// Text, sent as it is.
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

/// Text, sent as it is.
impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// Text, sent as it is.
impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

/// A binary message.
impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

/// A binary message.
impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl fmt::Display for Message {
    /// The whole text of a text message; a binary one is shown by its size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Binary(bytes) => write!(f, "<{} bytes>", bytes.len()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_made_of_what_it_carries_and_shown_as_it() {
        for message in [Message::from("hi é"), "hi é".to_owned().into(), Text::from("hi é").into()] {
            assert_eq!((message.is_text(), message.to_string().as_str()), (true, "hi é"));
        }
        for message in [Message::from(vec![0, 159]), Bytes::from_static(&[0, 159]).into()] {
            assert_eq!((message.as_bytes(), message.to_string().as_str()), (&[0, 159][..], "<2 bytes>"));
        }
        assert_eq!(format!("{:>4}|", Message::from("ab")), "  ab|");
    }

    #[test]
    fn a_large_message_shows_its_beginning_only() {
        let shown = format!("{:?}", Message::text("é".repeat(1000)));
        assert!(shown.len() < 400 && shown.ends_with("and 1872 more bytes)"), "{shown}");
        assert_eq!(format!("{:?}", Message::binary(&b"\x00a"[..])), r#"Binary(b"\0a")"#);
    }
}
