//! The request head that a connection stores.

use std::{borrow::Cow, fmt};

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};

/// Separates names and values of headers, neither of which can contain it (RFC 9110 section 5.5).
const END: char = '\0';

/// Headers of the handshake itself: nearly every request has them, and they are useless after it.
const OF_THE_HANDSHAKE: [HeaderName; 5] =
    [CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE];

/// Headers whose values `Debug` hides.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The channel, query and headers of a request, without its token and the headers of the handshake itself. They are
/// stored in one compact text, as every connection has one.
#[derive(Clone)]
pub struct RequestHead {
    /// Channel, query, then `name\0value\0` for every header.
    text: Box<str>,
    channel: u32,
    query: u32,
}

impl RequestHead {
    /// Makes a head of the decoded path, the raw query without `?`, and the headers. Headers whose values are not UTF-8
    /// are left out, and so are those of the handshake itself: `Connection`, `Upgrade`, `Sec-WebSocket-Extensions`,
    /// `Sec-WebSocket-Key` and `Sec-WebSocket-Version`.
    #[must_use]
    pub fn new(channel: &str, query: &str, headers: &HeaderMap) -> Self {
        let headers = || headers.iter().filter(|(name, _)| !OF_THE_HANDSHAKE.contains(name));
        let size = headers().map(|(name, value)| name.as_str().len() + value.len() + 2).sum::<usize>();
        let mut text = String::with_capacity(channel.len() + query.len() + size);
        text.push_str(channel);
        text.push_str(query);
        for (name, value) in headers() {
            if let Ok(value) = std::str::from_utf8(value.as_bytes()) {
                text.extend([name.as_str(), "\0", value, "\0"]);
            }
        }
        // A head is limited to far less than 4 GiB.
        let length = |part: &str| u32::try_from(part.len()).unwrap_or(0);
        Self { channel: length(channel), query: length(query), text: text.into() }
    }

    /// The path, percent-decoded, leading slash included; `/` if the path was the token.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.text[..self.channel as usize]
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(held, _)| held == name).map(|(_, value)| value)
    }

    /// All query parameters, decoded, in order.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.raw_query().as_bytes())
    }

    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers; names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.text[(self.channel + self.query) as usize..].split_terminator(END);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    fn raw_query(&self) -> &str {
        &self.text[self.channel as usize..(self.channel + self.query) as usize]
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Headers<'a>(&'a RequestHead);

        impl fmt::Debug for Headers<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown = self.0.headers().map(|(name, value)| match SECRET.contains(&name) {
                    true => (name, ".."),
                    false => (name, value),
                });
                f.debug_map().entries(shown).finish()
            }
        }

        f.debug_struct("RequestHead")
            .field("channel", &self.channel())
            .field("query", &self.raw_query())
            .field("headers", &Headers(self))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head() -> RequestHead {
        let mut headers = HeaderMap::new();
        headers.insert("X-Name", HeaderValue::from_static("value"));
        headers.insert("x-empty", HeaderValue::from_static(""));
        headers.insert("x-latin1", HeaderValue::from_bytes(b"\xe9").unwrap());
        headers.insert("cookie", HeaderValue::from_static("session=secret"));
        RequestHead::new("/some room", "name=J%C3%B6rg+B&empty=&name=second", &headers)
    }

    #[test]
    fn everything_that_went_in_can_be_found_again() {
        let head = head();
        assert_eq!(head.channel(), "/some room");
        assert_eq!(head.query("name").unwrap(), "Jörg B");
        assert_eq!(head.query("empty").unwrap(), "");
        assert_eq!(head.query("missing"), None);
        assert_eq!(head.query_pairs().count(), 3);
        assert_eq!(head.header("X-NAME"), Some("value"));
        assert_eq!(head.header("x-empty"), Some(""));
        assert_eq!(head.header("x-latin1"), None);
        assert_eq!(head.headers().count(), 3);
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", head());
        assert!(shown.contains("value") && !shown.contains("secret"), "{shown}");
    }
}
