//! The server's handshake response.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use tokio::io::{AsyncRead, AsyncReadExt};
use websockets_simple_core::{
    Agreement, Compatibility,
    handshake_words::{BEARER_PREFIX, NO_SUBPROTOCOL, agreed_by, has_token},
};

use crate::{
    config::CheckedParams,
    dial::{
        head, lost,
        refusal::{BODY, refused},
    },
    error::{ConnectError, TlsFailure},
};

/// Bytes that are quoted of a response in another protocol.
const QUOTE: usize = 64;

/// Silence after which a response that is not HTTP counts as complete: .NET servers leave the socket open.
const SILENCE: Duration = Duration::from_millis(300);

/// What a .NET v6 server sends when the token is unknown: a Close frame, without any handshake.
const DISCONNECT: &[u8] = b"\x88\x0c\x03\xe8Disconnect";

/// A handshake that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) subprotocol: Option<String>,
    /// Whether the server agreed to control messages.
    pub(crate) controls: bool,
    pub(crate) compression: Option<Agreement>,
    pub(crate) leftover: Vec<u8>,
}

/// Reads and checks the response.
pub(crate) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    params: &CheckedParams,
    accept: &str,
) -> Result<Answer, ConnectError> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if !head::looks_like_http(&bytes) {
            return Err(before_http(stream, bytes, params).await);
        }
        let status = head::status(&bytes).map_err(bad)?;
        match status {
            Some(status) if is_refusal(status) => {
                if let Some(size) = head::size(&bytes) {
                    let raw = bytes.split_off(size);
                    return Err(refused(stream, params, status, head::lenient(&bytes), raw).await);
                }
            }
            Some(status) => {
                if let Some((headers, size)) = head::strict(&bytes)? {
                    let rest = bytes.split_off(size);
                    if status == 101 {
                        return accepted(headers, rest, params, accept);
                    }
                    // The final response follows (RFC 9110 section 15.2).
                    bytes = rest;
                    continue;
                }
            }
            None => {}
        }
        let room = head::MOST_BYTES.saturating_sub(bytes.len());
        if room == 0 {
            return Err(too_large(bytes, params).await);
        }
        match (&mut *stream).take(room as u64).read_buf(&mut bytes).await {
            Ok(read) if read > 0 => {}
            Err(error) if !status.is_some_and(is_refusal) => return Err(lost(error)),
            _ => return Err(cut_short(bytes, params).await),
        }
    }
}

fn is_refusal(status: u16) -> bool {
    !(100..=199).contains(&status)
}

fn bad(why: &str) -> ConnectError {
    ConnectError::BadResponse(why.to_owned())
}

/// Leaves out the last line if it has no end: half a value is none, and half a token would not be recognized.
pub(super) fn whole_lines(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
}

/// The error for a head that has no end within the limit: a refusal as far as its last whole line.
async fn too_large(mut bytes: Vec<u8>, params: &CheckedParams) -> ConnectError {
    whole_lines(&mut bytes);
    refused_so_far(&bytes, params).await.unwrap_or_else(|| bad("the head is larger than 16 KiB"))
}

/// The error for a connection that ends before the head does: a refusal if the status is known.
async fn cut_short(mut bytes: Vec<u8>, params: &CheckedParams) -> ConnectError {
    if bytes.is_empty() {
        return bad("the server closed the connection");
    }
    if bytes.contains(&b'\n') {
        whole_lines(&mut bytes);
    } else {
        // The status is enough.
        bytes.push(b'\n');
    }
    refused_so_far(&bytes, params).await.unwrap_or_else(|| bad("the response is incomplete"))
}

/// The error for the beginning of a refusal's head, which no body follows.
async fn refused_so_far(bytes: &[u8], params: &CheckedParams) -> Option<ConnectError> {
    let status = head::status(bytes).ok().flatten().filter(|status| is_refusal(*status))?;
    Some(refused(&mut tokio::io::empty(), params, status, head::lenient(bytes), Vec::new()).await)
}

