//! The handshakes of nearly all clients: the head of a request for a WebSocket comes at once, and nothing else with it
//! that has a meaning in HTTP. What is to be done for them is little, so it is done here, and the HTTP library is asked
//! about everything else: it reads the same bytes again.
//!
//! A request is judged and answered as any other (`decision.rs`). What is read here has to be read alike by the HTTP
//! library, which the tests hold it to.

use std::{
    future::poll_fn,
    io, mem,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use httparse::Status;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{
    config::Limits,
    handshake::{
        HandshakeContext, NotOpened, Opened, Unopened,
        decision::{StreamOwner, decide},
    },
    net::poll_read_some,
    users::Identity,
};

/// Most headers of a plain request: browsers send about 15.
const MOST_HEADERS: usize = 32;

/// The values of `Connection` in plain requests: in particular, the connection does not end with the answer.
const UPGRADES: [&[u8]; 2] = [b"upgrade", b"keep-alive, upgrade"];

/// What a stream begins with.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and is passed on once")]
pub(super) enum Beginning {
    /// A plain request, and what came behind it.
    Plain(Parts, Bytes),
    /// Something else, of which this was read, and perhaps the end of the stream.
    Other(Bytes, Option<io::Result<()>>),
}

/// Reads once from a stream of which these bytes were read, if any.
pub(super) async fn begin<S: AsyncRead + Unpin>(stream: &mut S, read: Bytes, limits: &Limits) -> Beginning {
    poll_fn(|cx| poll_begin(stream, &read, limits, cx)).await
}

fn poll_begin<S: AsyncRead + Unpin>(
    stream: &mut S,
    read: &Bytes,
    limits: &Limits,
    cx: &mut Context<'_>,
) -> Poll<Beginning> {
    let read = match read.is_empty() {
        false => read.clone(),
        true => match ready!(poll_read_some(stream, cx)) {
            Ok(read) if !read.is_empty() => read,
            ended => return Poll::Ready(Beginning::Other(Bytes::new(), Some(ended.map(drop)))),
        },
    };
    let Some((parts, mut behind)) = parse(&read, limits) else {
        return Poll::Ready(Beginning::Other(read, None));
    };
    // A peer that has hung up behind its request is asked nothing more, and nobody is told of an attempt.
    if behind.is_empty()
        && let Poll::Ready(more) = poll_read_some(stream, cx)
    {
        match more {
            Ok(more) if !more.is_empty() => behind = more,
            ended => return Poll::Ready(Beginning::Other(read, Some(ended.map(drop)))),
        }
    }
    Poll::Ready(Beginning::Plain(parts, behind))
}

/// A plain request and the bytes behind it. `None` for anything else, also for what is malformed.
fn parse(read: &Bytes, limits: &Limits) -> Option<(Parts, Bytes)> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let Ok(Status::Complete(length)) = head.parse_with_uninit_headers(read, &mut room) else { return None };
    if head.method != Some("GET") || head.version != Some(1) || head.headers.len() > limits.headers {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    let (mut is_upgrade, mut is_websocket) = (false, false);
    for header in &*head.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        match name {
            CONNECTION if UPGRADES.iter().any(|value| header.value.eq_ignore_ascii_case(value)) => {
                is_upgrade = true;
            }
            UPGRADE if header.value.eq_ignore_ascii_case(b"websocket") => is_websocket = true,
            CONNECTION | UPGRADE | CONTENT_LENGTH | TRANSFER_ENCODING | EXPECT => return None,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(read.slice_ref(header.value)).ok()?;
        headers.append(name, value);
    }
    if !(is_upgrade && is_websocket) {
        return None;
    }
    let uri = Uri::from_maybe_shared(read.slice_ref(head.path?.as_bytes())).ok()?;
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Some((request.into_parts().0, read.slice(length..)))
}

/// Judges and answers a plain request.
pub(super) async fn answer<S, T, I>(
    mut stream: S,
    parts: &mut Parts,
    mut behind: Bytes,
    context: &mut HandshakeContext<I>,
    keep: impl FnOnce(S) -> T,
) -> Result<Opened<T, I>, Unopened>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    I: Identity,
{
    let decided = {
        let mut deciding = pin!(decide(context, parts, StreamOwner::Handshake));
        let mut is_first = true;
        poll_fn(|cx| {
            // A peer that hangs up meanwhile need not be judged.
            if !mem::take(&mut is_first) && behind.is_empty() {
                match poll_read_some(&mut stream, cx) {
                    Poll::Ready(Ok(read)) if !read.is_empty() => behind = read,
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            }
            deciding.as_mut().poll(cx).map(Some)
        })
        .await
    };
    let (why, answer) = match decided {
        Some(Ok(decision)) => {
            let (head, admitted) = decision.into_head();
            if write(&mut stream, &head).await.is_ok() {
                return Ok(Opened { stream: keep(stream), leftover: behind, admitted });
            }
            return Err(NotOpened::hung_up().at_once());
        }
        Some(Err(refusal)) => (NotOpened::refused(&refusal), refusal.into_bytes()),
        None => (NotOpened::hung_up(), Vec::new()),
    };
    Err(why.answered(stream, answer))
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, head: &[u8]) -> io::Result<()> {
    stream.write_all(head).await?;
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}
