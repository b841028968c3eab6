//! How a request asks for a WebSocket: by an Upgrade of HTTP/1.1 (RFC 6455), or by an extended CONNECT of HTTP/2
//! (RFC 8441).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use http_body_util::Full;
#[cfg(feature = "http2")]
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_core::handshake_words;

use crate::handshake::refusal::Refusal;

/// What the headers of a request say about the WebSocket that it asks for, found in one pass.
#[derive(Debug, Default)]
pub(super) struct RequestFacts<'a> {
    /// Whether `Connection` names `upgrade`.
    upgrades: bool,
    /// Whether `Upgrade` names `websocket`.
    to_websocket: bool,
    /// Whether bytes of a body may follow the head (RFC 9112 section 6.3), or the client waits until it may send one.
    announces_body: bool,
    key: Once<'a>,
    version: Once<'a>,
    host: Once<'a>,
    origin: Option<&'a HeaderValue>,
}

/// A header that is given once.
#[derive(Clone, Copy, Debug, Default)]
enum Once<'a> {
    #[default]
    Missing,
    Given(&'a HeaderValue),
    Repeated,
}

impl<'a> Once<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = if matches!(self, Self::Missing) { Self::Given(value) } else { Self::Repeated };
    }
}

impl<'a> RequestFacts<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut facts = Self::default();
        for (name, value) in headers {
            match *name {
                CONNECTION => facts.upgrades |= has_token(value.to_str(), "upgrade"),
                UPGRADE => facts.to_websocket |= has_token(value.to_str(), "websocket"),
                CONTENT_LENGTH => {
                    facts.announces_body |=
                        value.is_empty() || value.as_bytes().iter().any(|digit| *digit != b'0');
                }
                TRANSFER_ENCODING | EXPECT => facts.announces_body = true,
                SEC_WEBSOCKET_KEY => facts.key.add(value),
                SEC_WEBSOCKET_VERSION => facts.version.add(value),
                HOST => facts.host.add(value),
                ORIGIN => facts.origin = facts.origin.or(Some(value)),
                _ => {}
            }
        }
        facts
    }

    /// Whether an HTTP/1.1 request asks for an upgrade to a WebSocket.
    pub(super) fn ask_for_upgrade(&self) -> bool {
        self.upgrades && self.to_websocket
    }

    /// The host, if there is one, and the origin.
    pub(super) fn host_and_origin(&self) -> Option<(&'a HeaderValue, Option<&'a HeaderValue>)> {
        match self.host {
            Once::Given(host) => Some((host, self.origin)),
            Once::Missing | Once::Repeated => None,
        }
    }

    fn has_version(&self) -> Result<bool, Refusal> {
        match self.version {
            Once::Missing => Ok(false),
            Once::Given(version) => Ok(version == "13"),
            Once::Repeated => Err(given_twice(&SEC_WEBSOCKET_VERSION)),
        }
    }
}

fn has_token<E>(line: Result<&str, E>, token: &str) -> bool {
    line.is_ok_and(|line| handshake_words::has_token([line], token))
}

fn given_twice(name: &HeaderName) -> Refusal {
    Refusal::bad_request(format!("{name} is given twice"))
}

/// How a WebSocket is opened.
#[derive(Debug)]
pub(super) enum Opening {
    /// The 101 of RFC 6455 section 4.2.2, with the value of `Sec-WebSocket-Accept`.
    SwitchingProtocols(String),
    /// The 200 of RFC 8441 section 5, which knows neither key nor Connection and Upgrade.
    Tunnel,
}

impl Opening {
    /// The response with these headers besides its own.
    pub(super) fn into_response(self, more: HeaderMap) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let Self::SwitchingProtocols(accept) = self else {
            *response.headers_mut() = more;
            return response;
        };
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.reserve(3 + more.len());
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // It is base64.
        if let Ok(accept) = HeaderValue::try_from(accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        headers.extend(more);
        response
    }

