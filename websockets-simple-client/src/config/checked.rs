//! The checked parameters that a dial uses.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use url::form_urlencoded;
use websockets_simple_core::{
    Compatibility, Heartbeat, HeartbeatMode, MessageParts, OverflowPolicy, Pacing, SUBPROTOCOL, Token,
    dotnet::V6Server,
    handshake_words::{BEARER_PREFIX, WITH_CONTROLS},
};

use super::{ClientParams, PATH, TokenPlacement, host::Host};
#[cfg(feature = "rustls")]
use crate::config::tls::TlsParams;
use crate::{
    config::{Dialing, Offline, Reconnect, token_provider::TokenProvider},
    error::{ConnectError, ParamsError},
};

/// A token in the path may contain a query, as in the .NET library.
const PATH_TOKEN: &AsciiSet = &PATH.remove(b'?');

/// The replacement for a token that a server quotes.
const HIDDEN: &str = "***";

/// Shortest token, or begin of one that was cut, in bytes, that is replaced: a shorter one may be ordinary text.
const RECOGNIZABLE: usize = 4;

/// Longest time: the system clock cannot represent later deadlines.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Checked parameters. Everything that may contain the token is a [`Token`] itself, so that no log shows it.
pub(crate) struct CheckedParams {
    pub(crate) host: Host,
    /// Path and query of the request line.
    pub(crate) target: Token,
    pub(crate) authorization: Option<Token>,
    /// The value of `Sec-WebSocket-Protocol`; empty if there is no such header.
    pub(crate) offers: Token,
    /// Whether the user offered a subprotocol, so that a server that chooses none is an error.
    pub(crate) required: bool,
    pub(crate) headers: Vec<Header>,
    /// All encodings of the token and of what a hook has added, the longest first.
    spellings: Vec<Token>,
    pub(super) params: ClientParams,
}

/// A request header of the user.
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) spelled: String,
    /// May be a secret, such as a cookie.
    pub(crate) value: Token,
}

