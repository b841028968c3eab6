//! Requests that the server answers of itself: whether it is well, its figures, and a page that shows it at work.

use std::net::IpAddr;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::Full;

use crate::{config::Guard, run::Shared, users::Identity};

mod live_page;

const JSON: &str = "application/json";

const TEXT: &str = "text/plain; charset=utf-8";

/// That of Prometheus (its exposition formats, version 0.0.4).
const FIGURES: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The path of the live page. What it needs is below it.
const LIVE_PAGE: &str = "/admin";

/// The status of an answer, the type of its body, and that.
type Page = (StatusCode, &'static str, Bytes);

/// The answer, if this is such a request. `client` is the address of the client, if known; `is_last` says that the
/// connection ends with it.
pub(super) fn answer<I: Identity, B>(
    shared: &Shared<I>,
    request: &Request<B>,
    client: Option<IpAddr>,
    is_last: bool,
) -> Option<Response<Full<Bytes>>> {
    let operations = shared.params.operations.as_ref()?;
    let path = request.uri().path();
    let below = path.strip_prefix(LIVE_PAGE).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let (guard, is_page) = match (path, below) {
        ("/healthz" | "/readyz", _) => (None, false),
        ("/metrics", _) => (Some(operations.metrics.as_ref()?), false),
        (_, Some(_)) => (Some(operations.live_page.as_ref()?), true),
        _ => return None,
    };
    let refusing = guard.filter(|guard| !guard.allows(request.headers(), client));
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = match (path, below) {
        _ if refusing.is_some() => (StatusCode::UNAUTHORIZED, TEXT, "not for everybody".into()),
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "this can only be read".into()),
        ("/metrics", _) => (StatusCode::OK, FIGURES, shared.figures().prometheus().into()),
        (_, Some(rest)) => live_page::answer(shared, rest),
        (path, None) => health(shared, path == "/healthz"),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_page {
        headers.extend(live_page::HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    }
    if is_last {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if let Some(challenge) = refusing.map(Guard::challenge) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    Some(response)
}

/// Whether the server lives, or is to be given clients.
fn health<I: Identity>(shared: &Shared<I>, asks_for_life: bool) -> Page {
    let health = shared.health();
    let is_well = if asks_for_life { health.live } else { health.is_ready() };
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Booleans and labels can be written.
    (status, JSON, serde_json::to_vec(&health).unwrap_or_default().into())
}
