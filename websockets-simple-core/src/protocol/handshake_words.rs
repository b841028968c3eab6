//! Words of the opening handshake that both ends know.

/// Response header by which a server of this library says that the connection is upgraded only to be refused.
pub const VERDICT_HEADER: &str = "websockets-simple-verdict";

/// The value of [`VERDICT_HEADER`] for a client that is not authorized.
pub const VERDICT_UNAUTHORIZED: &str = "unauthorized";

/// Begins an offered subprotocol that carries a token in base64url; it is never selected.
pub const BEARER_PREFIX: &str = "bearer.";

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
    use super::has_token;

    #[test]
    fn a_token_is_found_in_any_line_and_in_any_case_but_never_in_part() {
        assert!(has_token(["keep-alive, Upgrade"], "upgrade"));
        assert!(has_token(["keep-alive", " UPGRADE "], "upgrade"));
        assert!(!has_token(["keep-alive, upgrades", ""], "upgrade"));
        assert!(!has_token([], "upgrade"));
    }
}
