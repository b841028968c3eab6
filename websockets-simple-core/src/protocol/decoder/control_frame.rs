//! A control frame while it arrives (RFC 6455 section 5.5).

use crate::protocol::{
    close_code::CloseCode,
    decoder::{Decoded, fault::FaultKind},
    header::{CLOSE, Header, PING},
    mask::apply_mask,
};

/// A control frame, of which some of the payload may be missing.
#[derive(Debug)]
pub(super) struct ControlFrame {
    opcode: u8,
    key: Option<[u8; 4]>,
    payload: [u8; 125],
    come: u8,
    len: u8,
}

impl ControlFrame {
    /// Nothing of the payload has come; the header was judged.
    pub(super) fn new(header: &Header) -> Self {
        let len = header.payload.min(125) as u8;
        Self { opcode: header.opcode(), key: header.key, payload: [0; 125], come: 0, len }
    }

    pub(super) fn missing(&self) -> usize {
        usize::from(self.len - self.come)
    }

    /// At most as much as is missing.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let come = usize::from(self.come);
        self.payload[come..come + piece.len()].copy_from_slice(piece);
        self.come += piece.len() as u8;
    }

    /// Called once, when nothing is missing.
    pub(super) fn unmask(&mut self) {
        if let Some(key) = self.key.take() {
            apply_mask(&mut self.payload[..usize::from(self.len)], key);
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload[..usize::from(self.len)]
    }

    /// What the frame says.
    pub(super) fn decoded(&self) -> Decoded {
        match self.opcode {
            PING => Decoded::Ping,
            CLOSE => match self.close() {
                Ok((code, reason)) => Decoded::Close(code, reason),
                Err(fault) => Decoded::Fault(fault.into()),
            },
            _ => Decoded::Pong,
        }
    }

    /// Code and reason of a Close (RFC 6455 sections 5.5.1 and 7.4).
    fn close(&self) -> Result<(Option<u16>, String), FaultKind> {
        let Some((code, reason)) = self.payload().split_first_chunk() else {
            return if self.len == 0 { Ok((None, String::new())) } else { Err(FaultKind::ShortClose) };
        };
        let code = u16::from_be_bytes(*code);
        CloseCode::try_from(code).map_err(|_| FaultKind::CloseCode(code))?;
        let reason = std::str::from_utf8(reason).map_err(|_| FaultKind::CloseReason)?;
        Ok((Some(code), reason.to_owned()))
    }
}
