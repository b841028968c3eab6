//! What a .NET v6 server certainly loses of what is sent to it.

use std::num::NonZeroU32;

use crate::protocol::Message;

/// The server's word for an alive client, which it does not hand on.
const PONG: &str = "pong";

/// A byte 3 is how the server knows a Close: it looks for the first byte of the code 1000 anywhere in a payload.
const CLOSE: u8 = 3;

/// The limits of a .NET v6 server, which reads frames by hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct V6Server {
    /// Largest payload in bytes.
    largest: NonZeroU32,
}

/// Why a .NET v6 server would lose a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum V6Loss {
    /// Its payload is empty or blank: the server drops it.
    #[error("it drops messages that are empty or blank")]
    Blank,
    /// It contains U+0003, or a byte 3: the server takes that for a Close, and hands on what is before it.
    #[error("it takes U+0003, or a byte 3, for a Close")]
    ByteThree,
    /// It is sent in parts: the server takes each part for a message.
    #[error("it takes each part of a message for a message")]
    Parts,
    /// It is the word `pong`: the server takes that for the answer to its ping.
    #[error("it takes the word `pong` for the answer to its ping")]
    Pong,
    /// Its payload is too long: the server takes the length for another one.
    #[error("it reads no message of more than {most} bytes")]
    TooLong {
        /// The longest payload that it reads.
        most: u32,
    },
}

impl V6Server {
    /// Over plain TCP: it does not read lengths of 64 bits (RFC 6455 section 5.2).
    pub const PLAIN: Self = Self { largest: NonZeroU32::new(65_535).unwrap() };

    /// Over TLS: its reads end with the record, which holds 16,384 bytes (RFC 8446 section 5.1), eight of them for the
    /// header of the frame.
    pub const TLS: Self = Self { largest: NonZeroU32::new(16_376).unwrap() };

    /// Whether the server can read this message, alone and in time.
    ///
    /// # Errors
    ///
    /// [`V6Loss`] when it certainly cannot.
    pub(crate) fn check(self, message: &Message) -> Result<(), V6Loss> {
        let payload = message.as_bytes();
        let most = self.largest.get();
        if payload.len() > most as usize {
            return Err(V6Loss::TooLong { most });
        }
        if payload.contains(&CLOSE) {
            return Err(V6Loss::ByteThree);
        }
        // It reads any payload as text.
        match String::from_utf8_lossy(payload).trim() {
            "" => Err(V6Loss::Blank),
            word if word.eq_ignore_ascii_case(PONG) => Err(V6Loss::Pong),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<(), V6Loss> {
        V6Server::PLAIN.check(&Message::text(text))
    }

    #[test]
    fn what_the_original_server_lost_is_refused_with_the_reason() {
        for blank in ["", " ", "\r\n\t", "\u{a0}\u{2003}\u{3000}\u{85}"] {
            assert_eq!(check(blank), Err(V6Loss::Blank), "{blank:?}");
        }
        for pong in ["pong", "Pong", " PONG\r\n"] {
            assert_eq!(check(pong), Err(V6Loss::Pong), "{pong:?}");
        }
        assert_eq!(check("a\u{3}b"), Err(V6Loss::ByteThree));
        let binary = |bytes: &[u8]| V6Server::PLAIN.check(&Message::binary(bytes.to_vec()));
        assert_eq!(binary(b"\xff\x03"), Err(V6Loss::ByteThree));
        assert_eq!(binary(b""), Err(V6Loss::Blank));
        assert_eq!(binary(b" \t"), Err(V6Loss::Blank));
    }

    #[test]
    fn the_longest_message_that_arrives_depends_on_tls() {
        for (server, most) in [(V6Server::PLAIN, 65_535), (V6Server::TLS, 16_376)] {
            let of = |len| server.check(&Message::text("x".repeat(len)));
            assert_eq!(of(most), Ok(()));
            assert_eq!(of(most + 1), Err(V6Loss::TooLong { most: most as u32 }));
        }
    }

    #[test]
    fn what_arrives_is_not_refused() {
        for text in ["x", "ping", "pong!", "ponged", "\u{feff}", "\0", "\u{1c}", "日本"] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        // It comes as text, with U+FFFD for the byte.
        assert_eq!(V6Server::PLAIN.check(&Message::binary(vec![0xff])), Ok(()));
    }

    proptest! {
        #[test]
        fn a_packet_is_refused_for_its_length_alone(data: String) {
            let packet = crate::DefaultPacket::new(data);
            prop_assert_eq!(V6Server::PLAIN.check(&crate::IntoMessage::into_message(&packet).unwrap()), Ok(()));
        }
    }
}
