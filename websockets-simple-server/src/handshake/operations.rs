//! Requests that the server answers of itself: whether it is well, and its figures.

use std::net::IpAddr;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::Full;

use crate::{run::Shared, users::Identity};

const JSON: &str = "application/json";

const TEXT: &str = "text/plain; charset=utf-8";

/// That of Prometheus (its exposition formats, version 0.0.4).
const FIGURES: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer, if this is such a request. `client` is the address of the client, if known; `is_last` says that the
/// connection ends with it.
pub(super) fn answer<I: Identity, B>(
    shared: &Shared<I>,
    request: &Request<B>,
    client: Option<IpAddr>,
    is_last: bool,
) -> Option<Response<Full<Bytes>>> {
    let operations = shared.params.operations.as_ref()?;
    let (status, kind, body) = match (request.uri().path(), &operations.metrics) {
        (path @ ("/healthz" | "/readyz"), _) => {
            let health = shared.health();
            let is_well = if path == "/healthz" { health.live } else { health.is_ready() };
            let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            // Booleans and labels can be written.
            (status, JSON, serde_json::to_string(&health).unwrap_or_default())
        }
        ("/metrics", Some(guard)) if guard.allows(request.headers(), client) => {
            (StatusCode::OK, FIGURES, shared.figures().prometheus())
        }
        ("/metrics", Some(_)) => (StatusCode::UNAUTHORIZED, TEXT, "not for everybody".to_owned()),
        _ => return None,
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = match is_read {
        true => (status, kind, body),
        false => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "this can only be read".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_last {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
        }
        StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"))),
        _ => {}
    }
    Some(response)
}
