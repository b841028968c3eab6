//! The ids of connections.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::{Builder, Uuid};

/// Most bytes of an id that the application chooses.
const LONGEST: usize = 128;

/// The id of a connection: a random UUID (RFC 9562, version 4), or an id that the application chose with
/// [`Placement::client_id`](crate::Placement::client_id). It is unique among the open connections of a server.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::ClientId;
///
/// let id = ClientId::new("terminal-7")?;
/// assert_eq!(id.to_string(), "terminal-7");
/// assert!(ClientId::new("").is_err());
/// # Ok::<(), websockets_simple_server::InvalidClientId>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(Form);

/// A UUID in hyphenated lower case is always stored as `Random`, so that equal texts are equal ids.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Form {
    Random(Uuid),
    Chosen(Arc<str>),
}

/// The error for a text that is not a valid [`ClientId`]: ids have 1 to 128 visible ASCII characters, as they are
/// sent in HTTP headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a client id must have 1 to {LONGEST} visible ASCII characters")]
pub struct InvalidClientId;

impl ClientId {
    /// Makes an id that the application chooses.
    ///
    /// # Errors
    ///
    /// [`InvalidClientId`] unless the text has 1 to 128 visible ASCII characters.
    pub fn new(id: &str) -> Result<Self, InvalidClientId> {
        if id.is_empty() || id.len() > LONGEST || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidClientId);
        }
        let uuid = Uuid::try_parse(id).ok();
        // A UUID in another notation is a different id.
        let uuid = uuid.filter(|uuid| *uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *id);
        Ok(Self(uuid.map_or_else(|| Form::Chosen(id.into()), Form::Random)))
    }

    /// A new random id.
    pub(crate) fn random() -> Self {
        Self(Form::Random(Builder::from_random_bytes(rand::random()).into_uuid()))
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(id: &str) -> Result<Self, InvalidClientId> {
        Self::new(id)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Random(uuid) => uuid.fmt(f),
            Form::Chosen(id) => id.fmt(f),
        }
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ClientId {
    /// The text of the id, without a signature.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&Cow::<str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_uuids_of_version_4_and_read_back_as_themselves() {
        let id = ClientId::random();
        assert_ne!(id, ClientId::random());
        let text = id.to_string();
        assert_eq!(ClientId::new(&text).unwrap(), id);
        assert_eq!(Uuid::parse_str(&text).unwrap().get_version_num(), 4);
    }

    #[test]
    fn ids_are_told_apart_by_how_they_are_written() {
        let text = "5d12f974-7b1a-4524-ab93-6afbf42c4ffa";
        for other in [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}")] {
            let id = ClientId::new(&other).unwrap();
            assert_ne!(id, ClientId::new(text).unwrap());
            assert_eq!(id.to_string(), other);
        }
    }

    #[test]
    fn an_id_is_written_as_its_text_and_read_by_the_same_rules() {
        for id in [ClientId::random(), ClientId::new("terminal-7").unwrap()] {
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json, format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<ClientId>(&json).unwrap(), id);
        }
        assert_eq!(serde_json::from_str::<ClientId>(r#""\u0061b""#).unwrap(), ClientId::new("ab").unwrap());
        assert!(serde_json::from_str::<ClientId>(r#""a b""#).is_err());
    }

    #[test]
    fn what_fits_no_header_is_no_id() {
        for wrong in ["", " ", "a b", "a\r\nb", "é", "\0", &"x".repeat(LONGEST + 1)] {
            assert_eq!(ClientId::new(wrong), Err(InvalidClientId), "{wrong:?}");
        }
        assert!(ClientId::new(&"x".repeat(LONGEST)).is_ok());
    }
}
