//! A message that does not come whole: in fragments (RFC 6455 section 5.4), in several reads, or to be received in parts.

use std::mem;

use bytes::Bytes;

use crate::protocol::{
    buffer_pool,
    decoder::{
        fault::{Fault, FaultKind},
        text_check::TextCheck,
    },
    mask::apply_mask,
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
    kind: Kind,
    /// The part that is being collected; without parts, the message.
    payload: Vec<u8>,
    /// Bytes of the message that have come.
    come: u64,
    /// Those that belong to the part that is being collected.
    held: usize,
    /// Most bytes of a part.
    part_size: usize,
    /// Whether a part was given away.
    has_parts: bool,
}

/// What the payload is.
#[derive(Debug)]
pub(super) enum Kind {
    Binary,
    Text(TextCheck),
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
        let payload = buffer_pool::take(known).unwrap_or_default();
        Self { kind, payload, come: 0, held: 0, part_size, has_parts: false }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.kind, Kind::Compressed(_))
    }

    /// Bytes of payload that have come.
    pub(super) fn len(&self) -> u64 {
        self.come
    }

    /// Bytes that fit into the part that is being collected.
    pub(super) fn room(&self) -> usize {
        self.part_size - self.held
    }

    /// The memory of the part, with room for `more` bytes, or at least one, of `known` that are known to come. What is
    /// added is told to [`came`](Self::came), and is not more than there is [`room`](Self::room) for.
    pub(super) fn memory(&mut self, more: usize, known: usize, is_last_frame: bool) -> &mut Vec<u8> {
        let (len, capacity) = (self.payload.len(), self.payload.capacity());
        if capacity - len < more.max(1) {
            // An announced length alone allocates little. The system backs memory with pages only as it is filled.
            let additional = ((AHEAD * (len + more)).max(FIRST_MEMORY) - len).min(known);
            match is_last_frame {
                true => self.payload.reserve_exact(additional),
                // More may come than is known, so the memory at least doubles.
                false => self.payload.reserve(additional),
            }
        }
        &mut self.payload
    }

    /// The last `len` bytes of the memory have come, masked with `key`.
    pub(super) fn came(&mut self, len: usize, key: Option<[u8; 4]>) -> Result<(), Fault> {
        self.come += len as u64;
        self.held += len;
        if let Some(key) = key {
            let begin = self.payload.len() - len;
            apply_mask(&mut self.payload[begin..], key);
        }
        if let Kind::Text(check) = &mut self.kind {
            check.extend(&mut self.payload)?;
        }
        Ok(())
    }

    /// Gives away the part that has come, as more follows: `rest` bytes, if no other frame does.
    pub(super) fn part(&mut self, rest: Option<u64>) -> Result<MessagePart, Fault> {
        // The beginning of a character belongs to the next part.
        let whole = match &mut self.kind {
            Kind::Text(check) => check.take(),
            Kind::Binary | Kind::Compressed(_) => self.payload.len(),
        };
        let begun = self.payload.len() - whole;
        self.held = begun;
        let known =
            rest.map_or(self.part_size, |rest| at_most(rest.saturating_add(begun as u64), self.part_size));
        let mut memory = buffer_pool::take(known).unwrap_or_default();
        memory.extend_from_slice(&self.payload[whole..]);
        self.payload.truncate(whole);
        let payload = message(&self.kind, mem::replace(&mut self.payload, memory))?;
        Ok(MessagePart::new(payload, !mem::replace(&mut self.has_parts, true), false))
    }

    /// The message or its last part, after its last frame.
    pub(super) fn finish(mut self) -> Result<Assembled, Fault> {
        match &self.kind {
            Kind::Binary => {}
            Kind::Text(check) => check.finish(&mut self.payload),
            Kind::Compressed(is_text) => {
                return Ok(Assembled::Compressed(buffer_pool::payload(self.payload), *is_text));
            }
        }
        let payload = message(&self.kind, self.payload)?;
        Ok(match self.has_parts {
            false => Assembled::Message(payload),
            true => Assembled::LastPart(MessagePart::new(payload, false, true)),
        })
    }

    /// Bytes of memory for the part that is being collected.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.payload.capacity()
    }
}

/// Text was checked as it came, but memory that was filled in place is text to the compiler only after one look at all of it.
fn message(kind: &Kind, payload: Vec<u8>) -> Result<Message, FaultKind> {
    Ok(match kind {
        Kind::Text(_) => {
            Message::Text(Text::of_memory(String::from_utf8(payload).map_err(|_| FaultKind::NotUtf8)?))
        }
        Kind::Binary | Kind::Compressed(_) => Message::Binary(buffer_pool::payload(payload)),
    })
}

fn at_most(len: u64, most: usize) -> usize {
    usize::try_from(len).map_or(most, |len| len.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decoder::TextPolicy;

    /// The parts of `bytes`, which come in pieces.
    fn parts(is_text: bool, bytes: &[u8], piece: usize, part_size: usize) -> Vec<MessagePart> {
        let kind = if is_text { Kind::Text(TextCheck::new(TextPolicy::Strict)) } else { Kind::Binary };
        let mut assembly = Assembly::new(kind, None, Some(part_size));
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            if assembly.room() == 0 {
                parts.push(assembly.part(None).expect("it is UTF-8"));
            }
            let (now, later) = rest.split_at(piece.min(assembly.room()).min(rest.len()));
            rest = later;
            assembly.memory(now.len(), now.len(), false).extend_from_slice(now);
            assembly.came(now.len(), None).expect("it is UTF-8");
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
