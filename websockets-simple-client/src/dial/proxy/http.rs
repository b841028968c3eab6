//! The method CONNECT of HTTP proxies (RFC 9110 section 9.3.6).

use std::{fmt::Write, io, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use websockets_simple_core::Token;

use super::lost;
use crate::{
    config::{Credentials, Host},
    dial::{head, refusal::retry_after, response::whole_lines},
    error::ProxyError,
};

/// Asks an HTTP proxy for a connection to the server, and reads its answer: at most 16 KiB.
pub(super) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &Host,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyError> {
    stream.write_all(request(host, port, credentials).expose().as_bytes()).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut bytes = Vec::with_capacity(512);
    let mut room = head::MOST_BYTES;
    loop {
        if !head::looks_like_http(&bytes) {
            return Err(ProxyError::BadResponse("it is not HTTP"));
        }
        let status = head::status(&bytes).map_err(ProxyError::BadResponse)?;
        if let (Some(status), Some(size)) = (status, head::size(&bytes)) {
            match status {
                // The final response follows (RFC 9110 section 15.2).
                100 | 102..=199 => {
                    bytes.drain(..size);
                    continue;
                }
                // It has no body, whatever its headers say, and servers of WebSockets do not speak first.
                200..=299 if bytes.len() > size => {
                    return Err(ProxyError::BadResponse("bytes follow its head"));
                }
                200..=299 => return Ok(()),
                _ => return Err(refused(status, &bytes[..size])),
            }
        }
        let error = if room == 0 {
            ProxyError::BadResponse("its head is larger than 16 KiB")
        } else {
            match (&mut *stream).take(room as u64).read_buf(&mut bytes).await {
                Ok(0) => lost(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    room -= read;
                    continue;
                }
                Err(error) => lost(error),
            }
        };
        whole_lines(&mut bytes);
        // A refusal is one although its head has no end.
        return Err(status.filter(|status| *status >= 300).map_or(error, |status| refused(status, &bytes)));
    }
}

fn request(host: &Host, port: u16, credentials: Option<&Credentials>) -> Token {
    let server = format!("{}:{port}", host.shown);
    let mut head = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(Credentials { user, password }) = credentials {
        let shown = BASE64_STANDARD.encode(format!("{}:{}", user.expose(), password.expose()));
        let _ = write!(head, "Proxy-Authorization: Basic {shown}\r\n");
    }
    head.push_str("\r\n");
    Token::new(head)
}

fn refused(status: u16, head: &[u8]) -> ProxyError {
    match status {
        407 => ProxyError::Unauthorized,
        _ => {
            let retry_after = retry_after(&head::lenient(head), SystemTime::now());
            ProxyError::Rejected { status, retry_after }
        }
    }
}
