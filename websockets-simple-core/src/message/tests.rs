use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Quote<'a> {
    symbol: &'a str,
    price: f64,
}

fn text(message: impl IntoMessage) -> String {
    message.into_message().unwrap().to_string()
}

#[test]
fn any_serializable_value_is_sent_in_one_word_and_read_in_one() {
    let quote = Quote { symbol: "ACME", price: 12.5 };
    let message = Json(&quote).into_message().unwrap();
    assert_eq!(message, Message::text(r#"{"symbol":"ACME","price":12.5}"#));
    // Borrowed from the message, which serde_json can do and a `DeserializeOwned` could not.
    assert_eq!(message.json::<Quote<'_>>().unwrap(), quote);
    assert_eq!(text(Json(vec![1, 2])), "[1,2]");
    assert_eq!(text(Json("a")), r#""a""#);
    assert_eq!(text(Json(serde_json::json!({ "a": null }))), r#"{"a":null}"#);
}

#[test]
fn a_string_is_a_packet_and_a_message_of_the_same_text_is_not() {
    let owned = "hi".to_owned();
    for packet in [text("hi"), text(&owned), text(owned.clone())] {
        assert!(packet.starts_with(r#"{"Data":"hi","Timestamp":""#), "{packet}");
    }
    assert_eq!(text(Message::from("hi")), "hi");
    let raw = Message::from(owned);
    assert_eq!((text(&raw), text(raw)), ("hi".to_owned(), "hi".to_owned()));
}

#[test]
fn bytes_are_sent_as_they_are() {
    let expected = Message::binary(vec![1, 2]);
    assert_eq!(vec![1, 2].into_message().unwrap(), expected);
    assert_eq!(Bytes::from_static(&[1, 2]).into_message().unwrap(), expected);
    assert_eq!([1, 2].as_slice().into_message().unwrap(), expected);
}

#[test]
fn a_type_of_another_crate_can_be_a_message_by_value_and_by_reference() {
    struct Flag(bool);
    impl IntoMessage for Flag {
        fn into_message(self) -> Result<Message, EncodeError> {
            (&self).into_message()
        }
    }
    impl IntoMessage for &Flag {
        fn into_message(self) -> Result<Message, EncodeError> {
            if self.0 { Ok(Message::from(vec![1])) } else { Err(EncodeError::new("no such flag")) }
        }
    }
    assert_eq!(Flag(true).into_message().unwrap(), Message::binary(vec![1]));
    let error = Flag(false).into_message().unwrap_err();
    assert_eq!(error.to_string(), "the value cannot be encoded");
    assert_eq!(error.source().unwrap().to_string(), "no such flag");
}

#[test]
fn a_value_without_a_json_form_is_an_error_that_can_be_kept() {
    let error = Json(BTreeMap::from([((1, 2), 3)])).into_message().unwrap_err();
    let kept = error.clone();
    assert_eq!(kept.to_string(), error.to_string());
    assert!(kept.source().unwrap().to_string().contains("key must be a string"), "{error:?}");
}
