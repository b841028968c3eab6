//! The server's handshake response.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncReadExt};
use websockets_simple_core::{
    Compatibility,
    handshake_words::{BEARER_PREFIX, NO_SUBPROTOCOL, has_token},
};

use crate::{config::CheckedParams, dial::lost, error::ConnectError};

/// Largest response head, in bytes.
const HEAD: usize = 16 * 1024;

/// Most headers of a response.
const HEADERS: usize = 100;

/// Bytes that are read of the body of a refusal.
const BODY: usize = 4 * 1024;

/// Bytes that are quoted of a response in another protocol.
const QUOTE: usize = 64;

/// Time for the body of a refusal.
const REFUSAL: Duration = Duration::from_secs(1);

/// Silence after which a response that is not HTTP counts as complete: .NET servers leave the socket open.
const SILENCE: Duration = Duration::from_millis(300);

/// What a .NET v6 server sends when the token is unknown: a Close frame, without any handshake.
const DISCONNECT: &[u8] = b"\x88\x0c\x03\xe8Disconnect";

/// A handshake that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) subprotocol: Option<String>,
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
        if !looks_like_http(&bytes) {
            return Err(before_http(stream, bytes, params).await);
        }
        if let Some((status, headers, size)) = parse(&bytes)? {
            let rest = bytes.split_off(size);
            match status {
                101 => return accepted(headers, rest, params, accept),
                // An interim response, such as 103; the final one follows (RFC 9110 section 15.2).
                100..=199 => {
                    bytes = rest;
                    continue;
                }
                _ => return Err(refused(stream, params, status, &headers, rest).await),
            }
        }
        if bytes.len() >= HEAD {
            return Err(ConnectError::BadResponse("the head is larger than 16 KiB".to_owned()));
        }
        let room = HEAD - bytes.len();
        if (&mut *stream).take(room as u64).read_buf(&mut bytes).await.map_err(lost)? == 0 {
            let why = if bytes.is_empty() {
                "the server closed the connection"
            } else {
                "the response is incomplete"
            };
            return Err(ConnectError::BadResponse(why.to_owned()));
        }
    }
}

/// Whether these can be the first bytes of an HTTP response.
fn looks_like_http(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/").all(|(one, other)| one == other)
}

/// Status, headers and size of a complete head.
fn parse(bytes: &[u8]) -> Result<Option<(u16, HeaderMap, usize)>, ConnectError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let bad = |why: &dyn std::fmt::Display| ConnectError::BadResponse(why.to_string());
    let httparse::Status::Complete(size) = response.parse(bytes).map_err(|error| bad(&error))? else {
        return Ok(None);
    };
    let mut map = HeaderMap::new();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| bad(&error))?;
        map.append(name, HeaderValue::from_bytes(header.value).map_err(|error| bad(&error))?);
    }
    if response.version != Some(1) {
        return Err(bad(&"the version is not HTTP/1.1"));
    }
    Ok(Some((response.code.unwrap_or_default(), map, size)))
}

/// Checks a 101 as RFC 6455 section 4.1 requires.
fn accepted(
    headers: HeaderMap,
    leftover: Vec<u8>,
    params: &CheckedParams,
    accept: &str,
) -> Result<Answer, ConnectError> {
    let bad = |why: &str| Err(ConnectError::BadResponse(why.to_owned()));
    if !has_word(&headers, header::UPGRADE, "websocket") {
        return bad("the Upgrade header is not `websocket`");
    }
    if !has_word(&headers, header::CONNECTION, "upgrade") {
        return bad("the Connection header is not `Upgrade`");
    }
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value != accept) {
        return bad("Sec-WebSocket-Accept is missing or does not match");
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return bad("it chooses an extension that was not offered");
    }
    let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let subprotocol = match (chosen.next(), chosen.next()) {
        // A .NET server may accept a subprotocol without naming it in the response.
        (None, _) if params.required && params.compatibility() == Compatibility::None => {
            return Err(ConnectError::SubprotocolRejected);
        }
        (None, _) => None,
        (Some(chosen), None) => {
            let chosen = chosen.to_str().unwrap_or_default().trim();
            // The subprotocol that carries the token must not be chosen.
            let mut offered =
                params.offers.expose().split(", ").filter(|offer| !offer.starts_with(BEARER_PREFIX));
            let same = offered.find(|offer| params.compatibility().is_same_subprotocol(offer, chosen));
            Some(same.ok_or(ConnectError::SubprotocolRejected)?.to_owned())
        }
        (Some(_), Some(_)) => return bad("it chooses more than one subprotocol"),
    };
    Ok(Answer { headers, subprotocol, leftover })
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    has_token(headers.get_all(name).iter().filter_map(|value| value.to_str().ok()), word)
}

