//! The check of all parameters when a server starts.

use std::{collections::HashSet, time::Duration};

use http::{HeaderName, Uri, uri::Scheme};
use websockets_simple_core::{
    Heartbeat, HeartbeatMode, MessageParts, OverflowPolicy,
    handshake_words::{BEARER_PREFIX, WITH_CONTROLS},
};

use crate::config::{endpoint::Endpoint, limits::Limits, params::ServerParams};

/// Longest timeout: the system clock cannot represent later deadlines.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Shortest timeout: the timers have this resolution, and a shorter one is over before anything could have happened.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// Bytes of the largest control frame of a server (RFC 6455 section 5.5).
const CONTROL_FRAME: usize = 2 + 125;

/// Smallest buffer in which hyper reads a request head.
const LEAST_HEAD: usize = 8 * 1024;

/// Shortest time between two looks at files, which are on a disk.
#[cfg(feature = "rustls")]
const LEAST_WATCH: Duration = Duration::from_millis(10);

/// Largest request head: a `RequestHead` stores its lengths in 32 bits.
const LARGEST_HEAD: usize = 16 * 1024 * 1024;

/// Most headers that the HTTP library supports.
const MOST_HEADERS: usize = 32 * 1024;

/// Most streams of an HTTP/2 connection: the windows of all of them are 1 GiB of the 2 GiB that there are (RFC 9113 section
/// 6.9.1).
const MOST_STREAMS: usize = 16 * 1024;

