//! Files of a folder, for requests that are no WebSocket handshakes.

use std::{convert::Infallible, path::Path};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tower_http::services::ServeDir;
use websockets_simple_server::ServerParams;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves a folder behind a server. `ServeDir` refuses paths that lead out of it.
pub(super) fn behind(folder: &Path, params: ServerParams) -> ServerParams {
    let folder = ServeDir::new(folder);
    params.fallback(move |request: Request<Incoming>| {
        let mut folder = folder.clone();
        async move {
            let mut response = match folder.try_call(request).await {
                Ok(response) => response.map(BodyExt::boxed_unsync),
                // What it is may name what is outside of the folder.
                Err(_) => unreadable(),
            };
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if let Some(kind) = headers.get(CONTENT_TYPE).and_then(with_charset) {
                headers.insert(CONTENT_TYPE, kind);
            }
            // Somebody may be working on the files.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
    })
}

/// The type of a text, which is UTF-8 as all texts are nowadays.
fn with_charset(kind: &HeaderValue) -> Option<HeaderValue> {
    let kind = kind.to_str().ok().filter(|kind| kind.starts_with("text/") && !kind.contains(';'))?;
    format!("{kind}; charset=utf-8").parse().ok()
}

fn unreadable() -> Response<Body> {
    let body = Full::new(Bytes::from_static(b"the file cannot be read\n"));
    let mut response = Response::new(body.map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
