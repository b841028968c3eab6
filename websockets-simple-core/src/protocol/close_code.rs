//! Close codes (RFC 6455 section 7.4).

use std::fmt;

/// A close code that may be put on the wire.
///
/// The codes that RFC 6455 section 7.4.1 reserves for local use (1005, 1006, 1015) do not exist as
/// values of this type, so they cannot be sent.
///
/// | code | name | sent when | should the client reconnect? |
/// |---|---|---|---|
/// | 1000 | [`NORMAL`](Self::NORMAL) | either side is done | no |
/// | 1001 | [`GOING_AWAY`](Self::GOING_AWAY) | the server stops, the client handle was dropped | yes, later |
/// | 1002 | [`PROTOCOL`](Self::PROTOCOL) | the peer broke RFC 6455 | no |
/// | 1003 | [`UNSUPPORTED`](Self::UNSUPPORTED) | a kind of message that is not accepted | no |
/// | 1007 | [`INVALID_DATA`](Self::INVALID_DATA) | text that is not UTF-8 | no |
/// | 1008 | [`POLICY`](Self::POLICY) | a rate limit, not authorized, refused by a hook | no |
/// | 1009 | [`TOO_BIG`](Self::TOO_BIG) | a message above the limit | no |
/// | 1011 | [`INTERNAL`](Self::INTERNAL) | a handler panicked | yes, later |
/// | 1012 | [`RESTART`](Self::RESTART) | the service restarts | yes |
/// | 1013 | [`TRY_AGAIN`](Self::TRY_AGAIN) | overloaded | yes, later |
/// | 1014 | | a gateway got an invalid response (IANA registry) | yes, later |
/// | 4000 | [`UNRESPONSIVE`](Self::UNRESPONSIVE) | no sign of life since a heartbeat ping | yes |
/// | 4001 | [`OVERFLOW`](Self::OVERFLOW) | the peer reads too slowly | yes, later |
/// | 4002 | [`IDLE`](Self::IDLE) | nothing was received for the idle limit | yes |
/// | 4003 | [`EXPIRED`](Self::EXPIRED) | the credentials expired and were not renewed | yes, with new ones |
/// | 4004 | [`REVOKED`](Self::REVOKED) | the credentials, or all of the user's, were revoked | no |
/// | 4005 | [`REPLACED`](Self::REPLACED) | another connection has taken over the id | no |
/// | 4006 to 4099 | | kept for this library | no |
/// | 3000 to 3499, 4100 to 4499 | | what applications, libraries and frameworks choose | yes |
/// | 3500 to 3999, 4500 to 4999 | | the same | no |
///
/// The last two rows are the convention of Centrifugo, so that an application says by its choice of a code whether
/// clients shall come back. [`Disconnect::should_reconnect`](crate::Disconnect::should_reconnect) also judges ends without
/// a code.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint is going away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that is not accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: data that does not match its type, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: against the policy of this endpoint.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: an unexpected condition in this endpoint.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts (IANA registry).
    pub const RESTART: Self = Self(1012);
    /// 1013: overloaded, try again later (IANA registry).
    pub const TRY_AGAIN: Self = Self(1013);
    /// 4000, ours: the peer gave no sign of life.
    pub const UNRESPONSIVE: Self = Self(4000);
    /// 4001, ours: more was queued for the peer than its outbox holds.
    pub const OVERFLOW: Self = Self(4001);
    /// 4002, ours: nothing was received for as long as the idle limit.
    pub const IDLE: Self = Self(4002);
    /// 4003, ours: the credentials expired and were not renewed in time.
    pub const EXPIRED: Self = Self(4003);
    /// 4004, ours: the credentials, or all of the user's, were revoked.
    pub const REVOKED: Self = Self(4004);
    /// 4005, ours: another connection has taken over the id of this one.
    pub const REPLACED: Self = Self(4005);

    /// A code by its number: 1000 to 1003, 1007 to 1014 and 3000 to 4999 (RFC 6455 section 7.4.2). Applications choose
    /// from 3000 to 3999 what they register with IANA, and from 4100 to 4999 as they like: 4100 to 4499 if clients shall
    /// connect again, 4500 to 4999 if not. This library keeps 4000 to 4099.
    ///
    /// # Errors
    ///
    /// [`InvalidCloseCode`] for any other number.
    ///
    /// # Examples
    ///
    /// ```
    /// # extern crate websockets_simple_core as websockets_simple_server;
    /// use websockets_simple_server::CloseCode;
    ///
    /// const KICKED: CloseCode = match CloseCode::new(4500) {
    ///     Ok(code) => code,
    ///     Err(_) => unreachable!(),
    /// };
    /// assert!(KICKED.get() == 4500 && !KICKED.should_reconnect());
    /// assert!(CloseCode::new(1006).is_err());
    /// ```
    pub const fn new(code: u16) -> Result<Self, InvalidCloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self(code)),
            _ => Err(InvalidCloseCode(code)),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// Whether a client that is closed with this code should connect again, by the table above.
    #[must_use]
    pub fn should_reconnect(self) -> bool {
        passes(self.0)
    }
}

