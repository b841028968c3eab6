//! How a connection ended.

use std::fmt;

use serde::Serialize;

use crate::protocol::passes;

/// Who or what ended a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The credentials of the user expired and were not renewed.
    Expired,
    /// A handler panicked; only its own connection ends.
    HandlerPanic,
    /// The peer gave no sign of life: nothing came since a heartbeat ping, or its own pings have stopped.
    Heartbeat,
    /// Nothing was received for as long as the idle limit.
    Idle,
    /// The peer exceeded a limit: message size or rate.
    Limit,
    /// This side closed it: `disconnect`, or the last handle was dropped.
    Local,
    /// More was queued for the peer than its outbox holds.
    Overflow,
    /// The peer sent Close.
    Peer,
    /// The peer broke RFC 6455.
    Protocol,
    /// The credentials, or all of the user's, were revoked.
    Revoked,
    /// The server stopped.
    Stop,
    /// The transport failed or ended without Close.
    Transport,
}

impl EndedBy {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Expired,
        Self::HandlerPanic,
        Self::Heartbeat,
        Self::Idle,
        Self::Limit,
        Self::Local,
        Self::Overflow,
        Self::Peer,
        Self::Protocol,
        Self::Revoked,
        Self::Stop,
        Self::Transport,
    ];

    /// As it is serialized, for figures.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::HandlerPanic => "handler_panic",
            Self::Heartbeat => "heartbeat",
            Self::Idle => "idle",
            Self::Limit => "limit",
            Self::Local => "local",
            Self::Overflow => "overflow",
            Self::Peer => "peer",
            Self::Protocol => "protocol",
            Self::Revoked => "revoked",
            Self::Stop => "stop",
            Self::Transport => "transport",
        }
    }
}

impl fmt::Display for EndedBy {
    /// A word or two, to be put after "ended by".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expired => "expired credentials",
            Self::HandlerPanic => "a panic in a handler",
            Self::Heartbeat => "the heartbeat",
            Self::Idle => "the idle limit",
            Self::Limit => "a limit",
            Self::Local => "this side",
            Self::Overflow => "a full outbox",
            Self::Peer => "the peer",
            Self::Protocol => "a protocol error",
            Self::Revoked => "revoked credentials",
            Self::Stop => "the stop of the server",
            Self::Transport => "the transport",
        })
    }
}

/// How a connection ended: the contents of its one Disconnected event.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Disconnect {
    /// The code of the Close that decided the end, as received or sent; `None` when there was no Close, or
    /// when the peer's carried no code.
    pub code: Option<u16>,
    /// The reason text that came with the code.
    pub reason: String,
    /// Who ended it.
    pub by: EndedBy,
    /// Whether it ended cleanly: both sides exchanged Close, or the peer hung up after it could read ours.
    pub clean: bool,
}

impl Disconnect {
    /// Describes an end.
    #[doc(hidden)]
    #[must_use]
    pub fn new(by: EndedBy, code: Option<u16>, reason: impl Into<String>, clean: bool) -> Self {
        Self { code, reason: reason.into(), by, clean }
    }

    /// Whether a client that lost this connection should connect again. By its code, as the table of
    /// [`CloseCode`](crate::CloseCode) has it; an end without one is a lost connection: yes. Ends that this side chose
    /// are judged in the same way: `disconnect` sends 1000, after which a client stays away.
    ///
    /// # Examples
    ///
    /// ```
    /// # extern crate websockets_simple_core as websockets_simple_server;
    /// use std::time::Duration;
    /// use websockets_simple_server::Disconnect;
    ///
    /// fn pause_before_the_next_connect(end: &Disconnect) -> Option<Duration> {
    ///     end.should_reconnect().then_some(Duration::from_secs(5))
    /// }
    /// ```
    #[must_use]
    pub fn should_reconnect(&self) -> bool {
        self.code.is_none_or(passes)
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended by {}", self.by)?;
        if let Some(code) = self.code {
            write!(f, " with {code}")?;
        }
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_is_serialized() {
        for by in EndedBy::ALL {
            assert_eq!(serde_json::to_value(by).unwrap(), by.label());
        }
    }

    #[test]
    fn an_end_is_shown_in_words_and_written_as_json() {
        let end = Disconnect::new(EndedBy::Peer, Some(1001), "bye", true);
        assert_eq!(end.to_string(), "ended by the peer with 1001 (bye)");
        assert_eq!(
            Disconnect::new(EndedBy::Transport, None, "", false).to_string(),
            "ended by the transport"
        );
        let json = serde_json::to_string(&Disconnect::new(EndedBy::HandlerPanic, None, "", false)).unwrap();
        assert_eq!(json, r#"{"code":null,"reason":"","by":"handler_panic","clean":false}"#);
    }

    #[test]
    fn an_end_is_worth_another_connection_by_its_code_and_without_one() {
        let again = |code| Disconnect::new(EndedBy::Peer, code, "", true).should_reconnect();
        assert!(again(None), "no Close, or one without a code");
        for code in [1001, 1011, 1012, 1013, 1014, 4000, 4001, 4002, 4003, 3000, 3499, 4100, 4499] {
            assert!(again(Some(code)), "{code}");
        }
        for code in
            [0, 1000, 1002, 1003, 1007, 1008, 1009, 1010, 2999, 3500, 3999, 4004, 4005, 4099, 4500, 4999]
        {
            assert!(!again(Some(code)), "{code}");
        }
    }

    #[test]
    fn no_two_causes_of_an_end_are_shown_in_the_same_words() {
        let mut all = vec![EndedBy::Expired];
        let next = |by| match by {
            EndedBy::Expired => Some(EndedBy::HandlerPanic),
            EndedBy::HandlerPanic => Some(EndedBy::Heartbeat),
            EndedBy::Heartbeat => Some(EndedBy::Idle),
            EndedBy::Idle => Some(EndedBy::Limit),
            EndedBy::Limit => Some(EndedBy::Local),
            EndedBy::Local => Some(EndedBy::Overflow),
            EndedBy::Overflow => Some(EndedBy::Peer),
            EndedBy::Peer => Some(EndedBy::Protocol),
            EndedBy::Protocol => Some(EndedBy::Revoked),
            EndedBy::Revoked => Some(EndedBy::Stop),
            EndedBy::Stop => Some(EndedBy::Transport),
            EndedBy::Transport => None,
        };
        while let Some(by) = next(all[all.len() - 1]) {
            all.push(by);
        }
        let shown: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), all.len(), "{shown:?}");
        assert_eq!(format!("{:>9}", EndedBy::Peer), " the peer");
    }
}