    /// The head of a 101 as the HTTP library writes it.
    pub(super) fn into_head(self, more: &HeaderMap) -> Vec<u8> {
        let Self::SwitchingProtocols(accept) = self else { return Vec::new() };
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-Websocket-Accept: ",
        );
        head.extend_from_slice(accept.as_bytes());
        head.extend_from_slice(b"\r\n");
        for (name, value) in more {
            write_header(&mut head, name, value);
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Writes a header as the HTTP library does where it is asked for `title_case_headers`.
pub(super) fn write_header(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let mut before = b'-';
    for byte in name.as_str().bytes() {
        head.push(if before == b'-' { byte.to_ascii_uppercase() } else { byte });
        before = byte;
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// The `:protocol` of an extended CONNECT (RFC 8441 section 4).
#[cfg(feature = "http2")]
fn protocol(extensions: &Extensions) -> Option<&[u8]> {
    extensions.get::<Protocol>().map(AsRef::as_ref)
}

/// Without HTTP/2 nothing tells.
#[cfg(not(feature = "http2"))]
fn protocol(_: &Extensions) -> Option<&[u8]> {
    None
}

/// Gives a request of HTTP/2 the Host header that those of HTTP/1.1 have: its `:authority` (RFC 9113 section 8.3.1).
/// Everything behind this knows one place for the host.
pub(super) fn unify_host(parts: &mut Parts) -> Result<(), Refusal> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    if parts.method == Method::CONNECT && parts.uri.path().is_empty() {
        return Err(Refusal::bad_request(
            "a CONNECT without `:protocol` asks for a tunnel, and this is no proxy",
        ));
    }
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    let same = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    if authority.as_str().contains('@') || !parts.headers.get_all(HOST).iter().all(same) {
        return Err(Refusal::bad_request("`:authority` and Host do not name one host"));
    }
    let host = HeaderValue::from_str(authority.as_str());
    let host = host.map_err(|_| Refusal::bad_request("`:authority` is not a host"))?;
    parts.headers.insert(HOST, host);
    Ok(())
}

/// What opens the WebSocket, if the request is as it has to be.
pub(super) fn accept(parts: &Parts, facts: &RequestFacts<'_>) -> Result<Opening, Refusal> {
    match parts.version {
        Version::HTTP_11 => switching_protocols(parts, facts),
        Version::HTTP_2 => tunnel(parts, facts),
        _ => Err(Refusal::bad_request("HTTP/1.1 is needed")),
    }
}

/// RFC 6455 section 4.2.1
fn switching_protocols(parts: &Parts, facts: &RequestFacts<'_>) -> Result<Opening, Refusal> {
    if parts.method != Method::GET {
        return Err(Refusal::wrong_method());
    }
    if !facts.ask_for_upgrade() {
        return Err(Refusal::no_upgrade());
    }
    if facts.announces_body {
        return Err(Refusal::body_announced());
    }
    // RFC 6455 sections 11.3.1 and 11.3.5: neither key nor version may be given twice.
    let key = match facts.key {
        Once::Missing => &[][..],
        Once::Given(key) => key.as_bytes(),
        Once::Repeated => return Err(given_twice(&SEC_WEBSOCKET_KEY)),
    };
    if !facts.has_version()? {
        return Err(Refusal::wrong_version());
    }
    if key.len() != 24 || !matches!(STANDARD.decode_slice(key, &mut [0; 18]), Ok(16)) {
        return Err(Refusal::bad_request("a Sec-WebSocket-Key of 16 bytes in base64 is needed"));
    }
    Ok(Opening::SwitchingProtocols(derive_accept_key(key)))
}

/// RFC 8441 section 5
fn tunnel(parts: &Parts, facts: &RequestFacts<'_>) -> Result<Opening, Refusal> {
    if cfg!(not(feature = "http2")) {
        return Err(Refusal::without_http2(parts.method == Method::CONNECT));
    }
    if parts.method != Method::CONNECT {
        return Err(Refusal::no_connect());
    }
    if protocol(&parts.extensions) != Some(b"websocket") {
        return Err(Refusal::wrong_protocol());
    }
    if facts.announces_body {
        return Err(Refusal::body_announced());
    }
    if !facts.has_version()? {
        return Err(Refusal::wrong_version_over_http2());
    }
    Ok(Opening::Tunnel)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// A request of HTTP/2, with what is changed in it.
    fn asked(change: impl FnOnce(&mut Request<()>)) -> Parts {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = "https://chat.example/room".parse().unwrap();
        request.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        #[cfg(feature = "http2")]
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        change(&mut request);
        request.into_parts().0
    }

    fn opened(parts: &Parts) -> Result<Response<Full<Bytes>>, Refusal> {
        accept(parts, &RequestFacts::of(&parts.headers))
            .map(|opening| opening.into_response(HeaderMap::new()))
    }

    fn status(parts: &Parts) -> u16 {
        match opened(parts) {
            Ok(response) => response.status().as_u16(),
            Err(refusal) => refusal.into_response().status().as_u16(),
        }
    }

    #[cfg(feature = "http2")]
    #[test]
    fn an_extended_connect_is_answered_with_200_and_without_headers_of_http_1() {
        let response = opened(&asked(|_| ())).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers().is_empty());
    }

    #[cfg(feature = "http2")]
    #[test]
    fn what_is_no_extended_connect_for_a_websocket_is_refused() {
        let header = |name: HeaderName, value: &'static str| {
            move |request: &mut Request<()>| {
                request.headers_mut().append(name, HeaderValue::from_static(value));
            }
        };
        assert_eq!(status(&asked(|request| *request.method_mut() = Method::GET)), 405);
        let other = Protocol::from_static("connect-udp");
        assert_eq!(status(&asked(|request| drop(request.extensions_mut().insert(other)))), 501);
        assert_eq!(status(&asked(|request| *request.extensions_mut() = Extensions::new())), 501);
        assert_eq!(status(&asked(|request| request.headers_mut().clear())), 400);
        assert_eq!(status(&asked(header(SEC_WEBSOCKET_VERSION, "13"))), 400);
        assert_eq!(status(&asked(header(CONTENT_LENGTH, "5"))), 400);
        assert_eq!(status(&asked(header(EXPECT, "100-continue"))), 400);
        assert_eq!(status(&asked(header(CONTENT_LENGTH, "0"))), 200);
        // It has no meaning here (RFC 8441 section 5).
        assert_eq!(status(&asked(header(SEC_WEBSOCKET_KEY, "nonsense"))), 200);
    }

    #[cfg(not(feature = "http2"))]
    #[test]
    fn without_the_feature_the_answer_names_it() {
        for (method, status) in [(Method::CONNECT, "501"), (Method::GET, "505")] {
            let refusal = opened(&asked(|request| *request.method_mut() = method)).unwrap_err();
            let why = refusal.why().text;
            assert!(why.starts_with(status) && why.contains("`http2`"), "{why}");
        }
    }

    #[test]
    fn other_versions_of_http_are_refused() {
        for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_3] {
            assert_eq!(status(&asked(|request| *request.version_mut() = version)), 400);
        }
    }

