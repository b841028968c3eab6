//! The type and the fields of a packet.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};
use websockets_simple_client::{DefaultPacket, Message};

/// Fields that name the type of a packet.
const TYPES: [&str; 2] = ["type", "PacketExtendedType"];

/// The fields of an object, in the order in which they were sent, and their values as they were written.
struct Fields(Vec<(String, Box<RawValue>)>);

/// A packet as `TYPE NAME=VALUE ..`. `None` if the message is none.
pub(super) fn of_packet(message: &Message) -> Option<String> {
    let text = message.as_text()?;
    let Fields(fields) = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(_) => relaxed(message, text)?,
    };
    let is_type = |name: &str| TYPES.contains(&name);
    let kind = fields.iter().find(|(name, _)| is_type(name)).map(|(_, value)| {
        // A type that is no text is a number.
        serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
    });
    let is_default = || fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("data"));
    let kind = kind.unwrap_or_else(|| if is_default() { "packet" } else { "object" }.to_owned());
    let mut shown = kind;
    for (name, value) in fields.iter().filter(|(name, _)| !is_type(name)) {
        shown = format!("{shown} {name}={}", value.get());
    }
    Some(shown)
}

/// What is no JSON to others but a packet to the .NET library: single quotes, names without quotes, comments.
fn relaxed(message: &Message, text: &str) -> Option<Fields> {
    let packet = message.packet::<DefaultPacket>().ok()?;
    // Any other text becomes the data of a packet.
    if packet.data == text {
        return None;
    }
    let mut fields = vec![("Data".to_owned(), to_raw_value(&packet.data).ok()?)];
    if let Some(at) = packet.timestamp {
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        fields.push(("Timestamp".to_owned(), to_raw_value(&at).ok()?));
    }
    Some(Fields(fields))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_its_type_and_its_fields_in_order() {
        for (text, shown) in [
            (
                r#"{"Data":"hi","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#,
                r#"packet Data="hi" Timestamp="2022-03-05T19:42:01.6305503Z""#,
            ),
            (r#"{"Data":"a","PacketExtendedType":1,"Username":null}"#, r#"1 Data="a" Username=null"#),
            (r#"{"type":"say","text":"a b","from":"Ronald"}"#, r#"say text="a b" from="Ronald""#),
            (r#"{"zebra":1,"ape":[2]}"#, "object zebra=1 ape=[2]"),
            // As the .NET library reads it.
            ("{Data:'hi'}", r#"packet Data="hi""#),
        ] {
            assert_eq!(of_packet(&Message::text(text)).as_deref(), Some(shown));
        }
        for text in ["hello", "[1]", "{", "5"] {
            assert_eq!(of_packet(&Message::text(text)), None, "{text}");
        }
        assert_eq!(of_packet(&Message::binary(&b"{}"[..])), None);
    }
}
