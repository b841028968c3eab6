//! The option `--compat` of the programs.

use websockets_simple_server::{Compatibility, DefaultPacket, IntoMessage, Message};

/// A generation of deployed peers of the .NET library.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Compat {
    /// v2.1.10 to v6.0.20: packets, text ping.
    V6,
    /// v6.0.22 to v7.0.9: text and binary.
    V7,
}

impl From<Compat> for Compatibility {
    fn from(compat: Compat) -> Self {
        match compat {
            Compat::V6 => Self::DotNetV6,
            Compat::V7 => Self::DotNetV7,
        }
    }
}

impl Compat {
    /// A line as applications of these peers send it.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn said(self, line: &str) -> Result<Message, websockets_simple_server::EncodeError> {
        match self {
            Self::V6 => (&DefaultPacket::new(line)).into_message(),
            Self::V7 => Ok(Message::text(line)),
        }
    }

    /// The line that such a peer sent; `None` if it is binary.
    #[must_use]
    pub fn heard(self, message: &Message) -> Option<String> {
        match self {
            Self::V6 => message.packet::<DefaultPacket>().ok().map(|packet| packet.data),
            Self::V7 => message.as_text().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v6_peers_speak_in_packets_and_v7_peers_in_plain_text() {
        let packet = Compat::V6.said("hi").unwrap();
        assert!(packet.as_text().unwrap().starts_with(r#"{"Data":"hi","Timestamp":""#));
        assert_eq!(Compat::V6.heard(&packet).as_deref(), Some("hi"));
        assert_eq!(Compat::V6.heard(&Message::text("bare")).as_deref(), Some("bare"));
        assert_eq!(Compat::V7.said("hi").unwrap(), Message::text("hi"));
        assert_eq!(Compat::V7.heard(&packet).as_deref(), packet.as_text());
        assert_eq!(Compat::V7.heard(&Message::binary(vec![1])), None);
    }
}
