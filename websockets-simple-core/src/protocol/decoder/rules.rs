//! What RFC 6455 allows a peer to send: a frame is judged by its header alone.

use crate::protocol::{
    decoder::fault::{Fault, FaultKind},
    deflate::Inflation,
    frame::Side,
    header::{BINARY, CLOSE, CONTINUATION, Header, PING, PONG, TEXT},
};

/// The longest payload of a control frame (RFC 6455 section 5.5).
const LONGEST_CONTROL: u64 = 125;

/// What a frame is judged by, beside its header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Our own side.
    pub(super) side: Side,
    /// Largest message, in payload bytes.
    pub(super) message_size: u64,
    /// Whether compression was agreed on.
    pub(super) compression: bool,
    /// Bytes of the message that waits for its next fragment, if there is one, and whether it is compressed.
    pub(super) assembled: Option<(u64, bool)>,
}

/// What a frame is, if it is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FrameKind {
    /// A message in one frame.
    Whole,
    /// The first fragment of a message.
    First,
    /// A further fragment.
    Next,
    Control,
}

impl Rules {
    /// The first rule that the frame breaks decides the fault: those that the peer cannot know are last.
    #[inline]
    pub(super) fn judge(&self, header: &Header) -> Result<FrameKind, Fault> {
        // RFC 7692 section 6: only the first frame of a message says that it is compressed.
        let begins_message = matches!(header.opcode(), TEXT | BINARY);
        if header.has_reserved_bits() || header.is_compressed() && !(self.compression && begins_message) {
            return Err(FaultKind::ReservedBits.into());
        }
        let kind = match header.opcode() {
            TEXT | BINARY if header.is_final() => FrameKind::Whole,
            TEXT | BINARY => FrameKind::First,
            CONTINUATION => FrameKind::Next,
            CLOSE | PING | PONG => FrameKind::Control,
            opcode => return Err(FaultKind::UnknownOpcode(opcode).into()),
        };
        match (self.side, header.key) {
            (Side::Server, None) => return Err(FaultKind::Unmasked.into()),
            (Side::Client, Some(_)) => return Err(FaultKind::Masked.into()),
            _ => {}
        }
        // RFC 6455 section 5.2: the shortest form, and a top bit of 0.
        if !header.is_shortest || header.payload > i64::MAX as u64 {
            return Err(FaultKind::Length.into());
        }
        let room = match (kind, self.assembled) {
            (FrameKind::Control, _) if !header.is_final() => {
                return Err(FaultKind::FragmentedControl.into());
            }
            (FrameKind::Control, _) if header.payload > LONGEST_CONTROL => {
                return Err(FaultKind::LongControl.into());
            }
            (FrameKind::Control, _) => return Ok(kind),
            (FrameKind::Next, None) => return Err(FaultKind::NothingToContinue.into()),
            (FrameKind::Whole | FrameKind::First, Some(_)) => {
                return Err(FaultKind::MessageInsideMessage.into());
            }
            (FrameKind::Whole | FrameKind::First, None) => self.room(header.is_compressed()),
            (FrameKind::Next, Some((assembled, is_compressed))) => {
                self.room(is_compressed).saturating_sub(assembled)
            }
        };
        if header.payload > room {
            return Err(FaultKind::TooBig { limit: self.message_size }.into());
        }
        Ok(kind)
    }

    /// Most bytes of a message on the wire.
    fn room(&self, is_compressed: bool) -> u64 {
        if is_compressed { Inflation::most_compressed(self.message_size) } else { self.message_size }
    }
}
