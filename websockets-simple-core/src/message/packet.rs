//! Typed contents of text messages, and the packet of the .NET library.

use std::{error::Error, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    dotnet::{lenient, timestamp},
    protocol::Message,
};

/// The typed content of a text message: a plain struct and three one-line methods.
///
/// On the wire a packet is one JSON object. Its fields are written in declaration order, as the .NET library
/// writes its properties; [`dotnet`](crate::dotnet) has the helpers for its timestamps and its enums.
///
/// What is received is read as leniently as the .NET library reads it, whatever the packet:
///
/// * a name belongs to the field of exactly that name, else to the one that differs in case only;
/// * names without a field are ignored (unless the struct says `deny_unknown_fields`), and of two values for
///   one field the last counts;
/// * a string may be given as a number or a boolean (`5` is read as `"5"`), or as `null`, which is `""`; a number or a
///   boolean may be given as a string;
/// * a missing field is an error unless it is an `Option` or has `#[serde(default)]`. The .NET library reads the
///   default there, and sends packets of its base class where yours is expected: put `#[serde(default)]` on the struct;
/// * beyond JSON there may be single quotes, names without quotes, comments, a comma behind the last element, control
///   characters in strings, `NaN`, `Infinity`, `undefined`, `new Date(..)`, and numbers such as `0x1F`, `017` and `.5`;
///   half of a surrogate pair (`\ud83d`) becomes U+FFFD.
///
/// Structs inside structs, lists and maps are read by the same rules. Where serde itself buffers the input
/// (`flatten`, internally tagged and untagged enums), and in externally tagged enums, the rules of plain
/// `serde_json` apply. Text that is no JSON object is never a packet.
///
/// # Examples
///
/// The extended packet of the .NET library's manual:
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use serde::{Deserialize, Serialize};
/// use websockets_simple_server::{
///     Message, Packet,
///     chrono::{DateTime, Utc},
///     dotnet::{self, NumericEnum},
/// };
///
/// #[derive(Clone, Copy, Debug, Default, PartialEq)]
/// enum PacketExtendedType {
///     #[default]
///     PacketType1,
///     PacketType2,
/// }
///
/// impl NumericEnum for PacketExtendedType {
///     const ALL: &'static [Self] = &[Self::PacketType1, Self::PacketType2];
///
///     fn number(self) -> i64 {
///         self as i64
///     }
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// #[serde(default, rename_all = "PascalCase")]
/// struct PacketExtended {
///     data: String,
///     #[serde(with = "dotnet::timestamp", skip_serializing_if = "Option::is_none")]
///     timestamp: Option<DateTime<Utc>>,
///     #[serde(with = "dotnet::numeric_enum")]
///     packet_extended_type: PacketExtendedType,
///     username: Option<String>,
///     first_name: String,
///     last_name: String,
/// }
///
/// impl Packet for PacketExtended {
///     fn data(&self) -> &str {
///         &self.data
///     }
///
///     fn timestamp(&self) -> Option<DateTime<Utc>> {
///         self.timestamp
///     }
///
///     fn from_text(text: &str) -> Self {
///         Self {
///             data: text.to_owned(),
///             timestamp: Some(dotnet::timestamp::now()),
///             packet_extended_type: PacketExtendedType::PacketType1,
///             username: None,
///             first_name: "FakeFirstName".to_owned(),
///             last_name: "FakeLastName".to_owned(),
///         }
///     }
/// }
///
/// let message = Message::text(
///     r#"{"Data":"hi","Timestamp":"2022-03-05T19:42:01.6305503Z","PacketExtendedType":1,"Username":null,"FirstName":"A","LastName":"B"}"#,
/// );
/// let packet = message.packet::<PacketExtended>().unwrap();
/// assert_eq!(packet.packet_extended_type, PacketExtendedType::PacketType2);
/// assert_eq!(Message::from_json(&packet).unwrap(), message);
///
/// let packet = Message::text("just words").packet::<PacketExtended>().unwrap();
/// assert_eq!((packet.data(), packet.first_name.as_str()), ("just words", "FakeFirstName"));
///
/// // What `SendToServerAsync("hi")` sends is a packet, too, with defaults for what it lacks.
/// let packet = Message::text(r#"{"Data":"hi","Timestamp":"2022-03-05T19:42:01Z"}"#).packet::<PacketExtended>().unwrap();
/// assert_eq!((packet.data(), packet.first_name.as_str()), ("hi", ""));
/// ```
pub trait Packet: Serialize + DeserializeOwned {
    /// The data of the packet. Text whose data is empty or whitespace does not count as a packet.
    fn data(&self) -> &str;

    /// When it was made, if it has a timestamp.
    fn timestamp(&self) -> Option<DateTime<Utc>>;

