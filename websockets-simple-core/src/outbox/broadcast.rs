//! One message for many outboxes.

use std::cell::RefCell;

use serde::Serialize;

use crate::{
    message::{EncodeError, IntoMessage},
    outbox::{FlushWhen, Offer, Outbox, budget},
    protocol::{Form, Frame, Message, Side},
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
    /// What became of it for the receivers of other nodes.
    pub remote: Remote,
}

/// What became of a message for the other nodes of a cluster. Messages go to them at most once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remote {
    /// It was not for other nodes, or the server has none.
    #[default]
    Alone,
    /// It was handed to the bus. Nodes that the bus loses it for are told that they missed it, if they can be.
    Handed,
    /// The bus takes no message of this size: it went to no other node.
    TooLarge,
    /// Too much waits for the bus: it went to no other node.
    Full,
    /// The bus is not connected: it went to no other node, nor will it.
    Down,
}

/// A message for many receivers of a server, encoded once, and compressed once for all that agreed on the same form.
#[derive(Debug)]
pub struct Encoding {
    plain: Frame,
    may_be_compressed: bool,
    /// What was compressed for the receivers so far; `None` where it did not get shorter.
    compressed: RefCell<Vec<(Form, Option<Frame>)>>,
    /// For Sent events.
    notice: Option<Message>,
}

impl Encoding {
    /// Encodes a message. `notice` asks for Sent events.
    ///
    /// # Errors
    ///
    /// When the value cannot be encoded.
    pub fn new(message: impl IntoMessage, notice: bool) -> Result<Self, EncodeError> {
        let may_be_compressed = message.may_be_compressed();
        let message = message.into_message()?;
        let notice = notice.then(|| message.clone());
        let plain = Frame::message(message, Side::Server);
        Ok(Self { plain, may_be_compressed, compressed: RefCell::default(), notice })
    }

    /// The message as bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.plain.payload()
    }

    /// Whether it is a text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.plain.is_text()
    }

    /// Whether it may be compressed.
    #[must_use]
    pub fn may_be_compressed(&self) -> bool {
        self.may_be_compressed
    }

    /// The frame for a receiver.
    fn frame(&self, receiver: &Outbox) -> Frame {
        let form = receiver.form(self.plain.payload().len(), self.may_be_compressed);
        form.and_then(|form| self.compressed(form)).unwrap_or_else(|| self.plain.clone())
    }

    fn compressed(&self, form: Form) -> Option<Frame> {
        let mut compressed = self.compressed.borrow_mut();
        if let Some((_, frame)) = compressed.iter().find(|(known, _)| *known == form) {
            return frame.clone();
        }
        budget::charge_compression(form.work(self.plain.payload().len()));
        let frame = form.frame(self.plain.payload(), self.plain.is_text(), Side::Server);
        compressed.push((form, frame.clone()));
        frame
    }
}

impl Outbox {
    /// Offers a broadcast. True asks the caller to list the connection with its flusher.
    #[inline]
    pub fn broadcast(&self, encoding: &Encoding, report: &mut BroadcastReport) -> bool {
        match self.offer(encoding.frame(self), FlushWhen::Round, encoding.notice.as_ref()) {
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
#[cfg(not(shuttle))]
mod tests {
    use super::*;
    use crate::outbox::{OutboxConfig, OverflowPolicy, SendStatus};

    #[test]
    fn each_receiver_of_a_broadcast_is_counted_once() {
        let outbox = |policy| Outbox::new(Side::Server, OutboxConfig::new(3, policy));
        // Not one of them has a stream yet: the first of two messages fills it.
        let full = |policy| {
            let outbox = outbox(policy);
            outbox.try_send(Message::text("1"), false).unwrap();
            outbox
        };
        let closed = outbox(OverflowPolicy::Disconnect);
        closed.shut(false);
        let receivers = [
            outbox(OverflowPolicy::DropNewest),
            full(OverflowPolicy::DropOldest),
            full(OverflowPolicy::DropNewest),
            full(OverflowPolicy::Wait(std::time::Duration::from_secs(1))),
            full(OverflowPolicy::DropNewest),
            full(OverflowPolicy::Disconnect),
            full(OverflowPolicy::Disconnect),
            closed,
        ];
        let encoding = Encoding::new(Message::text("2"), false).unwrap();
        let mut report = BroadcastReport::default();
        let mut listed = receivers.iter().map(|outbox| outbox.broadcast(&encoding, &mut report));
        assert!(listed.next().unwrap());
        assert_eq!(listed.filter(|listed| *listed).count(), 1, "the one that made room");
        assert_eq!(report, BroadcastReport { accepted: 2, dropped: 3, closed: 3, remote: Remote::Alone });
    }

    #[test]
    fn what_became_of_messages_can_be_written_as_json() {
        let report = BroadcastReport { accepted: 1, dropped: 2, closed: 3, remote: Remote::TooLarge };
        let json = r#"{"accepted":1,"dropped":2,"closed":3,"remote":"too_large"}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), json);
        assert_eq!(serde_json::to_string(&SendStatus::Queued).unwrap(), r#""queued""#);
    }
}
