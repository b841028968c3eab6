//! How the two ends agree on permessage-deflate (RFC 7692 section 7.1).

use std::fmt::Write;

use crate::protocol::deflate::{
    Agreement, Compression,
    extension::{Extension, MalformedExtensions, parse},
};

const NAME: &str = "permessage-deflate";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_BITS: &str = "client_max_window_bits";
const SERVER_BITS: &str = "server_max_window_bits";

/// Window bits of an end that says nothing (RFC 7692 section 7.1.2).
const MOST_BITS: u8 = 15;

/// What a client offers: neither end keeps a window from one message to the next.
pub const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits";

/// Why a server's choice of extensions cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The header cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedExtensions),
    /// An extension that was not offered, or one that was offered once and chosen twice.
    #[error("it chooses an extension that was not offered")]
    NotOffered,
    /// A parameter that RFC 7692 does not have in a response, or whose value it does not allow, or one given twice.
    #[error("it chooses permessage-deflate with parameters that are not valid")]
    Params,
}

/// The parameters of an offer or of an answer.
#[derive(Debug, Default)]
struct Params {
    client_no_takeover: bool,
    server_no_takeover: bool,
    /// `Some(None)`: given without a value.
    client_bits: Option<Option<u8>>,
    server_bits: Option<u8>,
}

impl Params {
    /// `None` for a name that is unknown or given twice, and for a value that is not allowed.
    fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut params = Self::default();
        for (name, value) in &extension.params {
            let flag = match (*name, value) {
                (CLIENT_NO_TAKEOVER, None) => &mut params.client_no_takeover,
                (SERVER_NO_TAKEOVER, None) => &mut params.server_no_takeover,
                (CLIENT_BITS, value) if params.client_bits.is_none() => {
                    params.client_bits = Some(match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    });
                    continue;
                }
                (SERVER_BITS, Some(value)) if params.server_bits.is_none() => {
                    params.server_bits = Some(bits(value)?);
                    continue;
                }
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        Some(params)
    }
}

/// A number from 8 to 15 without leading zeros (RFC 7692 section 7.1.2.1).
fn bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=MOST_BITS).contains(bits))?;
    (bits >= 10 && value.len() == 2 || bits < 10 && value.len() == 1).then_some(bits)
}

impl Compression {
    /// The server's answer to the lines of a client's `Sec-WebSocket-Extensions`, and what is agreed by it; `None` if
    /// none of the offers is one of permessage-deflate that RFC 7692 allows.
    ///
    /// # Errors
    ///
    /// [`MalformedExtensions`]: RFC 6455 section 9.1 has the handshake fail then.
    pub fn answer<'a>(
        self,
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<(Agreement, String)>, MalformedExtensions> {
        let offers = parse(lines)?;
        let Some(offer) = offers.iter().filter(|offer| offer.name == NAME).find_map(Params::read) else {
            return Ok(None);
        };
        // A server may ask for no takeover whether it was offered or not (section 7.1.1.2), and so may it promise it.
        let mut answer = format!("{NAME}; {SERVER_NO_TAKEOVER}; {CLIENT_NO_TAKEOVER}");
        if let Some(bits) = offer.server_bits {
            let _ = write!(answer, "; {SERVER_BITS}={bits}");
        }
        let peer_bits = offer.server_bits.unwrap_or(MOST_BITS);
        Ok(Some((Agreement::new(self, peer_bits, false), answer)))
    }

    /// What a server's answer to [`OFFER`] agrees on; `None` if it chose no extension.
    ///
    /// # Errors
    ///
    /// [`ExtensionError`]: the client has to fail the handshake (RFC 6455 section 4.1).
    pub fn confirm<'a>(
        self,
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Agreement>, ExtensionError> {
        let chosen = match &parse(lines)?[..] {
            [] => return Ok(None),
            [chosen] if chosen.name == NAME => Params::read(chosen).ok_or(ExtensionError::Params)?,
            _ => return Err(ExtensionError::NotOffered),
        };
        let peer_bits = match chosen.client_bits {
            None => MOST_BITS,
            // Only an offer may leave the value out (section 7.1.2.2).
            Some(bits) => bits.ok_or(ExtensionError::Params)?,
        };
        Ok(Some(Agreement::new(self, peer_bits, !chosen.server_no_takeover)))
    }
}