    #[test]
    fn the_authority_is_the_host_and_another_host_beside_it_is_refused() {
        let unified = |hosts: &[&'static str], uri: &str| {
            let mut parts = asked(|request| {
                *request.uri_mut() = uri.parse().unwrap();
                for host in hosts {
                    request.headers_mut().append(HOST, HeaderValue::from_static(host));
                }
            });
            unify_host(&mut parts).map(|()| {
                let hosts = parts.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap().to_owned());
                hosts.collect::<Vec<_>>()
            })
        };
        let uri = "https://chat.example:8443/room";
        assert_eq!(unified(&[], uri).unwrap(), ["chat.example:8443"]);
        assert_eq!(unified(&["Chat.Example:8443"], uri).unwrap(), ["chat.example:8443"]);
        assert_eq!(unified(&["chat.example:8443", "chat.example:8443"], uri).unwrap(), ["chat.example:8443"]);
        assert!(unified(&["chat.example"], uri).is_err());
        assert!(unified(&["chat.example:8443", "other"], uri).is_err());
        assert!(unified(&[], "https://name:secret@chat.example/").is_err());
        assert!(unified(&[], "chat.example:443").is_err(), "a CONNECT without `:protocol`");
    }

    #[test]
    fn the_host_of_http_1_is_left_as_it_is() {
        let mut parts = asked(|request| {
            *request.version_mut() = Version::HTTP_11;
            request.headers_mut().insert(HOST, HeaderValue::from_static("other"));
        });
        unify_host(&mut parts).unwrap();
        assert_eq!(parts.headers[HOST], "other");
    }
}
