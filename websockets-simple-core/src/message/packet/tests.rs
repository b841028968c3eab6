use chrono::{TimeZone, Timelike};
use proptest::prelude::*;

use super::*;
use crate::dotnet::{self, NumericEnum};

#[derive(Clone, Copy, Debug, PartialEq)]
enum PacketExtendedType {
    PacketType1,
    PacketType2,
}

impl NumericEnum for PacketExtendedType {
    const ALL: &'static [Self] = &[Self::PacketType1, Self::PacketType2];

    fn number(self) -> i64 {
        self as i64
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PacketExtended {
    data: String,
    #[serde(default, with = "dotnet::timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<DateTime<Utc>>,
    #[serde(with = "dotnet::numeric_enum")]
    packet_extended_type: PacketExtendedType,
    username: Option<String>,
    first_name: String,
    last_name: String,
}

impl Packet for PacketExtended {
    fn data(&self) -> &str {
        &self.data
    }

    fn timestamp(&self) -> Option<DateTime<Utc>> {
        self.timestamp
    }

    fn from_text(text: &str) -> Self {
        Self {
            data: text.to_owned(),
            timestamp: Some(timestamp::now()),
            packet_extended_type: PacketExtendedType::PacketType1,
            username: None,
            first_name: "FakeFirstName".to_owned(),
            last_name: "FakeLastName".to_owned(),
        }
    }
}

fn time(nanoseconds: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2022, 3, 5, 19, 42, 1).unwrap().with_nanosecond(nanoseconds).unwrap()
}

fn written(data: &str, timestamp: Option<DateTime<Utc>>) -> String {
    serde_json::to_string(&DefaultPacket { data: data.to_owned(), timestamp }).unwrap()
}

/// Reads a text that is a packet.
fn read(text: &str) -> DefaultPacket {
    let message = Message::text(text);
    let strict = message.try_packet().unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(message.packet::<DefaultPacket>().unwrap(), strict);
    strict
}

/// Expects that a text is no packet and becomes the data of one.
fn is_raw(text: &str) {
    let message = Message::text(text);
    assert!(message.try_packet::<DefaultPacket>().is_err(), "{text}");
    let packet: DefaultPacket = message.packet().unwrap();
    assert_eq!(packet.data, text);
    assert!(packet.timestamp.is_some(), "{text}");
}

#[test]
fn the_default_packet_is_written_as_dotnet_writes_it() {
    assert_eq!(
        written("hello", Some(time(630_550_300))),
        r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#
    );
    assert_eq!(
        written("hello", Some(time(120_000_000))),
        r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01.12Z"}"#
    );
    assert_eq!(written("hello", Some(time(0))), r#"{"Data":"hello","Timestamp":"2022-03-05T19:42:01Z"}"#);
}

#[test]
fn a_missing_timestamp_stays_missing() {
    let packet = read(r#"{"Data":"hello"}"#);
    assert_eq!(packet.timestamp(), None);
    assert_eq!(written(&packet.data, packet.timestamp), r#"{"Data":"hello"}"#);
}

#[test]
fn only_what_json_requires_is_escaped() {
    assert_eq!(written("äß€😀/<>&'\u{7f}", None), "{\"Data\":\"äß€😀/<>&'\u{7f}\"}");
    assert_eq!(written("\"\\\n\t\u{1f}", None), r#"{"Data":"\"\\\n\t\u001f"}"#);
}

#[test]
fn a_timestamp_that_dotnet_cannot_hold_is_refused_when_sent() {
    use crate::message::IntoMessage;

    let packet = DefaultPacket { data: "a".to_owned(), timestamp: Some(DateTime::<Utc>::MAX_UTC) };
    assert!((&packet).into_message().is_err());
}

#[test]
fn a_new_packet_is_stamped_now_in_steps_of_100_ns() {
    let before = timestamp::now();
    let stamp = DefaultPacket::new("a").timestamp().unwrap();
    assert!((before..=Utc::now()).contains(&stamp));
    assert_eq!(stamp.nanosecond() % 100, 0);
}

#[test]
fn a_packet_is_read_whatever_the_case_of_its_names() {
    let expected = DefaultPacket { data: "a".to_owned(), timestamp: Some(time(0)) };
    assert_eq!(read(r#"{"data":"a","timestamp":"2022-03-05T19:42:01Z"}"#), expected);
    assert_eq!(read(r#"{"TIMESTAMP":"2022-03-05T19:42:01Z","dAtA":"a"}"#), expected);
}

#[test]
fn unknown_names_are_ignored_and_the_last_of_two_values_counts() {
    assert_eq!(read(r#"{"Data":"a","x":{"Data":"no"},"data":"b","y":[null]}"#).data, "b");
    assert_eq!(read(r#"{"Data":"","Data":"b"}"#).data, "b");
    is_raw(r#"{"Data":"a","Data":""}"#);
}

#[test]
fn data_given_as_a_number_or_a_boolean_keeps_its_text() {
    assert_eq!(read(r#"{"Data":5}"#).data, "5");
    assert_eq!(read(r#"{"Data":1.50}"#).data, "1.50");
    assert_eq!(read(r#"{"Data":true}"#).data, "true");
}

#[test]
fn timestamps_with_offsets_and_in_the_old_form_are_read() {
    for stamp in ["2022-03-05T21:42:01+02:00", "2022-03-05T19:42:01", r"\/Date(1646509321000)\/"] {
        assert_eq!(
            read(&format!(r#"{{"Data":"a","Timestamp":"{stamp}"}}"#)).timestamp,
            Some(time(0)),
            "{stamp}"
        );
    }
}

#[test]
fn a_dotnet_packet_whose_timestamp_was_never_set_has_none() {
    assert_eq!(read(r#"{"Data":"a","Timestamp":"0001-01-01T00:00:00"}"#).timestamp, None);
}

#[test]
fn a_packet_with_a_bad_timestamp_becomes_raw_text() {
    for stamp in ["null", "5", "1646509321000", "true", "\"\"", "\"soon\"", "[]", "{}"] {
        is_raw(&format!(r#"{{"Data":"a","Timestamp":{stamp}}}"#));
    }
}

#[test]
fn data_that_is_an_object_or_an_array_makes_raw_text() {
    is_raw(r#"{"Data":{"a":1}}"#);
    is_raw(r#"{"Data":["a"]}"#);
}

#[test]
fn json_that_is_no_object_is_raw_text() {
    for text in ["null", "[]", r#"[{"Data":"a"}]"#, r#"["a","2022-03-05T19:42:01Z"]"#, r#""a""#, "5", "true"]
    {
        is_raw(text);
    }
}

#[test]
fn text_behind_a_packet_makes_the_whole_of_it_raw() {
    is_raw(r#"{"Data":"a"} and more"#);
    is_raw(r#"{"Data":"a"}{"Data":"b"}"#);
}

#[test]
fn what_newtonsoft_reads_beyond_json_is_a_packet() {
    for (text, data) in [
        ("{'Data':'a'}", "a"),
        (r#"{Data:"a",}"#, "a"),
        ("{\"Data\":\"a\tb\nc\"}", "a\tb\nc"),
        (r#"{"Data":"hi \ud83d"}"#, "hi \u{fffd}"),
        (r#"/* c */{"Data":NaN}"#, "NaN"),
        (r#"{"Data":0x1F,"more":undefined}"#, "0x1F"),
    ] {
        assert_eq!(read(text).data, data, "{text}");
    }
    assert_eq!(read("{Data:'a',Timestamp:'2022-03-05T19:42:01Z'}").timestamp, Some(time(0)));
    for text in ["{Data:undefined}", "{Data:new Date(1)}", "{Data:'a',Timestamp:NaN}", "{Data:a}", "{Data:}"]
    {
        is_raw(text);
    }
}

#[test]
fn an_object_without_data_comes_through_as_its_own_text() {
    is_raw("{}");
    is_raw(r#"{"Timestamp":"2022-03-05T19:42:01Z"}"#);
    is_raw(r#"{"Kind":1}"#);
}

#[test]
fn a_packet_with_blank_data_becomes_raw_text_or_a_typed_error() {
    for data in ["null", r#""""#, r#"" ""#, r#""\t\r\n \u00a0\u2003\u3000""#] {
        let text = format!(r#"{{"Data":{data}}}"#);
        is_raw(&text);
        assert!(
            matches!(Message::text(text).try_packet::<DefaultPacket>(), Err(DecodeError::Blank)),
            "{data}"
        );
    }
}

#[test]
fn received_text_is_not_trimmed() {
    is_raw("  hello \n");
    is_raw("");
    assert_eq!(read(" {\"Data\":\" a \"} ").data, " a ");
}

#[test]
fn a_binary_message_is_never_a_packet() {
    let message = Message::binary(&br#"{"Data":"a"}"#[..]);
    assert!(matches!(message.packet::<DefaultPacket>(), Err(DecodeError::Binary)));
    assert!(matches!(message.try_packet::<DefaultPacket>(), Err(DecodeError::Binary)));
    assert!(matches!(json::<DefaultPacket>(&message), Err(DecodeError::Binary)));
}

#[test]
fn a_decode_error_says_its_own_level_and_its_source_the_next() {
    let error = Message::text(r#"{"Data":[]}"#).try_packet::<DefaultPacket>().unwrap_err();
    assert_eq!(error.to_string(), "the text is not JSON of the requested type: line 1, column 9");
    assert!(error.source().unwrap().to_string().contains("expected a string"));
}

/// Where a text differs from an extended packet.
fn place(text: &str) -> Option<(usize, usize)> {
    match Message::text(text).try_packet::<PacketExtended>() {
        Err(DecodeError::Json { position, .. }) => position,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_error_says_where_in_the_whole_text_it_is() {
    let whole = r#"{"Data":"a","PacketExtendedType":0,"Username":null,"FirstName":"b","LastName":"c"}"#;
    assert!(Message::text(whole).try_packet::<PacketExtended>().is_ok());
    // Not JSON, at its first wrong byte.
    assert_eq!(place(r#"{"Data":"a",}"#), Some((1, 13)));
    assert_eq!(place("{\n\"Data\" \"a\"}"), Some((2, 8)));
    assert_eq!(place("\n\n  {\"Data\":\"a\"} x"), Some((3, 16)));
    // A value of another type, at its end or its begin.
    assert_eq!(place(&whole.replace(r#""b""#, "[]")), Some((1, 64)));
    assert_eq!(place(&whole.replace(r#""b""#, "\n [\n1]")), Some((2, 2)));
    assert_eq!(place(&format!("\r\n {}", whole.replace(":0", ":9"))), Some((2, 35)));
    // A missing field, at the begin of its object.
    assert_eq!(place(&whole.replace("LastName", "Other")), Some((1, 1)));
    assert_eq!(place(&format!("\n  {}", whole.replace("LastName", "Other"))), Some((2, 3)));
    assert_eq!(place("words"), None);
}

#[test]
fn the_place_of_an_error_deep_inside_is_that_in_the_whole_text() {
    #[derive(Debug, Deserialize, Serialize)]
    struct Inner {
        number: u8,
    }
    #[derive(Debug, Deserialize, Serialize)]
    struct Outer {
        data: String,
        list: Vec<Option<Inner>>,
    }
    impl Packet for Outer {
        fn data(&self) -> &str {
            &self.data
        }
        fn timestamp(&self) -> Option<DateTime<Utc>> {
            None
        }
        fn from_text(text: &str) -> Self {
            Self { data: text.to_owned(), list: Vec::new() }
        }
    }
    let text =
        "{\"data\": \"a at line 7 column 8\",\n\"list\": [{\"number\": 1},\n null, {\"number\": \"x\"}]}";
    let error = Message::text(text).try_packet::<Outer>().unwrap_err();
    let DecodeError::Json { position, source } = error else { panic!("{error:?}") };
    assert_eq!(position, Some((3, 21)), "{source}");
    assert_eq!(source.to_string(), "invalid type: string \"x\", expected u8 at line 3 column 21");
    let missing = text.replace("number\": \"x", "other\": \"x");
    let error = Message::text(missing).try_packet::<Outer>().unwrap_err();
    assert!(matches!(error, DecodeError::Json { position: Some((3, 8)), .. }), "{error:?}");
}

#[test]
fn json_is_read_strictly() {
    assert!(json::<DefaultPacket>(&Message::text(r#"{"Data":"a"}"#)).is_ok());
    assert!(matches!(
        json::<DefaultPacket>(&Message::text(r#"{"data":"a"}"#)),
        Err(DecodeError::Json { .. })
    ));
    assert!(matches!(json::<DefaultPacket>(&Message::text(r#"{"Data":5}"#)), Err(DecodeError::Json { .. })));
    assert_eq!(json::<Vec<u8>>(&Message::text("[1,2]")).unwrap(), [1, 2]);
}

#[test]
fn an_extended_packet_is_written_in_declaration_order_with_its_enum_as_a_number() {
    let packet = PacketExtended {
        data: "YourDataPayload".to_owned(),
        timestamp: Some(time(630_550_300)),
        packet_extended_type: PacketExtendedType::PacketType2,
        username: None,
        first_name: "FakeFirstName".to_owned(),
        last_name: "FakeLastName".to_owned(),
    };
    let text = concat!(
        r#"{"Data":"YourDataPayload","Timestamp":"2022-03-05T19:42:01.6305503Z","PacketExtendedType":1,"#,
        r#""Username":null,"FirstName":"FakeFirstName","LastName":"FakeLastName"}"#
    );
    assert_eq!(serde_json::to_string(&packet).unwrap(), text);
    assert_eq!(Message::text(text).try_packet::<PacketExtended>().unwrap(), packet);
}

#[test]
fn an_extended_packet_is_read_as_leniently_as_the_default_one() {
    let text = r#"{"data":1,"PACKETEXTENDEDTYPE":"1","firstname":null,"LastName":"a","lastname":true,"x":0}"#;
    let packet: PacketExtended = Message::text(text).try_packet().unwrap();
    assert_eq!((packet.data(), packet.timestamp()), ("1", None));
    assert_eq!(packet.packet_extended_type, PacketExtendedType::PacketType2);
    assert_eq!((packet.username, packet.first_name.as_str(), packet.last_name.as_str()), (None, "", "true"));
}

#[test]
fn a_default_packet_is_the_common_part_of_an_extended_one() {
    let sent = PacketExtended::from_text("hello");
    let received: DefaultPacket = Message::from_json(&sent).unwrap().try_packet().unwrap();
    assert_eq!(received, DefaultPacket { data: "hello".to_owned(), timestamp: sent.timestamp });
}

#[test]
fn text_that_is_no_extended_packet_becomes_one_around_it() {
    for text in
        ["hello", r#"{"Data":"a"}"#, r#"{"Data":"a","PacketExtendedType":9,"FirstName":"","LastName":""}"#]
    {
        let packet: PacketExtended = Message::text(text).packet().unwrap();
        assert_eq!((packet.data(), packet.first_name.as_str()), (text, "FakeFirstName"));
    }
}

#[test]
fn a_hundred_thousand_brackets_become_raw_text() {
    is_raw(&"[".repeat(100_000));
    is_raw(&"{\"Data\":".repeat(100_000));
    is_raw(&format!(r#"{{"Data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)));
}

fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    (-62_135_596_800i64..=253_402_300_799, 0u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| DateTime::from_timestamp(seconds, nanoseconds).unwrap())
}

fn not_blank() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("blank data is no packet", |data| !data.trim().is_empty())
}

/// Any text can be read, and the packet read from it can be sent and read again.
fn decodes<P: Packet + PartialEq + std::fmt::Debug>(message: &Message) {
    let strict = message.try_packet::<P>();
    let lenient = message.packet::<P>();
    match (message.as_text(), strict) {
        (None, strict) => {
            assert!(matches!(strict, Err(DecodeError::Binary)));
            assert!(matches!(lenient, Err(DecodeError::Binary)));
        }
        (Some(_), Ok(packet)) => {
            assert_eq!(lenient.unwrap(), packet);
            assert_eq!(Message::from_json(&packet).unwrap().try_packet::<P>().unwrap(), packet);
        }
        (Some(text), Err(_)) => assert_eq!(lenient.unwrap().data(), text),
    }
}

proptest! {
    #[test]
    fn any_packet_with_data_round_trips(data in not_blank(), timestamp in proptest::option::of(any_time())) {
        let sent = DefaultPacket { data, timestamp: timestamp.map(timestamp::cut) };
        let received: DefaultPacket = Message::from_json(&sent).unwrap().try_packet().unwrap();
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn any_extended_packet_with_data_round_trips(
        data in not_blank(),
        timestamp in proptest::option::of(any_time()),
        second in any::<bool>(),
        username in any::<Option<String>>(),
        first_name in any::<String>(),
        last_name in any::<String>(),
    ) {
        let packet_extended_type =
            if second { PacketExtendedType::PacketType2 } else { PacketExtendedType::PacketType1 };
        let timestamp = timestamp.map(timestamp::cut);
        let sent = PacketExtended { data, timestamp, packet_extended_type, username, first_name, last_name };
        let received: PacketExtended = Message::from_json(&sent).unwrap().try_packet().unwrap();
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn any_text_that_is_no_object_comes_through_whole(text in "[^{ \t\r\n].*") {
        is_raw(&text);
    }

    #[test]
    fn any_bytes_decode_to_a_packet_or_a_typed_error(bytes in any::<Vec<u8>>()) {
        let text = Message::text(String::from_utf8_lossy(&bytes).into_owned());
        for message in [text, Message::binary(bytes)] {
            decodes::<DefaultPacket>(&message);
            decodes::<PacketExtended>(&message);
        }
    }

    #[test]
    fn anything_that_looks_like_a_packet_decodes_to_one_or_a_typed_error(
        fields in proptest::collection::vec(
            (
                "Data|data|Timestamp|PACKETEXTENDEDTYPE|Username|FirstName|LastName|x",
                r#""[ -!#-\[\]-~]{0,30}"|"2022-03-05[T ]?[0-9:.+Z]{0,12}"|-?[0-9]{1,3}|true|null|\[\]|\{"a":[01]?\}"#,
            ),
            0..8,
        ),
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let message = Message::text(format!("{{{}}}", fields.join(",")));
        decodes::<DefaultPacket>(&message);
        decodes::<PacketExtended>(&message);
    }
}
