//! How a connection ended.

use std::fmt;

/// Who or what ended a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EndedBy {
    /// The credentials of the user expired and were not renewed.
    Expired,
    /// A handler panicked; only its own connection ends.
    HandlerPanic,
    /// The peer did not answer a heartbeat ping.
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

/// How a connection ended: the contents of its one Disconnected event.
#[derive(Clone, Debug, Eq, PartialEq)]
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
    #[must_use]
    pub fn new(by: EndedBy, code: Option<u16>, reason: impl Into<String>, clean: bool) -> Self {
        Self { code, reason: reason.into(), by, clean }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended by {:?}", self.by)?;
        if let Some(code) = self.code {
            write!(f, " with {code}")?;
        }
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}
