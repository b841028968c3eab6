//! Lines, as messages to the server.

use websockets_simple_client::{DefaultPacket, IntoMessage, Message};

use super::hex;
use crate::{compat::Compat, in_one_line};

/// What a line is sent as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speech {
    Text,
    /// Hexadecimal digits, as bytes.
    Binary,
    /// The data of a packet.
    Packets,
    /// As applications of these peers send it.
    Compat(Compat),
}

impl Speech {
    /// The message for a line, or why there is none.
    pub(super) fn message(self, line: &str) -> Result<Message, String> {
        match self {
            Self::Text => Ok(Message::text(line)),
            Self::Binary => Ok(Message::binary(hex::parse(line)?)),
            Self::Packets => (&DefaultPacket::new(line)).into_message().map_err(|error| in_one_line(&error)),
            Self::Compat(compat) => compat.said(line).map_err(|error| in_one_line(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_text_bytes_or_the_data_of_a_packet() {
        assert_eq!(Speech::Text.message("00ff"), Ok(Message::text("00ff")));
        assert_eq!(Speech::Binary.message("00ff"), Ok(Message::binary(vec![0, 255])));
        assert!(Speech::Binary.message("hello").is_err());
        let packet = Speech::Packets.message("hello").unwrap();
        assert_eq!(packet.packet::<DefaultPacket>().unwrap().data, "hello");
    }
}
