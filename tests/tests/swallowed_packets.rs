//! What is logged of JSON that is no packet of the type that it is read as. Alone in its process, as is what else
//! captures the log.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use websockets_simple_client::{DefaultPacket, Message};
use websockets_simple_tests::captured::Captured;

#[test]
fn json_that_becomes_the_data_of_a_packet_is_logged_with_the_reason_and_without_its_text() {
    let log = Captured::everything();
    let read = |text: &str| Message::text(text).packet::<DefaultPacket>().unwrap().data;
    for text in ["just words", "", "5", r#"["secret"]"#, r#"{"Data":"secret"}"#] {
        read(text);
    }
    assert_eq!(log.text(), "", "plain text is meant to become data, and a packet is one");
    assert_eq!(read(r#"{"Timestamp":"secret"}"#), r#"{"Timestamp":"secret"}"#);
    assert_eq!(
        read("{\"Timestamp\":\n\"2022-03-05T19:42:01Z\"}"),
        "{\"Timestamp\":\n\"2022-03-05T19:42:01Z\"}"
    );
    read(r#"{"Data":{"secret":1}}"#);
    read("{\"Data\":\" \"}");
    let log = log.text();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 4, "{log}");
    for (line, expected) in lines.iter().zip([
        "it has another form\" line=1 column=21",
        "missing field `Data` at line 1 column 1\" line=1 column=1",
        "it has another form\" line=1 column=9",
        "its data is blank\"",
    ]) {
        assert!(
            line.contains("DEBUG") && line.contains("DefaultPacket") && line.contains(expected),
            "{line}"
        );
    }
    assert!(!log.contains("secret"), "{log}");
}