impl ClientParams {
    /// Checks all parameters once, so that nothing later can fail because of them.
    pub(crate) fn check(self) -> Result<CheckedParams, ParamsError> {
        self.check_figures()?;
        #[cfg(feature = "deflate")]
        if self.compression.is_some_and(|compression| !compression.is_valid()) {
            return Err(ParamsError::CompressionLevel);
        }
        let host = Host::parse(self.host.trim())?;
        self.dialing.check(&host, self.secured)?;
        let placement = self.token_placement.unwrap_or(match self.compatibility {
            Compatibility::DotNetV6 => TokenPlacement::Path,
            _ => TokenPlacement::Header,
        });
        let token = self.token.as_ref().map(|token| (token.expose(), placement));
        // A provider gives a token later, when it is too late for these errors.
        let token_at = self.shows_token().then_some(placement);
        let headers = headers(&self.headers, token_at == Some(TokenPlacement::Header))?;
        if token_at == Some(TokenPlacement::Query)
            && form_urlencoded::parse(self.query.as_bytes()).any(|(name, _)| name == "token")
        {
            return Err(ParamsError::TokenTwice);
        }
        let mut offers = offers(&self.subprotocols, self.compatibility)?;
        let required = !offers.is_empty();
        if self.token_provider.is_some() && offers.is_empty() && self.compatibility == Compatibility::None {
            offers.push(SUBPROTOCOL.to_owned());
        }
        let mut path = self.path.clone();
        let mut query = self.query.clone();
        let mut authorization = None;
        match token {
            None => {}
            Some((token, TokenPlacement::Header)) => {
                // More than RFC 6750 allows, but no blanks and nothing beyond ASCII, which servers could not read.
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(ParamsError::Token("a header"));
                }
                authorization = Some(Token::new(format!("Bearer {token}")));
            }
            Some((token, TokenPlacement::Path)) => {
                let token = token.trim_start_matches('/');
                if token.is_empty() {
                    return Err(ParamsError::Token("a path"));
                }
                path = format!("/{}", utf8_percent_encode(token, PATH_TOKEN));
            }
            Some((token, TokenPlacement::Query)) => {
                if token.is_empty() {
                    return Err(ParamsError::Token("a query"));
                }
                let mut pairs = form_urlencoded::Serializer::new(query);
                pairs.append_pair("token", token);
                query = pairs.finish();
            }
            Some((token, TokenPlacement::Subprotocol)) => {
                if token.is_empty() {
                    return Err(ParamsError::Token("a subprotocol"));
                }
                if offers.is_empty() {
                    // The server has to choose one of the offers, and must not choose the token.
                    offers.push(SUBPROTOCOL.to_owned());
                }
                offers.push(format!("{BEARER_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token)));
            }
        }
        let target = match (query.is_empty(), path.contains('?')) {
            (true, _) => path,
            (false, false) => format!("{path}?{query}"),
            (false, true) => format!("{path}&{query}"),
        };
        Ok(CheckedParams {
            host,
            target: Token::new(target),
            authorization,
            offers: Token::new(offers.join(", ")),
            required,
            headers,
            spellings: spellings(self.token.iter().chain(&self.hidden)),
            params: self,
        })
    }

    fn shows_token(&self) -> bool {
        self.token.is_some() || self.token_provider.is_some()
    }

    fn check_figures(&self) -> Result<(), ParamsError> {
        if self.port == 0 {
            return Err(ParamsError::ZeroPort);
        }
        let heartbeat = (self.heartbeat.mode() != HeartbeatMode::Off).then(|| self.heartbeat.interval());
        let room = if let OverflowPolicy::Wait(timeout) = self.overflow { Some(timeout) } else { None };
        let policy = self.reconnect.as_ref().map(|reconnect| reconnect.policy);
        for (name, duration) in [
            ("heartbeat interval", heartbeat),
            ("connect timeout", Some(self.connect_timeout)),
            ("close timeout", Some(self.close_timeout)),
            ("timeout for room in the outbox", room),
            ("first pause of reconnects", policy.map(|policy| policy.base)),
            ("longest pause of reconnects", policy.map(|policy| policy.most)),
            // None at all is fine for these two.
            ("pause before the first frame", self.first_frame_pause.filter(|pause| !pause.is_zero())),
            ("pause between frames", self.frame_pause.filter(|pause| !pause.is_zero())),
        ] {
            match duration {
                Some(Duration::ZERO) => return Err(ParamsError::Zero(name)),
                Some(duration) if duration > LONGEST => return Err(ParamsError::Endless(name)),
                _ => {}
            }
        }
        for (name, size) in [
            ("message size", Some(self.message_size)),
            ("outbox", Some(self.outbox)),
            ("receive buffer", self.dialing.receive_buffer),
            ("send buffer", self.dialing.send_buffer),
        ] {
            if size == Some(0) {
                return Err(ParamsError::Zero(name));
            }
        }
        self.message_parts.map_or(Ok(()), check_message_parts)
    }
}

fn check_message_parts(parts: MessageParts) -> Result<(), ParamsError> {
    let what = "size of a part of a message";
    match parts.part_size() {
        0..MessageParts::LEAST_PART => Err(ParamsError::TooSmall { what, least: MessageParts::LEAST_PART }),
        size if size > MessageParts::MOST_PART => {
            Err(ParamsError::TooLarge { what, most: MessageParts::MOST_PART })
        }
        least if parts.message_size() < least as u64 => {
            Err(ParamsError::TooSmall { what: "size limit of messages in parts", least })
        }
        _ => Ok(()),
    }
}

fn headers(given: &[(String, String)], token_in_header: bool) -> Result<Vec<Header>, ParamsError> {
    let reserved = [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let mut headers = Vec::new();
    for (spelled, value) in given {
        let name = HeaderName::from_bytes(spelled.as_bytes())
            .map_err(|_| ParamsError::HeaderName(spelled.clone()))?;
        let taken = reserved.contains(&name)
            || name.as_str().starts_with("sec-websocket-")
            || (token_in_header && name == header::AUTHORIZATION);
        if taken {
            return Err(ParamsError::HeaderReserved(spelled.clone()));
        }
        let value = value.trim_matches([' ', '\t']);
        // The encoding of non-ASCII bytes is not defined, and many servers drop such a header.
        if !HeaderValue::from_str(value).is_ok_and(|value| value.to_str().is_ok()) {
            return Err(ParamsError::HeaderValue(spelled.clone()));
        }
        headers.push(Header { name, spelled: spelled.clone(), value: Token::new(value) });
    }
    Ok(headers)
}

/// The subprotocols to offer, each with control messages first. Servers of .NET have none.
fn offers(given: &[String], compatibility: Compatibility) -> Result<Vec<String>, ParamsError> {
    let mut offers = Vec::with_capacity(2 * given.len());
    for (n, name) in given.iter().enumerate() {
        // A token of RFC 9110 section 5.6.2, like a header name.
        if HeaderName::from_bytes(name.as_bytes()).is_err() || name.starts_with(WITH_CONTROLS) {
            return Err(ParamsError::Subprotocol(name.clone()));
        }
        if given[..n].contains(name) {
            return Err(ParamsError::SubprotocolTwice(name.clone()));
        }
        if compatibility == Compatibility::None && name != SUBPROTOCOL {
            offers.push(format!("{WITH_CONTROLS}{name}"));
        }
        offers.push(name.clone());
    }
    Ok(offers)
}

/// All encodings of secrets that a server may have received. The longest first, as one may contain another.
fn spellings<'a>(secrets: impl Iterator<Item = &'a Token>) -> Vec<Token> {
    let encodings = |secret: &'a Token| {
        let secret = secret.expose();
        [
            secret.to_owned(),
            secret.trim_start_matches('/').to_owned(),
            utf8_percent_encode(secret, PATH_TOKEN).to_string(),
            utf8_percent_encode(secret.trim_start_matches('/'), PATH_TOKEN).to_string(),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            BASE64_URL_SAFE_NO_PAD.encode(secret),
        ]
    };
    let mut spellings: Vec<String> = secrets.flat_map(encodings).collect();
    spellings.retain(|spelling| spelling.len() >= RECOGNIZABLE);
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    spellings.into_iter().map(Token::new).collect()
}