/// The error for a response other than 101.
async fn refused<S: AsyncRead + Unpin>(
    stream: &mut S,
    params: &CheckedParams,
    status: u16,
    headers: &HeaderMap,
    raw: Vec<u8>,
) -> ConnectError {
    let (body, cut) = body(stream, headers, raw).await;
    let body = params.without_token(&String::from_utf8_lossy(&body), cut);
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (status, text(header::LOCATION)) {
        (401, _) => ConnectError::Unauthorized { message: body },
        (400, _) if body == NO_SUBPROTOCOL => ConnectError::SubprotocolRejected,
        (300..=399, Some(location)) => {
            ConnectError::Redirected { location: params.without_token(location, false) }
        }
        _ => {
            let seconds = text(header::RETRY_AFTER).and_then(|value| value.trim().parse().ok());
            ConnectError::Rejected { status, body, retry_after: seconds.map(Duration::from_secs) }
        }
    }
}

/// The beginning of a refusal's body, and whether it was cut. Its end is given by Content-Length, chunks or the end of
/// the connection.
async fn body<S: AsyncRead + Unpin>(
    stream: &mut S,
    headers: &HeaderMap,
    mut raw: Vec<u8>,
) -> (Vec<u8>, bool) {
    let chunked = has_word(headers, header::TRANSFER_ENCODING, "chunked");
    let announced: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // Chunk sizes need room too, but are not part of the body.
    let wanted = if chunked { 2 * BODY } else { announced.unwrap_or(BODY).min(BODY) };
    let reading = async { while !(chunked && unchunk(&raw).1) && more(stream, &mut raw, wanted).await {} };
    let in_time = tokio::time::timeout(REFUSAL, reading).await.is_ok();
    let (mut body, whole) = if chunked {
        unchunk(&raw)
    } else {
        let whole = announced.map_or(in_time, |all| raw.len() >= all);
        (raw, whole)
    };
    let cut = !whole || body.len() >= BODY;
    body.truncate(wanted.min(BODY));
    (body, cut)
}

/// The data of a chunked body as far as received, and whether it is complete.
fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(raw) {
        if size == 0 {
            return (data, true);
        }
        let rest = &raw[start..];
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        data.extend_from_slice(&rest[..size]);
        raw = rest[size..].strip_prefix(b"\r\n").unwrap_or_default();
    }
    (data, false)
}

/// Reads once if there are fewer than `limit` bytes. False if nothing was read.
async fn more<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut Vec<u8>, limit: usize) -> bool {
    let room = limit.saturating_sub(bytes.len()) as u64;
    room > 0 && matches!((&mut *stream).take(room).read_buf(bytes).await, Ok(read) if read > 0)
}

/// The error for a response that is not HTTP: a refusal of a .NET server, or another protocol.
async fn before_http<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut bytes: Vec<u8>,
    params: &CheckedParams,
) -> ConnectError {
    while matches!(tokio::time::timeout(SILENCE, more(stream, &mut bytes, BODY)).await, Ok(true)) {}
    bytes.truncate(BODY);
    // These two are recognized in every compatibility mode: no other protocol begins like this.
    if bytes.starts_with(DISCONNECT) {
        return ConnectError::Unauthorized { message: "Disconnect".to_owned() };
    }
    let said = bytes.strip_suffix(DISCONNECT).unwrap_or(&bytes);
    if said == NO_SUBPROTOCOL.as_bytes() {
        return ConnectError::SubprotocolRejected;
    }
    let said = params.without_token(&String::from_utf8_lossy(said), bytes.len() >= BODY);
    if params.compatibility() != Compatibility::None {
        return ConnectError::Unauthorized { message: said };
    }
    let mut shown: String = said.chars().filter(|c| !c.is_control()).collect();
    shown.truncate(shown.floor_char_boundary(QUOTE));
    ConnectError::BadResponse(format!("it is not HTTP: `{shown}`"))
}
