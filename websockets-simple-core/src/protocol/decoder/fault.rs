//! How a peer breaks the protocol, and the close code for it.

use crate::protocol::close_code::CloseCode;

/// How the peer broke the protocol, and the close code for it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: CloseCode,
    pub(crate) error: ProtocolError,
}

/// The peer broke RFC 6455 or exceeded the message size limit. The wording may change; nothing of what the peer sent is
/// quoted in it, as that may be private.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProtocolError(FaultKind);

/// The rule that was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum FaultKind {
    #[error("a reserved bit is set that no agreed extension gives a meaning")]
    ReservedBits,
    #[error("unknown opcode {0:#x}")]
    UnknownOpcode(u8),
    #[error("a frame of the client is not masked")]
    Unmasked,
    #[error("a frame of the server is masked")]
    Masked,
    #[error("the length of a frame is not in its shortest form")]
    Length,
    #[error("a fragmented control frame")]
    FragmentedControl,
    #[error("a control frame of more than 125 bytes")]
    LongControl,
    #[error("a continuation without a message to continue")]
    NothingToContinue,
    #[error("a message begins before the last fragment of the previous one")]
    MessageInsideMessage,
    #[error("a message of more than {limit} bytes")]
    TooBig { limit: u64 },
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "nothing is compressed"))]
    #[error("a compressed message that cannot be decompressed")]
    Deflate,
    #[error("a Close of one byte")]
    ShortClose,
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    #[error("a close reason that is not UTF-8")]
    CloseReason,
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        let code = match kind {
            // RFC 6455 sections 8.1 and 7.4.1.
            FaultKind::NotUtf8 | FaultKind::CloseReason | FaultKind::Deflate => CloseCode::INVALID_DATA,
            FaultKind::TooBig { .. } => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL,
        };
        Self { code, error: ProtocolError(kind) }
    }
}

#[cfg(any(test, fuzzing))]
impl Fault {
    pub(super) fn kind(&self) -> FaultKind {
        self.error.0
    }
}
