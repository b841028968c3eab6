//! The head of a response: strictly read where it opens a WebSocket, as far as possible where it refuses.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::ConnectError;

/// Largest head, in bytes. Of a refusal whose head is larger this much is read.
pub(super) const MOST_BYTES: usize = 16 * 1024;

/// Most headers of a response that opens a WebSocket.
const MOST_HEADERS: usize = 100;

/// Whether these can be the first bytes of an HTTP response.
pub(super) fn looks_like_http(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/").all(|(one, other)| one == other)
}

/// The status code, once the first line is there (RFC 9112 section 4). An error is what is wrong with that line.
pub(super) fn status(bytes: &[u8]) -> Result<Option<u16>, &'static str> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes[..end].trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/")).unwrap_or_default();
    if !matches!(version, [b'0'..=b'9', b'.', b'0'..=b'9'] | [b'0'..=b'9']) {
        return Err("the HTTP version is malformed");
    }
    match words.next() {
        Some(code @ [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']) => {
            Ok(Some(code.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))))
        }
        _ => Err("the status code is missing or malformed"),
    }
}

/// Headers and size of a head that opens a WebSocket or is an interim response, once it is complete.
pub(super) fn strict(bytes: &[u8]) -> Result<Option<(HeaderMap, usize)>, ConnectError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let bad = |why: &dyn std::fmt::Display| ConnectError::BadResponse(why.to_string());
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = config.parse_response(&mut response, bytes).map_err(|error| bad(&error))?;
    let httparse::Status::Complete(size) = parsed else { return Ok(None) };
    let mut map = HeaderMap::new();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| bad(&error))?;
        let value = HeaderValue::from_bytes(&unfolded(header.value)).map_err(|error| bad(&error))?;
        map.append(name, value);
    }
    if response.version != Some(1) {
        return Err(bad(&"the version is not HTTP/1.1"));
    }
    Ok(Some((map, size)))
}

/// A value without line folding: each fold becomes one space (RFC 9112 section 5.2).
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(&b' ')
}

/// The size of the head of a refusal, its blank line included, once that is there.
pub(super) fn size(bytes: &[u8]) -> Option<usize> {
    let mut begins = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if matches!(bytes[begins..at], [] | [b'\r']) {
            return Some(at + 1);
        }
        begins = at + 1;
    }
    None
}

/// The headers of a refusal, as far as they can be read: lines that are no headers are left out. Their values may be
/// secrets, so their `Debug` shows none.
pub(super) fn lenient(head: &[u8]) -> HeaderMap {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        match line.strip_suffix(b"\r").unwrap_or(line) {
            [] => break,
            folded @ [b' ' | b'\t', ..] => {
                if let Some(field) = fields.last_mut() {
                    field.truncate(field.trim_ascii_end().len());
                    field.push(b' ');
                    field.extend_from_slice(folded.trim_ascii());
                }
            }
            begun => fields.push(begun.to_vec()),
        }
    }
    let mut map = HeaderMap::new();
    for field in fields {
        let Some(colon) = field.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (field[..colon].trim_ascii(), field[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            value.set_sensitive(true);
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_status_is_known_as_soon_as_its_line_is_there() {
        assert_eq!(status(b"HTTP/1.1 503 Service"), Ok(None));
        for line in ["HTTP/1.1 503 X\r\n", "HTTP/1.0 503\n", "HTTP/2 503 \r\n", "HTTP/1.1  503  X\n"] {
            assert_eq!(status(line.as_bytes()), Ok(Some(503)), "{line}");
        }
        for line in
            ["HTTP/1.1\r\n", "HTTP/1.1 50 X\r\n", "HTTP/1.1 5000\r\n", "HTTP/1.1 099\r\n", "HTTP/1.1 5x3\n"]
        {
            assert_eq!(status(line.as_bytes()), Err("the status code is missing or malformed"), "{line}");
        }
        assert_eq!(status(b"HTTP/x.y 503\r\n"), Err("the HTTP version is malformed"));
    }

    #[test]
    fn lines_of_a_refusal_that_are_no_headers_are_left_out() {
        let head = b"HTTP/1.1 403 X\r\nno colon\r\nB\xe4d: x\r\nNul: a\0b\r\nGood : 1\r\n 2\r\n\t3\nTwice: a\r\ntwice: b\r\n\r\nLate: x";
        let headers = lenient(head);
        assert_eq!(headers.get("good").unwrap(), "1 2 3");
        assert_eq!(headers.get_all("twice").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(headers.keys_len(), 2);
        assert_eq!(size(head), Some(head.len() - "Late: x".len()));
        assert_eq!(size(b"HTTP/1.1 403 X\nA: b\n\nbody"), Some("HTTP/1.1 403 X\nA: b\n\n".len()));
        assert_eq!(size(b"HTTP/1.1 403 X\r\nA: b\r\n\r"), None);
        assert!(!format!("{headers:?}").contains("1 2 3"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "HTTP/1\\.[01] [0-9]{3}[ -~\r\n\t]{0,200}") {
            for bytes in [&bytes, text.as_bytes()] {
                let _ = (status(bytes), strict(bytes).is_ok());
                let size = size(bytes).unwrap_or(bytes.len());
                let headers = lenient(&bytes[..size]);
                prop_assert_eq!(headers, lenient(bytes), "nothing behind the blank line counts");
            }
        }

        #[test]
        fn what_can_be_read_strictly_is_read_leniently_too(
            fields in prop::collection::vec(("[A-Za-z-]{1,8}", "[!-~]{0,5}( ?\r\n [!-~]{1,5})?"), 0..8),
        ) {
            let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 101 X\r\n{lines}\r\n");
            let (headers, read) = strict(head.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(read, head.len());
            prop_assert_eq!(headers, lenient(head.as_bytes()));
        }
    }
}