/// Which parameter of a server is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// An address is not an IP address with a port.
    #[error("`{0}` is not an IP address with a port, such as `127.0.0.1:8080`")]
    Address(String),
    /// The level of the compression is not one of 1 to 9.
    #[cfg(feature = "deflate")]
    #[error("the compression level is not one of 1 to 9")]
    CompressionLevel,
    /// An endpoint is given twice.
    #[error("the endpoint {0} is given twice")]
    EndpointTwice(String),
    /// A time is longer than ten years.
    #[error("the {0} is longer than ten years")]
    Endless(&'static str),
    /// The prefix of the identity headers is not valid in a header name.
    #[error("`{0}` is not a valid header name prefix")]
    IdentityHeaders(String),
    /// An origin is malformed (RFC 6454 section 6.2), and would match no request.
    #[error("`{0}` is not an origin such as `https://example.org` or `http://localhost:8080`")]
    Origin(String),
    /// A name of `ServerTls::for_name` is not a host name, with or without leading `*.`.
    #[error("`{0}` is not a host name")]
    ServerName(String),
    /// An endpoint with TLS is to take HTTP/2 from clients that begin with it, which
    /// [`ServerTls::http2`](crate::ServerTls::http2) offers.
    #[cfg(feature = "http2")]
    #[error("the endpoint {0} has TLS, over which HTTP/2 is agreed on and not begun with")]
    PriorKnowledge(String),
    /// A secret of [`IdSigning`](crate::IdSigning) is empty.
    #[error("the secret that signs client ids is empty")]
    SigningSecret,
    /// The permissions of a Unix domain socket let no client connect, or are invalid.
    #[error("the mode {mode:o} of the Unix domain socket {path} lets no client connect")]
    SocketMode {
        /// The path of the socket.
        path: String,
        /// The mode.
        mode: u32,
    },
    /// A subprotocol is not a token (RFC 9110 section 5.6.2), or has the prefix of those that carry credentials,
    /// or of those that stand for another one with control messages.
    #[error("`{0}` is not a valid subprotocol name")]
    Subprotocol(String),
    /// A subprotocol is given twice.
    #[error("the subprotocol `{0}` is given twice")]
    SubprotocolTwice(String),
    /// A number is too large.
    #[error("the {what} is more than {most}")]
    TooLarge {
        /// Which parameter.
        what: &'static str,
        /// The largest value.
        most: usize,
    },
    /// A number is too small.
    #[error("the {what} is less than {least}")]
    TooSmall {
        /// Which parameter.
        what: &'static str,
        /// The smallest value.
        least: usize,
    },
    /// A time is too short.
    #[error("the {what} is less than {least:?}")]
    TooShort {
        /// Which parameter.
        what: &'static str,
        /// The shortest time.
        least: Duration,
    },
    /// A time or a limit is zero, which would end or refuse every connection.
    #[error("the {0} is zero")]
    Zero(&'static str),
}

impl ServerParams {
    /// Checks all parameters, so that none of them causes an error later.
    pub(crate) fn check(&self) -> Result<(), ParamsError> {
        self.limits.check()?;
        if self.limits.connections_per_ip == 0 && self.counts_addresses() {
            return Err(ParamsError::Zero("limit of connections per IP address"));
        }
        check_heartbeat(self.heartbeat)?;
        self.message_parts.map_or(Ok(()), check_message_parts)?;
        time("close timeout", self.close_timeout)?;
        for (what, duration) in [
            // Without time handlers are dropped at once.
            ("stop timeout", self.stop_timeout),
            ("retry-after time", self.retry_after),
            ("expiry notice", self.expiry_notice),
            ("expiry grace", self.expiry_grace),
            ("pause before the first frame", self.pacing().first_frame_pause),
        ] {
            finite(what, duration)?;
        }
        at_least("outbox", self.outbox, CONTROL_FRAME)?;
        if let OverflowPolicy::Wait(timeout) = self.overflow {
            time("timeout for room in an outbox", timeout)?;
        }
        #[cfg(feature = "deflate")]
        if self.compression.is_some_and(|compression| !compression.is_valid()) {
            return Err(ParamsError::CompressionLevel);
        }
        check_subprotocols(&self.subprotocols)?;
        self.origins.iter().flatten().try_for_each(|origin| check_origin(origin))?;
        check_endpoints(&self.endpoints)?;
        if self.id_signing.as_ref().is_some_and(|signing| signing.has_empty_secret()) {
            return Err(ParamsError::SigningSecret);
        }
        match (&self.invalid_address, &self.invalid_identity_prefix) {
            (Some(addr), _) => Err(ParamsError::Address(addr.clone())),
            (None, Some(prefix)) => Err(ParamsError::IdentityHeaders(prefix.clone())),
            (None, None) => Ok(()),
        }
    }
}

impl ServerParams {
    /// Whether clients can have IP addresses: not if all endpoints are Unix domain sockets, unless the proxies there name
    /// their clients.
    fn counts_addresses(&self) -> bool {
        #[cfg(unix)]
        let is_local = |endpoint: &Endpoint| endpoint.unix_socket().is_some();
        #[cfg(not(unix))]
        let is_local = |_: &Endpoint| false;
        self.endpoints.is_empty() || !self.endpoints.iter().all(is_local) || self.trusted_proxies.trusts(None)
    }
}

impl Limits {
    fn check(&self) -> Result<(), ParamsError> {
        time("handshake limit", self.handshake)?;
        time("authentication limit", self.authentication)?;
        if let Some(idle) = self.idle {
            time("idle limit", idle)?;
        }
        at_least("head size limit", self.head_size, LEAST_HEAD)?;
        at_most("head size limit", self.head_size, LARGEST_HEAD)?;
        at_most("header limit", self.headers, MOST_HEADERS)?;
        at_least("IPv6 prefix length", self.ipv6_prefix.into(), 1)?;
        at_most("IPv6 prefix length", self.ipv6_prefix.into(), 128)?;
        at_most("limit of HTTP/2 streams", self.http2_streams as usize, MOST_STREAMS)?;
        for (what, limit) in [
            ("limit of HTTP/2 streams", Some(self.http2_streams as usize)),
            ("header limit", Some(self.headers)),
            ("message size limit", Some(self.message_size)),
            ("limit of connections", self.connections),
            ("limit of connections per user", Some(self.connections_per_user)),
        ] {
            if limit == Some(0) {
                return Err(ParamsError::Zero(what));
            }
        }
        if self.messages_per_second == Some(0) {
            return Err(ParamsError::Zero("limit of messages per second"));
        }
        if self.bytes_per_second == Some(0) {
            return Err(ParamsError::Zero("limit of bytes per second"));
        }
        Ok(())
    }
}

fn check_heartbeat(heartbeat: Heartbeat) -> Result<(), ParamsError> {
    match heartbeat.mode() {
        HeartbeatMode::Off => Ok(()),
        _ => time("heartbeat interval", heartbeat.interval()),
    }
}

fn check_message_parts(parts: MessageParts) -> Result<(), ParamsError> {
    at_least("size of a part of a message", parts.part_size(), MessageParts::LEAST_PART)?;
    at_most("size of a part of a message", parts.part_size(), MessageParts::MOST_PART)?;
    match parts.message_size() < parts.part_size() as u64 {
        true => {
            let what = "size limit of messages in parts";
            Err(ParamsError::TooSmall { what, least: parts.part_size() })
        }
        false => Ok(()),
    }
}

/// Whether an offer of that name means something else to the library.
fn is_reserved(name: &str) -> bool {
    [BEARER_PREFIX, WITH_CONTROLS].iter().any(|prefix| name.starts_with(prefix))
}

fn check_subprotocols(names: &[String]) -> Result<(), ParamsError> {
    let mut known = HashSet::new();
    for name in names {
        // Header names have the same syntax: a token of RFC 9110 section 5.6.2.
        if HeaderName::from_bytes(name.as_bytes()).is_err() || is_reserved(name) {
            return Err(ParamsError::Subprotocol(name.clone()));
        }
        if !known.insert(name) {
            return Err(ParamsError::SubprotocolTwice(name.clone()));
        }
    }
    Ok(())
}

/// Accepts `null`, a scheme alone, as pages of apps have it (`file://`), or a scheme, a host and an optional port.
fn check_origin(origin: &str) -> Result<(), ParamsError> {
    let scheme_alone = |scheme: &str| !scheme.is_empty() && Scheme::try_from(scheme).is_ok();
    match origin == "null"
        || origin.strip_suffix("://").is_some_and(scheme_alone)
        || origin.parse().is_ok_and(|uri| is_scheme_and_host(&uri, origin))
    {
        true => Ok(()),
        false => Err(ParamsError::Origin(origin.to_owned())),
    }
}

fn is_scheme_and_host(uri: &Uri, origin: &str) -> bool {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let Some(port) = authority.as_str().strip_prefix(authority.host()) else { return false };
    origin.len() == scheme.len() + "://".len() + authority.as_str().len()
        && !authority.host().is_empty()
        && !authority.host().contains('*')
        && (port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

fn check_endpoints(endpoints: &[Endpoint]) -> Result<(), ParamsError> {
    let mut known = HashSet::new();
    for endpoint in endpoints {
        // Endpoints with port 0 get different ports.
        if !endpoint.has_any_port() && !known.insert(endpoint.to_string()) {
            return Err(ParamsError::EndpointTwice(endpoint.to_string()));
        }
        #[cfg(unix)]
        if let Some(socket) = endpoint.unix_socket()
            && (socket.permissions() & 0o222 == 0 || socket.permissions() > 0o7777)
        {
            let (path, mode) = (socket.path().display().to_string(), socket.permissions());
            return Err(ParamsError::SocketMode { path, mode });
        }
        #[cfg(feature = "rustls")]
        if let Some(tls) = endpoint.server_tls() {
            #[cfg(feature = "http2")]
            if endpoint.http2_prior_knowledge {
                return Err(ParamsError::PriorKnowledge(endpoint.to_string()));
            }
            if let Some(every) = tls.watch_interval() {
                let what = "certificate watch interval";
                time(what, every)?;
                if every < LEAST_WATCH {
                    return Err(ParamsError::TooShort { what, least: LEAST_WATCH });
                }
            }
            tls.names().try_for_each(check_server_name)?;
        }
    }
    Ok(())
}

/// Accepts a host name of letters, digits, `-`, `_` and `.`, with or without a leading `*.`.
#[cfg(feature = "rustls")]
fn check_server_name(name: &str) -> Result<(), ParamsError> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match name.strip_prefix("*.").unwrap_or(name).split('.').all(is_label) {
        true => Ok(()),
        false => Err(ParamsError::ServerName(name.to_owned())),
    }
}

fn time(what: &'static str, duration: Duration) -> Result<(), ParamsError> {
    if duration.is_zero() {
        return Err(ParamsError::Zero(what));
    }
    if duration < SHORTEST {
        return Err(ParamsError::TooShort { what, least: SHORTEST });
    }
    finite(what, duration)
}

fn finite(what: &'static str, duration: Duration) -> Result<(), ParamsError> {
    if duration > LONGEST { Err(ParamsError::Endless(what)) } else { Ok(()) }
}

fn at_least(what: &'static str, given: usize, least: usize) -> Result<(), ParamsError> {
    if given < least { Err(ParamsError::TooSmall { what, least }) } else { Ok(()) }
}

fn at_most(what: &'static str, given: usize, most: usize) -> Result<(), ParamsError> {
    if given > most { Err(ParamsError::TooLarge { what, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
