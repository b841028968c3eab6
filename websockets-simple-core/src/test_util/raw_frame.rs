//! A frame as bytes.

/// One frame as it was received, payload unmasked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawFrame {
    /// FIN, RSV and opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// A text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { first: 0x81, payload: text.as_bytes().to_vec() }
    }

    /// The payload as text.
    #[must_use]
    pub fn as_text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The code of a Close frame.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        (self.first == 0x88 && self.payload.len() >= 2)
            .then(|| u16::from_be_bytes([self.payload[0], self.payload[1]]))
    }
}

/// A frame as servers send it.
#[must_use]
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn header(first: u8, len: usize, mask: u8) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..=125 => header.push(mask | u8::try_from(len).unwrap_or(0)),
        126..=0xFFFF => {
            header.push(mask | 126);
            header.extend(u16::try_from(len).unwrap_or(0).to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header
}

/// A masked frame.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = header(first, payload.len(), 0x80);
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The frame at the front, and its size in bytes.
pub(super) fn parse(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (len, mut at) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        key = bytes.get(at..at + 4)?.try_into().ok()?;
        at += 4;
    }
    let payload = bytes.get(at..at + len)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((RawFrame { first, payload }, at + len))
}
