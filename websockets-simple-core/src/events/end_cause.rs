//! Why connections end: the one table of causes, and what each of them means.

use crate::{
    events::{Disconnect, EndedBy, ErrorStage},
    protocol::{CloseCode, fit_reason},
};

/// Why a connection ends.
///
/// | cause | ended by | code | reason | error event |
/// |---|---|---|---|---|
/// | [`Closed`](Self::Closed) | `Local` | the caller's | the caller's | |
/// | [`HandleDropped`](Self::HandleDropped) | `Local` | 1001 | | |
/// | [`ScopeEnded`](Self::ScopeEnded) | `Local` | 1000 | | |
/// | [`MessageRefused`](Self::MessageRefused) | `Local` | the hook's | the hook's | |
/// | [`TaskDropped`](Self::TaskDropped) | `Local` | | `the task of the connection was dropped` | |
/// | [`Unauthorized`](Self::Unauthorized) | `Local` | 1008 | `not authorized` | |
/// | [`MessageAbandoned`](Self::MessageAbandoned) | `Local` | 1011 | `a message was abandoned half sent` | |
/// | [`ServerStopped`](Self::ServerStopped) | `Stop` | 1001 | `the server stops` | |
/// | [`StopDeadline`](Self::StopDeadline) | `Stop` | 1001 | | |
/// | [`HandlerPanicked`](Self::HandlerPanicked) | `HandlerPanic` | 1011 | `internal error` | `HandlerPanic` |
/// | [`PingUnanswered`](Self::PingUnanswered) | `Heartbeat` | 4000 | `No ping response - disconnected.` | `Heartbeat` |
/// | [`PingsStopped`](Self::PingsStopped) | `Heartbeat` | 4000 | `the pings of the peer have stopped` | `Heartbeat` |
/// | [`Idle`](Self::Idle) | `Idle` | 4002 | `nothing was received for too long` | |
/// | [`MessageRate`](Self::MessageRate) | `Limit` | 1008 | `too many messages per second` | `Limit` |
/// | [`ByteRate`](Self::ByteRate) | `Limit` | 1008 | `too many bytes per second` | `Limit` |
/// | [`ControlRate`](Self::ControlRate) | `Limit` | 1008 | `too many control messages` | `Limit` |
/// | [`MalformedControl`](Self::MalformedControl) | `Protocol` | 1008 | `malformed control message` | `Protocol` |
/// | [`TooBig`](Self::TooBig) | `Limit` | 1009 | the decoder's | `Limit` |
/// | [`Violation`](Self::Violation) | `Protocol` | 1002, 1007 | the decoder's | `Protocol` |
/// | [`SlowReader`](Self::SlowReader) | `Overflow` | 4001 | `the peer reads too slowly` | `Overflow` |
/// | [`UnreadControls`](Self::UnreadControls) | `Overflow` | 4001 | `the peer does not read the answers to its control messages` | `Overflow` |
/// | [`CredentialsExpired`](Self::CredentialsExpired) | `Expired` | 4003 | `the credentials have expired` | |
/// | [`OtherUser`](Self::OtherUser) | `Expired` | 1008 | `the new token is of another user` | |
/// | [`TokensRefused`](Self::TokensRefused) | `Expired` | 1008 | `too many tokens that are not accepted` | |
/// | [`CredentialsRevoked`](Self::CredentialsRevoked) | `Revoked` | 4004 | `the credentials were revoked` | |
/// | [`RevocationsUnknown`](Self::RevocationsUnknown) | `Revoked` | 1012 | `the credentials may have been revoked` | |
/// | [`Replaced`](Self::Replaced) | `Local` | 4005 | `another connection has taken over the id` | |
/// | [`PeerClosed`](Self::PeerClosed) | `Peer` | the peer's | the peer's | |
/// | [`PeerHungUp`](Self::PeerHungUp) | `Transport` | | `the peer hung up without Close` | |
/// | [`TransportFailed`](Self::TransportFailed) | `Transport` | | the error's | `Transport`, `Send` |
///
/// Causes with `Overflow` discard what is queued; all others close behind it. After [`MessageRefused`](Self::MessageRefused)
/// and [`CredentialsRevoked`](Self::CredentialsRevoked) no message is handled that was received before; all other causes
/// leave what was received to the handlers. A reason for the peer is at most 123 bytes long (RFC 6455 section 5.5).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// More bytes than the limit were received within a second.
    ByteRate,
    /// The application closed it.
    Closed {
        /// The code for the peer.
        code: CloseCode,
        /// The reason for the peer.
        reason: String,
    },
    /// Too many control messages were waiting.
    ControlRate,
    /// The credentials expired and were not renewed.
    CredentialsExpired,
    /// The credentials were revoked.
    CredentialsRevoked,
    /// The last handle of the client was dropped.
    HandleDropped,
    /// A handler panicked.
    HandlerPanicked,
    /// No data message was received for as long as the idle limit.
    Idle,
    /// A control message could not be read.
    MalformedControl,
    /// A message in parts was dropped before its last part was sent.
    MessageAbandoned,
    /// More messages than the limit were received within a second.
    MessageRate,
    /// The application refused a received message.
    MessageRefused {
        /// The code for the peer.
        code: CloseCode,
        /// The reason for the peer.
        reason: String,
    },
    /// A token for the renewal of credentials belongs to another user.
    OtherUser,
    /// The peer sent Close.
    PeerClosed {
        /// Its code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The stream ended without Close.
    PeerHungUp,
    /// A heartbeat ping was not answered.
    PingUnanswered,
    /// A peer that pinged by text has stopped, although it was expected to go on.
    PingsStopped,
    /// Another connection has taken over the id of this one.
    Replaced,
    /// Nobody knows what was revoked for a while: the peer is to authenticate again.
    RevocationsUnknown,
    /// The task of a scoped connection is done.
    ScopeEnded,
    /// The server stopped.
    ServerStopped,
    /// The outbox was full, and its policy is to disconnect.
    SlowReader,
    /// The server stopped, and the connection had not ended by the deadline.
    StopDeadline,
    /// The task of the connection was dropped, as when its runtime ends.
    TaskDropped,
    /// Too many tokens for the renewal of credentials were refused.
    TokensRefused,
    /// A message was larger than the limit.
    TooBig {
        /// The error of the decoder.
        reason: String,
    },
    /// Reading or writing failed.
    TransportFailed {
        /// `Transport` for reading, `Send` for writing.
        stage: ErrorStage,
        /// The error of the stream.
        reason: String,
    },
    /// The peer is not authorized, and the handshake succeeded only to report that to it.
    Unauthorized,
    /// The peer does not read the answers to its control messages.
    UnreadControls,
    /// The peer broke RFC 6455.
    Violation {
        /// The code for the peer.
        code: CloseCode,
        /// The error of the decoder.
        reason: String,
    },
}

