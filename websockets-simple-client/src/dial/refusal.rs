//! Responses that refuse the handshake: what is kept of them.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};
use tokio::io::AsyncRead;
use websockets_simple_core::handshake_words::{NO_SUBPROTOCOL, has_token};

use crate::{config::CheckedParams, dial::response::more, error::ConnectError};

/// Bytes that are read of the body of a refusal.
pub(super) const BODY: usize = 4 * 1024;

/// Time for the body of a refusal.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest wait that a server can ask for.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The error for a response other than 101. `raw` is what came of its body.
pub(super) async fn refused<S: AsyncRead + Unpin>(
    stream: &mut S,
    params: &CheckedParams,
    status: u16,
    headers: HeaderMap,
    raw: Vec<u8>,
) -> ConnectError {
    let (body, cut) = body(stream, &headers, raw).await;
    let body = params.without_token(&String::from_utf8_lossy(&body), cut);
    let retry_after = retry_after(&headers, SystemTime::now());
    let location = text(&headers, header::LOCATION).map(|location| params.without_token(location, false));
    let headers = Box::new(headers);
    match (status, location) {
        (401, _) => ConnectError::Unauthorized { message: body, headers, retry_after },
        (400, _) if body == NO_SUBPROTOCOL => ConnectError::SubprotocolRejected,
        (300..=399, Some(location)) => ConnectError::Redirected { location, headers, retry_after },
        _ => ConnectError::Rejected { status, headers, body, retry_after },
    }
}

/// The error for a response that opens a WebSocket only to refuse on it.
pub(super) fn after_upgrade(mut headers: HeaderMap, message: String) -> ConnectError {
    let retry_after = retry_after(&headers, SystemTime::now());
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    ConnectError::Unauthorized { message, headers: Box::new(headers), retry_after }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How long to wait before the next attempt (RFC 9110 section 10.2.3): a number of seconds or a date, which is compared
/// with the server's own clock if that is known.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is more than a day too.
        value.parse().map_or(DAY, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        let sent = text(headers, header::DATE).and_then(|date| httpdate::parse_http_date(date.trim()).ok());
        at.duration_since(sent.unwrap_or(now)).unwrap_or_default()
    };
    Some(wait.min(DAY))
}

/// The beginning of a refusal's body, and whether it was cut. Its end is given by Content-Length, chunks or the end of
/// the connection.
async fn body<S: AsyncRead + Unpin>(
    stream: &mut S,
    headers: &HeaderMap,
    mut raw: Vec<u8>,
) -> (Vec<u8>, bool) {
    let encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = has_token(encodings.filter_map(|value| value.to_str().ok()), "chunked");
    let announced: Option<usize> = text(headers, header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
    // Chunk sizes need room too, but are not part of the body.
    let wanted = if chunked { 2 * BODY } else { announced.unwrap_or(BODY).min(BODY) };
    let reading = async { while !(chunked && unchunk(&raw).1) && more(stream, &mut raw, wanted).await {} };
    let in_time = tokio::time::timeout(PATIENCE, reading).await.is_ok();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wait(retry_after_value: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, retry_after_value.parse().unwrap());
        if let Some(date) = date {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:00:00 GMT").unwrap();
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_a_number_of_seconds_or_a_date_and_at_most_a_day() {
        for (value, expected) in [
            ("17", Some(17)),
            (" 0 ", Some(0)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(28 * 60)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(28 * 60)),
            ("Wed Oct 21 07:28:00 2015", Some(28 * 60)),
            ("Wed, 21 Oct 2015 06:59:00 GMT", Some(0)),
            ("Thu, 21 Oct 2027 07:28:00 GMT", Some(86_400)),
            ("Wed, 32 Oct 2015 07:28:00 GMT", None),
        ] {
            assert_eq!(wait(value, None), expected, "{value}");
        }
    }

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server_if_that_is_known() {
        let later = "Wed, 21 Oct 2015 09:00:30 GMT";
        assert_eq!(wait(later, Some("Wed, 21 Oct 2015 09:00:00 GMT")), Some(30));
        assert_eq!(wait(later, Some("no date")), Some(2 * 60 * 60 + 30));
    }

    proptest! {
        #[test]
        fn any_wait_is_read_or_ignored(value in "[ -~]{0,40}", date in "[ -~]{0,40}") {
            let _ = wait(&value, Some(&date));
        }
    }
}