/// Checks a 101 as RFC 6455 section 4.1 requires.
fn accepted(
    headers: HeaderMap,
    leftover: Vec<u8>,
    params: &CheckedParams,
    accept: &str,
) -> Result<Answer, ConnectError> {
    let bad = |why| Err(bad(why));
    if !has_word(&headers, header::UPGRADE, "websocket") {
        return bad("the Upgrade header is not `websocket`");
    }
    if !has_word(&headers, header::CONNECTION, "upgrade") {
        return bad("the Connection header is not `Upgrade`");
    }
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value != accept) {
        return bad("Sec-WebSocket-Accept is missing or does not match");
    }
    let compression = agreed(&headers, params)?;
    let chosen: Vec<_> = chosen(&headers, header::SEC_WEBSOCKET_PROTOCOL).take(2).collect();
    let offer = match chosen[..] {
        // A .NET server may accept a subprotocol without naming it in the response.
        [] if params.required && params.compatibility() == Compatibility::None => {
            return Err(ConnectError::SubprotocolRejected);
        }
        [] => None,
        [chosen] => {
            let chosen = std::str::from_utf8(chosen).unwrap_or_default();
            // The subprotocol that carries the token must not be chosen.
            let mut offered =
                params.offers.expose().split(", ").filter(|offer| !offer.starts_with(BEARER_PREFIX));
            let same = offered.find(|offer| params.compatibility().is_same_subprotocol(offer, chosen));
            Some(same.ok_or(ConnectError::SubprotocolRejected)?)
        }
        _ => return bad("it chooses more than one subprotocol"),
    };
    let (subprotocol, controls) = offer.map(agreed_by).unzip();
    let (subprotocol, controls) = (subprotocol.map(str::to_owned), controls.unwrap_or(false));
    Ok(Answer { headers, subprotocol, controls, compression, leftover })
}

/// What the server agreed to of what was offered.
fn agreed(headers: &HeaderMap, params: &CheckedParams) -> Result<Option<Agreement>, ConnectError> {
    #[cfg(feature = "deflate")]
    if let Some(compression) = params.compression() {
        let lines = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
        let agreed = compression.confirm(lines.map(http::HeaderValue::as_bytes));
        return agreed.map_err(|error| bad(&error.to_string()));
    }
    #[cfg(not(feature = "deflate"))]
    let _ = params;
    match chosen(headers, header::SEC_WEBSOCKET_EXTENSIONS).next() {
        None => Ok(None),
        Some(_) => Err(bad("it chooses an extension that was not offered")),
    }
}

/// The values of a header without empty elements (RFC 9110 section 5.6.1).
fn chosen(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let is_padding = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
    headers.get_all(name).iter().filter_map(move |value| {
        let value = value.as_bytes();
        let (first, last) = (
            value.iter().position(|byte| !is_padding(byte))?,
            value.iter().rposition(|byte| !is_padding(byte))?,
        );
        Some(&value[first..=last])
    })
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    has_token(headers.get_all(name).iter().filter_map(|value| value.to_str().ok()), word)
}

/// Reads once if there are fewer than `limit` bytes. False if nothing was read.
pub(super) async fn more<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut Vec<u8>, limit: usize) -> bool {
    let room = limit.saturating_sub(bytes.len()) as u64;
    room > 0 && matches!((&mut *stream).take(room).read_buf(bytes).await, Ok(read) if read > 0)
}

/// Whether this is a TLS alert (RFC 8446 section 5.1): two bytes in a record of type 21.
fn is_alert(bytes: &[u8]) -> bool {
    matches!(bytes, [21, 3, 0..=4, 0, 2, ..])
}

/// Whether this begins with SETTINGS on stream 0, as every HTTP/2 connection does (RFC 9113 section 3.4).
fn is_http_2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, _, _, 4, _, 0, 0, 0, 0, ..])
}

/// The error for a response that is not HTTP: a refusal of a .NET server, or another protocol.
async fn before_http<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut bytes: Vec<u8>,
    params: &CheckedParams,
) -> ConnectError {
    let mut cut = false;
    while !is_alert(&bytes) {
        match tokio::time::timeout(SILENCE, more(stream, &mut bytes, BODY)).await {
            Ok(true) => {}
            Ok(false) => break,
            // Perhaps in the middle of what it says.
            Err(_) => {
                cut = true;
                break;
            }
        }
    }
    cut |= bytes.len() >= BODY;
    bytes.truncate(BODY);
    if is_alert(&bytes) {
        return ConnectError::Tls(TlsFailure::Required);
    }
    // These two are recognized in every compatibility mode: no other protocol begins like this.
    if bytes.starts_with(DISCONNECT) {
        return ConnectError::unauthorized("Disconnect".to_owned());
    }
    let said = bytes.strip_suffix(DISCONNECT).unwrap_or(&bytes);
    if said == NO_SUBPROTOCOL.as_bytes() {
        return ConnectError::SubprotocolRejected;
    }
    if is_http_2(&bytes) {
        return bad("it is HTTP/2; the server does not speak HTTP/1.1 on this port");
    }
    let said = params.without_token(&String::from_utf8_lossy(said), cut);
    if params.compatibility() != Compatibility::None {
        return ConnectError::unauthorized(said);
    }
    let mut shown: String = said.chars().filter(|c| !c.is_control()).collect();
    shown.truncate(shown.floor_char_boundary(QUOTE));
    ConnectError::BadResponse(format!("it is not HTTP: `{shown}`"))
}