    /// Makes a packet of a bare string: the data is the whole text, the rest is up to the packet.
    #[must_use]
    fn from_text(text: &str) -> Self;
}

/// The packet of the .NET library, with its field names and its form of timestamps on the wire.
///
/// A missing timestamp is `None` and is sent back without the field. A timestamp outside the years 1 to 9999
/// has no form on the wire: sending such a packet fails. What is finer than 100 ns is cut off when the packet
/// is sent.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::{DefaultPacket, Message};
///
/// let text = r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#;
/// let packet = Message::text(text).packet::<DefaultPacket>().unwrap();
/// assert_eq!(packet.data, "hello");
/// assert_eq!(Message::from_json(&packet).unwrap(), Message::text(text));
///
/// let sloppy = Message::text(r#"{"data":5,"extra":[1,2]}"#);
/// assert_eq!(sloppy.packet::<DefaultPacket>().unwrap(), DefaultPacket { data: "5".into(), timestamp: None });
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DefaultPacket {
    /// The data of the packet.
    pub data: String,
    /// When it was made, if it has a timestamp.
    #[serde(default, with = "timestamp", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime<Utc>>,
}

impl DefaultPacket {
    /// A packet stamped with the present time, cut to 100 ns.
    #[must_use]
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), timestamp: Some(timestamp::now()) }
    }
}

impl Packet for DefaultPacket {
    fn data(&self) -> &str {
        &self.data
    }

    fn timestamp(&self) -> Option<DateTime<Utc>> {
        self.timestamp
    }

    fn from_text(text: &str) -> Self {
        Self::new(text)
    }
}

/// Why a message cannot be read as a packet or as JSON.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message is binary, which is neither a packet nor JSON. Read it with
    /// [`as_bytes`](Message::as_bytes).
    #[error("a binary message is neither a packet nor JSON")]
    Binary,
    /// The packet's data is empty or whitespace.
    #[error("the data of the packet is blank")]
    Blank,
    /// The text is not JSON, or JSON of another type.
    #[error("the text is not JSON of the requested type{}", at(*position))]
    Json {
        /// Line and column where it differs, from 1, columns in bytes. For a missing field that is where its object
        /// begins. `None` for a packet whose text is no object.
        position: Option<(usize, usize)>,
        /// How it differs. Its type and its wording may change.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Reads a packet as the .NET library does; any other text becomes the data of a packet.
pub(crate) fn lenient<P: Packet>(message: &Message) -> Result<P, DecodeError> {
    let text = message.as_text().ok_or(DecodeError::Binary)?;
    Ok(decode(text).unwrap_or_else(|error| {
        tell_swallowed::<P>(&error);
        P::from_text(text)
    }))
}

/// Logs why JSON became the data of a packet around it; for plain text that is as it should be. The log says nothing of
/// the text: of the errors that may quote it only the place is shown.
fn tell_swallowed<P>(error: &DecodeError) {
    let (error, position) = match error {
        DecodeError::Binary | DecodeError::Json { position: None, .. } => return,
        DecodeError::Blank => ("its data is blank".to_owned(), None),
        DecodeError::Json { source, position } => {
            let source = source.to_string();
            let names_a_field_of_ours = source.starts_with("missing field `");
            (if names_a_field_of_ours { source } else { "it has another form".to_owned() }, *position)
        }
    };
    tracing::debug!(
        packet = std::any::type_name::<P>(),
        error,
        line = position.map(|(line, _)| line),
        column = position.map(|(_, column)| column),
        "JSON that is no such packet becomes the data of one"
    );
}

/// Reads a packet by the same rules, and returns why a text is no packet.
pub(crate) fn strict<P: Packet>(message: &Message) -> Result<P, DecodeError> {
    decode(message.as_text().ok_or(DecodeError::Binary)?)
}

fn decode<P: Packet>(text: &str) -> Result<P, DecodeError> {
    let packet: P = lenient::from_object(text).map_err(no_json)?;
    if packet.data().trim().is_empty() {
        return Err(DecodeError::Blank);
    }
    Ok(packet)
}

/// Reads JSON strictly as serde does.
pub(crate) fn json<'a, T: Deserialize<'a>>(message: &'a Message) -> Result<T, DecodeError> {
    serde_json::from_str(message.as_text().ok_or(DecodeError::Binary)?).map_err(no_json)
}

fn no_json(error: serde_json::Error) -> DecodeError {
    let position = (error.line() > 0).then(|| (error.line(), error.column()));
    DecodeError::Json { position, source: Arc::new(error) }
}

fn at(position: Option<(usize, usize)>) -> String {
    position.map_or_else(String::new, |(line, column)| format!(": line {line}, column {column}"))
}

#[cfg(test)]
mod tests;
