//! The configuration of a driver.

use std::time::Duration;

use crate::protocol::{CloseCode, Side, TextPolicy};

/// Limits, timeouts and compatibility switches of a driver. Shared by all drivers of one end.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Which end this is.
    pub side: Side,
    /// Largest message accepted, in payload bytes, unless large messages are received in
    /// [parts](crate::MessageParts).
    pub message_size: usize,
    /// The text of a ping in text mode.
    pub ping_text: &'static str,
    /// Whether a text `ping` is answered and swallowed.
    pub answers_text_ping: bool,
    /// Whether peers answer ping frames, as RFC 6455 section 5.5.2 asks of them.
    pub answers_pings: bool,
    /// Whether a peer that has pinged by text, and no longer does, is given up.
    pub watches_text_pings: bool,
    /// Messages per second before the peer is closed with 1008.
    pub messages_per_second: Option<u32>,
    /// Bytes per second before the peer is closed with 1008.
    pub bytes_per_second: Option<u64>,
    /// Time without a data message before the peer is closed with 4002.
    pub idle: Option<Duration>,
    /// Time for queued messages to leave and the peer to answer our Close.
    pub close_timeout: Duration,
    /// Bytes of messages that wait for the handler, each with a constant for its place in the queue; beyond it nothing
    /// more is read.
    pub read_ahead: usize,
    /// The same while a [question](crate::Question) to the peer is not answered, if it is more: the answer comes behind
    /// them.
    pub waiting_ahead: usize,
    /// What becomes of text that is not UTF-8.
    pub text: TextPolicy,
    /// Whether the peer needs a second Close.
    pub closes_twice: bool,
    /// Whether the peer knows a Close only by a code below 1024; any other goes out as 1000.
    pub low_close_codes: bool,
    /// Whether the outbox sends pings that make the peer read on; see [`Pacing`](crate::Pacing).
    pub nudges: bool,
}

impl ConnectionConfig {
    /// The default of [`read_ahead`](Self::read_ahead): 256 KiB.
    pub const READ_AHEAD: usize = 256 * 1024;

    /// The defaults of a side: no rate or idle limit.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self {
            side,
            message_size: 1024 * 1024,
            ping_text: "ping",
            answers_text_ping: side == Side::Client,
            answers_pings: true,
            watches_text_pings: false,
            messages_per_second: None,
            bytes_per_second: None,
            idle: None,
            close_timeout: Duration::from_secs(5),
            read_ahead: Self::READ_AHEAD,
            waiting_ahead: 0,
            text: TextPolicy::Strict,
            closes_twice: false,
            low_close_codes: false,
            nudges: false,
        }
    }

    /// The code of our answer to the peer's Close.
    pub(crate) fn close_reply(&self, code: Option<u16>) -> Option<u16> {
        code.map(|code| CloseCode::try_from(code).map_or(code, |code| self.close_code(code).get()))
    }

    /// The code that the peer gets for this one.
    pub(crate) fn close_code(&self, code: CloseCode) -> CloseCode {
        if self.low_close_codes && code.get() >= 1024 { CloseCode::NORMAL } else { code }
    }
}