/// Checks that an answer has the parameters that the first valid offer asks for, and none that it rules out (RFC 7692
/// section 7.1).
#[cfg(any(test, fuzzing))]
pub(super) fn obeys<'a>(offers: impl IntoIterator<Item = &'a [u8]>, answer: &str) {
    let read = |line: &'a [u8]| {
        parse([line]).map_or_else(
            |_| Vec::new(),
            |extensions| {
                extensions.iter().filter(|offer| offer.name == NAME).filter_map(Params::read).collect()
            },
        )
    };
    let offers: Vec<Params> = offers.into_iter().flat_map(read).collect();
    let answers = parse([answer.as_bytes()]).unwrap_or_default();
    let ([answer], Some(offer)) = (&answers[..], offers.first()) else { panic!("{answer} to {offers:?}") };
    let Some(answer) = Params::read(answer) else { panic!("{answer:?} has other parameters") };
    assert!(answer.server_no_takeover && answer.client_no_takeover && answer.client_bits.is_none());
    assert_eq!(answer.server_bits, offer.server_bits);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(lines: &[&str]) -> Result<Option<(Agreement, String)>, MalformedExtensions> {
        Compression::new().answer(lines.iter().map(|line| line.as_bytes()))
    }

    fn confirm(line: &str) -> Result<Option<Agreement>, ExtensionError> {
        Compression::new().confirm([line.as_bytes()])
    }

    #[test]
    fn a_server_answers_each_valid_offer_with_what_it_does() {
        const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (offer, bits, answered) in [
            // Firefox
            ("permessage-deflate", 15, ""),
            // Chromium
            ("permessage-deflate; client_max_window_bits", 15, ""),
            // Python's websockets
            ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", 12, "=12"),
            // Safari before 15.4
            ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", 15, ""),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15, ""),
            ("permessage-deflate; server_max_window_bits=8", 8, "=8"),
            ("permessage-deflate; server_max_window_bits=\"9\"", 9, "=9"),
            ("permessage-deflate; server_max_window_bits=7, permessage-deflate", 15, ""),
            (OFFER, 15, ""),
        ] {
            let (agreement, answer) = answer(&[offer]).unwrap().unwrap_or_else(|| panic!("{offer}"));
            assert_eq!(agreement, Agreement::new(Compression::new(), bits, false), "{offer}");
            let suffix = answer.strip_prefix(PLAIN).unwrap_or_else(|| panic!("{answer}"));
            assert_eq!(
                suffix.strip_prefix("; server_max_window_bits").unwrap_or(suffix),
                answered,
                "{offer}"
            );
        }
    }

    /// RFC 7692 section 7.1: what makes a server decline an offer.
    const INVALID: [&str; 15] = [
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=015",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits=9; server_max_window_bits=9",
        "client_max_window_bits=0",
        "client_max_window_bits=x",
        "client_max_window_bits; client_max_window_bits",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
        "Server_No_Context_Takeover",
        "unknown",
    ];

    #[test]
    fn offers_with_parameters_that_are_not_allowed_are_declined() {
        for params in INVALID {
            assert_eq!(answer(&[&format!("permessage-deflate; {params}")]), Ok(None), "{params}");
        }
        assert_eq!(answer(&[]), Ok(None));
        assert_eq!(answer(&["x-webkit-deflate-frame", "permessage-bzip2"]), Ok(None));
        assert_eq!(answer(&["permessage-deflate;"]), Err(MalformedExtensions));
    }

    #[test]
    fn a_client_takes_each_answer_that_a_server_may_give() {
        for (answer, bits, keeps_window) in [
            ("permessage-deflate", 15, true),
            ("permessage-deflate; client_no_context_takeover", 15, true),
            ("permessage-deflate; server_no_context_takeover", 15, false),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=8", 8, false),
            ("permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"12\"", 12, true),
        ] {
            let expected = Agreement::new(Compression::new(), bits, keeps_window);
            assert_eq!(confirm(answer), Ok(Some(expected)), "{answer}");
        }
        assert_eq!(confirm(" , "), Ok(None));
    }

    #[test]
    fn a_client_refuses_an_answer_that_a_server_may_not_give() {
        for params in INVALID.into_iter().chain(["client_max_window_bits"]) {
            let answer = format!("permessage-deflate; {params}");
            assert_eq!(confirm(&answer), Err(ExtensionError::Params), "{params}");
        }
        for answer in ["permessage-bzip2", "permessage-deflate, permessage-deflate", "permessage-deflate, x"]
        {
            assert_eq!(confirm(answer), Err(ExtensionError::NotOffered), "{answer}");
        }
        assert_eq!(confirm("permessage-deflate; ="), Err(MalformedExtensions.into()));
    }

    fn param() -> impl Strategy<Value = String> {
        let name = prop::sample::select(
            [CLIENT_BITS, SERVER_BITS, CLIENT_NO_TAKEOVER, SERVER_NO_TAKEOVER, "x"].to_vec(),
        );
        let value = prop_oneof![
            3 => Just(String::new()),
            3 => (7u8..17).prop_map(|bits| format!("={bits}")),
            1 => (7u8..17).prop_map(|bits| format!("=\"{bits}\"")),
        ];
        (name, value).prop_map(|(name, value)| format!("; {name}{value}"))
    }

    proptest! {
        /// RFC 7692 section 7.1: an answer has the parameters that the offer asks for, and none that it rules out.
        #[test]
        fn whatever_is_offered_the_answer_obeys_the_offer(
            offers in prop::collection::vec(prop::collection::vec(param(), 0..4), 1..4)
        ) {
            let offers: Vec<_> = offers.iter().map(|params| format!("{NAME}{}", params.concat())).collect();
            let valid = offers.iter().find_map(|offer| {
                Params::read(&parse([offer.as_bytes()]).unwrap()[0])
            });
            let answer = answer(&[&offers.join(", ")]).unwrap();
            prop_assert_eq!(answer.is_some(), valid.is_some());
            if let (Some((agreement, answer)), Some(valid)) = (answer, valid) {
                obeys(offers.iter().map(|offer| offer.as_bytes()), &answer);
                prop_assert_eq!(agreement.peer_bits, valid.server_bits.unwrap_or(15));
                // Our own client takes it.
                prop_assert!(confirm(&answer).is_ok());
            }
        }
    }
}