/// One row of the table.
struct Row<'a> {
    by: EndedBy,
    code: Option<u16>,
    reason: &'a str,
    stage: Option<ErrorStage>,
}

impl EndCause {
    /// The application closes the connection. A reason beyond 123 bytes is cut.
    #[must_use]
    pub fn closed(code: CloseCode, reason: &str) -> Self {
        Self::Closed { code, reason: fit_reason(reason).to_owned() }
    }

    /// The application refuses a received message. A reason beyond 123 bytes is cut.
    #[must_use]
    pub fn refused(code: CloseCode, reason: &str) -> Self {
        Self::MessageRefused { code, reason: fit_reason(reason).to_owned() }
    }

    /// Who ended the connection.
    #[must_use]
    pub fn ended_by(&self) -> EndedBy {
        self.row().by
    }

    /// The code for the peer, unless no Close is sent.
    pub(crate) fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::PeerClosed { .. } => None,
            _ => self.row().code.and_then(|code| CloseCode::try_from(code).ok()),
        }
    }

    /// The reason, for the peer and for the event.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.row().reason
    }

    /// The stage of the error event that this cause raises, if it raises one.
    pub(crate) fn error_stage(&self) -> Option<ErrorStage> {
        self.row().stage
    }

    /// Whether what is queued for the peer is discarded.
    pub(crate) fn discards_queue(&self) -> bool {
        self.row().by == EndedBy::Overflow
    }

    /// Whether messages that were received before are dropped.
    pub(crate) fn drops_received(&self) -> bool {
        matches!(self, Self::MessageRefused { .. } | Self::CredentialsRevoked)
    }

    /// The contents of the Disconnected event, as long as the peer has not answered.
    pub(crate) fn disconnect(&self, clean: bool) -> Disconnect {
        let Row { by, code, reason, .. } = self.row();
        Disconnect::new(by, code, reason, clean)
    }

    #[rustfmt::skip]
    fn row(&self) -> Row<'_> {
        use {CloseCode as Code, EndedBy as By, ErrorStage as Stage};
        let row = |by, code: Code, reason, stage| Row { by, code: Some(code.get()), reason, stage };
        let silent = |by, code, reason, stage| Row { by, code, reason, stage };
        match self {
            Self::Closed { code, reason }       => row(By::Local, *code, reason, None),
            Self::MessageRefused { code, reason } => row(By::Local, *code, reason, None),
            Self::TaskDropped                   => silent(By::Local, None, "the task of the connection was dropped", None),
            Self::HandleDropped                 => row(By::Local, Code::GOING_AWAY, "", None),
            Self::ScopeEnded                    => row(By::Local, Code::NORMAL, "", None),
            Self::Unauthorized                  => row(By::Local, Code::POLICY, "not authorized", None),
            Self::MessageAbandoned              => row(By::Local, Code::INTERNAL, "a message was abandoned half sent", None),
            Self::ServerStopped                 => row(By::Stop, Code::GOING_AWAY, "the server stops", None),
            Self::StopDeadline                  => row(By::Stop, Code::GOING_AWAY, "", None),
            Self::HandlerPanicked               => row(By::HandlerPanic, Code::INTERNAL, "internal error", Some(Stage::HandlerPanic)),
            // The text that the .NET library sends to a peer that does not respond.
            Self::PingUnanswered                => row(By::Heartbeat, Code::UNRESPONSIVE, "No ping response - disconnected.", Some(Stage::Heartbeat)),
            Self::PingsStopped                  => row(By::Heartbeat, Code::UNRESPONSIVE, "the pings of the peer have stopped", Some(Stage::Heartbeat)),
            Self::Idle                          => row(By::Idle, Code::IDLE, "nothing was received for too long", None),
            Self::MessageRate                   => row(By::Limit, Code::POLICY, "too many messages per second", Some(Stage::Limit)),
            Self::ByteRate                      => row(By::Limit, Code::POLICY, "too many bytes per second", Some(Stage::Limit)),
            Self::ControlRate                   => row(By::Limit, Code::POLICY, "too many control messages", Some(Stage::Limit)),
            Self::MalformedControl              => row(By::Protocol, Code::POLICY, "malformed control message", Some(Stage::Protocol)),
            Self::TooBig { reason }             => row(By::Limit, Code::TOO_BIG, reason, Some(Stage::Limit)),
            Self::Violation { code, reason }    => row(By::Protocol, *code, reason, Some(Stage::Protocol)),
            Self::SlowReader                    => row(By::Overflow, Code::OVERFLOW, "the peer reads too slowly", Some(Stage::Overflow)),
            Self::UnreadControls                => row(By::Overflow, Code::OVERFLOW, "the peer does not read the answers to its control messages", Some(Stage::Overflow)),
            Self::CredentialsExpired            => row(By::Expired, Code::EXPIRED, "the credentials have expired", None),
            Self::OtherUser                     => row(By::Expired, Code::POLICY, "the new token is of another user", None),
            Self::TokensRefused                 => row(By::Expired, Code::POLICY, "too many tokens that are not accepted", None),
            Self::CredentialsRevoked            => row(By::Revoked, Code::REVOKED, "the credentials were revoked", None),
            Self::RevocationsUnknown            => row(By::Revoked, Code::RESTART, "the credentials may have been revoked", None),
            Self::Replaced                      => row(By::Local, Code::REPLACED, "another connection has taken over the id", None),
            Self::PeerClosed { code, reason }   => silent(By::Peer, *code, reason, None),
            Self::PeerHungUp                    => silent(By::Transport, None, "the peer hung up without Close", None),
            Self::TransportFailed { stage, reason } => silent(By::Transport, None, reason, Some(*stage)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_overflow_gives_up_what_is_queued() {
        for cause in [EndCause::SlowReader, EndCause::UnreadControls] {
            assert!(cause.discards_queue(), "{cause:?}");
        }
        for cause in [EndCause::ServerStopped, EndCause::Idle, EndCause::closed(CloseCode::NORMAL, "")] {
            assert!(!cause.discards_queue(), "{cause:?}");
        }
    }

    #[test]
    fn a_peer_that_closed_or_is_gone_is_told_nothing() {
        let gone = EndCause::TransportFailed { stage: ErrorStage::Send, reason: "reset".to_owned() };
        let closed = EndCause::PeerClosed { code: Some(1000), reason: String::new() };
        for cause in [gone, closed, EndCause::PeerHungUp] {
            assert_eq!(cause.close_code(), None, "{cause:?}");
        }
        assert_eq!(EndCause::Idle.close_code(), Some(CloseCode::IDLE));
    }

    #[test]
    fn every_row_of_the_documented_table_is_what_the_code_does() {
        let code = |text: &str| CloseCode::try_from(text.parse::<u16>().unwrap()).unwrap();
        let rows = include_str!("end_cause.rs").lines().filter_map(|line| line.strip_prefix("/// | [`"));
        let mut checked = 0;
        for row in rows {
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let cause = match cells[0].split('`').next().unwrap() {
                "HandleDropped" => EndCause::HandleDropped,
                "ScopeEnded" => EndCause::ScopeEnded,
                "Unauthorized" => EndCause::Unauthorized,
                "MessageAbandoned" => EndCause::MessageAbandoned,
                "ServerStopped" => EndCause::ServerStopped,
                "StopDeadline" => EndCause::StopDeadline,
                "HandlerPanicked" => EndCause::HandlerPanicked,
                "PingUnanswered" => EndCause::PingUnanswered,
                "PingsStopped" => EndCause::PingsStopped,
                "Idle" => EndCause::Idle,
                "MessageRate" => EndCause::MessageRate,
                "ByteRate" => EndCause::ByteRate,
                "ControlRate" => EndCause::ControlRate,
                "MalformedControl" => EndCause::MalformedControl,
                "SlowReader" => EndCause::SlowReader,
                "UnreadControls" => EndCause::UnreadControls,
                "CredentialsExpired" => EndCause::CredentialsExpired,
                "OtherUser" => EndCause::OtherUser,
                "TokensRefused" => EndCause::TokensRefused,
                "CredentialsRevoked" => EndCause::CredentialsRevoked,
                "RevocationsUnknown" => EndCause::RevocationsUnknown,
                "Replaced" => EndCause::Replaced,
                // Their code and reason come from elsewhere.
                "Closed" | "MessageRefused" | "TaskDropped" | "TooBig" | "Violation" | "PeerClosed"
                | "PeerHungUp" | "TransportFailed" => {
                    continue;
                }
                unknown => panic!("`{unknown}` is in the table and not in the test"),
            };
            assert_eq!(format!("{:?}", cause.ended_by()), cells[1], "{cause:?}");
            assert_eq!(cause.close_code(), Some(code(cells[2])), "{cause:?}");
            assert_eq!(cause.reason(), cells[3], "{cause:?}");
            let stage = cause.error_stage().map_or(String::new(), |stage| format!("{stage:?}"));
            assert_eq!(stage, cells[4], "{cause:?}");
            checked += 1;
        }
        assert_eq!(checked, 22);
    }
}
