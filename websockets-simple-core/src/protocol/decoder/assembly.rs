//! A message that does not come whole: in fragments (RFC 6455 section 5.4), in several reads, or to be received in parts.

use std::mem;

use bytes::Bytes;

use crate::protocol::{
    buffer_pool,
    decoder::{
        TextPolicy,
        fault::{Fault, FaultKind},
        text_pieces::TextPieces,
    },
    message::Message,
    message_part::MessagePart,
    text::Text,
};

/// The first memory of a message; later it is at most this many times what has arrived.
const FIRST_MEMORY: usize = 16 * 1024;
const AHEAD: usize = 16;

/// What has come of a message in pieces. Its memory grows with what has come and not with what was announced.
#[derive(Debug)]
pub(super) struct Assembly {
    payload: Payload,
    /// Bytes of the message that have come.
    come: u64,
    /// Those that belong to the part that is being collected.
    held: usize,
    /// Most bytes of a part.
    part_size: usize,
    /// Whether a part was given away.
    has_parts: bool,
}

/// The part that is being collected; without parts, the message.
#[derive(Debug)]
enum Payload {
    Binary(Vec<u8>),
    /// A compressed message, and whether it is text.
    Compressed(Vec<u8>, bool),
    Text(TextPieces),
}

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Binary,
    Text(TextPolicy),
    /// A compressed message, and whether it is text.
    Compressed(bool),
}

/// What an assembly comes to.
#[derive(Debug)]
pub(super) enum Assembled {
    Message(Message),
    LastPart(MessagePart),
    /// The payload of a compressed message, and whether it is text.
    Compressed(Bytes, bool),
}

impl Assembly {
    /// For a message that begins; `whole_len` is its length if it has one frame. Parts of `part_size` bytes are given
    /// away, if there is such a size.
    pub(super) fn new(kind: Kind, whole_len: Option<u64>, part_size: Option<usize>) -> Self {
        let part_size = part_size.unwrap_or(usize::MAX);
        let known = whole_len.map_or(0, |len| at_most(len, part_size));
        let memory = buffer_pool::take(known).unwrap_or_default();
        let payload = match kind {
            Kind::Binary => Payload::Binary(memory),
            Kind::Text(policy) => Payload::Text(TextPieces::new(policy, memory)),
            Kind::Compressed(is_text) => Payload::Compressed(memory, is_text),
        };
        Self { payload, come: 0, held: 0, part_size, has_parts: false }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.payload, Payload::Text(_))
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.payload, Payload::Compressed(..))
    }

    /// Bytes of payload that have come.
    pub(super) fn len(&self) -> u64 {
        self.come
    }

    /// Bytes that fit into the part that is being collected.
    pub(super) fn room(&self) -> usize {
        self.part_size - self.held
    }

    /// The memory of what is no text, with room for `more` bytes, or at least one, of `known` that are known to come.
    /// What is added is told to [`came`](Self::came), and is not more than there is [`room`](Self::room) for.
    pub(super) fn memory(&mut self, more: usize, known: usize, is_last_frame: bool) -> Option<&mut Vec<u8>> {
        let (Payload::Binary(bytes) | Payload::Compressed(bytes, _)) = &mut self.payload else { return None };
        match additional(bytes.len(), bytes.capacity(), more, known) {
            more if is_last_frame => bytes.reserve_exact(more),
            // More may come than is known, so the memory at least doubles.
            more => bytes.reserve(more),
        }
        Some(bytes)
    }

    /// Adds a piece that was unmasked, of `known` bytes that are known to come.
    pub(super) fn push(&mut self, piece: &[u8], known: usize, is_last_frame: bool) -> Result<(), Fault> {
        if let Payload::Text(pieces) = &mut self.payload {
            let text = pieces.text();
            match additional(text.len(), text.capacity(), piece.len(), known) {
                more if is_last_frame => text.reserve_exact(more),
                more => text.reserve(more),
            }
            pieces.push(piece)?;
        } else if let Some(bytes) = self.memory(piece.len(), known, is_last_frame) {
            bytes.extend_from_slice(piece);
        }
        self.count(piece.len());
        Ok(())
    }

    /// The last `len` bytes of the memory have come, to be unmasked.
    pub(super) fn came(&mut self, len: usize) -> &mut [u8] {
        self.count(len);
        match &mut self.payload {
            Payload::Binary(bytes) | Payload::Compressed(bytes, _) => {
                let begin = bytes.len() - len;
                &mut bytes[begin..]
            }
            Payload::Text(_) => &mut [],
        }
    }

    fn count(&mut self, len: usize) {
        self.come += len as u64;
        self.held += len;
    }

    /// Gives away the part that has come, as more follows: `rest` bytes, if no other frame does.
    pub(super) fn part(&mut self, rest: Option<u64>) -> MessagePart {
        let carried = match &self.payload {
            Payload::Binary(_) | Payload::Compressed(..) => 0,
            Payload::Text(text) => text.carried(),
        };
        self.held = carried;
        let known =
            rest.map_or(self.part_size, |rest| at_most(rest.saturating_add(carried as u64), self.part_size));
        let memory = buffer_pool::take(known).unwrap_or_default();
        let payload = match &mut self.payload {
            Payload::Binary(bytes) | Payload::Compressed(bytes, _) => {
                Message::Binary(buffer_pool::payload(mem::replace(bytes, memory)))
            }
            Payload::Text(text) => Message::Text(Text::of_memory(text.take(memory))),
        };
        MessagePart::new(payload, !mem::replace(&mut self.has_parts, true), false)
    }

    /// The message or its last part, after its last frame.
    pub(super) fn finish(self) -> Result<Assembled, FaultKind> {
        let payload = match self.payload {
            Payload::Binary(bytes) => Message::Binary(buffer_pool::payload(bytes)),
            Payload::Compressed(bytes, is_text) => {
                return Ok(Assembled::Compressed(buffer_pool::payload(bytes), is_text));
            }
            Payload::Text(text) => Message::Text(Text::of_memory(text.finish()?)),
        };
        Ok(match self.has_parts {
            false => Assembled::Message(payload),
            true => Assembled::LastPart(MessagePart::new(payload, false, true)),
        })
    }

    /// Bytes of memory for the part that is being collected.
    #[cfg(test)]
    pub(super) fn capacity(&mut self) -> usize {
        match &mut self.payload {
            Payload::Binary(bytes) | Payload::Compressed(bytes, _) => bytes.capacity(),
            Payload::Text(text) => text.text().capacity(),
        }
    }
}

