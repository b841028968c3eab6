//! One message for many outboxes.

use serde::Serialize;

use crate::{
    message::{EncodeError, IntoMessage},
    outbox::{FlushWhen, Offer, Outbox},
    protocol::{Frame, Message, Side},
};

/// How many receivers accepted a broadcast, dropped it, or were closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BroadcastReport {
    /// Outboxes that took the message. Does not mean that the peers have it.
    pub accepted: usize,
    /// Receivers whose policy dropped the message.
    pub dropped: usize,
    /// Receivers that were closed or closing, or were ended by their policy.
    pub closed: usize,
}

/// Encodes a message once for many receivers of a server. `notice` returns the message as well, for Sent events.
///
/// # Errors
///
/// When the value cannot be encoded.
pub fn encode(message: impl IntoMessage, notice: bool) -> Result<(Frame, Option<Message>), EncodeError> {
    let message = message.into_message()?;
    let notice = notice.then(|| message.clone());
    Ok((Frame::message(message, Side::Server), notice))
}

impl Outbox {
    /// Offers a broadcast frame. True asks the caller to list the connection with its flusher.
    pub fn broadcast(&self, frame: &Frame, notice: Option<&Message>, report: &mut BroadcastReport) -> bool {
        match self.offer(frame.clone(), FlushWhen::Round, notice) {
            Offer::Sent | Offer::Queued => report.accepted += 1,
            Offer::List => {
                report.accepted += 1;
                return true;
            }
            Offer::Dropped | Offer::Full(_) => report.dropped += 1,
            Offer::Closed | Offer::Overflow => report.closed += 1,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::SendStatus;

    #[test]
    fn what_became_of_messages_can_be_written_as_json() {
        let report = BroadcastReport { accepted: 1, dropped: 2, closed: 3 };
        assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"accepted":1,"dropped":2,"closed":3}"#);
        assert_eq!(serde_json::to_string(&SendStatus::Queued).unwrap(), r#""queued""#);
    }
}
