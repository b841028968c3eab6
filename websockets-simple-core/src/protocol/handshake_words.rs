//! Words of the opening handshake that both ends know.

use crate::protocol::control::SUBPROTOCOL;

/// Response header by which a server of this library says that the connection is upgraded only to be refused.
pub const VERDICT_HEADER: &str = "websockets-simple-verdict";

/// The value of [`VERDICT_HEADER`] for a client that is not authorized.
pub const VERDICT_UNAUTHORIZED: &str = "unauthorized";

/// Begins an offered subprotocol that carries a token in base64url; it is never selected.
pub const BEARER_PREFIX: &str = "bearer.";

/// Begins an offered subprotocol that stands for the one behind it, together with control messages.
pub const WITH_CONTROLS: &str = "websockets-simple+";

/// The subprotocol that is agreed on by this offer, and whether control messages are.
#[must_use]
pub fn agreed_by(offer: &str) -> (&str, bool) {
    match offer.strip_prefix(WITH_CONTROLS) {
        Some(name) => (name, true),
        None => (offer, offer == SUBPROTOCOL),
    }
}

/// Body of the refusal of a client that offers no subprotocol of the server, as the .NET library words it.
pub const NO_SUBPROTOCOL: &str = "Invalid subprotocols requested";

/// Whether a header that is a list of tokens, possibly over several lines (RFC 9110 section 5.3), has this one. Case
/// does not matter.
pub fn has_token<'a>(lines: impl IntoIterator<Item = &'a str>, token: &str) -> bool {
    let is_token = |held: &[u8]| held.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
    lines.into_iter().any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_token))
}

#[cfg(test)]
mod tests {
    use super::{agreed_by, has_token};

    #[test]
    fn an_offer_stands_for_the_subprotocol_behind_the_prefix_with_control_messages() {
        assert_eq!(agreed_by("chat"), ("chat", false));
        assert_eq!(agreed_by("websockets-simple+chat"), ("chat", true));
        assert_eq!(agreed_by("websockets-simple+a+b"), ("a+b", true));
        assert_eq!(agreed_by("websockets-simple"), ("websockets-simple", true));
        assert_eq!(agreed_by("websockets-simpler"), ("websockets-simpler", false));
    }

    #[test]
    fn a_token_is_found_in_any_line_and_in_any_case_but_never_in_part() {
        assert!(has_token(["keep-alive, Upgrade"], "upgrade"));
        assert!(has_token(["keep-alive", " UPGRADE "], "upgrade"));
        assert!(!has_token(["keep-alive, upgrades", ""], "upgrade"));
        assert!(!has_token([], "upgrade"));
    }
}
