//! The content of a signal, read without taking its JSON apart.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use websockets_simple_core::Message;

use crate::signals::SignalError;

/// The content of a signal: `{"message": .., "path": .., "group": .., "clientId": .., "direct": ..}`, of which only
/// `message` is required. Names are ASCII case-insensitive, other members are ignored, and of several with the same name
/// the last counts.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SignalData {
    /// Any JSON.
    pub message: RawJson,
    /// The channel of the receivers.
    pub path: Option<String>,
    /// The group of the receivers.
    pub group: Option<String>,
    /// The client id of the receiver.
    pub client_id: Option<String>,
    /// Whether only the sender receives it.
    pub direct: bool,
}

/// A JSON text that is known to be valid: it takes the memory of the text alone, until it is read as something. Two are
/// equal if their texts are, and one equals a `str` if it is a JSON string with these characters.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::RawJson;
///
/// let message = RawJson::from(serde_json::json!("hi"));
/// assert_eq!(message.get(), r#""hi""#);
/// assert!(message == "hi");
/// assert_eq!(RawJson::from(serde_json::json!([1, 2])).json::<Vec<u8>>()?, [1, 2]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Whether it is nested more deeply than serde_json reads values.
    fn is_too_deep(&self) -> bool {
        const DEPTH: usize = 128;
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        self.get().bytes().any(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_text,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth > DEPTH
        })
    }

    /// The text of a JSON string; `None` for any other value.
    #[must_use]
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

        serde_json::from_str(self.get()).ok().map(|Text(text)| text)
    }

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// When the JSON is not that of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }
}

impl SignalData {
    /// Parses a message. Its values are checked, but not built: a JSON value can take a hundred times the memory of its
    /// text.
    ///
    /// # Errors
    ///
    /// [`SignalError::Binary`] or [`SignalError::Json`] if the message is not a valid signal.
    pub fn read(message: &Message) -> Result<Self, SignalError> {
        let text = message.as_text().ok_or(SignalError::Binary)?;
        serde_json::from_str(text).map_err(|error| SignalError::Json(Arc::new(error)))
    }

    /// The message for the receivers: a JSON string as its text, any other value as its JSON.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match self.message.as_text() {
            Some(text) => Message::text(text.into_owned()),
            None => Message::text(self.message.get()),
        }
    }
}

impl<'de> Deserialize<'de> for SignalData {
    fn deserialize<D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        object.deserialize_map(Members)
    }
}

/// Reads the members of a signal.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = SignalData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a signal")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<SignalData, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        let mut data = SignalData::default();
        let mut message = None;
        while let Some(Name(name)) = members.next_key()? {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("message") {
                message = Some(members.next_value::<Box<RawValue>>()?);
            } else if is("path") {
                data.path = members.next_value()?;
            } else if is("group") {
                data.group = members.next_value()?;
            } else if is("clientId") {
                data.client_id = members.next_value()?;
            } else if is("direct") {
                data.direct = members.next_value::<Option<bool>>()?.unwrap_or_default();
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        let message = RawJson(message.ok_or_else(|| A::Error::missing_field("message"))?);
        if message.is_too_deep() {
            return Err(A::Error::custom("the message is nested too deeply"));
        }
        if message.get().starts_with('"') && message.as_text().is_none() {
            return Err(A::Error::custom("the message has half of a surrogate pair"));
        }
        data.message = message;
        Ok(data)
    }
}

impl Default for RawJson {
    /// `null`.
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<serde_json::Value> for RawJson {
    fn from(value: serde_json::Value) -> Self {
        serde_json::value::to_raw_value(&value).map_or_else(|_| Self::default(), Self)
    }
}

impl From<String> for RawJson {
    /// A JSON string.
    fn from(text: String) -> Self {
        serde_json::Value::from(text).into()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl PartialEq<str> for RawJson {
    fn eq(&self, other: &str) -> bool {
        self.as_text().is_some_and(|text| text == other)
    }
}

impl PartialEq<&str> for RawJson {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Result<SignalData, String> {
        SignalData::read(&Message::text(text.to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_signal_is_a_message_and_whom_it_is_for() {
        let all = r#"{"message":"hi","path":"/a","group":"g","clientId":"c","direct":true,"other":1}"#;
        let data = read(all).unwrap();
        let SignalData { message, path, group, client_id, direct } = data;
        assert!(message == "hi");
        assert_eq!((path.as_deref(), group.as_deref()), (Some("/a"), Some("g")));
        assert_eq!((client_id.as_deref(), direct), (Some("c"), true));
        let only = SignalData { message: json!({"a": 1}).into(), ..SignalData::default() };
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
            r#"{"message":"hi"}{"#,
            r#"{"message":[1,]}"#,
            r#"{"path":"/a","message":"\ud800"}x"#,
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
            let data = SignalData { message: json!(text).into(), path, direct, ..SignalData::default() };
            let json = json!({"message": data.message, "path": data.path, "direct": data.direct});
            let sent = data.to_message();
            prop_assert_eq!(sent.as_text(), Some(&*text));
            prop_assert_eq!(read(&json.to_string()), Ok(data));
        }
    }

    #[test]
    fn texts_are_sent_on_as_they_are_and_the_rest_as_json() {
        let sent =
            |message: Value| SignalData { message: message.into(), ..SignalData::default() }.to_message();
        assert_eq!(sent(json!("a \"b\"")).as_text(), Some("a \"b\""));
        assert_eq!(sent(json!({"a": [1, null]})).as_text(), Some(r#"{"a":[1,null]}"#));
        assert_eq!(sent(json!(7)).as_text(), Some("7"));
    }

    #[test]
    fn what_is_sent_on_is_the_json_as_it_came_and_is_read_when_it_is_asked_for() {
        let data = read(r#"{"message": {"n": [1, 2.50]}, "other": {"message": 1}}"#).unwrap();
        assert_eq!(data.to_message().as_text(), Some(r#"{"n": [1, 2.50]}"#));
        assert_eq!(data.message.get(), r#"{"n": [1, 2.50]}"#);
        assert_eq!(data.message.as_text(), None);
        assert_eq!(data.message.json::<Value>().unwrap(), json!({"n": [1, 2.5]}));
        assert!(data.message.json::<String>().is_err());
        let text = read(r#"{"message":"a \"b\" \u00e9","MESSAGE":"the last counts"}"#).unwrap();
        assert_eq!(text.message.as_text().as_deref(), Some("the last counts"));
        assert!(text.message == "the last counts" && text.message == *"the last counts");
        assert_eq!(SignalData::default().message.get(), "null");
    }

    #[test]
    fn what_no_reader_could_take_is_no_signal() {
        let nested = |depth: usize| format!(r#"{{"message":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(128)).is_ok());
        for wrong in [nested(129), nested(100_000), r#"{"message":"\ud800"}"#.to_owned()] {
            assert_eq!(read(&wrong), Err("the message is not a valid signal".to_owned()));
        }
        let brackets = format!(r#"{{"message":"\"{}"}}"#, "[".repeat(1000));
        assert!(read(&brackets).is_ok(), "in a text they nest nothing");
    }

    #[test]
    fn however_many_values_a_signal_holds_it_is_kept_as_its_text() {
        // As values, each of these objects takes more than a hundred bytes.
        let members = vec![r#"{"":0}"#; 100_000].join(",");
        let text = format!(r#"{{"message":[{members}],"other":[{members}]}}"#);
        let data = read(&text).unwrap();
        assert_eq!(data.message.get().len(), members.len() + 2);
        assert_eq!(data.to_message().len(), members.len() + 2);
    }
}
