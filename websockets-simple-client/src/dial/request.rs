//! The head of the handshake request.

use std::fmt::Write;

use http::header::HOST;
use websockets_simple_core::Token;

use crate::config::CheckedParams;

/// Builds the request head.
///
/// Not with tungstenite's `generate_request`, which logs the whole request at trace level, token included.
/// .NET v6 servers compare header names case-sensitively.
pub(crate) fn head(params: &CheckedParams, key: &str) -> Token {
    let mut head = String::with_capacity(512);
    let mut line = |name: &str, value: &str| {
        let _ = write!(head, "{name}: {value}\r\n");
    };
    match params.headers.iter().rev().find(|header| header.name == HOST) {
        Some(given) => line("Host", given.value.expose()),
        None => line("Host", &host_and_port(params)),
    }
    line("Connection", "Upgrade");
    line("Upgrade", "websocket");
    line("Sec-WebSocket-Version", "13");
    line("Sec-WebSocket-Key", key);
    for header in params.headers.iter().filter(|header| header.name != HOST) {
        line(&header.spelled, header.value.expose());
    }
    if let Some(authorization) = &params.authorization {
        line("Authorization", authorization.expose());
    }
    if !params.offers.expose().is_empty() {
        line("Sec-WebSocket-Protocol", params.offers.expose());
    }
    #[cfg(feature = "deflate")]
    if params.compression().is_some() {
        line("Sec-WebSocket-Extensions", websockets_simple_core::OFFER);
    }
    Token::new(format!("GET {} HTTP/1.1\r\n{head}\r\n", params.target.expose()))
}

/// The default port of the scheme is left out (RFC 6455 section 4.1).
fn host_and_port(params: &CheckedParams) -> String {
    let usual = if params.secured() { 443 } else { 80 };
    if params.port() == usual {
        params.host.shown.clone()
    } else {
        format!("{}:{}", params.host.shown, params.port())
    }
}