/// How much to add to the memory of a message, of which `len` bytes have come, so that it holds `more` of the `known` that
/// will come, and at least one; 0 if it does. An announced length alone allocates little. The system backs memory with
/// pages only as it is filled.
fn additional(len: usize, capacity: usize, more: usize, known: usize) -> usize {
    if capacity - len >= more.max(1) {
        0
    } else {
        ((AHEAD * (len + more)).max(FIRST_MEMORY) - len).min(known)
    }
}

fn at_most(len: u64, most: usize) -> usize {
    usize::try_from(len).map_or(most, |len| len.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of `bytes`, which come in pieces.
    fn parts(is_text: bool, bytes: &[u8], piece: usize, part_size: usize) -> Vec<MessagePart> {
        let kind = if is_text { Kind::Text(TextPolicy::Strict) } else { Kind::Binary };
        let mut assembly = Assembly::new(kind, None, Some(part_size));
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            if assembly.room() == 0 {
                parts.push(assembly.part(None));
            }
            let (now, later) = rest.split_at(piece.min(assembly.room()).min(rest.len()));
            rest = later;
            assembly.push(now, now.len(), false).expect("it is UTF-8");
        }
        assert_eq!(assembly.len(), bytes.len() as u64);
        parts.push(match assembly.finish().expect("it is UTF-8") {
            Assembled::Message(message) => MessagePart::whole(message),
            Assembled::LastPart(part) => part,
            Assembled::Compressed(..) => unreachable!("it is not"),
        });
        parts
    }

    #[test]
    fn text_in_parts_is_cut_between_characters_wherever_it_is_cut() {
        let text = "a\u{7f}é\u{7ff}日\u{ffff}😀\u{10ffff}".repeat(3);
        for begin in text.char_indices().map(|(at, _)| at) {
            let text = &text[begin..];
            for (piece, part_size) in (1..9).flat_map(|piece| (4..30).map(move |size| (piece, size))) {
                let parts = parts(true, text.as_bytes(), piece, part_size);
                let joined: String = parts.iter().filter_map(|part| part.payload.as_text()).collect();
                assert_eq!(joined, text);
                assert!(parts.iter().all(|part| (1..=part_size).contains(&part.len())), "{parts:?}");
                assert!(parts.iter().rev().skip(1).all(|part| part.len() + 3 >= part_size), "{parts:?}");
                assert!(parts.iter().enumerate().all(|(n, part)| part.first == (n == 0)));
                assert!(parts.iter().rev().enumerate().all(|(n, part)| part.last == (n == 0)));
            }
        }
    }

    #[test]
    fn bytes_in_parts_fill_each_part_but_the_last_and_what_fits_is_whole() {
        for (len, lens) in
            [(0, &[0][..]), (1, &[1]), (10, &[10]), (11, &[10, 1]), (20, &[10, 10]), (21, &[10, 10, 1])]
        {
            for piece in 1..12 {
                let bytes: Vec<u8> = (0..len).collect();
                let parts = parts(false, &bytes, piece, 10);
                let payloads: Vec<&[u8]> = parts.iter().map(|part| part.payload.as_bytes()).collect();
                assert_eq!(payloads.concat(), bytes);
                assert_eq!(payloads.iter().map(|part| part.len()).collect::<Vec<_>>(), lens);
            }
        }
    }
}
