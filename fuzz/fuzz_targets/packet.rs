//! Any text message decodes to a packet or a typed error, and a packet can be sent and read again.
#![no_main]

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use websockets_simple_core::{
    DefaultPacket, Message, Packet,
    dotnet::{self, NumericEnum},
};

fuzz_target!(|bytes: &[u8]| {
    let message = Message::text(String::from_utf8_lossy(bytes).into_owned());
    decodes::<DefaultPacket>(&message);
    decodes::<PacketExtended>(&message);
});

fn decodes<P: Packet + PartialEq + Debug>(message: &Message) {
    let lenient = message.packet::<P>().expect("a text message is always a packet");
    match message.try_packet::<P>() {
        Ok(packet) => {
            assert_eq!(lenient, packet);
            let sent = Message::from_json(&packet).expect("what was read can be written");
            assert_eq!(sent.try_packet::<P>().expect("what was written can be read"), packet);
        }
        Err(_) => assert_eq!(Some(lenient.data()), message.as_text()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    First,
    Second,
}

impl NumericEnum for Kind {
    const ALL: &'static [Self] = &[Self::First, Self::Second];

    fn number(self) -> i64 {
        self as i64
    }
}

/// Has a field of every sort: nested, listed, optional.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PacketExtended {
    data: String,
    #[serde(default, with = "dotnet::timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<DateTime<Utc>>,
    #[serde(with = "dotnet::numeric_enum")]
    kind: Kind,
    username: Option<String>,
    #[serde(default)]
    replies: Vec<Self>,
    #[serde(default)]
    parent: Option<Box<Self>>,
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
            timestamp: None,
            kind: Kind::First,
            username: None,
            replies: Vec::new(),
            parent: None,
        }
    }
}