/// Whether what a code says passes, so that the same connection may succeed later: the last column of the table of
/// [`CloseCode`].
pub(crate) fn passes(code: u16) -> bool {
    matches!(code, 1001 | 1011..=1014 | 3000..=3499 | 4000..=4003 | 4100..=4499)
}

impl TryFrom<u16> for CloseCode {
    type Error = InvalidCloseCode;

    /// As [`new`](Self::new).
    fn try_from(code: u16) -> Result<Self, InvalidCloseCode> {
        Self::new(code)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that may not be sent as a close code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} may not be sent as a close code: allowed are 1000-1003, 1007-1014 and 3000-4999")]
pub struct InvalidCloseCode(pub u16);

/// Cuts a close reason to the 123 bytes that fit a control frame (RFC 6455 section 5.5), never inside a
/// character.
pub(crate) fn fit_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(123)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_for_local_use_cannot_be_made() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(CloseCode::try_from(code), Err(InvalidCloseCode(code)));
        }
    }

    #[test]
    fn a_client_connects_again_after_codes_that_pass() {
        let again = (0..5000)
            .filter_map(|code| CloseCode::try_from(code).ok())
            .filter(|code| code.should_reconnect());
        let again: Vec<u16> = again.map(CloseCode::get).collect();
        let ours = [1001, 1011, 1012, 1013, 1014].into_iter().chain(4000..=4003);
        let mut expected: Vec<u16> = ours.chain(3000..3500).chain(4100..4500).collect();
        expected.sort_unstable();
        assert_eq!(again, expected);
    }

    #[test]
    fn every_row_of_the_documented_table_is_what_the_code_does() {
        let rows = include_str!("close_code.rs").lines().filter_map(|line| line.strip_prefix("/// | "));
        let rows: Vec<Vec<_>> = rows.map(|row| row.trim_end_matches(" |").split(" | ").collect()).collect();
        let mut codes = std::collections::BTreeSet::new();
        for row in rows.iter().filter(|row| row[0] != "code") {
            for range in row[0].split(", ") {
                let ends: Vec<u16> = range.split(" to ").map(|code| code.parse().unwrap()).collect();
                for code in ends[0]..=ends[ends.len() - 1] {
                    assert!(codes.insert(code), "{code} is in two rows");
                    assert_eq!(passes(code), row[row.len() - 1].starts_with("yes"), "{code}");
                }
            }
        }
        let all: Vec<u16> = (0..=u16::MAX).filter(|code| CloseCode::new(*code).is_ok()).collect();
        let unlisted: Vec<_> = all.iter().filter(|code| !codes.contains(code)).collect();
        assert_eq!(unlisted, [&1010], "what only a client says");
    }

    #[test]
    fn a_code_is_shown_as_its_number() {
        let code = CloseCode::try_from(4003).unwrap();
        assert_eq!(
            (code.to_string(), format!("{code:?}")),
            ("4003".to_owned(), "CloseCode(4003)".to_owned())
        );
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let reason = "é".repeat(100);
        assert_eq!(fit_reason(&reason).len(), 122);
        assert_eq!(fit_reason("short"), "short");
    }
}
