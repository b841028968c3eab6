//! Finds the token of a request, and removes it from the request.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;
use websockets_simple_core::{Compatibility, Token, handshake_words::BEARER_PREFIX};

use crate::{
    config::{ServerParams, TokenPlacements},
    handshake::refusal::Refusal,
    net::RequestHead,
};

/// base64url with or without padding, as clients differ in that.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A parsed request without its token.
#[derive(Debug)]
pub(crate) struct ParsedRequest {
    pub(crate) token: Option<Token>,
    pub(crate) head: RequestHead,
    /// The offered subprotocols, without those that carry tokens.
    pub(crate) offered: Vec<String>,
}

impl ParsedRequest {
    /// Parses a request of a server without users.
    pub(crate) fn anonymous(uri: &Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        check_target(uri)?;
        let head = RequestHead::new(&channel(uri.path())?, uri.query().unwrap_or_default(), headers);
        let (offered, _) = offers(headers)?;
        Ok(Self { token: None, head, offered })
    }

    /// Parses a request, and removes its token wherever it is found. The path of a routed request is not a token.
    pub(crate) fn with_token(
        uri: &Uri,
        headers: &mut HeaderMap,
        params: &ServerParams,
        routed: bool,
    ) -> Result<Self, Refusal> {
        check_target(uri)?;
        let TokenPlacements { header, subprotocol, query: in_query, path: in_path } = params.token_placements;
        let mut tokens = Vec::new();
        if header {
            take_authorization(headers, &mut tokens);
        }
        let (offered, bearers) = offers(headers)?;
        if subprotocol {
            tokens.extend(bearers);
            keep_offers(headers, &offered);
        }
        let mut query = uri.query().unwrap_or_default().to_owned();
        if in_query {
            query = take_query(&query, &mut tokens);
        }
        tokens.retain(|token| !token.expose().is_empty());
        let mut path = uri.path();
        let token = match tokens.split_first() {
            Some((first, others)) => {
                if others.iter().any(|other| !same(first, other)) {
                    return Err(Refusal::bad_request("the request carries two different tokens"));
                }
                Some(first.clone())
            }
            None if in_path && !routed && path.len() > 1 => {
                let mut token = path.trim_start_matches('/').to_owned();
                if params.compatibility == Compatibility::DotNetV6 && uri.query().is_some() {
                    // Its token is everything between the first slash and the next space.
                    token.push('?');
                    token.push_str(uri.query().unwrap_or_default());
                    query.clear();
                }
                path = "/";
                Some(Token::new(token)).filter(|token| !token.expose().is_empty())
            }
            None => None,
        };
        let head = RequestHead::new(&channel(path)?, &query, headers);
        Ok(Self { token, head, offered })
    }
}

fn same(one: &Token, other: &Token) -> bool {
    one.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
}

/// Accepts a path, or a whole URL (RFC 9112 sections 3.2.1 and 3.2.2), but neither `*` nor a host alone.
fn check_target(uri: &Uri) -> Result<(), Refusal> {
    match uri.path().starts_with('/') && (uri.scheme().is_some() || uri.authority().is_none()) {
        true => Ok(()),
        false => Err(Refusal::bad_request("the target of the request is not a path")),
    }
}

/// The channel: the decoded path, which must be UTF-8. It reaches logs, so it must not end a line there.
fn channel(path: &str) -> Result<Cow<'_, str>, Refusal> {
    let decoded = percent_decode_str(path).decode_utf8();
    let decoded = decoded.map_err(|_| Refusal::bad_request("the path is not UTF-8"))?;
    if decoded.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(Refusal::bad_request("the path holds a control character"));
    }
    Ok(decoded)
}

/// Removes `Authorization: Bearer`; other schemes are kept.
fn take_authorization(headers: &mut HeaderMap, tokens: &mut Vec<Token>) {
    let mut others = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        match bearer(value) {
            Some(token) => tokens.push(Token::from(token)),
            None => others.push(value.clone()),
        }
    }
    headers.remove(AUTHORIZATION);
    for value in others {
        headers.append(AUTHORIZATION, value);
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The offered subprotocols, and the tokens among them.
fn offers(headers: &HeaderMap) -> Result<(Vec<String>, Vec<Token>), Refusal> {
    let (mut offered, mut tokens) = (Vec::new(), Vec::new());
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let value = value.to_str().map_err(|_| Refusal::bad_request("malformed Sec-WebSocket-Protocol"))?;
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.strip_prefix(BEARER_PREFIX) {
                None => offered.push(name.to_owned()),
                Some(encoded) => {
                    let decoded = BASE64.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                    let token = decoded.ok_or_else(|| {
                        Refusal::bad_request("the token in Sec-WebSocket-Protocol is not base64url of UTF-8")
                    })?;
                    tokens.push(Token::from(token));
                }
            }
        }
    }
    Ok((offered, tokens))
}

fn keep_offers(headers: &mut HeaderMap, offered: &[String]) {
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !offered.is_empty()
        && let Ok(value) = HeaderValue::from_str(&offered.join(", "))
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

/// The query without its `token` parameters, whose name is case-insensitive as in .NET v7.
fn take_query(query: &str, tokens: &mut Vec<Token>) -> String {
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match form_urlencoded::parse(pair.as_bytes()).next() {
            Some((name, value)) if name.eq_ignore_ascii_case("token") => tokens.push(Token::new(value)),
            _ => kept.push(pair),
        }
    }
    kept.join("&")
}

#[cfg(test)]
mod tests;
