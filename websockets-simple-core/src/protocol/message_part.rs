//! Messages that are received in parts, as they are too large to be kept whole.

use crate::protocol::message::Message;

/// A part of a received message that is larger than a part may be, see [`MessageParts`].
///
/// The parts of a message come in order, with no other message of their connection between them; no part is empty. They
/// are parts of the message and not its fragments: their size says nothing of the frames in which it came.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct MessagePart {
    /// The payload: text, cut between two characters, if the message is text; else bytes.
    pub payload: Message,
    /// Whether the message begins with this part.
    pub first: bool,
    /// Whether the message ends with this part. A message whose connection ends inside of it has no such part:
    /// Disconnected follows.
    pub last: bool,
}

impl MessagePart {
    /// A part.
    #[doc(hidden)]
    #[must_use]
    pub fn new(payload: Message, first: bool, last: bool) -> Self {
        Self { payload, first, last }
    }

    /// A message that came whole, as its only part.
    #[must_use]
    pub fn whole(message: Message) -> Self {
        Self::new(message, true, true)
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload is empty: only that of an empty message, as its only part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// Lets a connection receive messages that do not fit into memory: one of more than `part_size` bytes comes in
/// [parts](MessagePart), each an event of its own. Up to that size messages come whole, as without this.
///
/// What counts for messages counts for parts: they wait for the handlers in order, and beyond the bytes that are read
/// ahead nothing more is read from the peer. A connection holds about one part and what is read ahead, however large the
/// message is. Rates are counted as ever, so that a limit of bytes per second has to allow for such messages; each frame
/// counts as one message. Parts are read as no packet, signal or control message, all of which come whole.
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use websockets_simple_server::MessageParts;
///
/// // Parts of 256 KiB, messages of up to 10 GiB.
/// let parts = MessageParts::new(256 * 1024, 10 << 30);
/// assert_eq!((parts.part_size(), parts.message_size()), (262_144, 10_737_418_240));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageParts {
    part_size: usize,
    message_size: u64,
}

impl MessageParts {
    /// The smallest part, 16 KiB: the longest control message between the two libraries, which has to come whole.
    pub const LEAST_PART: usize = 16 * 1024;

    /// The largest part, 1 GiB.
    pub const MOST_PART: usize = 1 << 30;

    /// Parts of at most `part_size` bytes, of messages of at most `message_size` bytes; the latter takes the place of
    /// the limit of the size of messages (1009). Both are checked with the other parameters: `part_size` is from
    /// [`LEAST_PART`](Self::LEAST_PART) to [`MOST_PART`](Self::MOST_PART), and `message_size` is not smaller.
    ///
    /// Where broken text is repaired ([`Compatibility`](crate::Compatibility)), bytes are counted as they came, and
    /// U+FFFD has three bytes.
    #[must_use]
    pub fn new(part_size: usize, message_size: u64) -> Self {
        Self { part_size, message_size }
    }

    /// Most bytes of a part, and of a message that comes whole.
    #[must_use]
    pub fn part_size(&self) -> usize {
        self.part_size
    }

    /// Most bytes of a message.
    #[must_use]
    pub fn message_size(&self) -> u64 {
        self.message_size
    }

    /// The nearest sizes that are valid.
    #[must_use]
    pub fn bounded(self) -> Self {
        let part_size = self.part_size.clamp(Self::LEAST_PART, Self::MOST_PART);
        Self { part_size, message_size: self.message_size.max(part_size as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_not_valid_are_brought_to_the_nearest_that_are() {
        let bounded = |part, message| MessageParts::new(part, message).bounded();
        assert_eq!(bounded(0, 0), MessageParts::new(16 * 1024, 16 * 1024));
        assert_eq!(bounded(usize::MAX, 7), MessageParts::new(1 << 30, 1 << 30));
        assert_eq!(bounded(20_000, u64::MAX), MessageParts::new(20_000, u64::MAX));
    }

    #[test]
    fn a_message_that_came_whole_is_its_only_part() {
        let part = MessagePart::whole(Message::text("é"));
        assert_eq!((part.first, part.last, part.len(), part.is_empty()), (true, true, 2, false));
        assert!(MessagePart::whole(Message::text("")).is_empty());
    }
}
