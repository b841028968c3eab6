//! A server that behaves on the wire as WebsocketsSimple v6 does, mistakes included.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What it says to a token it does not know, before any handshake, and as its Close.
pub const DISCONNECT: &[u8] = b"\x88\x0c\x03\xe8Disconnect";

/// How one connection went.
#[derive(Debug)]
pub struct Outcome {
    /// The token it saw: the path without its slash, undecoded.
    pub token: String,
    /// Whether the client sent the Close that makes it let go: the answer to its own, which after a Close of the
    /// client's has to be a second one.
    pub let_go: bool,
}

/// One connection of the server.
#[derive(Debug)]
pub struct DotNetV6Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Bytes to write, each as it is.
    pub say: mpsc::UnboundedSender<Vec<u8>>,
    /// What it takes for messages, as they come.
    pub heard: mpsc::UnboundedReceiver<String>,
    /// How it went, once it is over.
    pub outcome: JoinHandle<Outcome>,
}

/// What the server is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether the success text comes in the same segment as the 101.
    pub glued: bool,
    /// Whether to hold the success text back until something is to be said.
    pub slow_success: bool,
    /// The subprotocols it has, in lower case.
    pub subprotocols: &'static [&'static str],
    /// Whether it is the server without users, which tells nobody what subprotocol it took.
    pub plain: bool,
}

impl DotNetV6Server {
    /// Serves one connection. Tokens that begin with `bad` are not known.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn serve(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = listener.local_addr().expect("it listens");
        let (say, said) = mpsc::unbounded_channel();
        let (hears, heard) = mpsc::unbounded_channel();
        let outcome = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody connects");
            stream.set_nodelay(true).expect("a TCP socket");
            connection(stream, said, hears, manner).await
        });
        Self { addr, say, heard, outcome }
    }
}

async fn connection(
    mut stream: TcpStream,
    mut said: mpsc::UnboundedReceiver<Vec<u8>>,
    hears: mpsc::UnboundedSender<String>,
    manner: Manner,
) -> Outcome {
    let mut outcome = Outcome { token: String::new(), let_go: false };
    // One read is the whole request.
    let request = String::from_utf8_lossy(&read(&mut stream).await).into_owned();
    // From the first slash to the next blank.
    outcome.token = between(&request, "/", " ").unwrap_or_default().to_owned();
    // Names are compared to the letter, and there is one blank.
    let key = between(&request, "Sec-WebSocket-Key: ", "\r\n").unwrap_or_default();
    let asked = between(&request, "Sec-WebSocket-Protocol: ", "\r\n");
    let known = |name: &str| manner.subprotocols.contains(&name.trim().to_lowercase().as_str());
    if asked.is_some_and(|names| !names.split(',').all(known)) {
        // All or none; and it leaves the socket open.
        stream.write_all(b"Invalid subprotocols requested").await.ok();
        stream.write_all(DISCONNECT).await.ok();
        read(&mut stream).await;
        return outcome;
    }
    if outcome.token.starts_with("bad") {
        stream.write_all(DISCONNECT).await.ok();
        read(&mut stream).await;
        return outcome;
    }
    let chosen = match asked.and_then(|names| names.split(',').next()) {
        Some(first) if !manner.plain => format!("Sec-WebSocket-Protocol: {first}\r\n"),
        _ => String::new(),
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
    )
    .into_bytes();
    let success = text_frame("Connected Successfully");
    if manner.glued {
        answer.extend_from_slice(&success);
    }
    stream.write_all(&answer).await.ok();
    if manner.slow_success {
        // Whatever comes before the success text is lost.
        let early = said.recv().await;
        let mut lost = [0; 1024];
        assert!(stream.try_read(&mut lost).is_err(), "data before the success text is lost");
        stream.write_all(&success).await.ok();
        stream.write_all(&early.unwrap_or_default()).await.ok();
    } else if !manner.glued {
        stream.write_all(&success).await.ok();
    }
    outcome.let_go = converse(stream, said, hears).await;
    outcome
}

/// Says and hears until one end has had enough. Answers whether the client made it let go.
async fn converse(
    mut stream: TcpStream,
    mut said: mpsc::UnboundedReceiver<Vec<u8>>,
    hears: mpsc::UnboundedSender<String>,
) -> bool {
    let mut closed = false;
    loop {
        // One read is one frame.
        let frame = tokio::select! {
            frame = read(&mut stream) => frame,
            Some(bytes) = said.recv() => {
                stream.write_all(&bytes).await.ok();
                // After a Close of its own it waits for one.
                closed |= bytes.starts_with(&DISCONNECT[..1]);
                continue;
            }
        };
        if frame.is_empty() {
            return false;
        }
        let payload = by_hand(&frame).unwrap_or_default();
        if closed {
            return payload.first() == Some(&3);
        }
        // A Close is known by a byte 3 anywhere in the payload.
        let (text, close) = match payload.iter().position(|byte| *byte == 3) {
            Some(at) => (&payload[..at], true),
            None => (&payload[..], false),
        };
        if !text.trim_ascii().is_empty() {
            hears.send(String::from_utf8_lossy(text).into_owned()).ok();
        }
        if close {
            stream.write_all(DISCONNECT).await.ok();
            closed = true;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut piece = vec![0; 64 * 1024];
    let read = stream.read(&mut piece).await.unwrap_or_default();
    piece.truncate(read);
    piece
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split(after).next()
}

/// A text frame as it makes them: it takes the number of UTF-16 units for the number of bytes. For up to 125 of
/// them.
///
/// # Panics
///
/// When there are more.
#[must_use]
pub fn text_frame(text: &str) -> Vec<u8> {
    let cut = &text.as_bytes()[..text.encode_utf16().count()];
    assert!(cut.len() <= 125, "a short text");
    let mut frame = vec![0x81, cut.len() as u8];
    frame.extend_from_slice(cut);
    frame
}

/// Its own decoder: opcode, FIN and 64-bit lengths are ignored, frames that are not masked are dropped.
fn by_hand(frame: &[u8]) -> Option<Vec<u8>> {
    let second = *frame.get(1).filter(|second| *second & 0x80 != 0)?;
    let (len, at) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes([*frame.get(2)?, *frame.get(3)?])), 4),
        len => (usize::from(len), 2),
    };
    let key = frame.get(at..at + 4)?;
    Some(frame[at + 4..].iter().take(len).zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        raw::masked,
        traces::{V6_SERVER, bytes},
    };

    #[test]
    fn its_texts_are_cut_where_the_recorded_ones_are() {
        let recorded = bytes(V6_SERVER, "recv");
        for text in ["Connected Successfully", "héllo raw", "日本", "Ping"] {
            assert!(recorded.contains(&text_frame(text)), "{text}");
        }
    }

    #[test]
    fn it_takes_one_read_for_one_frame_and_any_frame_for_a_text() {
        let two = [masked(0x81, b"one"), masked(0x81, b"two")].concat();
        assert_eq!(by_hand(&two).unwrap(), b"one");
        assert_eq!(by_hand(&masked(0x89, b"ping")).unwrap(), b"ping");
        assert_eq!(by_hand(&masked(0x81, &[b'x'; 300])).unwrap(), [b'x'; 300]);
        assert_eq!(by_hand(b"\x81\x03abc"), None, "not masked");
        assert_eq!(by_hand(b"\x81\xfe\x01"), None, "cut");
    }
}
