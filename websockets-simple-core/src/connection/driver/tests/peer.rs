//! The peer of a driver, made of raw bytes.

use super::*;

/// The other end, byte by byte.
pub(super) struct Peer {
    pub(super) stream: DuplexStream,
    pub(super) masks: bool,
}

impl Peer {
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) async fn say(&mut self, first: u8, payload: &[u8]) {
        let frame = frame(first, payload, self.masks);
        self.raw(&frame).await;
    }

    pub(super) async fn text(&mut self, text: &str) {
        self.say(TEXT, text.as_bytes()).await;
    }

    pub(super) async fn close(&mut self, code: u16) {
        self.say(CLOSE, &code.to_be_bytes()).await;
    }

    /// The next frame: first byte and payload.
    pub(super) async fn hear(&mut self) -> (u8, Vec<u8>) {
        tokio::time::timeout(FOR_EVER, self.hear_frame()).await.expect("nothing came for a day")
    }

    pub(super) async fn hear_frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.expect("a frame");
        let second = self.stream.read_u8().await.unwrap();
        assert_eq!(second & 0x80 != 0, !self.masks, "clients mask, servers do not");
        let len = match second & 0x7F {
            126 => usize::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap() as usize,
            len => usize::from(len),
        };
        let mut key = [0; 4];
        if !self.masks {
            self.stream.read_exact(&mut key).await.unwrap();
        }
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).await.unwrap();
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        (first, payload)
    }

    pub(super) async fn hear_text(&mut self) -> String {
        let (first, payload) = self.hear().await;
        assert_eq!(first, TEXT, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The code and reason of the Close that has to come next.
    pub(super) async fn hear_close(&mut self) -> (u16, String) {
        let (first, payload) = self.hear().await;
        assert_eq!(first, CLOSE, "{:?}", String::from_utf8_lossy(&payload));
        let (code, reason) = payload.split_at(2);
        (u16::from_be_bytes(code.try_into().unwrap()), String::from_utf8(reason.to_vec()).unwrap())
    }

    pub(super) async fn hear_the_end(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(FOR_EVER, self.stream.read_to_end(&mut rest));
        end.await.expect("the stream did not end for a day").unwrap();
        assert_eq!(rest, b"", "after the last frame");
    }
}

/// One frame; masked with a key that hides nothing if `masked`.
pub(super) fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(mask | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(mask | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(mask | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let key = [0x11, 0x22, 0x33, 0x44];
    if masked {
        frame.extend(key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend(payload);
    }
    frame
}
