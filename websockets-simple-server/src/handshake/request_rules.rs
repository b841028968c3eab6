//! How a request asks for a WebSocket: by an Upgrade of HTTP/1.1 (RFC 6455), or by an extended CONNECT of HTTP/2
//! (RFC 8441).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use http_body_util::Full;
#[cfg(feature = "http2")]
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use websockets_simple_core::handshake_words::has_token;

use crate::handshake::refusal::Refusal;

/// Whether an HTTP/1.1 request asks for an upgrade to a WebSocket.
pub(super) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    has_header_token(headers, CONNECTION, "upgrade") && has_header_token(headers, UPGRADE, "websocket")
}

fn has_header_token(headers: &HeaderMap, list: HeaderName, token: &str) -> bool {
    has_token(headers.get_all(list).into_iter().filter_map(|line| line.to_str().ok()), token)
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

/// The answer that opens the WebSocket, if the request is as it has to be.
pub(super) fn accept(parts: &Parts) -> Result<Response<Full<Bytes>>, Refusal> {
    match parts.version {
        Version::HTTP_11 => switching_protocols(parts),
        Version::HTTP_2 => tunnel(parts),
        _ => Err(Refusal::bad_request("HTTP/1.1 is needed")),
    }
}

/// The 101 of RFC 6455 section 4.2.2, if the request satisfies section 4.2.1.
fn switching_protocols(parts: &Parts) -> Result<Response<Full<Bytes>>, Refusal> {
    if parts.method != Method::GET {
        return Err(Refusal::wrong_method());
    }
    if !asks_for_upgrade(&parts.headers) {
        return Err(Refusal::no_upgrade());
    }
    if announces_body(&parts.headers) {
        return Err(Refusal::body_announced());
    }
    // RFC 6455 sections 11.3.1 and 11.3.5
    for once in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        at_most_once(&parts.headers, &once)?;
    }
    if !has_version(&parts.headers) {
        return Err(Refusal::wrong_version());
    }
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).map_or(&[][..], HeaderValue::as_bytes);
    if key.len() != 24 || !matches!(STANDARD.decode_slice(key, &mut [0; 18]), Ok(16)) {
        return Err(Refusal::bad_request("a Sec-WebSocket-Key of 16 bytes in base64 is needed"));
    }
    let accept = HeaderValue::try_from(derive_accept_key(key))
        .map_err(|_| Refusal::bad_request("the key has no answer"))?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.reserve(4);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// The 200 of RFC 8441 section 5, which knows neither key nor Connection and Upgrade.
fn tunnel(parts: &Parts) -> Result<Response<Full<Bytes>>, Refusal> {
    if cfg!(not(feature = "http2")) {
        return Err(Refusal::without_http2(parts.method == Method::CONNECT));
    }
    if parts.method != Method::CONNECT {
        return Err(Refusal::no_connect());
    }
    if protocol(&parts.extensions) != Some(b"websocket") {
        return Err(Refusal::wrong_protocol());
    }
    if announces_body(&parts.headers) {
        return Err(Refusal::body_announced());
    }
    at_most_once(&parts.headers, &SEC_WEBSOCKET_VERSION)?;
    if !has_version(&parts.headers) {
        return Err(Refusal::wrong_version_over_http2());
    }
    Ok(Response::new(Full::default()))
}

fn at_most_once(headers: &HeaderMap, name: &HeaderName) -> Result<(), Refusal> {
    match headers.get_all(name).iter().count() {
        0 | 1 => Ok(()),
        _ => Err(Refusal::bad_request(format!("{name} is given twice"))),
    }
}

fn has_version(headers: &HeaderMap) -> bool {
    headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// Whether bytes of a body may follow the head (RFC 9112 section 6.3), or the client waits until it may send one.
fn announces_body(headers: &HeaderMap) -> bool {
    let is_empty =
        |length: &HeaderValue| !length.is_empty() && length.as_bytes().iter().all(|digit| *digit == b'0');
    headers.contains_key(TRANSFER_ENCODING)
        || headers.contains_key(EXPECT)
        || !headers.get_all(CONTENT_LENGTH).iter().all(is_empty)
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

    fn status(parts: &Parts) -> u16 {
        match accept(parts) {
            Ok(response) => response.status().as_u16(),
            Err(refusal) => refusal.into_response().status().as_u16(),
        }
    }

    #[cfg(feature = "http2")]
    #[test]
    fn an_extended_connect_is_answered_with_200_and_without_headers_of_http_1() {
        let response = accept(&asked(|_| ())).unwrap();
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
            let refusal = accept(&asked(|request| *request.method_mut() = method)).unwrap_err();
            let why = refusal.why();
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
