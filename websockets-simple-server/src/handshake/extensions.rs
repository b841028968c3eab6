//! Which extensions a handshake agrees on.

use http::{HeaderMap, HeaderValue};
use websockets_simple_core::Agreement;

use crate::{config::ServerParams, handshake::refusal::Refusal, net::HandshakeRequest};

/// What is agreed on, and the header that says so.
pub(super) type Agreed = (Agreement, HeaderValue);

/// Answers the client's offers of compression.
#[cfg(feature = "deflate")]
pub(super) fn agree(
    headers: &HeaderMap,
    request: &HandshakeRequest<'_>,
    params: &ServerParams,
) -> Result<Option<Agreed>, Refusal> {
    use http::header::SEC_WEBSOCKET_EXTENSIONS;

    if !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Ok(None);
    }
    let Some(compression) = params.compression_for(request) else { return Ok(None) };
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::as_bytes);
    let agreed =
        compression.answer(lines).map_err(|malformed| Refusal::bad_request(malformed.to_string()))?;
    Ok(agreed.and_then(|(agreement, answer)| Some((agreement, HeaderValue::try_from(answer).ok()?))))
}

/// Without the feature `deflate` there is nothing to agree on.
#[cfg(not(feature = "deflate"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it may refuse")]
pub(super) fn agree(
    _: &HeaderMap,
    _: &HandshakeRequest<'_>,
    _: &ServerParams,
) -> Result<Option<Agreed>, Refusal> {
    Ok(None)
}
