//! The span of a handshake, from its request to its answer.

use std::net::IpAddr;

use tracing::{Span, field};
use websockets_simple_core::{Panicked, catch_panic};

use crate::{
    handshake::{context::HandshakeContext, refusal::Refusal, tokens::ParsedRequest},
    users::Identity,
};

/// Most bytes of a channel in a span, or in a line of the log.
const CHANNEL: usize = 200;

/// A channel as spans and the log have it.
pub(crate) fn cut(channel: &str) -> &str {
    &channel[..channel.floor_char_boundary(CHANNEL)]
}

/// The span of a handshake: that of the application's function, or one of our own. What cannot be read has a span without
/// its path, which may be a token.
pub(super) fn begin<I: Identity>(
    context: &HandshakeContext<I>,
    parsed: Result<&ParsedRequest, &Refusal>,
    client: Option<IpAddr>,
) -> Result<Span, Panicked> {
    let request = parsed.ok().map(|parsed| context.peer.handshake_request(&parsed.head, client));
    if let (Some(request), Some(made)) = (&request, context.shared.handshake_span.get()) {
        return catch_panic(|| made(request));
    }
    let channel = request.map(|request| request.head().channel());
    let parent = request.and_then(|request| TraceParent::read(request.head().header("traceparent")?));
    Ok(tracing::info_span!(
        target: "websockets_simple_server",
        "ws.handshake",
        otel.kind = "server",
        channel = channel.map(cut),
        client = client.map(field::display),
        trace_id = parent.map(|parent| parent.trace),
        parent_id = parent.map(|parent| parent.parent),
        connection = field::Empty,
        refused = field::Empty,
    ))
}

/// What a `traceparent` says (W3C Trace Context, section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct TraceParent<'a> {
    trace: &'a str,
    parent: &'a str,
}

impl<'a> TraceParent<'a> {
    /// `None` for anything that is not one. Later versions may have more behind what this one has.
    fn read(header: &'a str) -> Option<Self> {
        let mut parts = header.split('-');
        let mut next = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length)?;
            part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(part)
        };
        let (version, trace, parent) = (next(2)?, next(32)?, next(16)?);
        next(2)?;
        let is_set = |id: &str| id.bytes().any(|byte| byte != b'0');
        let is_over = version != "00" || parts.next().is_none();
        (version != "ff" && is_set(trace) && is_set(parent) && is_over).then_some(Self { trace, parent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_traceparent_is_taken_for_one() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let of = |header: &str| TraceParent::read(header).is_some();
        let header = format!("00-{trace}-{parent}-01");
        assert_eq!(TraceParent::read(&header), Some(TraceParent { trace, parent }));
        assert!(of(&format!("01-{trace}-{parent}-00-later")), "a later version");
        for wrong in [
            String::new(),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_ascii_uppercase()),
            format!("00-{}-{parent}-01", &trace[1..]),
            "00-\u{e9}".to_owned(),
        ] {
            assert!(!of(&wrong), "{wrong}");
        }
    }
}
