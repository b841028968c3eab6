//! Refusals after an upgrade: browsers see the reason only then, so servers upgrade, send it and close.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    time::Duration,
};

use futures_core::Stream;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext},
    },
};
use websockets_simple_core::{
    CloseCode,
    handshake_words::{VERDICT_HEADER, VERDICT_UNAUTHORIZED},
};

use crate::config::CheckedParams;

/// Time for the refusal to arrive.
const PATIENCE: Duration = Duration::from_secs(1);

/// Largest refusal, in bytes.
const FAREWELL: usize = 4 * 1024;

/// The message if a 101 and the bytes after it are a refusal.
pub(crate) async fn refusal<S>(
    stream: &mut S,
    params: &CheckedParams,
    headers: &HeaderMap,
    leftover: &[u8],
) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if headers.get(VERDICT_HEADER).is_some_and(|verdict| verdict == VERDICT_UNAUTHORIZED) {
        return Some(farewell(stream, params, leftover).await);
    }
    if !params.shows_token() {
        return None;
    }
    // Other servers may refuse a token with a Close right after the 101.
    let mut context = WebSocketContext::from_partially_read(leftover.to_vec(), Role::Client, Some(config()));
    let mut message = String::new();
    while let Ok(read) = context.read(&mut Nothing) {
        match read {
            Message::Text(text) => message = text.as_str().to_owned(),
            Message::Close(Some(close)) if is_policy(&close) => {
                let message = if message.is_empty() { close.reason.as_str() } else { &message };
                return Some(params.without_token(message, false));
            }
            _ => {}
        }
    }
    None
}

/// Reads the text and the Close that follow the header.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    params: &CheckedParams,
    leftover: &[u8],
) -> String {
    let mut message = String::new();
    let reading = async {
        let mut stream =
            WebSocketStream::from_partially_read(stream, leftover.to_vec(), Role::Client, Some(config()))
                .await;
        while let Some(Ok(read)) = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
            match read {
                Message::Text(text) => message = text.as_str().to_owned(),
                Message::Close(_) => break,
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    params.without_token(&message, false)
}

fn is_policy(close: &CloseFrame) -> bool {
    u16::from(close.code) == CloseCode::POLICY.get()
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_message_size(Some(FAREWELL))
        .max_frame_size(Some(FAREWELL))
}

/// A stream without any more bytes.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Nothing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
