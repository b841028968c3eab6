//! Refused handshakes and their responses.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
    },
};
use http_body_util::Full;

use crate::{
    config::ServerParams, figures::RefusalReason as Reason, handshake::request_rules::write_header,
    net::LimitReached,
};

use websockets_simple_core::handshake_words::NO_SUBPROTOCOL;

/// The media type of the texts.
const TEXT: &str = "text/plain; charset=utf-8";

const TOO_SLOW: &str = "the handshake took too long";

const HEAD_TOO_LARGE: &str = "the head of the request is too large or has too many headers";

/// Why a handshake was refused: in figures, and in the event.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    pub(crate) reason: Reason,
    pub(crate) text: String,
}

impl Why {
    /// The peer has gone before the answer.
    pub(crate) fn hung_up() -> Self {
        Self { reason: Reason::HungUp, text: "the peer disconnected before the response".to_owned() }
    }

    pub(crate) fn too_slow() -> Self {
        Self { reason: Reason::TooSlow, text: TOO_SLOW.to_owned() }
    }

    /// There is an answer, but no stream of the HTTP library.
    pub(crate) fn no_stream() -> Self {
        Self { reason: Reason::NoStream, text: "the upgraded stream is unavailable".to_owned() }
    }

    /// The answer of our own to HTTP/2 without the feature.
    pub(crate) fn http2() -> Self {
        Self { reason: Reason::NoWebsocket, text: "505: HTTP/2 is not supported".to_owned() }
    }
}

/// The response of a refused handshake, and the reason in its event.
#[derive(Debug)]
pub(crate) struct Refusal {
    reason: Reason,
    status: StatusCode,
    body: String,
    header: Option<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with it, also in an HTTP server of the application.
    is_final: bool,
}

