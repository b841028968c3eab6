//! Reading a packet takes little memory, whatever JSON a peer nests in it.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use peak_alloc::PeakAlloc;
use websockets_simple_server::{DefaultPacket, Message, SignalData};

/// Counts the live bytes of this process, of which the one test here is all.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes that reading may take for each byte of the text: it is copied where it is no JSON, and once more for the data.
const PER_BYTE: usize = 4;

#[test]
fn reading_nested_json_builds_nothing_but_what_the_packet_holds() {
    let dense = format!("[{}]", vec![r#"{"":0}"#; 20_000].join(","));
    let lists = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let lists = format!("[{}]", vec![lists; 700].join(","));
    for nested in [dense, lists] {
        for text in [
            nested.clone(),
            format!(r#"{{"Data":"hi","Extra":{nested}}}"#),
            format!(r#"{{"Data":{nested}}}"#),
            format!(r#"{{"Data":"hi","Timestamp":{nested}}}"#),
            format!(r#"{{'Data':"hi",Extra:{nested},}}"#),
            format!(r#"{{"Data":"hi","Extra":{nested}"#),
            format!(r#"{{"value":"chat","message":{nested}}}"#),
        ] {
            let most = PER_BYTE * text.len();
            let message = Message::text(text);
            let peak_of = |read: &dyn Fn()| {
                HEAP.reset_peak_usage();
                let before = HEAP.current_usage();
                read();
                HEAP.peak_usage() - before
            };
            let begin = &message.as_text().unwrap()[..20];
            let packet = peak_of(&|| drop(message.packet::<DefaultPacket>().unwrap()));
            assert!(packet <= most, "{begin}: {packet} bytes");
            let strict = peak_of(&|| drop(message.try_packet::<DefaultPacket>()));
            assert!(strict <= most, "{begin}: {strict} bytes");
            let signal = peak_of(&|| drop(serde_json::from_str::<SignalData>(message.as_text().unwrap())));
            assert!(signal <= most, "{begin}: {signal} bytes");
        }
    }
}