impl CheckedParams {
    /// A text of the server with the token replaced by `***`. A text that was `cut` may end within the token.
    pub(crate) fn without_token(&self, said: &str, cut: bool) -> String {
        let mut said = said.to_owned();
        for spelling in &self.spellings {
            said = said.replace(spelling.expose(), HIDDEN);
        }
        if cut {
            // The cut may have left half a character at the end.
            said.truncate(said.trim_end_matches('\u{fffd}').len());
            for spelling in self.spellings.iter().map(Token::expose) {
                let mut starts = spelling.char_indices().rev().map(|(end, _)| &spelling[..end]);
                if let Some(start) = starts.find(|start| start.len() >= RECOGNIZABLE && said.ends_with(start))
                {
                    said.truncate(said.len() - start.len());
                }
            }
        }
        said
    }

    /// As [`without_token`](Self::without_token), for what a server says before it closes. A reason of that length was
    /// perhaps cut to fit into a Close, which has room for 123 bytes (RFC 6455 section 5.5.1).
    pub(crate) fn without_reason_token(&self, said: &str) -> String {
        self.without_token(said, (120..=123).contains(&said.len()))
    }

    /// These parameters with another token.
    pub(crate) fn with_token(&self, token: Token) -> Result<Arc<Self>, ConnectError> {
        let params = self.params.clone().token(token).check();
        // Only the token can be invalid: everything else was checked before.
        Ok(Arc::new(params.map_err(|error| ConnectError::TokenProvider(Arc::new(error)))?))
    }

    pub(crate) fn offline(&self) -> Offline {
        self.params.offline
    }

    pub(crate) fn reconnect(&self) -> Option<&Reconnect> {
        self.params.reconnect.as_ref()
    }

    /// The token provider, if there is one.
    pub(crate) fn token_provider(&self) -> Option<Arc<dyn TokenProvider>> {
        self.params.token_provider.as_ref().map(|provider| Arc::clone(&provider.0))
    }

    pub(crate) fn port(&self) -> u16 {
        self.params.port
    }

    pub(crate) fn secured(&self) -> bool {
        self.params.secured
    }

    pub(crate) fn dialing(&self) -> &Dialing {
        &self.params.dialing
    }

    /// The path; `/` if the path is the token.
    pub(crate) fn path_without_token(&self) -> &str {
        let in_path = self.shows_token()
            && match self.params.token_placement {
                Some(placement) => placement == TokenPlacement::Path,
                None => self.params.compatibility == Compatibility::DotNetV6,
            };
        if in_path { "/" } else { &self.params.path }
    }

    pub(crate) fn shows_token(&self) -> bool {
        self.params.shows_token()
    }

    pub(crate) fn read_ahead(&self) -> usize {
        self.params.read_ahead
    }

    pub(crate) fn message_parts(&self) -> Option<MessageParts> {
        self.params.message_parts
    }

    pub(crate) fn message_size(&self) -> usize {
        self.params.message_size
    }

    pub(crate) fn outbox_bytes(&self) -> usize {
        self.params.outbox
    }

    pub(crate) fn overflow(&self) -> OverflowPolicy {
        self.params.overflow
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.params.heartbeat
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.params.connect_timeout
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.params.close_timeout
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn compression(&self) -> Option<websockets_simple_core::Compression> {
        // A message that is received in parts may be far larger than what is decompressed at once.
        self.params.compression.filter(|_| self.params.message_parts.is_none())
    }

    pub(crate) fn compatibility(&self) -> Compatibility {
        self.params.compatibility
    }

    /// How frames leave.
    pub(crate) fn pacing(&self) -> Pacing {
        let ClientParams { compatibility, first_frame_pause, frame_pause, .. } = &self.params;
        let mut pacing = compatibility.client_pacing();
        if let Some(pause) = first_frame_pause {
            pacing.first_frame_pause = *pause;
        }
        if let Some(pause) = frame_pause {
            pacing.frame_pause = Some(*pause).filter(|pause| !pause.is_zero());
        }
        pacing
    }

    /// What the server is able to read, if it is a .NET v6 server.
    pub(crate) fn v6_server(&self) -> Option<V6Server> {
        let server = if self.secured() { V6Server::TLS } else { V6Server::PLAIN };
        (self.compatibility() == Compatibility::DotNetV6).then_some(server)
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn tls(&self) -> &TlsParams {
        &self.params.tls
    }
}