impl Refusal {
    fn new(reason: Reason, status: StatusCode, body: impl Into<String>) -> Self {
        Self { reason, status, body: body.into(), header: None, is_final: false }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Who is refused at the same moment does not come back at the same moment.
    fn later(self, wait: Duration) -> Self {
        self.with(RETRY_AFTER, HeaderValue::from(seconds_to_wait(wait, rand::random())))
    }

    pub(crate) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, StatusCode::BAD_REQUEST, why)
    }

    /// A body, or what announces one. A proxy takes the bytes behind the head for the body, and this server would take
    /// them for frames: a client could hide a request to one in what it sends to the other.
    pub(crate) fn body_announced() -> Self {
        let mut refusal = Self::bad_request("a WebSocket handshake has no body");
        refusal.is_final = true;
        refusal
    }

    /// User code panicked.
    pub(crate) fn internal() -> Self {
        Self::new(Reason::Panic, StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }

    /// A head that the HTTP library cannot read. `own` is the answer that it would have given, without a text.
    pub(crate) fn unreadable(own: &[u8]) -> Self {
        let status = own.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok());
        let status = status.unwrap_or(StatusCode::BAD_REQUEST);
        let body = match status {
            StatusCode::URI_TOO_LONG => "the target of the request is too long",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => HEAD_TOO_LARGE,
            _ => "the request is malformed",
        };
        Self::new(Reason::Malformed, status, body)
    }

    #[cfg(feature = "http2")]
    pub(crate) fn too_many_headers() -> Self {
        Self::new(Reason::Malformed, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LARGE)
    }

    pub(crate) fn no_subprotocol() -> Self {
        Self::new(Reason::Subprotocol, StatusCode::BAD_REQUEST, NO_SUBPROTOCOL)
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(
            Reason::NoWebsocket,
            StatusCode::METHOD_NOT_ALLOWED,
            "a WebSocket handshake is a GET request",
        )
        .with(ALLOW, HeaderValue::from_static("GET"))
    }

    pub(crate) fn no_upgrade() -> Self {
        Self::new(
            Reason::NoWebsocket,
            StatusCode::UPGRADE_REQUIRED,
            "this is a WebSocket endpoint: an Upgrade is needed",
        )
        .with(UPGRADE, HeaderValue::from_static("websocket"))
    }

    pub(crate) fn wrong_version() -> Self {
        Self::new(
            Reason::NoWebsocket,
            StatusCode::UPGRADE_REQUIRED,
            "only version 13 of the WebSocket protocol is spoken here",
        )
        .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    }

    /// 426 has to name a protocol in Upgrade (RFC 9110 section 15.5.22), which HTTP/2 does not have (RFC 9113 section
    /// 8.6). RFC 6455 section 4.4 leaves the status open.
    pub(crate) fn wrong_version_over_http2() -> Self {
        Self::new(
            Reason::NoWebsocket,
            StatusCode::BAD_REQUEST,
            "only version 13 of the WebSocket protocol is spoken here",
        )
        .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    }

    pub(crate) fn no_connect() -> Self {
        Self::new(
            Reason::NoWebsocket,
            StatusCode::METHOD_NOT_ALLOWED,
            "this is a WebSocket endpoint: over HTTP/2 a CONNECT with `:protocol` is needed",
        )
        .with(ALLOW, HeaderValue::from_static("CONNECT"))
    }

    /// As RFC 9220 section 3 words it for HTTP/3, where RFC 8441 says nothing.
    pub(crate) fn wrong_protocol() -> Self {
        Self::new(
            Reason::NoWebsocket,
            StatusCode::NOT_IMPLEMENTED,
            "the only `:protocol` here is `websocket`",
        )
    }

    pub(crate) fn without_http2(is_connect: bool) -> Self {
        let status = match is_connect {
            true => StatusCode::NOT_IMPLEMENTED,
            false => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        };
        Self::new(
            Reason::NoWebsocket,
            status,
            "WebSockets over HTTP/2 need the feature `http2` of websockets-simple-server: use HTTP/1.1",
        )
    }

    pub(crate) fn wrong_origin() -> Self {
        Self::new(Reason::Origin, StatusCode::FORBIDDEN, "this origin is not allowed")
    }

    pub(crate) fn unauthorized(params: &ServerParams) -> Self {
        Self::new(Reason::Unauthorized, StatusCode::UNAUTHORIZED, params.unauthorized_text.clone())
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    pub(crate) fn unavailable(params: &ServerParams) -> Self {
        Self::new(
            Reason::UserService,
            StatusCode::SERVICE_UNAVAILABLE,
            "cannot tell who you are, try again later",
        )
        .later(params.retry_after)
    }

    pub(crate) fn at_rest(params: &ServerParams) -> Self {
        Self::new(Reason::AtRest, StatusCode::SERVICE_UNAVAILABLE, "the server does not run")
            .later(params.retry_after)
    }

    pub(crate) fn too_slow(params: &ServerParams) -> Self {
        Self::new(Reason::TooSlow, StatusCode::SERVICE_UNAVAILABLE, TOO_SLOW).later(params.retry_after)
    }

    pub(crate) fn no_stream() -> Self {
        Self::new(
            Reason::NoStream,
            StatusCode::INTERNAL_SERVER_ERROR,
            "the HTTP server does not let go of its connections",
        )
    }

    pub(crate) fn stopping(params: &ServerParams) -> Self {
        Self::new(Reason::Stopping, StatusCode::SERVICE_UNAVAILABLE, "the server stops")
            .later(params.retry_after)
    }

    /// Why one is refused that gets no answer.
    pub(crate) fn reason_of(limit: LimitReached) -> Reason {
        match limit {
            LimitReached::Total => Reason::Full,
            LimitReached::Address => Reason::FullAddress,
        }
    }

    pub(crate) fn full(limit: LimitReached, params: &ServerParams) -> Self {
        let reason = Self::reason_of(limit);
        match limit {
            LimitReached::Total => Self::new(reason, StatusCode::SERVICE_UNAVAILABLE, "too many connections"),
            LimitReached::Address => {
                Self::new(reason, StatusCode::TOO_MANY_REQUESTS, "too many connections of this address")
            }
        }
        .later(params.retry_after)
    }

    pub(crate) fn too_many_of_user(params: &ServerParams) -> Self {
        Self::new(Reason::FullUser, StatusCode::TOO_MANY_REQUESTS, "too many connections of this user")
            .later(params.retry_after)
    }

    pub(crate) fn id_is_taken() -> Self {
        Self::new(Reason::IdTaken, StatusCode::CONFLICT, "another connection has this id")
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// What figures and the event say of it.
    pub(crate) fn why(&self) -> Why {
        Why { reason: self.reason, text: format!("{}: {}", self.status.as_u16(), self.body) }
    }

    /// The response to a request of this version on a connection of the application's HTTP server, which decides
    /// whether to close it. HTTP/2 has no Connection (RFC 9113 section 8.2.2).
    pub(crate) fn into_guest_response(self, version: Version) -> Response<Full<Bytes>> {
        let is_final = self.is_final && version != Version::HTTP_2;
        let mut response = self.into_response();
        if !is_final {
            response.headers_mut().remove(CONNECTION);
        }
        response
    }

    /// The response on a connection of our own to a request of this version.
    pub(crate) fn into_own_response(self, version: Version) -> Response<Full<Bytes>> {
        match version {
            Version::HTTP_2 => self.into_guest_response(version),
            _ => self.into_response(),
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }

    /// The response as it is written without the HTTP library.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let Self { status, body, header, .. } = self;
        let mut bytes =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {TEXT}\r\n").into_bytes();
        if let Some((name, value)) = header {
            write_header(&mut bytes, &name, &value);
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        bytes
    }
}

/// Whole seconds between that time and twice as much, at least one, as `random` has it: each of them for as many of its
/// values.
fn seconds_to_wait(wait: Duration, random: u32) -> u64 {
    let least = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    // As in a multiplication of fixed-point numbers: `random` is a share of 2^32.
    let more = ((u128::from(least) + 1) * u128::from(random)) >> 32;
    least.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_second_from_the_wait_to_twice_as_much_is_as_likely() {
        let mut counts = [0; 12];
        for step in 0..6_000_u64 {
            let random = u32::try_from(step * (1 << 32) / 6_000).unwrap();
            counts[usize::try_from(seconds_to_wait(Duration::from_secs(5), random)).unwrap()] += 1;
        }
        assert_eq!(counts[..5], [0; 5]);
        assert!(counts[5..=10].iter().all(|count| (995..=1005).contains(count)), "{counts:?}");
        assert_eq!(counts[11], 0);
    }

    #[test]
    fn parts_of_a_second_are_rounded_up_and_none_is_one() {
        for (millis, least) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (4999, 5)] {
            let wait = Duration::from_millis(millis);
            assert_eq!((seconds_to_wait(wait, 0), seconds_to_wait(wait, u32::MAX)), (least, 2 * least));
        }
    }

    proptest! {
        #[test]
        fn it_is_never_less_than_the_wait_nor_more_than_twice(seconds in 1..=u64::from(u32::MAX), random: u32) {
            let told = seconds_to_wait(Duration::from_secs(seconds), random);
            prop_assert!((seconds..=2 * seconds).contains(&told), "{}", told);
        }
    }

    #[test]
    fn responses_differ() {
        let params = ServerParams::local().retry_after(Duration::from_secs(1000));
        let told = || Refusal::stopping(&params).header.map(|(_, value)| value);
        let first = told();
        assert!((0..100).any(|_| told() != first), "{first:?}");
    }
}
