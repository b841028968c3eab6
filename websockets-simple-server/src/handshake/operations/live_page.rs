//! The files of the live page, and what it shows.

use bytes::Bytes;
use http::{
    HeaderName, StatusCode,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

use crate::{
    handshake::operations::{JSON, Page, TEXT},
    run::Shared,
    users::Identity,
};

/// Most entries of a list on the page.
const ENTRIES: usize = 25;

/// Only scripts, styles and data of the same origin; and no script may turn strings into HTML. The icon is none.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

/// What the files of the page have besides.
pub(super) const HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

/// What is at or below `/admin`, by the rest of the path. Links are relative to that, as a proxy may have put something
/// before it.
pub(super) fn answer<I: Identity>(shared: &Shared<I>, path: &str) -> Page {
    let file = |kind, content: &'static str| (StatusCode::OK, kind, Bytes::from_static(content.as_bytes()));
    let nothing = |text: &'static str| (StatusCode::NOT_FOUND, TEXT, Bytes::from_static(text.as_bytes()));
    match path {
        "" => file("text/html; charset=utf-8", include_str!("../../../page/index.html")),
        "/live.css" => file("text/css; charset=utf-8", include_str!("../../../page/live.css")),
        "/live.js" => file("text/javascript; charset=utf-8", include_str!("../../../page/live.js")),
        "/snapshot.json" => {
            // Numbers and strings can be written.
            let json = serde_json::to_vec(&shared.snapshot(ENTRIES)).unwrap_or_default();
            (StatusCode::OK, JSON, Bytes::from(json))
        }
        "/" => nothing("the page is at the same path without a slash at its end"),
        _ => nothing("there is nothing here"),
    }
}
